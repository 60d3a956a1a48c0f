package store

import (
	"context"

	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
)

var _ meeting.Store = (*Store)(nil)

const (
	// maxIDLength, in bytes, keeps what is indexed below PostgreSQL's limit.
	maxIDLength = 1024
	// claimTries is how often a claim is numbered anew when another one of the
	// room, over by now, took the number in between.
	claimTries = 4
	// keyGenerationTaken never leaves Claim.
	keyGenerationTaken = "generationTaken"
	// presentStates are the live states and lost. It is a literal in every
	// statement: a bound value would hide the partial indexes from the planner.
	presentStates = "state IN ('claimed', 'unknown', 'running', 'ending', 'lost')"

	claimColumns = "id, tenant_id, external_id, generation, seq, state, server_id, scoped_id, internal_id, create_time, " +
		"ref, secret_id, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at"

	selectRoom = "SELECT " + claimColumns + " FROM claims WHERE tenant_id = ? AND external_id = ? AND " + presentStates +
		" ORDER BY generation DESC LIMIT 1"
	selectInternalID = "SELECT " + claimColumns + " FROM claims WHERE tenant_id = ? AND internal_id = ? AND " + presentStates +
		" ORDER BY generation DESC LIMIT 1"
)

type claimRow struct {
	ID           int64
	TenantID     int64
	ExternalID   string
	Generation   int
	Seq          int64
	State        string
	ServerID     int64
	ScopedID     string
	InternalID   string
	CreateTime   int64
	Ref          string
	SecretID     *int64
	Seats        int
	EndRequested bool
	KeyID        string
	// SealedParams never changes; SealedAnswer holds what Move may change: the
	// passwords and the answer.
	SealedParams []byte
	SealedAnswer []byte
	CreatedAt    int64
	UpdatedAt    int64
}

func (s *Store) claim(r *claimRow) (meeting.Claim, error) {
	params, err := s.sealer.open(sealClaimParams, r.TenantID, r.KeyID, r.SealedParams)
	if err != nil {
		return meeting.Claim{}, err
	}
	packed, err := s.sealer.open(sealClaimAnswer, r.TenantID, r.KeyID, r.SealedAnswer)
	if err != nil {
		return meeting.Claim{}, err
	}
	parts, err := unpack(packed, 3)
	if err != nil {
		return meeting.Claim{}, err
	}
	c := meeting.Claim{
		ID: r.ID, TenantID: r.TenantID, ExternalID: r.ExternalID, Generation: r.Generation, Seq: r.Seq,
		State: meeting.State(r.State), ServerID: r.ServerID, ScopedID: r.ScopedID, InternalID: r.InternalID,
		CreateTime: r.CreateTime, AttendeePW: string(parts[0]), ModeratorPW: string(parts[1]), Ref: r.Ref,
		Seats: r.Seats, Params: string(params), EndRequested: r.EndRequested,
		CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt),
	}
	if len(parts[2]) > 0 {
		c.Answer = parts[2]
	}
	if r.SecretID != nil {
		c.SecretID = *r.SecretID
	}
	return c, nil
}

func (s *Store) sealAnswer(tenantID int64, c meeting.Claim) []byte {
	return s.sealer.seal(sealClaimAnswer, tenantID, pack([]byte(c.AttendeePW), []byte(c.ModeratorPW), c.Answer))
}

// Room implements meeting.Store: one probe of one index, also for a miss.
// Errors: fault.NotFound "claimNotFound", fault.Unavailable.
func (s *Store) Room(ctx context.Context, tenantID int64, externalID string) (meeting.Claim, error) {
	return s.findClaim(ctx, opRoom, selectRoom, tenantID, externalID)
}

// ByInternalID implements meeting.Store. Errors: fault.NotFound
// "claimNotFound", fault.Unavailable.
func (s *Store) ByInternalID(ctx context.Context, tenantID int64, internalID string) (meeting.Claim, error) {
	return s.findClaim(ctx, opByInternalID, selectInternalID, tenantID, internalID)
}

func (s *Store) findClaim(ctx context.Context, op operation, statement string, tenantID int64, id string) (meeting.Claim, error) {
	if !storableID(id) {
		// No row can have it, and PostgreSQL would fail rather than say so.
		return meeting.Claim{}, errNoClaim()
	}
	var found meeting.Claim
	err := s.view(ctx, op, func(db *gorm.DB) (err error) {
		var row claimRow
		if err := oneRow(db.Raw(statement, tenantID, id).Scan(&row), errNoClaim()); err != nil {
			return err
		}
		found, err = s.claim(&row)
		return err
	})
	if err != nil {
		return meeting.Claim{}, err
	}
	return found, nil
}

// Claim implements meeting.Store. A lost claim of the room stays: it may be
// found again, until its owner supersedes it. Errors: fault.Conflict
// "roomClaimed" when the room has a live claim; fault.Invalid for IDs that can't
// be stored; fault.Unavailable, after which the claim may exist: only a look
// tells.
func (s *Store) Claim(ctx context.Context, tenantID int64, c meeting.Claim) (meeting.Claim, error) {
	if !storableID(c.ExternalID) || !storableID(c.ScopedID) || !storable(c.InternalID) || !storable(c.Ref) {
		return meeting.Claim{}, fault.Newf(fault.Invalid, "invalidID",
			"A meeting ID has 1 to %d bytes of UTF-8 without NUL.", maxIDLength)
	}
	var (
		claimed meeting.Claim
		err     error
	)
	for range claimTries {
		err = s.update(ctx, opClaim, func(tx *gorm.DB) (err error) {
			claimed, err = s.insertClaim(tx, tenantID, c)
			return err
		})
		if !fault.Is(err, fault.Conflict) || fault.As(err).Key != keyGenerationTaken {
			break
		}
	}
	if err != nil {
		if fault.As(err).Key == keyGenerationTaken {
			// Claimed and left again faster than we count.
			return meeting.Claim{}, errRoomClaimed()
		}
		return meeting.Claim{}, err
	}
	return claimed, nil
}

func (s *Store) insertClaim(tx *gorm.DB, tenantID int64, c meeting.Claim) (meeting.Claim, error) {
	now := toMicros(s.stamp())
	if err := s.bumpSeq(tx); err != nil {
		return meeting.Claim{}, err
	}
	var secretID *int64
	if c.SecretID != 0 {
		secretID = &c.SecretID
	}
	var row claimRow
	err := tx.Raw(`INSERT INTO claims (tenant_id, external_id, generation, seq, state, server_id, scoped_id, internal_id,
		create_time, ref, secret_id, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at)
		VALUES (?, ?, (SELECT COALESCE(MAX(generation), 0) + 1 FROM claims WHERE tenant_id = ? AND external_id = ?), `+
		s.engine.statements().nextSeq+`, 'claimed', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING `+claimColumns,
		tenantID, c.ExternalID, tenantID, c.ExternalID, c.ServerID, c.ScopedID, c.InternalID, c.CreateTime, c.Ref, secretID,
		c.Seats, c.EndRequested, s.sealer.keyID, s.sealer.seal(sealClaimParams, tenantID, []byte(c.Params)),
		s.sealAnswer(tenantID, c), now, now).Scan(&row).Error
	if err != nil {
		return meeting.Claim{}, s.conflicts(err, map[uniqueRule]*fault.Error{
			ruleLiveRoom:   errRoomClaimed(),
			ruleGeneration: fault.New(fault.Conflict, keyGenerationTaken, "The generation was taken in between."),
		})
	}
	return s.claim(&row)
}

// Move implements meeting.Store. Errors: fault.Conflict "claimMoved" when the
// row isn't as from says, "roomClaimed" when it would be live beside another
// one of its room; fault.NotFound "claimNotFound" when this tenant has no such
// claim; fault.Invalid for a state or ID that can't be stored;
// fault.Unavailable, after which the move may have happened: only a look tells.
func (s *Store) Move(ctx context.Context, tenantID int64, from, to meeting.Claim) (meeting.Claim, error) {
	if err := checkClaimState(to.State); err != nil {
		return meeting.Claim{}, err
	}
	if !storable(to.InternalID) || len(to.InternalID) > maxIDLength {
		return meeting.Claim{}, fault.New(fault.Invalid, "invalidID", "The internal ID can't be stored.")
	}
	var moved meeting.Claim
	err := s.update(ctx, opMove, func(tx *gorm.DB) error {
		if err := s.bumpSeq(tx); err != nil {
			return err
		}
		var row claimRow
		done := tx.Raw("UPDATE claims SET state = ?, internal_id = ?, create_time = ?, end_requested = ?, key_id = ?, "+
			"sealed_answer = ?, updated_at = ?, seq = "+s.engine.statements().nextSeq+
			" WHERE id = ? AND tenant_id = ? AND state = ? AND generation = ? AND seq = ? RETURNING "+claimColumns,
			string(to.State), to.InternalID, to.CreateTime, to.EndRequested, s.sealer.keyID,
			s.sealAnswer(tenantID, to), toMicros(s.stamp()),
			from.ID, tenantID, string(from.State), from.Generation, from.Seq).Scan(&row)
		if done.Error != nil {
			return s.conflicts(done.Error, map[uniqueRule]*fault.Error{ruleLiveRoom: errRoomClaimed()})
		}
		if done.RowsAffected == 0 {
			var found int64
			if err := tx.Raw("SELECT COUNT(*) FROM claims WHERE id = ? AND tenant_id = ?", from.ID, tenantID).Scan(&found).Error; err != nil {
				return err
			}
			if found == 0 {
				return errNoClaim()
			}
			return fault.New(fault.Conflict, "claimMoved", "The claim was changed by others in the meantime.")
		}
		var err error
		moved, err = s.claim(&row)
		return err
	})
	if err != nil {
		return meeting.Claim{}, err
	}
	return moved, nil
}

// bumpSeq prepares the number that the next statement's nextSeq takes.
func (s *Store) bumpSeq(tx *gorm.DB) error {
	if bump := s.engine.statements().bumpSeq; bump != "" {
		return tx.Exec(bump).Error
	}
	return nil
}

func storableID(id string) bool {
	return id != "" && len(id) <= maxIDLength && storable(id)
}

func checkClaimState(st meeting.State) error {
	switch st {
	case meeting.Claimed, meeting.Unknown, meeting.Running, meeting.Ending,
		meeting.Lost, meeting.Ended, meeting.Released, meeting.Superseded:
		return nil
	}
	return fault.New(fault.Invalid, "invalidState", "There is no such claim state.")
}

func errNoClaim() *fault.Error {
	return fault.New(fault.NotFound, "claimNotFound", "There is no such claim.")
}

func errRoomClaimed() *fault.Error {
	return fault.New(fault.Conflict, "roomClaimed", "The room is claimed already.")
}
