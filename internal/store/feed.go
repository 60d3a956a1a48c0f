package store

import (
	"context"
	"log/slog"
	"time"

	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
)

// FeedWindow is how long after a sequence number was given out its change may
// still appear in Changes. PostgreSQL gives the number while the change is
// written and shows it at the commit, so a higher number may be seen before a
// lower one. In between lie the rest of one statement, a pause and the commit;
// the server cuts each after 5 s (statement_timeout and
// idle_in_transaction_session_timeout, set on every connection), whatever
// became of the client. So a reader must start again from the highest number it
// knew FeedWindow ago. On SQLite changes appear in order and at once.
const FeedWindow = 15 * time.Second

// livePage is how many claims one statement of Live reads, so that no number of
// claims makes it run into its time limit.
const livePage = 2000

const (
	selectLive    = "SELECT " + claimColumns + " FROM claims WHERE " + presentStates + " AND id > ? ORDER BY id LIMIT ?"
	selectHeads   = "SELECT id, seq FROM claims WHERE seq > ? ORDER BY seq"
	selectChanges = "SELECT " + claimColumns + " FROM claims WHERE seq >= ? ORDER BY seq"
)

// Live implements meeting.Store. The sequence number is read before the first
// claim: what changes while the claims are read has a higher one and comes with
// Changes, as does, within FeedWindow, what had a lower one and was not
// committed yet. Error: fault.Unavailable.
func (s *Store) Live(ctx context.Context) ([]meeting.Claim, int64, error) {
	var seq int64
	err := s.view(ctx, opLive, func(db *gorm.DB) error {
		return db.Raw(s.engine.statements().seqGiven).Scan(&seq).Error
	})
	if err != nil {
		return nil, 0, err
	}
	var live []meeting.Claim
	for after, more := int64(0), true; more; {
		var rows []claimRow
		err := s.view(ctx, opLive, func(db *gorm.DB) error {
			rows = nil
			return db.Raw(selectLive, after, livePage).Scan(&rows).Error
		})
		if err != nil {
			return nil, 0, err
		}
		page, err := s.claims(ctx, rows, nil)
		if err != nil {
			return nil, 0, err
		}
		live = append(live, page...)
		if more = len(rows) == livePage; more {
			after = rows[len(rows)-1].ID
		}
	}
	return live, seq, nil
}

// Changes implements meeting.Store: see FeedWindow for how far below its newest
// number a caller's floor must lie. known may be nil and may be asked twice
// about the same change; a claim appears once, as it is now. In the usual case,
// all known, only an index is read. Error: fault.Unavailable.
func (s *Store) Changes(ctx context.Context, floor int64, known func(id, seq int64) bool) ([]meeting.Claim, error) {
	var rows []claimRow
	err := s.view(ctx, opChanges, func(db *gorm.DB) error {
		rows = nil
		first := floor + 1
		if known != nil {
			var heads []struct{ ID, Seq int64 }
			if err := db.Raw(selectHeads, floor).Scan(&heads).Error; err != nil {
				return err
			}
			for len(heads) > 0 && known(heads[0].ID, heads[0].Seq) {
				heads = heads[1:]
			}
			if len(heads) == 0 {
				return nil
			}
			first = heads[0].Seq
		}
		return db.Raw(selectChanges, first).Scan(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	return s.claims(ctx, rows, known)
}

// claims unseals rows, without those that known reports. A row that is damaged
// costs its own room, which answers that it can't be known; it must not keep
// everybody's from being loaded.
func (s *Store) claims(ctx context.Context, rows []claimRow, known func(id, seq int64) bool) ([]meeting.Claim, error) {
	claims := make([]meeting.Claim, 0, len(rows))
	for i := range rows {
		if known != nil && known(rows[i].ID, rows[i].Seq) {
			continue
		}
		c, err := s.claim(&rows[i])
		if err != nil && fault.As(err).Key == "sealedDamaged" {
			s.log.LogAttrs(ctx, slog.LevelError, "a claim is damaged: its room can't be used until the claim is deleted",
				slog.Int64("claim", rows[i].ID), slog.Int64("tenant_id", rows[i].TenantID))
			continue
		}
		if err != nil {
			return nil, err
		}
		claims = append(claims, c)
	}
	return claims, nil
}

// ConfigVersion returns a number that grows with every committed change of
// tenants, secrets, hosts and servers. Error: fault.Unavailable.
func (s *Store) ConfigVersion(ctx context.Context) (int64, error) {
	var version int64
	err := s.view(ctx, opConfigVersion, func(db *gorm.DB) error {
		return db.Raw("SELECT value FROM counters WHERE name = 'config_version'").Scan(&version).Error
	})
	return version, err
}
