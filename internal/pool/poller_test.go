package pool

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
)

func TestPollsAtOnceAndThenByInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := fakePool(t, f, Options{}, servers(20))
		require.False(t, p.Polled())
		start := time.Now()
		p.Start(t.Context())
		synctest.Wait()
		require.True(t, p.Polled())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		p.Stop()
		gaps := map[time.Duration]bool{}
		for id := int64(1); id <= 20; id++ {
			begun := f.begun(id)
			require.Equal(t, start, begun[0])
			require.InDelta(t, 60, len(begun), 5)
			for i := 1; i < len(begun); i++ {
				gap := begun[i].Sub(begun[i-1])
				require.GreaterOrEqual(t, gap, 8*time.Second)
				require.LessOrEqual(t, gap, 12*time.Second)
				gaps[gap] = true
			}
		}
		require.Greater(t, len(gaps), 100, "no jitter")
	})
}

func TestPollRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		s := server(1)
		s.Algorithm = "sha1"
		p := fakePool(t, f, Options{}, []Server{s})
		p.Start(t.Context())
		synctest.Wait()
		f.set(1, func(f *fake) {
			r := f.requests[0]
			require.Equal(t, "getMeetings", r.Call.Name)
			require.Equal(t, "sha1", r.Algorithm.String())
			require.Equal(t, secret, r.Secret)
		})
	})
}

// A poll that was sent before PollNow was called says nothing to its caller.
func TestPollNowBeginsAfterTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.delay = 2 * time.Second })
		p := fakePool(t, f, Options{}, servers(1))
		p.Start(t.Context())
		time.Sleep(time.Second) // the first poll is in flight
		called := time.Now()
		f.set(1, func(f *fake) { f.body = listing(room{id: "new"}) })
		var wg sync.WaitGroup
		var numbers sync.Map
		for range 10 {
			wg.Go(func() {
				poll, err := p.PollNow(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				numbers.Store(poll.Snapshot.Number, true)
				if _, ok := poll.Snapshot.ByInternalID("new"); !ok {
					t.Error("the poll in flight was joined")
				}
			})
		}
		wg.Wait()
		begun := f.begun(1)
		require.Len(t, begun, 2, "ten callers share one poll")
		require.False(t, begun[1].Before(called))
		require.Equal(t, 3*time.Second, time.Since(called), "the rest of the one in flight and a poll")
		_, ok := numbers.Load(uint64(2))
		require.True(t, ok)
	})
}

// Whoever calls while a shared poll is in flight gets the next one.
func TestPollNowDoesNotJoinAnotherPollNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := fakePool(t, f, Options{}, servers(1))
		p.Start(t.Context())
		synctest.Wait()
		f.set(1, func(f *fake) { f.delay = time.Second })
		var wg sync.WaitGroup
		poll := func() {
			called := time.Now()
			got, err := p.PollNow(t.Context(), 1)
			if err != nil || got.Snapshot.At.Before(called) {
				t.Error("began before the call", err)
			}
		}
		for range 5 {
			wg.Go(poll)
			time.Sleep(300 * time.Millisecond)
		}
		wg.Wait()
		require.LessOrEqual(t, len(f.begun(1)), 4)
	})
}

func TestPollNowIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.hang = true })
		p := fakePool(t, f, Options{}, servers(1))
		p.Start(t.Context())
		synctest.Wait()
		called := time.Now()
		poll, err := p.PollNow(t.Context(), 1)
		require.Error(t, err)
		require.Equal(t, poll.Err, err)
		require.True(t, fault.Is(err, fault.Unavailable))
		require.Nil(t, poll.Snapshot)
		require.LessOrEqual(t, time.Since(called), 10*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		called = time.Now()
		_, err = p.PollNow(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(called))

		_, err = p.PollNow(t.Context(), 99)
		require.True(t, fault.Is(err, fault.NotFound))
	})
}

func TestHighSeqIsTakenBeforeThePollIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var seq atomic.Int64
		seq.Store(41)
		f.set(1, func(f *fake) { f.during = func() { seq.Add(1) } })
		p := fakePool(t, f, Options{Moment: seq.Load}, servers(1))
		p.Start(t.Context())
		synctest.Wait()
		require.EqualValues(t, 41, p.Snapshot(1).Moment)
		require.EqualValues(t, 42, seq.Load())
	})
}

func TestPolledIsCalledBeforeWaitersGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var reported atomic.Uint64
		p := fakePool(t, f, Options{Polled: func(_ context.Context, p Poll) {
			time.Sleep(time.Second)
			if p.Snapshot != nil {
				reported.Store(p.Snapshot.Number)
			}
		}}, servers(1))
		p.Start(t.Context())
		for range 5 {
			poll, err := p.PollNow(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, poll.Snapshot.Number, reported.Load())
			require.Same(t, poll.Snapshot, p.Snapshot(1))
		}
	})
}

func TestFailedPollKeepsTheSnapshot(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*fake){
		"no connection": func(f *fake) { f.err = errDown },
		"hangs":         func(f *fake) { f.hang = true },
		"refused":       func(f *fake) { f.body = refusal },
		"HTTP 502":      func(f *fake) { f.status = 502 },
		"HTML":          func(f *fake) { f.body = "<!DOCTYPE html><html>" },
		"FAILED":        func(f *fake) { f.body = strings.ReplaceAll(refusal, "checksumError", "other") },
		"half an answer": func(f *fake) {
			f.body = "<response><returncode>SUCCESS</returncode><meetings><meeting>"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.set(1, func(f *fake) { f.body = listing(room{id: "a", people: 3}) })
				var polls []Poll
				p := fakePool(t, f, Options{Polled: func(_ context.Context, p Poll) { polls = append(polls, p) }}, servers(1))
				p.Start(t.Context())
				synctest.Wait()
				before := p.Snapshot(1)
				require.Len(t, before.Meetings, 1)
				f.set(1, spoil)
				poll, err := p.PollNow(t.Context(), 1)
				require.Error(t, err)
				require.NotContains(t, err.Error(), secret)
				require.NotContains(t, err.Error(), "checksum=")
				require.Nil(t, poll.Snapshot)
				require.Same(t, before, p.Snapshot(1))
				require.Len(t, polls, 2)
				require.Error(t, polls[1].Err)
			})
		})
	}
}

// T12: one of 150 servers answers nothing; the others are polled on time and
// none of them is taken for down.
func TestHangingServersDelayNobody(t *testing.T) {
	t.Parallel()
	for name, hanging := range map[string]int64{"one of 150": 1, "40 of 150": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				for id := int64(1); id <= 150; id++ {
					f.set(id, func(f *fake) { f.delay = 50 * time.Millisecond })
				}
				p := fakePool(t, f, Options{MaxPolls: 16}, servers(150))
				p.Start(t.Context())
				require.NoError(t, p.WaitPolled(t.Context()))
				for id := range hanging {
					f.set(id+1, func(f *fake) { f.hang = true })
				}
				time.Sleep(30 * time.Second) // what hangs is known by now
				from := time.Now()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				for id := hanging + 1; id <= 150; id++ {
					require.Equal(t, Up, p.Health(id))
					last := from
					for _, at := range f.begun(id) {
						if at.After(from) {
							require.Less(t, at.Sub(last), 13*time.Second)
							last = at
						}
					}
				}
				require.Equal(t, Down, p.Health(1))
				require.LessOrEqual(t, f.most, 16)
			})
		})
	}
}

func TestDownAndUpAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var l logs
		p := fakePool(t, f, Options{Logger: l.logger()}, servers(3))
		p.Start(t.Context())
		synctest.Wait()
		f.set(1, func(f *fake) { f.err = errDown })
		time.Sleep(time.Minute)
		require.Equal(t, Down, p.Health(1), "one of three is a sick server, not a sick gateway")
		require.Equal(t, Up, p.Health(2))
		since, ok := p.DownSince(1)
		require.True(t, ok)
		require.InDelta(t, 30, time.Since(since).Seconds(), 8)
		require.Contains(t, l.String(), "to=down")
		_, ok = p.DownSince(2)
		require.False(t, ok)
		require.False(t, p.frozen.Load())
		f.set(1, func(f *fake) { f.err = nil })
		time.Sleep(25 * time.Second)
		require.Equal(t, Up, p.Health(1))
		_, ok = p.DownSince(1)
		require.False(t, ok)
		require.NotContains(t, l.String(), secret)
	})
}

// The gateway's own network is gone for five minutes: no server is to blame, not
// then and not right after. One that stays away is.
func TestFreeze(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*fake){
		"refusing": func(f *fake) { f.err = errDown },
		"hanging":  func(f *fake) { f.hang = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				var l logs
				var frozen atomic.Int64
				p := fakePool(t, f, Options{Logger: l.logger(), Polled: func(_ context.Context, p Poll) {
					if p.Frozen {
						frozen.Add(1)
					}
				}}, servers(10))
				p.Start(t.Context())
				time.Sleep(time.Minute)
				for id := range int64(10) {
					f.set(id+1, spoil)
				}
				check := func(servers int64) {
					for id := range servers {
						require.Equal(t, Up, p.Health(id+1))
					}
				}
				for range 300 {
					time.Sleep(time.Second)
					check(10)
				}
				require.True(t, p.frozen.Load())
				require.Greater(t, frozen.Load(), int64(100))
				for id := range int64(10) {
					f.set(id+1, func(f *fake) { f.err, f.hang = nil, false })
				}
				f.set(10, spoil)
				for range 30 {
					time.Sleep(time.Second)
					check(9) // failures while frozen don't count on
				}
				require.False(t, p.frozen.Load())
				time.Sleep(40 * time.Second)
				require.Equal(t, Down, p.Health(10))
				require.Equal(t, 1, strings.Count(l.String(), "the fault may be ours"), "once per episode")
				require.Equal(t, 1, strings.Count(l.String(), "health moves as usual"))
			})
		})
	}
}

// A failure from before a freeze doesn't count on after it: it may have been the
// beginning of ours.
func TestThawForgetsFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := fakePool(t, f, Options{PollInterval: time.Hour}, servers(4))
		p.Start(t.Context())
		synctest.Wait()
		poll := func(ids ...int64) {
			for _, id := range ids {
				_, _ = p.PollNow(t.Context(), id)
			}
		}
		f.set(1, func(f *fake) { f.err = errDown })
		poll(1, 1)
		for id := int64(2); id <= 4; id++ {
			f.set(id, func(f *fake) { f.err = errDown })
			poll(id)
		}
		require.True(t, p.frozen.Load())
		for id := int64(2); id <= 4; id++ {
			f.set(id, func(f *fake) { f.err = nil })
			poll(id)
		}
		require.False(t, p.frozen.Load())
		poll(1, 1)
		require.Equal(t, Up, p.Health(1))
		poll(1)
		require.Equal(t, Down, p.Health(1))
	})
}

func TestSlowAndRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := fakePool(t, f, Options{}, servers(2))
		p.Start(t.Context())
		synctest.Wait()
		f.set(1, func(f *fake) { f.delay = 4 * time.Second })
		f.set(2, func(f *fake) { f.body = refusal })
		time.Sleep(time.Minute)
		require.Equal(t, Slow, p.Health(1))
		require.Equal(t, Refused, p.Health(2))
		f.set(1, func(f *fake) { f.delay = time.Second })
		f.set(2, func(f *fake) { f.body = "" })
		time.Sleep(time.Minute)
		require.Equal(t, Up, p.Health(1))
		require.Equal(t, Up, p.Health(2))
	})
}

func TestSetServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.body = listing(room{id: "a"}) })
		var polls atomic.Int64
		p := fakePool(t, f, Options{Polled: func(context.Context, Poll) { polls.Add(1) }}, servers(3))
		require.Len(t, p.Servers(), 3)
		p.Start(t.Context())
		synctest.Wait()
		kept := p.Snapshot(1)

		// Renamed, moved to another pool, resized: the same server.
		ss := servers(3)
		ss[0].Name, ss[0].Pool, ss[0].CapacitySeats, ss[0].AdminState = "other", "gold", 7, Draining
		p.SetServers(ss)
		synctest.Wait()
		require.Equal(t, Up, p.Health(1))
		require.Same(t, kept, p.Snapshot(1))
		s, ok := p.Server(1)
		require.True(t, ok)
		require.Equal(t, ss[0], s)
		require.Len(t, f.begun(1), 1)

		// Another secret: unknown until polled, but the meetings are the same.
		f.set(1, func(f *fake) { f.hang = true })
		ss[0].Secret = "another-secret-of-twenty"
		p.SetServers(ss)
		synctest.Wait()
		require.Equal(t, Unknown, p.Health(1))
		require.Same(t, kept, p.Snapshot(1))
		require.Len(t, f.begun(1), 2, "polled at once")
		require.True(t, p.Polled(), "a change doesn't take readiness away")

		// Another URL: another machine.
		ss[0].APIURL = base(9)
		f.set(9, func(f *fake) { f.hang = true })
		p.SetServers(ss)
		require.Equal(t, Unknown, p.Health(1))
		require.Nil(t, p.Snapshot(1))
		synctest.Wait()

		// Removed: nothing more of it, and nobody is told of the poll in flight.
		before := polls.Load()
		p.SetServers(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, before, polls.Load())
		require.Empty(t, p.Servers())
		require.Nil(t, p.Snapshot(2))
		require.Equal(t, Unknown, p.Health(2))
		require.Len(t, f.begun(9), 1)
		_, ok = p.Server(2)
		require.False(t, ok)
	})
}

func TestRemovedServerLetsWaitersGo(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"in flight", "next"} {
		t.Run(asked, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				p := fakePool(t, f, Options{}, servers(1))
				p.Start(t.Context())
				synctest.Wait()
				f.set(1, func(f *fake) { f.hang = true })
				if asked == "next" {
					time.Sleep(12*time.Second + time.Millisecond)
				}
				var err error
				var wg sync.WaitGroup
				wg.Go(func() { _, err = p.PollNow(context.Background(), 1) })
				synctest.Wait()
				start := time.Now()
				p.SetServers(nil)
				wg.Wait()
				require.True(t, fault.Is(err, fault.NotFound))
				require.Zero(t, time.Since(start))
			})
		})
	}
}

func TestDisabledServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		ss := servers(2)
		ss[0].AdminState = Disabled
		p := fakePool(t, f, Options{}, ss)
		p.Start(t.Context())
		require.NoError(t, p.WaitPolled(t.Context()))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Empty(t, f.begun(1))
		_, err := p.PollNow(t.Context(), 1)
		require.NoError(t, err, "it is polled for who asks")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, f.begun(1), 1)

		p.SetServers(servers(2))
		synctest.Wait()
		require.Len(t, f.begun(1), 2, "polled as soon as it is enabled")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Greater(t, len(f.begun(1)), 4)

		p.SetServers(ss)
		synctest.Wait()
		require.Equal(t, Unknown, p.Health(1))
		n := len(f.begun(1))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, f.begun(1), n)
	})
}

// TestDisabledServerInUse: what lives on a disabled server ends, or is lost, like
// anything else.
func TestDisabledServerInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var used atomic.Bool
		ss := servers(1)
		ss[0].AdminState = Disabled
		p := fakePool(t, f, Options{InUse: func(id int64) bool { return id == 1 && used.Load() }}, ss)
		p.Start(t.Context())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, f.begun(1))

		used.Store(true) // a replica that did not know yet placed a meeting there
		f.set(1, func(f *fake) { f.err = errDown })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Greater(t, len(f.begun(1)), 3)
		_, down := p.DownSince(1)
		require.True(t, down)

		used.Store(false)
		n := len(f.begun(1))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, f.begun(1), n)
	})
}

func TestPolledAndWaitPolled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := fakePool(t, f, Options{}, nil)
		p.Start(t.Context())
		require.True(t, p.Polled(), "there is nothing to wait for")
		f.set(1, func(f *fake) { f.hang = true })
		p.SetServers(servers(2))
		synctest.Wait()
		require.False(t, p.Polled())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.WaitPolled(ctx), context.DeadlineExceeded)
		require.NoError(t, p.WaitPolled(t.Context()))
		require.True(t, p.Polled(), "a time-out is a poll")
		f.set(3, func(f *fake) { f.hang = true })
		p.SetServers(servers(3))
		require.True(t, p.Polled())
		start := time.Now()
		require.NoError(t, p.WaitPolled(t.Context()))
		require.Equal(t, 5*time.Second, time.Since(start), "the new one is waited for")
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var l logs
		f.set(1, func(f *fake) { f.hang = true })
		p := fakePool(t, f, Options{Logger: l.logger()}, servers(5))
		p.Start(t.Context())
		synctest.Wait()
		start := time.Now()
		p.Stop()
		require.Zero(t, time.Since(start))
		_, err := p.PollNow(context.Background(), 2)
		require.Error(t, err)
		p.SetServers(servers(6)) // comes late and starts nothing
		p.Stop()
		require.Equal(t, Unknown, p.Health(1), "a poll that we cut is not the server's failure")
	})
	p := New(Options{})
	p.Stop() // never started
	p.SetServers(servers(1))
	p.Start(t.Context())
	require.Nil(t, p.Snapshot(1))
}
