package meeting

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// known is what a replica has in memory of a room.
func (w *world) known(externalID string) (State, bool) {
	e, ok := w.r.routes.find(acmeID, externalID)
	return e.State, ok
}

func (w *world) requireKnown(externalID string, state State) {
	w.t.Helper()
	got, _ := w.known(externalID)
	require.Equal(w.t, state, got, externalID)
}

func TestFeedBringsOthersChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		early := a.mustCreate("early")
		b := a.replica()
		require.False(t, b.r.Loaded())
		require.False(t, b.r.Known())
		b.tail() // loads
		require.True(t, b.r.Known())
		b.requireKnown("early", Running)

		a.mustCreate("late")
		b.requireKnown("late", "")
		b.tail()
		b.requireKnown("late", Running)

		require.NoError(t, a.r.End(t.Context(), acmeID, "early"))
		a.poll(1)
		b.requireKnown("early", Running)
		b.tail()
		b.requireKnown("early", "")
		require.Empty(t, b.r.Owners("early", 8))
		require.Equal(t, []int64{acmeID}, b.r.Owners("late", 8))
		require.Len(t, b.r.OnServer(1), 1)

		// An old reading of the row brings nothing back.
		b.r.routes.apply(early, b.r.now())
		b.requireKnown("early", "")
	})
}

// TestFeedSeesLateCommits lets changes become visible in another order than
// their sequence numbers were given out.
func TestFeedSeesLateCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		b := a.replica()
		b.tail()
		slow := a.mustCreate("slow")
		a.store.hide(slow.ID, true) // given out, not committed
		a.mustCreate("quick")
		b.tail()
		b.requireKnown("quick", Running)
		b.requireKnown("slow", "")
		for range 8 { // b goes on tailing while the commit takes its time
			time.Sleep(time.Second)
			b.tail()
		}
		a.store.hide(slow.ID, false)
		b.tail()
		b.requireKnown("slow", Running)
	})
}

// TestFeedSeesLateCommitsAfterLoad is the same across the first load.
func TestFeedSeesLateCommitsAfterLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		slow := a.mustCreate("slow")
		a.mustCreate("quick")
		a.store.hide(slow.ID, true)
		b := a.replica()
		b.tail()
		b.requireKnown("slow", "")
		a.store.hide(slow.ID, false)
		b.tail()
		b.requireKnown("slow", Running)
	})
}

// TestFeedKeepsItsPlace holds that what a replica concludes by itself (SQL has no
// such claim any more) does not move the place from which it tails: the next
// change of all, given out much later, must be seen.
func TestFeedKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		b := a.replica()
		b.tail()
		other, c := a.mustCreate("other"), a.mustCreate("r")
		b.tail()
		ending, err := a.r.move(t.Context(), c, with(c, Ended))
		require.NoError(t, err)
		a.forget(1, c.ScopedID)
		_, err = b.info("r") // finds out before the feed does
		requireFault(t, err, fault.NotFound, "notFound")
		b.requireKnown("r", "")
		b.r.routes.apply(c, b.r.now())
		b.requireKnown("r", "") // an old reading of the row brings nothing back
		for range 30 {          // nothing happens for longer than any overlap
			time.Sleep(time.Second)
			b.tail()
		}
		next, err := a.r.move(t.Context(), other, with(other, Lost))
		require.NoError(t, err)
		require.Equal(t, ending.Seq+1, next.Seq)
		b.tail()
		b.requireKnown("other", Lost)
		require.EqualValues(t, next.Seq, b.r.routes.highest())
	})
}

// TestFeedForgetsFinalClaims holds that memory is bounded by what is live.
func TestFeedForgetsFinalClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for _, id := range []string{"a", "b", "c"} {
			c := w.mustCreate(id)
			w.r.to(t.Context(), c, Ended, "test")
		}
		require.Len(t, w.r.routes.final, 3)
		for range 30 {
			time.Sleep(time.Second)
			w.tail()
		}
		require.Empty(t, w.r.routes.final)
		require.Empty(t, w.r.routes.byID)
		require.Empty(t, w.r.routes.byExtID)
		require.Empty(t, w.r.routes.byTenant)
		require.Empty(t, w.r.routes.byServer)
		require.LessOrEqual(t, len(w.r.feed.marks), 12)
	})
}

// TestFeedStates holds when memory is believed.
func TestFeedStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		c := a.mustCreate("r")
		b := a.replica()
		b.tail()
		reads := 0
		a.store.mu.Lock()
		a.store.before = func(method string, _ State) error {
			if method == "Room" {
				reads++
			}
			return nil
		}
		a.store.mu.Unlock()
		_, err := b.r.find(t.Context(), acmeID, "r")
		require.NoError(t, err)
		require.Zero(t, reads, "the feed was confirmed a moment ago")

		time.Sleep(3 * time.Second)
		require.False(t, b.r.Known())
		_, err = b.r.find(t.Context(), acmeID, "r")
		require.NoError(t, err)
		require.Equal(t, 1, reads, "too long ago: SQL is asked")

		a.store.away(allAway)
		got, err := b.r.find(t.Context(), acmeID, "r")
		require.NoError(t, err)
		require.Equal(t, c.ID, got.ID, "SQL does not answer: what is known must do")
		_, err = b.r.find(t.Context(), acmeID, "other")
		require.True(t, fault.Is(err, fault.Unavailable), err)
		require.Error(t, b.r.Tail(t.Context()))
		require.False(t, b.r.Known())
		got, err = b.r.find(t.Context(), acmeID, "r")
		require.NoError(t, err)
		require.Equal(t, c.ID, got.ID)
		_, err = b.r.find(t.Context(), globexID, "r")
		require.True(t, fault.Is(err, fault.Unavailable), "another tenant's room is not known")

		a.store.away(nil)
		b.tail()
		require.True(t, b.r.Known())
	})
}

// with is a claim in another state.
func with(c Claim, s State) Claim {
	c.State = s
	return c
}

// TestNewGenerationEndsTheOld lets a replica hear of a room's next meeting before
// it hears that the last one ended: what it knew of that one is over.
func TestNewGenerationEndsTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		b := a.replica()
		b.tail()
		old := a.mustCreate("r")
		b.tail()
		require.NoError(t, a.r.End(t.Context(), acmeID, "r"))
		next := a.mustCreate("r")
		require.NotEqual(t, old.InternalID, next.InternalID)
		got, err := b.info("r")
		require.NoError(t, err)
		require.Equal(t, next.InternalID, got.Text("internalMeetingID"))
		_, err = b.info(old.InternalID)
		require.ErrorIs(t, err, ErrNotFound)
		_, _, err = b.r.Join(t.Context(), acme, bbb.Call{Name: "join"}.With("meetingID", old.InternalID).With("fullName", "Ada"))
		require.ErrorIs(t, err, errNoMeeting)
		require.Len(t, b.r.OnServer(1), 1, "its load counts once")
		c := a.replica() // which hears of them in the other order
		c.r.routes.apply(next, c.r.now())
		c.r.routes.apply(old, c.r.now())
		require.Len(t, c.r.OnServer(1), 1)
		b.tail()
		require.Len(t, b.r.OnServer(1), 1)
	})
}

// TestListThatIsHungUpOn holds that a client which goes away says nothing of the
// store: what is known must not be taken for all that can be known.
func TestListThatIsHungUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		w.store.away(func(string, State) bool {
			cancel()
			return false
		})
		_, _ = w.r.List(ctx, acmeID)
		require.NotEqual(t, feedDown, w.r.feed.state(w.r.now(), w.r.limits.FeedStale))
	})
}
