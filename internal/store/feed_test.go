package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/store/pgtest"
)

func TestLiveAndChanges(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		none, seq, err := w.Live(ctx)
		require.NoError(t, err)
		require.Empty(t, none)
		require.Zero(t, seq)
		changes, err := w.Changes(ctx, 0, nil)
		require.NoError(t, err)
		require.Empty(t, changes)

		claimed := w.claimRoom("claimed")
		running := w.moveTo(w.claimRoom("running"), meeting.Running)
		lost := w.moveTo(w.moveTo(w.claimRoom("lost"), meeting.Running), meeting.Lost)
		ended := w.moveTo(w.moveTo(w.claimRoom("ended"), meeting.Running), meeting.Ended)
		other, _ := w.addTenant("other")
		theirs, err := w.Claim(ctx, other.ID, meeting.Claim{ExternalID: "running", ScopedID: "x", ServerID: w.server.ID})
		require.NoError(t, err)

		live, seq, err := w.Live(ctx)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]meeting.Claim{claimed, running, lost, theirs}, live))
		require.Equal(t, theirs.Seq, seq)

		changes, err = w.Changes(ctx, 0, nil)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]meeting.Claim{claimed, running, lost, ended, theirs}, changes))
		changes, err = w.Changes(ctx, running.Seq, nil)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]meeting.Claim{lost, ended, theirs}, changes))

		known := map[[2]int64]bool{{claimed.ID, claimed.Seq}: true, {running.ID, running.Seq}: true, {ended.ID, ended.Seq}: true}
		isKnown := func(id, seq int64) bool { return known[[2]int64{id, seq}] }
		changes, err = w.Changes(ctx, 0, isKnown)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]meeting.Claim{lost, theirs}, changes))
		known[[2]int64{lost.ID, lost.Seq}], known[[2]int64{theirs.ID, theirs.Seq}] = true, true
		changes, err = w.Changes(ctx, 0, isKnown)
		require.NoError(t, err)
		require.Empty(t, changes)

		// A known claim that changes again is news.
		claimed = w.moveTo(claimed, meeting.Released)
		changes, err = w.Changes(ctx, 0, isKnown)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]meeting.Claim{claimed}, changes))

		// A failed attempt is none.
		_, err = w.Claim(ctx, w.tenant.ID, w.draft("running"))
		requireFault(t, err, fault.Conflict, "roomClaimed")
		changes, err = w.Changes(ctx, claimed.Seq, nil)
		require.NoError(t, err)
		require.Empty(t, changes)
	})
}

// TestLivePages reads more claims than one statement does.
func TestLivePages(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		one := w.claimRoom("r")
		copies := livePage
		if w.Dialect() == "postgres" {
			copies = 2*livePage - 1 // the last page is full
		}
		_, err := w.pools.writeSQL.ExecContext(ctx, `INSERT INTO claims (tenant_id, external_id, generation, seq, state, server_id,
			scoped_id, internal_id, create_time, ref, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
			SELECT tenant_id, external_id || i, 1, seq + i, 'running', server_id, scoped_id, internal_id, create_time, ref, seats,
			end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at FROM claims, n`, copies)
		require.NoError(t, err)
		live, seq, err := w.Live(ctx)
		require.NoError(t, err)
		require.Len(t, live, copies+1)
		require.Equal(t, one.Seq, seq, "the copies did not take numbers")
		ids := map[int64]bool{}
		for _, c := range live {
			ids[c.ID] = true
		}
		require.Len(t, ids, copies+1)
	})
}

// TestFeedUnderWriters tails the feed as a replica does, with a floor well
// below its newest number, while many write, and must end with exactly what is
// in the database.
func TestFeedUnderWriters(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		const writers, rooms = 8, 12
		var (
			wg   sync.WaitGroup
			errs [writers]error
			done = make(chan struct{})
		)
		for i := range writers {
			wg.Go(func() { errs[i] = w.busy(ctx, fmt.Sprintf("w%d-", i), rooms) })
		}
		go func() { wg.Wait(); close(done) }()

		// Each writer has at most one transaction open, so a number that is not
		// committed yet is at most so far behind that all others wrote all they
		// had to: the overlap of this test.
		const overlap = writers * rooms * 4
		seen := map[int64]meeting.Claim{}
		newest := int64(0)
		tail := func() {
			changes, err := w.Changes(ctx, newest-overlap, func(id, seq int64) bool { return seen[id].Seq >= seq })
			require.NoError(t, err)
			last := int64(0)
			for _, c := range changes {
				require.Greater(t, c.Seq, last, "in order")
				last = c.Seq
				require.Greater(t, c.Seq, seen[c.ID].Seq)
				seen[c.ID] = c
				newest = max(newest, c.Seq)
			}
		}
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			tail()
		}
		for _, err := range errs {
			require.NoError(t, err)
		}
		all, err := w.Changes(ctx, 0, nil)
		require.NoError(t, err)
		require.Len(t, all, writers*rooms)
		for _, c := range all {
			require.Empty(t, cmp.Diff(c, seen[c.ID]))
		}
		_, given, err := w.Live(ctx)
		require.NoError(t, err)
		require.Equal(t, newest, given)
	})
}

// TestLiveWhileWriting holds that what Live returned, brought up to date with
// the changes above its number, is what is in the database. Only on SQLite is
// that so without an overlap.
func TestLiveWhileWriting(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t, "sqlite:"+filepath.Join(t.TempDir(), "bluegate.db")), t.Context()
	const writers, rooms = 4, 40
	var (
		wg   sync.WaitGroup
		errs [writers]error
		done = make(chan struct{})
	)
	for i := range writers {
		wg.Go(func() { errs[i] = w.busy(ctx, fmt.Sprintf("w%d-", i), rooms) })
	}
	go func() { wg.Wait(); close(done) }()
	type start struct {
		live []meeting.Claim
		seq  int64
	}
	var starts []start
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		live, seq, err := w.Live(ctx)
		require.NoError(t, err)
		starts = append(starts, start{live, seq})
	}
	for _, err := range errs {
		require.NoError(t, err)
	}
	all, err := w.Changes(ctx, 0, nil)
	require.NoError(t, err)
	final := map[int64]int64{}
	for _, c := range all {
		final[c.ID] = c.Seq
	}
	for _, s := range starts {
		seen := map[int64]int64{}
		for _, c := range s.live {
			seen[c.ID] = c.Seq
		}
		for _, c := range all {
			if c.Seq > s.seq {
				seen[c.ID] = c.Seq
			}
		}
		for id, seq := range seen {
			require.Equal(t, final[id], seq, "claim %d, live read at %d of %d", id, s.seq, len(starts))
		}
		for id, seq := range final {
			require.True(t, seq <= s.seq || seen[id] == seq, "claim %d at %d was never seen after a start at %d", id, seq, s.seq)
		}
	}
}

// busy claims rooms and moves each twice.
func (w *world) busy(ctx context.Context, prefix string, rooms int) error {
	for _, id := range numbered(prefix, rooms) {
		c, err := w.Claim(ctx, w.tenant.ID, w.draft(id))
		if err != nil {
			return err
		}
		for _, st := range []meeting.State{meeting.Running, meeting.Ended} {
			to := c
			to.State = st
			if c, err = w.Move(ctx, w.tenant.ID, c, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestLateCommit is why readers need the overlap on PostgreSQL: a lower number
// appears after a higher one, and a reader that starts below it finds it. (SQLite has
// one writer at a time: nothing can be late.)
func TestLateCommit(t *testing.T) {
	w, ctx := newWorld(t, pgtest.URL(t)), t.Context()
	late := w.claimRoom("late")
	tx, err := w.pools.writeSQL.BeginTx(ctx, nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	var seq int64
	require.NoError(t, tx.QueryRowContext(ctx,
		"UPDATE claims SET state = 'running', seq = nextval('claim_seq') WHERE id = $1 RETURNING seq", late.ID).Scan(&seq))
	early := w.claimRoom("early")
	require.Greater(t, early.Seq, seq)

	live, given, err := w.Live(ctx)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]meeting.Claim{late, early}, live), "as they were before the late change")
	require.Equal(t, early.Seq, given)

	require.NoError(t, tx.Commit())
	isKnown := func(id, seq int64) bool {
		return (id == early.ID && seq == early.Seq) || (id == late.ID && seq == late.Seq)
	}
	changes, err := w.Changes(ctx, late.Seq, isKnown)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, late.ID, changes[0].ID)
	require.Equal(t, seq, changes[0].Seq)
}
