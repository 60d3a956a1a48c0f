package meeting

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

func TestCreateIsClaimedBeforeItIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.on(1, func(v *fakeServer) {
			v.answer = func(name string) (bbb.Response, error, bool) {
				if name == "create" {
					c := w.claim("r")
					require.Equal(t, Claimed, c.State)
					require.Contains(t, c.Params, "meetingID=kacme-r")
					require.Contains(t, c.Params, "moderatorPW="+c.ModeratorPW)
					a, err := w.info("r") // law 4, while it is being made
					require.NoError(t, err)
					require.Equal(t, "A class", a.Text("meetingName"))
				}
				return bbb.Response{}, nil, false
			}
		})
		c := w.mustCreate("r")
		require.Equal(t, Running, c.State)
		require.NotEmpty(t, c.InternalID)
		require.Equal(t, int64(7), c.SecretID)
	})
}

// TestCreateOutcomes holds what each answer of a server means.
func TestCreateOutcomes(t *testing.T) {
	odd := func(body string) func(string) (bbb.Response, error, bool) {
		return func(name string) (bbb.Response, error, bool) {
			r := bbb.Response{Status: 200, Body: []byte(body)}
			if a, err := bbb.ParseAnswer(r.Body); err == nil {
				r.Answer = &a
			}
			return r, nil, name == "create"
		}
	}
	for name, c := range map[string]struct {
		answer  func(string) (bbb.Response, error, bool)
		states  []State // of the room's claims afterwards
		err     *fault.Error
		creates int
	}{
		"refuses connections":       {failsOnly("create", errRefuses), []State{Released, Running}, nil, 2},
		"hangs":                     {failsOnly("create", errHangs), []State{Unknown}, errUnsettled, 1},
		"server fault":              {says("create", "internalError"), []State{Released, Running}, nil, 2},
		"tenant fault":              {says("create", "sizeError"), []State{Released}, fault.New(fault.Invalid, "sizeError", ""), 1},
		"old copy, other passwords": {says("create", "idNotUnique"), []State{Released, Running}, nil, 2},
		"500":                       {func(name string) (bbb.Response, error, bool) { return bbb.Response{Status: 500}, nil, name == "create" }, []State{Unknown}, errUnsettled, 1},
		"no XML":                    {odd("hello"), []State{Unknown}, errUnsettled, 1},
		"SUCCESS of nothing":        {odd("<response><returncode>SUCCESS</returncode></response>"), []State{Unknown}, errUnsettled, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.on(1, func(v *fakeServer) { v.answer = c.answer })
				_, err := w.create("r")
				if c.err == nil {
					require.NoError(t, err)
					require.Equal(t, []int64{2}, w.homes("kacme-r"))
				} else {
					requireFault(t, err, c.err.Kind, c.err.Key)
				}
				require.Equal(t, c.states, w.store.states("r"))
				require.Equal(t, c.creates, w.count("create"))
			})
		})
	}
}

func TestCreateTriesThreeServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		for id := range int64(5) {
			w.on(id+1, func(v *fakeServer) { v.answer = fails(errRefuses) })
		}
		_, err := w.create("r")
		requireFault(t, err, fault.Unavailable, "noServerAvailable")
		require.Equal(t, 3, w.count("create"))
		require.Equal(t, []State{Released, Released, Released}, w.store.states("r"))
		require.EqualValues(t, 3, w.metric("bluegate_placement_failures_total"))

		none := newWorld(t, 0)
		_, err = none.create("r")
		requireFault(t, err, fault.Denied, "noServerAvailable")
	})
}

// TestCreateOnUnknown repeats a create whose outcome is not known: to the same
// server, whatever else is free.
func TestCreateOnUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errHangs) })
		_, err := w.create("r", "moderatorPW", "mine")
		require.ErrorIs(t, err, errUnsettled)
		w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errRefuses) })
		_, err = w.create("r")
		require.ErrorIs(t, err, errUnsettled, "it may still hold what it was asked first")
		_, err = w.create("r", "moderatorPW", "other")
		require.ErrorIs(t, err, errNotUnique)
		w.on(1, func(v *fakeServer) { v.answer = nil })
		a, err := w.create("r", "moderatorPW", "mine")
		require.NoError(t, err)
		require.Equal(t, "mine", a.Text("moderatorPW"))
		require.Equal(t, []int64{1}, w.homes("kacme-r"))
		require.Zero(t, w.count("end"))
		require.Equal(t, []State{Running}, w.store.states("r"))
	})
}

// TestCoalescedCreates lets creates of one room meet on one replica.
func TestCoalescedCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		slow := func(name string) (bbb.Response, error, bool) {
			if name == "create" {
				time.Sleep(2 * time.Second)
			}
			return bbb.Response{}, nil, false
		}
		w.on(1, func(v *fakeServer) { v.answer = slow })
		var (
			mu   sync.Mutex
			keys = map[string]int{}
			ids  = map[string]int{}
			wg   sync.WaitGroup
		)
		go func() {
			_, _ = w.create("r", "moderatorPW", "mine")
		}()
		synctest.Wait()
		for i := range 20 {
			wg.Go(func() {
				pw := "mine"
				if i%4 == 0 {
					pw = "other"
				}
				a, err := w.create("r", "moderatorPW", pw)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					keys[fault.As(err).Key]++
					return
				}
				keys[a.Key()]++
				ids[a.Text("internalMeetingID")]++
			})
		}
		wg.Wait()
		require.Equal(t, map[string]int{"duplicateWarning": 15, "idNotUnique": 5}, keys)
		require.Len(t, ids, 1)
		require.Equal(t, 1, w.count("create"))
	})
}

// TestCreateOfTwoReplicas lets them meet: the second one waits for the first.
func TestCreateOfTwoReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 2)
		b := a.replica()
		b.tail()
		a.on(1, func(v *fakeServer) {
			v.answer = func(name string) (bbb.Response, error, bool) {
				if name == "create" {
					time.Sleep(3 * time.Second)
				}
				return bbb.Response{}, nil, false
			}
		})
		var wg sync.WaitGroup
		var first bbb.Answer
		wg.Go(func() { first, _ = a.create("r") })
		time.Sleep(time.Second)
		second, err := b.create("r")
		require.NoError(t, err)
		wg.Wait()
		require.Empty(t, first.Key())
		require.Equal(t, "duplicateWarning", second.Key())
		require.Equal(t, first.Text("moderatorPW"), second.Text("moderatorPW"))
		require.Equal(t, first.Text("internalMeetingID"), second.Text("internalMeetingID"))
		require.Equal(t, 1, a.count("create"))

		// A join on the other replica meanwhile waits as well.
		wg.Go(func() { _, _ = a.create("s") })
		time.Sleep(time.Second)
		c, err := b.join("s")
		require.NoError(t, err)
		require.Equal(t, Running, c.State)
		wg.Wait()
		require.Equal(t, 2, a.count("create"))
	})
}

// TestCreateLeftBehind is about a claim whose replica died: its create is
// repeated when it can't come any more.
func TestCreateLeftBehind(t *testing.T) {
	for name, ask := range map[string]func(w *world) error{
		"create": func(w *world) error { _, err := w.create("r"); return err },
		"join":   func(w *world) error { _, err := w.join("r"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.placed(t, "r", Claimed)
				began := time.Now()
				require.NoError(t, ask(w))
				require.GreaterOrEqual(t, time.Since(began), 8*time.Second)
				require.Less(t, time.Since(began), 10*time.Second)
				require.Equal(t, []State{Running}, w.store.states("r"))
				require.Equal(t, []int64{1}, w.homes("kacme-r"))
				require.Equal(t, 1, w.count("create"))
			})
		})
	}
}

// TestStoreFails takes the store away at each step of a create.
func TestStoreFails(t *testing.T) {
	t.Run("reading the room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.store.away(allAway)
			_, err := w.create("r")
			require.True(t, fault.Is(err, fault.Unavailable), err)
			require.Zero(t, w.count("create"))
		})
	})
	t.Run("claiming it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.store.away(func(method string, _ State) bool { return method == "Claim" })
			_, err := w.create("r")
			require.True(t, fault.Is(err, fault.Unavailable), err)
			require.Zero(t, w.count("create"), "what is not claimed is not created")
			w.store.away(nil)
			w.mustCreate("r")
		})
	})
	t.Run("claiming it, though it was", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.placed(t, "r", Claimed) // committed; who did it never knew
			c, err := w.create("r")
			require.NoError(t, err)
			require.Equal(t, "r", c.Text("meetingID"))
		})
	})
	t.Run("confirming it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.store.away(func(method string, _ State) bool { return method == "Move" })
			first, err := w.create("r")
			require.NoError(t, err, "the class starts")
			require.Equal(t, Claimed, w.claim("r").State)
			w.store.away(allAway)
			require.Error(t, w.r.Tail(t.Context()))
			c, err := w.join("r")
			require.NoError(t, err)
			require.Equal(t, first.Text("internalMeetingID"), c.InternalID)
			again, err := w.create("r")
			require.NoError(t, err)
			require.Equal(t, "duplicateWarning", again.Key())
			a, err := w.info("r")
			require.NoError(t, err)
			require.Equal(t, "r", a.Text("meetingID"))

			w.store.away(nil)
			w.tail()
			c = w.claim("r")
			require.Equal(t, Running, c.State, "the row is written when the store is back")
			require.Equal(t, first.Text("internalMeetingID"), c.InternalID)
			require.NotEmpty(t, c.Answer)
			require.Empty(t, w.r.unsaved)
			require.Equal(t, 1, w.count("create"))
		})
	})
	t.Run("confirming it, and an end before it is written", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.store.away(func(method string, _ State) bool { return method == "Move" })
			w.mustCreate("r")
			require.Error(t, w.r.End(t.Context(), acmeID, "r"), "the intent can't be stored")
			require.Zero(t, w.count("end"))
			w.store.away(nil)
			require.NoError(t, w.r.End(t.Context(), acmeID, "r"), "and can as soon as the store is back")
			require.Empty(t, w.homes("kacme-r"))
			require.Equal(t, Ending, w.claim("r").State)
		})
	})
	t.Run("confirming it, ended by another replica", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newWorld(t, 1)
			b := a.replica()
			b.tail()
			a.store.away(func(method string, to State) bool { return method == "Move" && to == Running })
			a.mustCreate("r")
			b.tail()
			require.NoError(t, b.r.End(t.Context(), acmeID, "r"))
			require.True(t, a.claim("r").EndRequested)
			a.store.away(nil)
			a.tail()
			a.poll(1)
			require.Equal(t, 1, a.count("end"), "the intent is carried out")
			a.poll(1)
			require.Equal(t, []State{Ended}, a.store.states("r"))
		})
	})
	t.Run("writing that it is unknown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2)
			w.store.away(func(method string, _ State) bool { return method == "Move" })
			w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errHangs) })
			_, err := w.create("r")
			require.ErrorIs(t, err, errUnsettled)
			w.store.away(nil)
			require.Equal(t, Claimed, w.claim("r").State)
			time.Sleep(settles)
			w.poll(1)
			require.Equal(t, Unknown, w.claim("r").State)
			time.Sleep(settles)
			w.poll(1)
			require.Equal(t, Released, w.claim("r").State)
		})
	})
	t.Run("releasing it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2)
			w.store.away(func(method string, _ State) bool { return method == "Move" })
			w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errRefuses) })
			_, err := w.create("r")
			require.ErrorIs(t, err, errUnsettled, "no second claim beside the first")
			require.Equal(t, 1, w.count("create"))
			require.Equal(t, []State{Claimed}, w.store.states("r"))
		})
	})
	t.Run("repeating it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2)
			w.placed(t, "r", Unknown)
			w.store.away(func(method string, _ State) bool { return method == "Move" })
			_, err := w.create("r")
			require.True(t, fault.Is(err, fault.Unavailable), err)
			require.Zero(t, w.count("create"))
		})
	})
}

// TestEndBeforeTheAnswer ends a room whose create is on its way.
func TestEndBeforeTheAnswer(t *testing.T) {
	t.Run("in flight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.on(1, func(v *fakeServer) {
				v.answer = func(name string) (bbb.Response, error, bool) {
					if name == "create" && len(w.store.states("r")) == 1 {
						time.Sleep(2 * time.Second)
					}
					return bbb.Response{}, nil, false
				}
			})
			var wg sync.WaitGroup
			wg.Go(func() {
				a, err := w.create("r")
				require.NoError(t, err)
				require.Empty(t, a.Key())
			})
			time.Sleep(time.Second)
			require.NoError(t, w.r.End(t.Context(), acmeID, "r"))

			// A create after the end means the room's next life.
			again, err := w.create("r")
			require.NoError(t, err)
			require.Empty(t, again.Key())
			wg.Wait()
			require.Equal(t, 1, w.count("end"))
			require.Equal(t, []State{Ended, Running}, w.store.states("r"))
			require.Equal(t, w.claim("r").InternalID, again.Text("internalMeetingID"))
		})
	})
	t.Run("unknown, then it turns up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.on(1, func(v *fakeServer) {
				v.answer = func(name string) (bbb.Response, error, bool) {
					if name != "create" {
						return bbb.Response{}, nil, false
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					w.start(v, bbb.Call{Name: "create", Query: w.claim("r").Params})
					return bbb.Response{}, errHangs, true
				}
			})
			_, err := w.create("r")
			require.ErrorIs(t, err, errUnsettled)
			require.NoError(t, w.r.End(t.Context(), acmeID, "r"))
			require.NoError(t, w.r.End(t.Context(), acmeID, "r"))
			require.Equal(t, Unknown, w.claim("r").State)
			w.poll(1)
			require.Equal(t, 1, w.count("end"))
			require.Empty(t, w.homes("kacme-r"))
			w.poll(1)
			require.Equal(t, []State{Ended}, w.store.states("r"))
		})
	})
	t.Run("unknown, then created again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errHangs) })
			_, err := w.create("r")
			require.ErrorIs(t, err, errUnsettled)
			require.NoError(t, w.r.End(t.Context(), acmeID, "r"))
			w.on(1, func(v *fakeServer) { v.answer = nil })
			_, err = w.join("r")
			require.ErrorIs(t, err, errNoMeeting)
			require.Equal(t, 1, w.count("create"), "a join does not open what was ended")
			_, err = w.create("r")
			require.NoError(t, err)
			w.poll(1)
			w.poll(1)
			require.Zero(t, w.count("end"), "the create came after the end")
			require.Equal(t, []State{Running}, w.store.states("r"))
			require.False(t, w.claim("r").EndRequested)
		})
	})
	t.Run("confirmed, and the end was not got to", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.mustCreate("r")
			c := w.claim("r")
			to := c
			to.EndRequested = true
			_, err := w.r.move(t.Context(), c, to) // and that replica died
			require.NoError(t, err)
			w.poll(1)
			require.Equal(t, 1, w.count("end"))
			w.poll(1)
			require.Equal(t, []State{Ended}, w.store.states("r"))
		})
	})
}

// TestCreateOnEnding waits for the room's old life to go.
func TestCreateOnEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		old := w.mustCreate("r")
		w.on(1, func(v *fakeServer) {
			v.answer = func(name string) (bbb.Response, error, bool) {
				if name == "end" {
					go func() { time.Sleep(2 * time.Second); w.forget(1, old.ScopedID) }()
				}
				return response(bbb.EndSent()), nil, name == "end"
			}
		})
		require.NoError(t, w.r.End(t.Context(), acmeID, "r"))
		a, err := w.info("r")
		require.NoError(t, err)
		require.True(t, a.Success(), "it is there until it is gone")
		_, err = w.join("r")
		require.ErrorIs(t, err, errNoMeeting)
		next, err := w.create("r")
		require.NoError(t, err)
		require.NotEqual(t, old.InternalID, next.Text("internalMeetingID"))
		require.Equal(t, []State{Ended, Running}, w.store.states("r"))

		// One that does not go.
		w.on(1, func(v *fakeServer) {
			v.answer = func(name string) (bbb.Response, error, bool) {
				return response(bbb.EndSent()), nil, name == "end"
			}
		})
		require.NoError(t, w.r.End(t.Context(), acmeID, "r"))
		began := time.Now()
		_, err = w.create("r")
		require.ErrorIs(t, err, errBusyRoom)
		require.Less(t, time.Since(began), 4*time.Second)
		require.Equal(t, []int64{1}, w.homes("kacme-r"))
	})
}

// TestEndNamesTheLife lets an end come when the room lives again on that server:
// the new meeting must survive it.
func TestEndNamesTheLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		old := w.mustCreate("r")
		w.on(1, func(v *fakeServer) {
			delete(v.meetings, old.ScopedID)
			w.start(v, bbb.Call{Name: "create", Query: old.Params}) // another life, of which we know nothing
		})
		require.NoError(t, w.r.End(t.Context(), acmeID, "r"))
		require.Equal(t, []int64{1}, w.homes(old.ScopedID))
		require.Equal(t, []State{Ended}, w.store.states("r"))
	})
}

func TestSuspendedTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		suspended := acme
		suspended.State = tenant.Suspended
		_, err := w.r.Create(t.Context(), suspended, 7, w.request("r"))
		require.ErrorIs(t, err, ErrSuspended)
		w.mustCreate("r")
		w.poll(1)
		out, err := w.r.Create(t.Context(), suspended, 7, w.request("r"))
		require.NoError(t, err, "a room that runs goes on")
		require.Equal(t, "duplicateWarning", response(out.Answer).Answer.Key())
		w.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(2 * time.Minute)
		w.poll(1)
		require.Equal(t, Lost, w.claim("r").State)
		_, _, err = w.r.Join(t.Context(), suspended, bbb.Call{Name: "join"}.With("meetingID", "r").With("fullName", "Ada"))
		require.NoError(t, err, "also elsewhere")
	})
}

// TestJoinsHealOnce lets many join a lost room at the same time, with creates.
func TestJoinsHealOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t, 3)
		b := a.replica()
		b.tail()
		a.mustCreate("r")
		a.poll(1)
		a.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(2 * time.Minute)
		a.poll(1)
		b.tail()
		for id := int64(2); id <= 3; id++ {
			a.on(id, func(v *fakeServer) {
				v.answer = func(name string) (bbb.Response, error, bool) {
					if name == "create" {
						time.Sleep(time.Second)
					}
					return bbb.Response{}, nil, false
				}
			})
		}
		var wg sync.WaitGroup
		for i := range 30 {
			w := a
			if i%2 == 0 {
				w = b
			}
			wg.Go(func() {
				if i%3 == 0 {
					_, err := w.create("r")
					require.NoError(t, err)
					return
				}
				c, err := w.join("r")
				require.NoError(t, err)
				require.EqualValues(t, 2, c.ServerID)
			})
		}
		wg.Wait()
		require.Equal(t, []int64{1, 2}, a.homes("kacme-r"))
		require.Equal(t, []State{Superseded, Running}, a.store.states("r"))
		require.Equal(t, 2, a.count("create"))
		require.Zero(t, a.count("end"))
	})
}

// TestSlidesThatChokeLeaveTheOutcomeOpen holds that a create is not given up for
// one that definitely failed because its repetition without the slides was.
func TestSlidesThatChokeLeaveTheOutcomeOpen(t *testing.T) {
	for name, second := range map[string]func(call string) (bbb.Response, error, bool){
		"refused":     failsOnly("create", errRefuses),
		"not allowed": says("create", "checksumError"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				req := w.request("r")
				req.Body = &Body{Open: func() (io.Reader, error) { return strings.NewReader("<modules"), nil }, Size: 8}
				w.on(1, func(v *fakeServer) {
					v.answer = func(call string) (bbb.Response, error, bool) {
						w.on(1, func(v *fakeServer) {
							w.start(v, bbb.Call{Name: "create", Query: w.claim("r").Params})
							v.answer = second
						})
						return bbb.Response{Status: 500}, nil, call == "create"
					}
				})
				_, err := w.r.Create(t.Context(), acme, 7, req)
				require.ErrorIs(t, err, errUnsettled)
				require.Equal(t, []State{Unknown}, w.store.states("r"))
				w.on(1, func(v *fakeServer) { v.answer = nil })
				w.poll(1)
				require.Equal(t, []State{Running}, w.store.states("r"))
				require.Equal(t, []int64{1}, w.homes(Scope(acme.ScopeKey, "r")))
			})
		})
	}
}
