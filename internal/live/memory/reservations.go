// Package memory holds the shared volatile state of a single process.
package memory

import (
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

const (
	// lifetime is how long a reservation counts unless it is released: by then
	// the meeting's claim is in its server's load.
	lifetime = 2 * time.Minute
	// most bounds the reservations that are kept; beyond it the oldest go.
	most = 100_000
	// near is the share of a server's capacity by which two scores may differ
	// and still be taken for equal.
	near = 1.0 / 1000
)

// Reservations are seats that are taken on servers but may not show in their
// load yet. They are for many goroutines.
type Reservations struct {
	now func() time.Time

	mu      sync.Mutex
	random  *rand.Rand
	byRef   map[string]*list.Element // of *reservation
	byAge   list.List                // the oldest first
	servers map[int64]*taken
	scores  []float64 // scratch space
}

type reservation struct {
	ref      string
	serverID int64
	seats    int
	until    time.Time
}

// taken is what is reserved on one server.
type taken struct {
	seats int
	refs  map[string]int // seats by reference
}

// New returns no reservations. The seed makes choices among equals repeatable;
// with 0 they are random.
func New(now func() time.Time, seed uint64) *Reservations {
	if now == nil {
		now = time.Now
	}
	if seed == 0 {
		seed = rand.Uint64() //nolint:gosec // not a secret
	}
	return &Reservations{
		now:     now,
		random:  rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // not a secret
		byRef:   map[string]*list.Element{},
		servers: map[int64]*taken{},
	}
}

// Reserve chooses the candidate that is the least used with the seats on it,
// (base + reserved + seats) / capacity, one at random among near-equals, and
// reserves the seats there for ref, in one step. A reservation that a candidate
// has counted in its base adds nothing. A ref that has a reservation gives it up
// for the new one. Without candidates the error is fault.Denied.
func (r *Reservations) Reserve(_ context.Context, candidates []pool.Candidate, ref string, seats int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.expire(now)
	r.release(ref)
	if len(candidates) == 0 {
		return 0, fault.New(fault.Denied, "noServerAvailable", "No server can take this meeting right now.")
	}
	seats = max(seats, 1)
	chosen := candidates[r.choose(candidates, seats)].ServerID
	r.byRef[ref] = r.byAge.PushBack(&reservation{ref: ref, serverID: chosen, seats: seats, until: now.Add(lifetime)})
	t := r.servers[chosen]
	if t == nil {
		t = &taken{refs: map[string]int{}}
		r.servers[chosen] = t
	}
	t.seats += seats
	t.refs[ref] = seats
	if r.byAge.Len() > most {
		r.drop(r.byAge.Front())
	}
	return chosen, nil
}

// choose returns the place of the chosen candidate.
func (r *Reservations) choose(candidates []pool.Candidate, seats int) int {
	r.scores = r.scores[:0]
	best := 0
	for i := range candidates {
		c := &candidates[i]
		used := c.Base + float64(r.reserved(c)) + float64(seats)
		r.scores = append(r.scores, used/float64(max(1, c.CapacitySeats)))
		if r.scores[i] < r.scores[best] {
			best = i
		}
	}
	chosen, equals := best, 0
	for i, score := range r.scores {
		// Half of this room at most, or a server with one room more would be
		// as good as one without.
		room := float64(seats) / float64(max(1, candidates[i].CapacitySeats))
		if score-r.scores[best] > min(near, room/2) {
			continue
		}
		equals++
		if r.random.IntN(equals) == 0 {
			chosen = i
		}
	}
	return chosen
}

// reserved returns the seats that are reserved on a candidate and not in its base.
func (r *Reservations) reserved(c *pool.Candidate) int {
	t := r.servers[c.ServerID]
	if t == nil {
		return 0
	}
	seats := t.seats
	if len(c.Counted) < len(t.refs) {
		for ref := range c.Counted {
			seats -= t.refs[ref]
		}
		return seats
	}
	for ref, n := range t.refs {
		if _, ok := c.Counted[ref]; ok {
			seats -= n
		}
	}
	return seats
}

// Release gives up the reservation of ref; nothing happens when there is none.
func (r *Reservations) Release(_ context.Context, ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(ref)
}

func (r *Reservations) release(ref string) {
	if e, ok := r.byRef[ref]; ok {
		r.drop(e)
	}
}

func (r *Reservations) expire(now time.Time) {
	for e := r.byAge.Front(); e != nil && !now.Before(e.Value.(*reservation).until); e = r.byAge.Front() {
		r.drop(e)
	}
}

func (r *Reservations) drop(e *list.Element) {
	gone := r.byAge.Remove(e).(*reservation)
	delete(r.byRef, gone.ref)
	t := r.servers[gone.serverID]
	t.seats -= gone.seats
	delete(t.refs, gone.ref)
	if len(t.refs) == 0 {
		delete(r.servers, gone.serverID)
	}
}
