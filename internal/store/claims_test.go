package store

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
)

var liveStates = []meeting.State{meeting.Claimed, meeting.Unknown, meeting.Running, meeting.Ending}

func TestClaim(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		draft := w.draft("room 1")
		draft.State, draft.TenantID = meeting.Running, 4711 // not the caller's to say
		c, err := w.Claim(ctx, w.tenant.ID, draft)
		require.NoError(t, err)
		want := draft
		want.State, want.TenantID, want.Generation = meeting.Claimed, w.tenant.ID, 1
		want.ID, want.Seq, want.CreatedAt, want.UpdatedAt = c.ID, c.Seq, c.CreatedAt, c.UpdatedAt
		require.Empty(t, cmp.Diff(want, c))
		require.NotZero(t, c.ID)
		require.NotZero(t, c.Seq)
		require.False(t, c.CreatedAt.IsZero())

		found, err := w.Room(ctx, w.tenant.ID, "room 1")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(c, found))

		to := c
		to.State, to.InternalID, to.CreateTime = meeting.Running, "0123abc-17", 17
		to.AttendeePW, to.ModeratorPW, to.Answer, to.EndRequested = "ap2", "mp2", []byte("<response>\x00\xff</response>"), true
		// Not mutable, and nobody's business to change.
		to.Params, to.ExternalID, to.ServerID, to.Ref, to.Seats, to.Generation = "", "x", 99, "x", 99, 99
		running, err := w.Move(ctx, w.tenant.ID, c, to)
		require.NoError(t, err)
		want = c
		want.State, want.InternalID, want.CreateTime = to.State, to.InternalID, to.CreateTime
		want.AttendeePW, want.ModeratorPW, want.Answer, want.EndRequested = to.AttendeePW, to.ModeratorPW, to.Answer, true
		want.Seq, want.UpdatedAt = running.Seq, running.UpdatedAt
		require.Empty(t, cmp.Diff(want, running))
		require.Greater(t, running.Seq, c.Seq)

		for _, find := range []func() (meeting.Claim, error){
			func() (meeting.Claim, error) { return w.Room(ctx, w.tenant.ID, "room 1") },
			func() (meeting.Claim, error) { return w.ByInternalID(ctx, w.tenant.ID, "0123abc-17") },
		} {
			found, err := find()
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(running, found))
		}

		// A claim without a tenant's secret (an operator's) is stored too.
		bare := w.draft("bare")
		bare.SecretID, bare.Params, bare.AttendeePW, bare.ModeratorPW = 0, "", "", ""
		c, err = w.Claim(ctx, w.tenant.ID, bare)
		require.NoError(t, err)
		require.Zero(t, c.SecretID)
		require.Empty(t, c.Params+c.AttendeePW+c.ModeratorPW)
		require.Nil(t, c.Answer)
	})
}

// TestClaimIsUniqueWhileLive walks a claim through every state and asks for the
// room in each.
func TestClaimIsUniqueWhileLive(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		c := w.claimRoom("r")
		for _, st := range liveStates {
			if st != meeting.Claimed {
				c = w.moveTo(c, st)
			}
			_, err := w.Claim(ctx, w.tenant.ID, w.draft("r"))
			requireFault(t, err, fault.Conflict, "roomClaimed")
		}
		generation := 1
		for _, over := range []meeting.State{meeting.Ended, meeting.Released, meeting.Superseded} {
			w.moveTo(c, over)
			_, err := w.Room(ctx, w.tenant.ID, "r")
			requireFault(t, err, fault.NotFound, "claimNotFound")
			c = w.claimRoom("r")
			generation++
			require.Equal(t, generation, c.Generation)
		}
	})
}

// TestLostClaim holds that a lost claim is found, doesn't keep its room from
// being claimed elsewhere, and is what the room falls back to when that comes
// to nothing.
func TestLostClaim(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		room := func() meeting.Claim {
			c, err := w.Room(ctx, w.tenant.ID, "r")
			require.NoError(t, err)
			return c
		}
		lost := w.moveTo(w.moveTo(w.claimRoom("r"), meeting.Running), meeting.Lost)
		require.Equal(t, lost, room())
		second := w.claimRoom("r")
		require.Equal(t, 2, second.Generation)
		require.Equal(t, second, room())

		// It can't come back beside a live one.
		to := lost
		to.State = meeting.Running
		_, err := w.Move(ctx, w.tenant.ID, lost, to)
		requireFault(t, err, fault.Conflict, "roomClaimed")

		w.moveTo(second, meeting.Released)
		require.Equal(t, lost, room())
		third := w.claimRoom("r")
		require.Equal(t, 3, third.Generation)
		w.moveTo(lost, meeting.Superseded)
		require.Equal(t, third, room())
	})
}

func TestMoveConflicts(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		other, _ := w.addTenant("other")
		c := w.claimRoom("r")
		to := c
		to.State = meeting.Running
		for name, spoil := range map[string]func(from *meeting.Claim){
			"state":      func(from *meeting.Claim) { from.State = meeting.Running },
			"generation": func(from *meeting.Claim) { from.Generation++ },
			"seq":        func(from *meeting.Claim) { from.Seq-- },
		} {
			from := c
			spoil(&from)
			_, err := w.Move(ctx, w.tenant.ID, from, to)
			require.Error(t, err, name)
			requireFault(t, err, fault.Conflict, "claimMoved")
		}
		gone := c
		gone.ID = 4711
		_, err := w.Move(ctx, w.tenant.ID, gone, to)
		requireFault(t, err, fault.NotFound, "claimNotFound")
		_, err = w.Move(ctx, other.ID, c, to)
		requireFault(t, err, fault.NotFound, "claimNotFound")
		odd := to
		odd.State = "odd"
		_, err = w.Move(ctx, w.tenant.ID, c, odd)
		requireFault(t, err, fault.Invalid, "invalidState")
		found, err := w.Room(ctx, w.tenant.ID, "r")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(c, found), "none of it changed anything")

		// Of many who saw the same row, one moves it.
		const movers = 12
		errs := make([]error, movers)
		var wg sync.WaitGroup
		for i := range movers {
			wg.Go(func() { _, errs[i] = w.Move(ctx, w.tenant.ID, c, to) })
		}
		wg.Wait()
		require.Equal(t, 1, winners(t, errs, "claimMoved"))
	})
}

// winners counts the calls that succeeded; the others must be conflicts of key.
func winners(t *testing.T, errs []error, key string) int {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		requireFault(t, err, fault.Conflict, key)
	}
	return won
}

func TestOneOfManyClaims(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		const callers, rounds = 50, 3
		for round := range rounds {
			errs := make([]error, callers)
			claims := make([]meeting.Claim, callers)
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() { claims[i], errs[i] = w.Claim(ctx, w.tenant.ID, w.draft("r")) })
			}
			wg.Wait()
			require.Equal(t, 1, winners(t, errs, "roomClaimed"))
			found, err := w.Room(ctx, w.tenant.ID, "r")
			require.NoError(t, err)
			require.Equal(t, round+1, found.Generation)
			require.Contains(t, claims, found)
			w.moveTo(found, meeting.Released)
		}
	})
}

// TestClaimAndRelease claims and releases one room from many sides: generations
// are numbered without gaps, and nobody is refused without reason.
func TestClaimAndRelease(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		const callers, each = 6, 8
		var (
			wg      sync.WaitGroup
			claimed [callers]int
			failed  [callers]error
		)
		for i := range callers {
			wg.Go(func() {
				for range each {
					c, err := w.Claim(ctx, w.tenant.ID, w.draft("r"))
					if fault.Is(err, fault.Conflict) && fault.As(err).Key == "roomClaimed" {
						continue
					}
					if err == nil {
						claimed[i]++
						to := c
						to.State = meeting.Released
						_, err = w.Move(ctx, w.tenant.ID, c, to)
					}
					if err != nil {
						failed[i] = err
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for i := range callers {
			require.NoError(t, failed[i])
			total += claimed[i]
		}
		require.Positive(t, total)
		require.Equal(t, total+1, w.claimRoom("r").Generation)
	})
}

// TestTenantsDontMeet: a tenant neither sees nor changes the claims of another.
func TestTenantsDontMeet(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		other, _ := w.addTenant("other")
		mine := w.claimRoom("r")
		for range 2 {
			_, err := w.Room(ctx, other.ID, "r")
			requireFault(t, err, fault.NotFound, "claimNotFound")
		}
		theirs, err := w.Claim(ctx, other.ID, meeting.Claim{ExternalID: "r", ScopedID: "x-r", ServerID: w.server.ID})
		require.NoError(t, err)
		require.Equal(t, 1, theirs.Generation)

		to := mine
		to.State, to.InternalID = meeting.Running, "abc-1"
		mine, err = w.Move(ctx, w.tenant.ID, mine, to)
		require.NoError(t, err)
		_, err = w.ByInternalID(ctx, other.ID, "abc-1")
		requireFault(t, err, fault.NotFound, "claimNotFound")
		to.State = meeting.Ended
		_, err = w.Move(ctx, other.ID, mine, to)
		requireFault(t, err, fault.NotFound, "claimNotFound")

		found, err := w.Room(ctx, other.ID, "r")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(theirs, found))
	})
}

// TestRoomIDs holds that IDs are compared byte for byte.
func TestRoomIDs(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		ids := []string{
			"room", "Room", "ROOM", "room ", " room", "ro om", "room\t", "rööm", "ro\u0308o\u0308m", "Rööm", "straße", "strasse",
			"%", "_", "room%", "'; DROP TABLE claims; --", "?", "$1", "@name", "\\", "ﬁ", "fi", "①", "1", strings.Repeat("x", maxIDLength),
		}
		for _, id := range ids {
			w.claimRoom(id)
		}
		for _, id := range ids {
			c, err := w.Room(ctx, w.tenant.ID, id)
			require.NoError(t, err, "%q", id)
			require.Equal(t, id, c.ExternalID)
		}
		for _, id := range []string{"", "rOOM", "\x00", "room\x00", "\xff", strings.Repeat("x", maxIDLength+1), strings.Repeat("x", 1<<20)} {
			_, err := w.Room(ctx, w.tenant.ID, id)
			requireFault(t, err, fault.NotFound, "claimNotFound")
			_, err = w.ByInternalID(ctx, w.tenant.ID, id)
			requireFault(t, err, fault.NotFound, "claimNotFound")
			if id != "rOOM" {
				_, err = w.Claim(ctx, w.tenant.ID, w.draft(id))
				requireFault(t, err, fault.Invalid, "invalidID")
			}
		}
		// No internal ID yet is not one that could be asked for.
		_, err := w.ByInternalID(ctx, w.tenant.ID, "")
		requireFault(t, err, fault.NotFound, "claimNotFound")
	})
}

// TestSchemaGuards goes behind the store's back: the database itself holds the
// law.
func TestSchemaGuards(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		w.claimRoom("r")
		const insert = `INSERT INTO claims (tenant_id, external_id, generation, seq, state, server_id, scoped_id, internal_id,
			create_time, ref, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at)
			SELECT tenant_id, external_id, $1, $2, $3, server_id, scoped_id, internal_id,
			create_time, ref, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at FROM claims WHERE generation = 1`
		for i, st := range liveStates {
			_, err := w.pools.writeSQL.ExecContext(ctx, insert, 10+i, 1000+i, string(st))
			rule, ok := w.engine.unique(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, ruleLiveRoom, rule)
		}
		for i, st := range []meeting.State{meeting.Lost, meeting.Ended, meeting.Released, meeting.Superseded} {
			_, err := w.pools.writeSQL.ExecContext(ctx, insert, 20+i, 2000+i, string(st))
			require.NoError(t, err)
		}
		_, err := w.pools.writeSQL.ExecContext(ctx, insert, 20, 3000, "ended")
		rule, ok := w.engine.unique(err)
		require.True(t, ok, "%v", err)
		require.Equal(t, ruleGeneration, rule)

		for _, statement := range []string{
			strings.Replace(insert, "$3", "'odd'", 1),
			"UPDATE tenants SET state = 'odd'",
			"UPDATE servers SET admin_state = 'odd'",
			"UPDATE servers SET algorithm = 'md5'",
			"UPDATE claims SET server_id = 4711",
			"UPDATE claims SET tenant_id = 4711",
			"UPDATE claims SET external_id = ''",
			"UPDATE claims SET secret_id = 4711",
			"INSERT INTO scope_keys (scope_key, created_at) VALUES ('abcd', 1)",
			"INSERT INTO scope_keys (scope_key, created_at) VALUES ('g-cd', 1)",
			"DELETE FROM tenants",
		} {
			args := []any{50, 5000}
			if !strings.Contains(statement, "$1") {
				args = nil
			}
			_, err := w.pools.writeSQL.ExecContext(ctx, statement, args...)
			require.Error(t, err, statement)
			_, ok := w.engine.unique(err)
			require.False(t, ok, "%s: %v", statement, err)
		}
	})
}
