package meeting

import (
	"context"
	"sync"

	"github.com/bluegate/bluegate/internal/fault"
)

// flights lets the creates of one room that are under way on this replica share
// one: the first leads, the others wait for what it comes to.
type flights struct {
	mu sync.Mutex
	m  map[room]*flight
}

type flight struct {
	query  string // of the leader's call
	landed chan struct{}
	out    Created
	err    error
}

func (fs *flights) join(key room, query string) (f *flight, leads bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.m[key]; f != nil {
		return f, false
	}
	if fs.m == nil {
		fs.m = map[room]*flight{}
	}
	f = &flight{query: query, landed: make(chan struct{})}
	fs.m[key] = f
	return f, true
}

// lead does what the flight is for and lands it, even when do panics: the others
// must not wait for ever.
func (fs *flights) lead(key room, f *flight, do func() (Created, error)) (Created, error) {
	f.err = errBusyRoom
	defer func() {
		fs.mu.Lock()
		delete(fs.m, key)
		fs.mu.Unlock()
		close(f.landed)
	}()
	f.out, f.err = do()
	return f.out, f.err
}

// under returns the create of the room that is under way, if there is one.
func (fs *flights) under(key room) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.m[key]
}

func (f *flight) wait(ctx context.Context) (Created, error) {
	select {
	case <-f.landed:
		return f.out, f.err
	case <-ctx.Done():
		return Created{}, fault.Wrap(fault.Unavailable, "roomBusy", errBusyRoom.Message, ctx.Err())
	}
}
