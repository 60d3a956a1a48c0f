package meeting

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/pool"
)

// The times after which things are given up, with the defaults.
const (
	settles   = 38*time.Second + time.Millisecond // create time-out + unknown settles
	lostAfter = 10*time.Minute + time.Millisecond
)

// TestReconcileTable holds what a poll makes of a claim in every state: its
// meeting found, or missing and judged at once or after a time, or not judged
// because the claim became known after the poll was sent, or the poll failed.
func TestReconcileTable(t *testing.T) {
	type row struct {
		state                           State
		found, missing, missingLate     State
		unjudged, failed, failedForLong State
		ends                            int // end calls when found
	}
	for _, c := range []row{
		{Claimed, Running, Claimed, Unknown, Claimed, Claimed, Unknown, 0},
		{Unknown, Running, Unknown, Released, Unknown, Unknown, Released, 0},
		{Running, Running, Ended, Ended, Running, Running, Lost, 0},
		{Ending, Ending, Ended, Ended, Ending, Ending, Lost, 1},
		{Lost, Running, Lost, Ended, Lost, Lost, Ended, 0},
		{Ended, Ended, Ended, Ended, Ended, Ended, Ended, 0},
		{Released, Released, Released, Released, Released, Released, Released, 0},
		{Superseded, Superseded, Superseded, Superseded, Superseded, Superseded, Superseded, 0},
	} {
		run := func(what string, want State, do func(w *world, c Claim)) {
			t.Run(string(c.state)+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					claim := w.placed(t, "r", c.state)
					do(w, claim)
					require.Equal(t, want, w.claim("r").State)
				})
			})
		}
		exists := func(w *world, c Claim) {
			w.on(1, func(v *fakeServer) {
				m := w.start(v, bbb.Call{Name: "create", Query: c.Params})
				if c.InternalID != "" {
					m.life.InternalID, m.life.CreateTime = c.InternalID, c.CreateTime
				}
				v.meetings[c.ScopedID] = m
			})
		}
		run("found", c.found, func(w *world, claim Claim) {
			exists(w, claim)
			w.poll(1)
			require.Equal(t, c.ends, w.count("end"))
		})
		run("missing", c.missing, func(w *world, _ Claim) { w.poll(1) })
		run("missing for long", c.missingLate, func(w *world, _ Claim) {
			time.Sleep(lostAfter)
			w.poll(1)
		})
		run("not judged", c.unjudged, func(w *world, claim Claim) {
			w.r.Reconcile(w.t.Context(), w.look(1, w.r.Moment()-1))
			require.Zero(t, w.count("end"))
		})
		run("poll failed", c.failed, func(w *world, _ Claim) {
			time.Sleep(lostAfter)
			w.r.Reconcile(w.t.Context(), pool.Poll{ServerID: 1, Err: errAway})
		})
		run("server just down", c.failed, func(w *world, _ Claim) {
			time.Sleep(lostAfter)
			w.on(1, func(v *fakeServer) { v.down = time.Now() })
			w.poll(1)
		})
		run("server down for long", c.failedForLong, func(w *world, _ Claim) {
			w.on(1, func(v *fakeServer) { v.down = time.Now() })
			time.Sleep(lostAfter)
			w.poll(1)
		})
	}
}

// TestUnknownSettlesByALateLook holds the moment from which a missing meeting
// may be given up: a look that began long enough after the last create was sent.
func TestUnknownSettlesByALateLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errHangs) })
		_, err := w.create("r")
		require.ErrorIs(t, err, errUnsettled)
		require.Equal(t, Unknown, w.claim("r").State)
		time.Sleep(settles - 2*time.Millisecond)
		w.poll(1)
		require.Equal(t, Unknown, w.claim("r").State)

		// The tenant repeats: the wait for that create begins anew.
		_, err = w.create("r")
		require.ErrorIs(t, err, errUnsettled)
		early := w.look(1, w.r.Moment())
		time.Sleep(settles)
		w.r.Reconcile(t.Context(), early)
		require.Equal(t, Unknown, w.claim("r").State, "that look began too early")
		w.poll(1)
		require.Equal(t, Released, w.claim("r").State)
		require.Zero(t, w.homes(Scope(acme.ScopeKey, "r")))
		_, err = w.info("r")
		require.ErrorIs(t, err, ErrNotFound)

		w.on(1, func(v *fakeServer) { v.answer = nil })
		c := w.mustCreate("r")
		require.Equal(t, 2, c.Generation)
		require.Len(t, w.homes(c.ScopedID), 1)
	})
}

// TestRepeatInFlightIsNotReleased lets another replica look at the server while a
// repeated create is on its way to it: the claim must stay, or the room would be
// placed twice.
func TestRepeatInFlightIsNotReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 2)
		b := a.replica()
		b.tail()
		a.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errHangs) })
		_, err := a.create("r")
		require.ErrorIs(t, err, errUnsettled)
		b.tail()
		time.Sleep(settles)
		a.on(1, func(v *fakeServer) {
			v.answer = func(name string) (bbb.Response, error, bool) {
				if name == "create" {
					b.tail()
					b.poll(1) // the server lists what it has finished making
					a.tail()
					a.poll(1)
				}
				return bbb.Response{}, nil, false
			}
		})
		answer, err := a.create("r")
		require.NoError(t, err)
		require.True(t, answer.Success())
		require.Equal(t, []State{Running}, a.store.states("r"))
		require.Equal(t, []int64{1}, a.homes(Scope(acme.ScopeKey, "r")))
	})
}

func TestVanishedMeetings(t *testing.T) {
	type sight struct {
		restart bool
		forget  []string // meetings that vanish one by one
		people  map[string]int
		fresh   []string // created after the last poll, and after what happened
		want    map[string]State
	}
	for name, c := range map[string]sight{
		"one of two ends":          {forget: []string{"a"}, people: map[string]int{"a": 3}, want: map[string]State{"a": Ended, "b": Running}},
		"both end, empty":          {forget: []string{"a", "b"}, want: map[string]State{"a": Ended, "b": Ended}},
		"restart with people":      {restart: true, people: map[string]int{"b": 1}, want: map[string]State{"a": Lost, "b": Lost}},
		"restart, all empty":       {restart: true, want: map[string]State{"a": Ended, "b": Ended}},
		"restart, and a new class": {restart: true, people: map[string]int{"b": 1}, fresh: []string{"n"}, want: map[string]State{"a": Lost, "b": Lost, "n": Running}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				for _, id := range []string{"a", "b"} {
					w.mustCreate(id)
				}
				for id, n := range c.people {
					w.enter(1, Scope(acme.ScopeKey, id), n)
				}
				w.poll(1)
				if c.restart {
					w.restart(1)
				}
				for _, id := range c.forget {
					w.forget(1, Scope(acme.ScopeKey, id))
				}
				for _, id := range c.fresh {
					w.mustCreate(id)
				}
				w.poll(1)
				for id, want := range c.want {
					require.Equal(t, want, w.claim(id).State, id)
				}
				require.Zero(t, w.count("end"))
			})
		})
	}
}

// TestFirstPollAfterAStart judges what ended while this replica was away.
func TestFirstPollAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		for _, id := range []string{"a", "b", "c"} {
			c := a.mustCreate(id)
			a.enter(1, c.ScopedID, 2)
		}
		a.poll(1)
		a.forget(1, Scope(acme.ScopeKey, "a"))
		a.forget(1, Scope(acme.ScopeKey, "b"))
		b := a.replica()
		b.tail()
		b.poll(1)
		require.Equal(t, Ended, b.claim("a").State, "the server kept c: it has not lost its memory")
		require.Equal(t, Ended, b.claim("b").State)
		require.Equal(t, Running, b.claim("c").State)

		// Gone all together, with people nobody can tell of: they may have been there.
		a.mustCreate("d")
		a.restart(1)
		d := a.replica()
		d.tail()
		d.poll(1)
		require.Equal(t, Lost, d.claim("c").State)
		require.Equal(t, Lost, d.claim("d").State)
	})
}

// TestServerDown holds how long the rooms of a server wait for it.
func TestServerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		full, empty := w.mustCreate("full"), w.mustCreate("empty")
		ending := w.mustCreate("ending")
		w.enter(1, full.ScopedID, 5)
		w.poll(1)
		_, err := w.r.move(t.Context(), ending, with(ending, Ending))
		require.NoError(t, err)
		w.on(1, func(v *fakeServer) { v.down = time.Now() })

		time.Sleep(90*time.Second - time.Millisecond)
		w.poll(1)
		require.Equal(t, Running, w.claim("empty").State)
		time.Sleep(time.Millisecond)
		w.poll(1)
		require.Equal(t, Lost, w.claim("empty").State, "an empty room moves soon")
		require.Equal(t, Lost, w.claim("ending").State, "one that was to end does not keep its room")
		_, err = w.info("ending")
		require.ErrorIs(t, err, ErrNotFound, "for the tenant it is over")
		_, err = w.create("empty")
		require.NoError(t, err)
		require.Equal(t, []State{Superseded, Running}, w.store.states("empty"))
		require.Equal(t, []int64{1, 2}, w.homes(empty.ScopedID))
		require.Equal(t, Running, w.claim("full").State)
		a, err := w.info("full")
		require.NoError(t, err)
		require.EqualValues(t, 5, a.Int("participantCount"))

		time.Sleep(lostAfter)
		w.poll(1)
		require.Equal(t, Lost, w.claim("full").State)
		a, err = w.info("full")
		require.NoError(t, err)
		require.True(t, a.Success())

		// Joins and creates open them elsewhere, with what the meeting was made of.
		c, err := w.join("full")
		require.NoError(t, err)
		require.EqualValues(t, 2, c.ServerID)
		require.Equal(t, full.ModeratorPW, c.ModeratorPW)
		require.Equal(t, full.AttendeePW, c.AttendeePW)
		require.Equal(t, []State{Superseded, Running}, w.store.states("full"))
		// The old server returns with the old copies, people in one. They are
		// nobody's to end; the rooms stay where they are now.
		w.on(1, func(v *fakeServer) { v.down = time.Time{} })
		w.poll(1)
		w.poll(2)
		require.Equal(t, []State{Superseded, Running}, w.store.states("full"))
		require.Equal(t, 1, w.count("end"), "but the one that the tenant ended")
		require.Equal(t, []int64{1, 2}, w.homes(full.ScopedID))
	})
}

// TestEndOfALostMeeting: a tenant's end is carried out when the server comes back,
// also after the room has been opened again elsewhere.
func TestEndOfALostMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		old := w.mustCreate("r")
		w.poll(1)
		w.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(2 * time.Minute)
		w.poll(1)
		require.Equal(t, Lost, w.claim("r").State)

		require.NoError(t, w.r.End(t.Context(), old.TenantID, "r"))
		require.ErrorIs(t, w.r.End(t.Context(), old.TenantID, "r"), ErrNotFound)
		_, err := w.info("r")
		require.ErrorIs(t, err, ErrNotFound)
		_, err = w.info(old.InternalID)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = w.join("r")
		require.ErrorIs(t, err, errNoMeeting, "what was ended does not heal")
		read, err := w.r.IsRunning(t.Context(), old.TenantID, "r")
		require.NoError(t, err)
		require.Equal(t, bbb.IsRunning(false), read.Answer)
		read, err = w.r.List(t.Context(), old.TenantID)
		require.NoError(t, err)
		require.Equal(t, bbb.NoMeetings(), read.Answer)

		next := w.mustCreate("r")
		require.NotEqual(t, old.InternalID, next.InternalID)
		w.poll(1)
		require.Equal(t, []State{Lost, Running}, w.store.states("r"))

		w.on(1, func(v *fakeServer) { v.down = time.Time{} })
		require.Zero(t, w.count("end"))
		w.poll(1)
		require.Equal(t, 1, w.count("end"))
		w.poll(1)
		require.Equal(t, []State{Ended, Running}, w.store.states("r"))
		require.Equal(t, []int64{next.ServerID}, w.homes(old.ScopedID))
		a, err := w.info("r")
		require.NoError(t, err)
		require.Equal(t, next.InternalID, a.Text("internalMeetingID"))
	})
}

// TestEndOfALostMeetingIsForgotten: a server that never comes back keeps nothing
// for ever.
func TestEndOfALostMeetingIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		c := w.mustCreate("r")
		w.poll(1)
		w.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(2 * time.Minute)
		w.poll(1)
		require.NoError(t, w.r.End(t.Context(), c.TenantID, "r"))
		time.Sleep(keepEnd - time.Minute)
		w.poll(1)
		require.Equal(t, []State{Lost}, w.store.states("r"))
		time.Sleep(2 * time.Minute)
		w.poll(1)
		require.Equal(t, []State{Ended}, w.store.states("r"))
	})
}

// TestServerBackWithItsMeetings is the other way round: nobody asked for the room
// meanwhile.
func TestServerBackWithItsMeetings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		c := w.mustCreate("r")
		w.poll(1)
		w.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(2 * time.Minute)
		w.poll(1)
		require.Equal(t, Lost, w.claim("r").State)
		w.on(1, func(v *fakeServer) { v.down = time.Time{} })
		w.poll(1)
		require.Equal(t, []State{Running}, w.store.states("r"))
		got, err := w.join("r")
		require.NoError(t, err)
		require.Equal(t, c.ServerID, got.ServerID)
	})
}

// TestOneReplicaCutOff holds that a replica that can't reach a server does not
// give up meetings which another replica makes there.
func TestOneReplicaCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		b := a.replica()
		b.tail()
		a.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(5 * time.Minute) // down, as b sees it
		a.on(1, func(v *fakeServer) { v.down = time.Time{} })
		a.mustCreate("r")
		a.poll(1)
		b.tail()
		a.on(1, func(v *fakeServer) { v.down = time.Now().Add(-5 * time.Minute) })
		b.poll(1)
		require.Equal(t, Running, b.claim("r").State, "it became that while b saw the server down")
		time.Sleep(91 * time.Second)
		b.poll(1)
		require.Equal(t, Lost, b.claim("r").State)
	})
}

// TestSupersedingIsMadeUpFor lets a room heal while the old claim can't be
// written off. It must not come back when the new meeting ends.
func TestSupersedingIsMadeUpFor(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("away ", away), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.mustCreate("r")
				w.poll(1)
				w.on(1, func(v *fakeServer) { v.down = time.Now() })
				time.Sleep(2 * time.Minute)
				w.poll(1)
				w.store.away(func(method string, to State) bool { return method == "Move" && to == Superseded })
				_, err := w.join("r")
				require.NoError(t, err)
				require.Equal(t, []State{Lost, Running}, w.store.states("r"))
				list, err := w.r.List(t.Context(), acmeID)
				require.NoError(t, err)
				meetings, err := bbb.ParseMeetings(list.Answer)
				require.NoError(t, err)
				require.Len(t, meetings, 1, "the room is listed once")
				w.store.away(nil)
				if !away {
					w.on(1, func(v *fakeServer) { v.down = time.Time{} }) // back with the old copy
				}
				w.poll(1)
				require.Equal(t, []State{Superseded, Running}, w.store.states("r"))
			})
		})
	}
}

// TestAdopted holds what is known of a meeting whose create answer nobody read.
func TestAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 2)
		a.store.away(func(method string, to State) bool { return method == "Move" && to == Running })
		first, err := a.create("r")
		require.NoError(t, err)
		// That replica is gone; another one starts.
		a.store.away(nil)
		b := a.replica()
		b.tail()
		require.Equal(t, Claimed, b.claim("r").State)
		b.poll(1)
		c := b.claim("r")
		require.Equal(t, Running, c.State)
		require.Equal(t, first.Text("internalMeetingID"), c.InternalID)
		require.Equal(t, first.Int("createTime"), c.CreateTime)
		require.EqualValues(t, 1, b.metric("bluegate_meetings_adopted_total"))
		second, err := b.create("r")
		require.NoError(t, err)
		require.Equal(t, "duplicateWarning", second.Key())
		for _, name := range []string{"internalMeetingID", "attendeePW", "moderatorPW", "createTime", "voiceBridge", "dialNumber", "meetingID"} {
			require.Equal(t, first.Text(name), second.Text(name), name)
		}
		require.Equal(t, 1, b.count("create"))
	})
}

// TestServerNeverSeen lets a replica start while it can't reach a server: for all
// it knows there are people in the meetings there.
func TestServerNeverSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 1)
		c := a.mustCreate("r")
		a.enter(1, c.ScopedID, 30)
		a.on(1, func(v *fakeServer) { v.down, v.snapshot = time.Now(), nil })
		b := a.replica()
		b.tail()
		time.Sleep(5 * time.Minute)
		b.poll(1)
		require.Equal(t, Running, b.claim("r").State)
		time.Sleep(lostAfter)
		b.poll(1)
		require.Equal(t, Lost, b.claim("r").State)
	})
}

// TestPollsGoOnWhileTheStoreHangs lets a server lose many meetings while the
// database does not answer: what can't be written down must not keep the server
// from being polled.
func TestPollsGoOnWhileTheStoreHangs(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			rooms := strings.Split(strings.Repeat("r", 50), "")
			for i := range rooms {
				rooms[i] += strings.Repeat("x", i)
				w.mustCreate(rooms[i])
			}
			w.poll(1)
			w.store.away(func(string, State) bool {
				time.Sleep(2 * time.Second) // as long as an operation may take
				return true
			})
			require.Error(t, w.r.Tail(t.Context()))
			if down {
				w.on(1, func(v *fakeServer) { v.down = time.Now() })
				time.Sleep(lostAfter)
			} else {
				w.restart(1)
			}
			began := time.Now()
			w.poll(1)
			require.Less(t, time.Since(began), 5*time.Second)

			w.store.away(nil)
			w.tail()
			w.poll(1)
			for _, id := range rooms {
				require.NotEqual(t, Running, w.claim(id).State)
			}
		})
	}
}
