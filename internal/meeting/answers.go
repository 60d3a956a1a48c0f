package meeting

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
)

// answers lets identical questions about live meetings share one server call
// and passes its answer on again for a moment. Keyed by claim, so that a room's
// next life never gets its last one's answer.
type answers struct {
	ttl time.Duration // not positive: off
	now func() time.Time

	mu sync.Mutex
	m  map[question]*answered
}

type question struct {
	claim int64
	seq   int64 // of the claim: what changes it makes old answers void
	call  string
}

type answered struct {
	done chan struct{}
	at   time.Time // when it was asked: a caller never gets an older answer than that
	resp bbb.Response
	err  error
}

func (a *answers) init(ttl time.Duration, now func() time.Time) {
	a.ttl, a.now, a.m = ttl, now, map[question]*answered{}
}

// ask returns the answer to q, from the cache, a call in flight, or call, which
// must be bounded in time by itself.
func (a *answers) ask(ctx context.Context, q question, call func() (bbb.Response, error)) (bbb.Response, error) {
	if a.ttl <= 0 {
		return call()
	}
	a.mu.Lock()
	e := a.m[q]
	if e != nil && a.fresh(e) {
		a.mu.Unlock()
		select {
		case <-e.done:
			return e.resp, e.err
		case <-ctx.Done():
			return bbb.Response{}, ctx.Err()
		}
	}
	e = &answered{done: make(chan struct{}), at: a.now(), err: errNotAsked}
	a.m[q] = e
	a.mu.Unlock()
	defer func() { // also when call panics: nobody may wait for ever
		close(e.done)
		if e.err != nil { // an error is shared with those who wait, not kept
			a.drop(q, e)
		}
	}()
	e.resp, e.err = call()
	return e.resp, e.err
}

var errNotAsked = errors.New("the call was not made")

// fresh reports whether an entry is in flight or young enough.
func (a *answers) fresh(e *answered) bool {
	select {
	case <-e.done:
		return a.now().Sub(e.at) < a.ttl
	default:
		return true
	}
}

func (a *answers) drop(q question, e *answered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m[q] == e {
		delete(a.m, q)
	}
}

// sweep drops what is too old to be used.
func (a *answers) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for q, e := range a.m {
		if !a.fresh(e) {
			delete(a.m, q)
		}
	}
}
