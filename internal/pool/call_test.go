package pool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/fault"
)

func named(name string) Call { return Call{Call: bbb.Call{Name: name, Query: "meetingID=g-x"}} }

// requireNotSent checks that the error promises that the call had no effect.
func requireNotSent(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*bbb.CallError](err)
	require.True(t, ok, "%v", err)
	require.False(t, e.Sent)
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(*fake)
		opens bool
	}{
		"no connection":   {func(f *fake) { f.err = errDown }, true},
		"HTTP 500":        {func(f *fake) { f.status = 500 }, true},
		"HTTP 404":        {func(f *fake) { f.status = 404 }, false},
		"hangs":           {func(f *fake) { f.hang = true }, true},
		"FAILED":          {func(f *fake) { f.body = refusal }, false},
		"not XML":         {func(f *fake) { f.body = "hello" }, false},
		"slow but answer": {func(f *fake) { f.delay = 3900 * time.Millisecond }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.set(1, tt.spoil)
				p := fakePool(t, f, Options{}, servers(2))
				for range 5 {
					require.False(t, p.roster.Load().byID[1].circuitOpen())
					_, _ = p.Call(t.Context(), 1, named("end"))
				}
				require.Equal(t, tt.opens, p.roster.Load().byID[1].circuitOpen())
				require.False(t, p.roster.Load().byID[2].circuitOpen())
				if !tt.opens {
					return
				}
				n := len(f.begun(1))
				_, err := p.Call(t.Context(), 1, named("end"))
				requireNotSent(t, err)
				require.ErrorIs(t, err, errCircuitOpen)
				require.Len(t, f.begun(1), n)
				_, err = p.Call(t.Context(), 2, named("end"))
				require.NoError(t, err, "another server's circuit")

				// A failed trial opens it again, a good one closes it.
				time.Sleep(5*time.Second + time.Millisecond)
				require.False(t, p.roster.Load().byID[1].circuitOpen(), "half-open: it must get calls")
				_, _ = p.Call(t.Context(), 1, named("end"))
				require.Len(t, f.begun(1), n+1)
				require.True(t, p.roster.Load().byID[1].circuitOpen())
				time.Sleep(5*time.Second + time.Millisecond)
				f.set(1, func(f *fake) { f.err, f.hang, f.status, f.delay = nil, false, 0, time.Second })
				var wg sync.WaitGroup
				var refused int
				var mu sync.Mutex
				for range 5 {
					wg.Go(func() {
						if _, err := p.Call(t.Context(), 1, named("end")); err != nil {
							mu.Lock()
							refused++
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				require.Equal(t, 4, refused, "one trial at a time")
				_, err = p.Call(t.Context(), 1, named("end"))
				require.NoError(t, err)
			})
		})
	}
}

// A create that the server chokes on may do so for what its tenant put into it (JSON
// that is none, in groups). It must not cost the other tenants the server.
func TestBreakerAndChokingCreates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.status = 500 })
		p := fakePool(t, f, Options{}, servers(1))
		for range 20 {
			_, err := p.Call(t.Context(), 1, named("create"))
			require.NoError(t, err)
		}
		m := p.roster.Load().byID[1]
		require.False(t, m.circuitOpen())
		require.True(t, m.doubtful(), "all the same another server is the better choice")
		for range 5 {
			_, _ = p.Call(t.Context(), 1, named("create"))
			_, _ = p.Call(t.Context(), 1, named("end"))
		}
		require.True(t, m.circuitOpen(), "other calls count")
	})
}

// Polls neither open nor close a circuit.
func TestPollsBypassTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.err = errDown })
		p := fakePool(t, f, Options{}, servers(1))
		p.Start(t.Context())
		time.Sleep(2 * time.Minute)
		require.Equal(t, Down, p.Health(1))
		require.False(t, p.roster.Load().byID[1].circuitOpen())
		for range 5 {
			_, _ = p.Call(t.Context(), 1, named("end"))
		}
		f.set(1, func(f *fake) { f.err = nil })
		_, err := p.PollNow(t.Context(), 1)
		require.NoError(t, err)
		require.True(t, p.roster.Load().byID[1].circuitOpen())
	})
}

func TestTheCallersOwnEndIsNotTheServersFault(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		opens bool
	}{
		"cancelled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(3500*time.Millisecond, cancel)
			return ctx, cancel
		}, false},
		"little time left": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 100*time.Millisecond)
		}, false},
		"time enough": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 3500*time.Millisecond)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.set(1, func(f *fake) { f.hang = true })
				p := fakePool(t, f, Options{}, servers(1))
				for range 20 {
					ctx, cancel := tt.ctx(t.Context())
					_, err := p.Call(ctx, 1, named("end"))
					require.Error(t, err)
					cancel()
				}
				require.Equal(t, tt.opens, p.roster.Load().byID[1].circuitOpen())
			})
		})
	}
}

func TestCallsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.hang = true })
		p := fakePool(t, f, Options{MaxCallsPerServer: 8}, servers(2))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { _, _ = p.Call(t.Context(), 1, named("end")) })
		}
		synctest.Wait()
		start := time.Now()
		_, err := p.Call(t.Context(), 1, named("end"))
		requireNotSent(t, err)
		require.ErrorIs(t, err, errTooMany)
		require.Zero(t, time.Since(start))
		_, err = p.Call(t.Context(), 2, named("end"))
		require.NoError(t, err)
		wg.Wait()
		f.set(1, func(f *fake) { f.hang = false })
		time.Sleep(6 * time.Second)
		_, err = p.Call(t.Context(), 1, named("end"))
		require.NoError(t, err)
		require.Zero(t, p.roster.Load().byID[1].inFlight.Load())
	})
}

func TestCallTimeouts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		call Call
		want time.Duration
	}{
		"create":  {named("create"), 8 * time.Second},
		"another": {named("getMeetingInfo"), 4 * time.Second},
		"own":     {Call{Call: bbb.Call{Name: "create"}, Timeout: time.Second}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.set(1, func(f *fake) { f.hang = true })
				p := fakePool(t, f, Options{}, servers(1))
				start := time.Now()
				_, err := p.Call(t.Context(), 1, tt.call)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, tt.want, time.Since(start))
				e, ok := errors.AsType[*bbb.CallError](err)
				require.True(t, ok)
				require.True(t, e.Sent, "the outcome is unknown")
			})
		})
	}
}

func TestCallsWaitLessForADoubtfulServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := fakePool(t, f, Options{}, servers(1))
		p.Start(t.Context())
		synctest.Wait()
		took := func(name string) time.Duration {
			start := time.Now()
			_, _ = p.Call(t.Context(), 1, named(name))
			return time.Since(start)
		}
		f.set(1, func(f *fake) { f.hang = true })
		require.Equal(t, 4*time.Second, took("getMeetingInfo"))
		require.Equal(t, time.Second, took("getMeetingInfo"))
		require.Equal(t, time.Second, took("isMeetingRunning"))
		require.Equal(t, 4*time.Second, took("end"), "nothing stands in for an end")
		f.set(1, func(f *fake) { f.hang = false })
		time.Sleep(20 * time.Second) // a good poll
		f.set(1, func(f *fake) { f.hang = true })
		require.Equal(t, 4*time.Second, took("getMeetingInfo"))
	})
}

func TestCallToWhatIsNotThere(t *testing.T) {
	t.Parallel()
	f := newFakes()
	p := fakePool(t, f, Options{}, servers(2))
	_, err := p.Call(t.Context(), 99, named("end"))
	requireNotSent(t, err)
	p.SetServers(servers(1))
	_, err = p.Call(t.Context(), 2, named("end"))
	requireNotSent(t, err)
	_, err = p.JoinURL(2, bbb.Call{Name: "join"})
	require.True(t, fault.Is(err, fault.Unavailable))
	_, err = p.Call(t.Context(), 1, Call{Call: bbb.Call{Name: "create"}, Body: func() (io.Reader, error) { return nil, io.ErrUnexpectedEOF }})
	requireNotSent(t, err)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestCallGoesToTheChangedServer(t *testing.T) {
	t.Parallel()
	f := newFakes()
	p := fakePool(t, f, Options{BreakerFailures: 1}, servers(1))
	f.set(1, func(f *fake) { f.err = errDown })
	_, err := p.Call(t.Context(), 1, named("end"))
	require.Error(t, err)
	s := server(1)
	s.APIURL, s.Secret, s.Algorithm = base(2), "another-secret-of-twenty", "sha512"
	p.SetServers([]Server{s})
	_, err = p.Call(t.Context(), 1, named("end"))
	require.NoError(t, err, "the circuit is the old machine's")
	f.set(2, func(f *fake) {
		require.Equal(t, s.Secret, f.requests[0].Secret)
		require.Equal(t, bbb.SHA512, f.requests[0].Algorithm)
	})
}

func TestJoinURL(t *testing.T) {
	t.Parallel()
	s := server(1)
	p := fakePool(t, newFakes(), Options{}, []Server{s})
	join := bbb.Call{Name: "join", Query: "meetingID=g-x&fullName=Jo+A;b"}
	got, err := p.JoinURL(1, join)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(got, s.APIURL+"api/join?"+join.Query+"&checksum="), got)
	s.PublicURL = "https://public.example.org/x/bigbluebutton/"
	p.SetServers([]Server{s})
	got, err = p.JoinURL(1, join)
	require.NoError(t, err)
	query, ok := strings.CutPrefix(got, s.PublicURL+"api/join?")
	require.True(t, ok, got)
	require.True(t, bbb.Call{Name: "join", Query: query}.Verify(secret))
}

// realPool returns a pool with a real client.
func realPool(t testing.TB, o Options, ss ...Server) *Pool {
	t.Helper()
	o.Client = bbb.NewClient(bbb.ClientOptions{})
	t.Cleanup(o.Client.Close)
	p := New(o)
	p.SetServers(ss)
	t.Cleanup(p.Stop)
	return p
}

// The whole way against a simulated server.
func TestAgainstASimulatedServer(t *testing.T) {
	t.Parallel()
	sim := bbbsim.New(bbbsim.Config{Secret: secret, JoinDelay: -1})
	_, err := sim.Start()
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	s := server(1)
	s.APIURL = sim.APIURL()
	p := realPool(t, Options{PollInterval: time.Hour}, s)
	p.Start(t.Context())
	require.NoError(t, p.WaitPolled(t.Context()))
	require.Equal(t, Up, p.Health(1))
	require.Empty(t, p.Snapshot(1).Meetings)

	create := Call{Call: bbb.Call{Name: "create", Query: "meetingID=g-algebra&name=Algebra&moderatorPW=mod&attendeePW=att"}}
	resp, err := p.Call(t.Context(), 1, create)
	require.NoError(t, err)
	require.True(t, resp.Answer.Success(), string(resp.Body))
	internalID := resp.Answer.Text("internalMeetingID")
	require.NoError(t, sim.AddUsers("g-algebra", 5))
	poll, err := p.PollNow(t.Context(), 1)
	require.NoError(t, err)
	m, ok := poll.Snapshot.ByInternalID(internalID)
	require.True(t, ok)
	require.Equal(t, 5, m.Participants)
	require.Equal(t, 5, poll.Snapshot.Totals.Participants)

	// A body makes it a POST.
	create.Query = "meetingID=g-slides&name=Slides"
	slides := "<modules><module name=\"presentation\"></module></modules>"
	create.Body = func() (io.Reader, error) { return strings.NewReader(slides), nil }
	create.BodySize, create.ContentType = int64(len(slides)), "application/xml"
	resp, err = p.Call(t.Context(), 1, create)
	require.NoError(t, err)
	require.True(t, resp.Answer.Success(), string(resp.Body))

	// A server in trouble answers 500: that is an answer, and counts.
	sim.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeError})
	resp, err = p.Call(t.Context(), 1, named("end"))
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, resp.Status)
	sim.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeCut})
	_, err = p.PollNow(t.Context(), 1)
	require.Error(t, err)
	require.Len(t, p.Snapshot(1).Meetings, 1)
	sim.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
	_, err = p.Call(t.Context(), 1, named("end"))
	requireNotSent(t, err)
	require.NotContains(t, err.Error(), "checksum")
	sim.SetFaults(bbbsim.Faults{})
	sim.Restart()
	poll, err = p.PollNow(t.Context(), 1)
	require.NoError(t, err)
	require.Empty(t, poll.Snapshot.Meetings)
}

func TestOtherSecret(t *testing.T) {
	t.Parallel()
	sim := httptest.NewServer(bbbsim.New(bbbsim.Config{Secret: "not-the-secret-0123456789"}))
	t.Cleanup(sim.Close)
	s := server(1)
	s.APIURL = sim.URL + "/bigbluebutton/"
	p := realPool(t, Options{PollInterval: time.Hour}, s)
	p.Start(t.Context())
	require.NoError(t, p.WaitPolled(t.Context()))
	_, err := p.PollNow(t.Context(), 1)
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, Refused, p.Health(1))
}

func TestAPISwitchedOffPromisesNothing(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.set(1, func(f *fake) { f.body = strings.ReplaceAll(refusal, "checksumError", "apiNotEnabled") + refusal })
	p := fakePool(t, f, Options{}, servers(1))
	resp, err := p.Call(t.Context(), 1, named("create"))
	require.NoError(t, err)
	require.Nil(t, resp.Answer)
	require.Equal(t, http.StatusOK, resp.Status)
}
