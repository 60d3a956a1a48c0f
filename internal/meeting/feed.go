package meeting

import (
	"context"
	"sync"
	"time"
)

// feedState is how much the routes can be trusted.
type feedState int

const (
	feedFresh feedState = iota // confirmed a moment ago
	feedStale                  // too long ago: ask SQL
	feedDown                   // SQL does not answer: what is known must do
)

// feed is the state of tailing the store's changes.
type feed struct {
	mu     sync.Mutex
	loaded bool
	at     time.Time // of the last success
	failed bool      // the last try failed
	high   int64     // the highest Seq seen
	marks  []mark    // older highs, oldest first
}

type mark struct {
	at   time.Time
	high int64
}

// commitWindow is how far below the highest sequence number of the first load a
// transaction may still have been open.
const commitWindow = 1000

func (f *feed) state(now time.Time, stale time.Duration) feedState {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.failed:
		return feedDown
	case now.Sub(f.at) > stale:
		return feedStale
	}
	return feedFresh
}

// floor is the sequence number below which nothing can be missing: the highest
// one known an overlap window ago.
func (f *feed) floor(now time.Time, overlap time.Duration) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.marks) > 1 && now.Sub(f.marks[1].at) >= overlap {
		f.marks = f.marks[1:]
	}
	return f.marks[0].high
}

func (f *feed) succeeded(now time.Time, high int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded {
		f.loaded = true
		f.marks = append(f.marks, mark{now, max(0, high-commitWindow)})
	}
	f.high = max(f.high, high)
	f.at, f.failed = now, false
	f.marks = append(f.marks, mark{now, f.high})
}

func (f *feed) failure() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
}

// Load reads every live claim. It is called once, before the first Tail.
func (r *Registry) Load(ctx context.Context) error {
	began := r.now()
	claims, high, err := r.store.Live(ctx)
	if err != nil {
		return err
	}
	for _, c := range claims {
		r.routes.apply(c, began)
	}
	r.feed.succeeded(began, high)
	return nil
}

// Tail takes over what other replicas changed since the last call and writes
// what could not be written while the store was away.
func (r *Registry) Tail(ctx context.Context) error {
	if !r.Loaded() {
		return r.Load(ctx)
	}
	// What is learned from here on may overtake changes that are not visible yet.
	began, high := r.now(), r.routes.highest()
	floor := r.feed.floor(began, r.limits.FeedOverlap)
	claims, err := r.store.Changes(ctx, floor, r.routes.seen)
	if err != nil {
		r.feed.failure()
		return err
	}
	for _, c := range claims {
		r.routes.apply(c, began)
	}
	r.feed.succeeded(began, high)
	r.routes.forget(floor)
	r.answers.sweep()
	r.saveUnsaved(ctx)
	return nil
}

// Loaded reports whether the live claims have been read.
func (r *Registry) Loaded() bool {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	return r.feed.loaded
}

// Known reports whether what this replica knows is complete and confirmed, so
// that the absence of claims in memory means something for lists.
func (r *Registry) Known() bool {
	return r.Loaded() && r.feed.state(r.now(), r.limits.FeedStale) == feedFresh
}
