package meeting

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
)

func newAnswers(ttl time.Duration) *answers {
	var a answers
	a.init(ttl, time.Now)
	return &a
}

func TestAnswersAreSharedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers(time.Second)
		calls := 0
		slow := func() (bbb.Response, error) {
			calls++
			n := calls
			time.Sleep(300 * time.Millisecond)
			return bbb.Response{Status: n}, nil
		}
		q := question{claim: 1, seq: 1, call: "getMeetingInfo"}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				resp, err := a.ask(t.Context(), q, slow)
				require.NoError(t, err)
				require.Equal(t, 1, resp.Status)
			})
		}
		wg.Wait()
		time.Sleep(600 * time.Millisecond)
		resp, _ := a.ask(t.Context(), q, slow)
		require.Equal(t, 1, resp.Status, "0.9 s after it was asked")
		time.Sleep(100 * time.Millisecond)
		resp, _ = a.ask(t.Context(), q, slow)
		require.Equal(t, 2, resp.Status, "a second after it was asked, not after it was answered")

		for _, other := range []question{{2, 1, q.call}, {1, 2, q.call}, {1, 1, "isMeetingRunning"}} {
			before := calls
			_, _ = a.ask(t.Context(), other, slow)
			require.Equal(t, before+1, calls, "another question")
		}
		time.Sleep(time.Second)
		a.sweep()
		require.Empty(t, a.m)
	})
}

func TestAnswersOff(t *testing.T) {
	a, calls := newAnswers(-1), 0
	for range 3 {
		_, _ = a.ask(t.Context(), question{}, func() (bbb.Response, error) { calls++; return bbb.Response{}, nil })
	}
	require.Equal(t, 3, calls)
}

// TestAnswersFail holds that a failure is shared with those who wait for it and
// nobody else, and that nobody waits for ever.
func TestAnswersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers(time.Minute)
		broken := errors.New("broken")
		calls := 0
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, err := a.ask(t.Context(), question{}, func() (bbb.Response, error) {
					calls++
					time.Sleep(time.Second)
					return bbb.Response{}, broken
				})
				require.ErrorIs(t, err, broken)
			})
		}
		wg.Wait()
		require.Equal(t, 1, calls)
		resp, err := a.ask(t.Context(), question{}, func() (bbb.Response, error) { return bbb.Response{Status: 200}, nil })
		require.NoError(t, err)
		require.Equal(t, 200, resp.Status)

		// A caller that goes does not wait, and leaves the call to the others.
		ctx, cancel := context.WithCancel(t.Context())
		q := question{claim: 9}
		wg.Go(func() {
			_, err := a.ask(t.Context(), q, func() (bbb.Response, error) { time.Sleep(time.Second); return bbb.Response{}, nil })
			require.NoError(t, err)
		})
		synctest.Wait()
		cancel()
		_, err = a.ask(ctx, q, nil)
		require.ErrorIs(t, err, context.Canceled)
		wg.Wait()

		q = question{claim: 10}
		wg.Go(func() {
			defer func() { require.NotNil(t, recover()) }()
			_, _ = a.ask(t.Context(), q, func() (bbb.Response, error) { time.Sleep(time.Second); panic("a defect") })
		})
		synctest.Wait()
		_, err = a.ask(t.Context(), q, nil)
		require.Error(t, err, "who waited for a call that panicked is told")
		wg.Wait()
	})
}

// TestFlightsAlwaysLand holds the same for creates.
func TestFlightsAlwaysLand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights
		key := room{1, "r"}
		f, leads := fs.join(key, "q")
		require.True(t, leads)
		require.Equal(t, f, fs.under(key))
		waiting, leads := fs.join(key, "q")
		require.False(t, leads)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := waiting.wait(t.Context())
			require.ErrorIs(t, err, errBusyRoom)
		})
		func() {
			defer func() { require.NotNil(t, recover()) }()
			_, _ = fs.lead(key, f, func() (Created, error) { panic("a defect") })
		}()
		wg.Wait()
		require.Nil(t, fs.under(key))

		f, leads = fs.join(key, "q")
		require.True(t, leads, "the next one leads again")
		_, err := fs.lead(key, f, func() (Created, error) { return Created{ServerID: 3}, nil })
		require.NoError(t, err)
		out, err := f.wait(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 3, out.ServerID)
	})
}
