package memory

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{at: time.Unix(1_800_000_000, 0)} }

func equal(n, capacity int) []pool.Candidate {
	out := make([]pool.Candidate, n)
	for i := range out {
		out[i] = pool.Candidate{ServerID: int64(i + 1), CapacitySeats: capacity}
	}
	return out
}

// T04: many creates at once while no poll shows any of them.
func TestT04HerdOverEqualServers(t *testing.T) {
	t.Parallel()
	for _, seats := range []int{1, 20, 37} {
		for _, capacity := range []int{1, 150, 5000} {
			t.Run(fmt.Sprintf("rooms of %d on %d seats", seats, capacity), func(t *testing.T) {
				t.Parallel()
				r := New(time.Now, 0)
				candidates := equal(22, capacity)
				var mu sync.Mutex
				rooms := map[int64]int{}
				var wg sync.WaitGroup
				for i := range 200 {
					wg.Go(func() {
						id, err := r.Reserve(t.Context(), candidates, fmt.Sprint(i), seats)
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						rooms[id]++
					})
				}
				wg.Wait()
				least, most := 200, 0
				for i := range 22 {
					least, most = min(least, rooms[int64(i+1)]), max(most, rooms[int64(i+1)])
				}
				require.LessOrEqual(t, most-least, 1)
			})
		}
	}
}

// One idle server, five with 50 users, 60 rooms of 20 at once: the idle one must
// not get them all.
func TestOneIdleServerOfSix(t *testing.T) {
	t.Parallel()
	r := New(nil, 0)
	candidates := equal(6, 400)
	for i := range candidates[1:] {
		candidates[i+1].Base = 50
	}
	rooms := map[int64]int{}
	for i := range 60 {
		id, err := r.Reserve(t.Context(), candidates, fmt.Sprint(i), 20)
		require.NoError(t, err)
		rooms[id]++
	}
	// 250 + 1200 seats on six servers are 241.7 each.
	for _, c := range candidates {
		best := (241.7 - c.Base) / 20
		require.InDelta(t, best, rooms[c.ServerID], 1, "server %d", c.ServerID)
	}
}

func TestCapacityDecides(t *testing.T) {
	t.Parallel()
	r := New(nil, 0)
	candidates := []pool.Candidate{{ServerID: 1, CapacitySeats: 100}, {ServerID: 2, CapacitySeats: 300}}
	rooms := map[int64]int{}
	for i := range 40 {
		id, err := r.Reserve(t.Context(), candidates, fmt.Sprint(i), 10)
		require.NoError(t, err)
		rooms[id]++
	}
	require.InDelta(t, 10, rooms[1], 1)
	require.InDelta(t, 30, rooms[2], 1)
}

func TestChoiceAmongEquals(t *testing.T) {
	t.Parallel()
	const n = 3000
	got := map[int64]int{}
	r := New(nil, 7)
	candidates := equal(3, 100)
	candidates[2].Base = 0.05 // a camera's worth of noise is no difference
	for range n {
		id, err := r.Reserve(t.Context(), candidates, "x", 10)
		require.NoError(t, err)
		got[id]++
	}
	for id := range int64(3) {
		require.InDelta(t, n/3, got[id+1], n/10, "server %d", id+1)
	}

	// The same seed makes the same choices.
	a, b := New(nil, 42), New(nil, 42)
	for i := range 50 {
		ida, err := a.Reserve(t.Context(), equal(9, 100), fmt.Sprint(i), 5)
		require.NoError(t, err)
		idb, err := b.Reserve(t.Context(), equal(9, 100), fmt.Sprint(i), 5)
		require.NoError(t, err)
		require.Equal(t, ida, idb)
	}
}

func TestNoCandidates(t *testing.T) {
	t.Parallel()
	r := New(nil, 0)
	_, err := r.Reserve(t.Context(), nil, "x", 10)
	require.True(t, fault.Is(err, fault.Denied))
	require.Equal(t, "noServerAvailable", fault.As(err).Key)
}

// used returns what is reserved on a server and not in a candidate's base.
func (r *Reservations) used(c pool.Candidate) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(r.now())
	return r.reserved(&c)
}

func TestReservationsEnd(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := New(c.now, 0)
	one, two := equal(2, 100)[:1], equal(2, 100)[1:]
	reserve := func(on []pool.Candidate, ref string, seats int) {
		t.Helper()
		_, err := r.Reserve(t.Context(), on, ref, seats)
		require.NoError(t, err)
	}
	reserve(one, "a", 10)
	reserve(one, "b", 5)
	require.Equal(t, 15, r.used(one[0]))

	// Again on another server: moved, not doubled.
	reserve(two, "b", 7)
	require.Equal(t, 10, r.used(one[0]))
	require.Equal(t, 7, r.used(two[0]))

	// What is in the base already adds nothing.
	counted := one[0]
	counted.Base, counted.Counted = 10, map[string]struct{}{"a": {}, "elsewhere": {}, "b": {}}
	require.Zero(t, r.used(counted))
	reserve(one, "c", 3)
	require.Equal(t, 3, r.used(counted))
	require.Equal(t, 13, r.used(one[0]))

	r.Release(t.Context(), "a")
	r.Release(t.Context(), "a")
	r.Release(t.Context(), "never")
	require.Equal(t, 3, r.used(one[0]))

	c.at = c.at.Add(lifetime - time.Second)
	require.Equal(t, 3, r.used(one[0]))
	reserve(one, "c", 4) // renewed
	c.at = c.at.Add(time.Second)
	require.Equal(t, 4, r.used(one[0]))
	require.Zero(t, r.used(two[0]))
	c.at = c.at.Add(lifetime)
	require.Zero(t, r.used(one[0]))
	require.Empty(t, r.byRef)
	require.Empty(t, r.servers)
	require.Zero(t, r.byAge.Len())

	reserve(one, "none", 0)
	require.Equal(t, 1, r.used(one[0]), "every room takes a seat")
}

func TestExpiredReservationsDoNotDecide(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := New(c.now, 0)
	candidates := equal(2, 100)
	candidates[1].Base = 10
	for i, want := range []int64{1, 2, 1} {
		id, err := r.Reserve(t.Context(), candidates, fmt.Sprint(i), 40)
		require.NoError(t, err)
		require.Equal(t, want, id)
	}
	c.at = c.at.Add(lifetime)
	id, err := r.Reserve(t.Context(), candidates, "later", 40)
	require.NoError(t, err)
	require.EqualValues(t, 1, id)
}

func TestReservationsAreBounded(t *testing.T) {
	t.Parallel()
	r := New(nil, 0)
	candidates := equal(2, 100)
	for i := range most + 10 {
		_, err := r.Reserve(t.Context(), candidates, fmt.Sprint(i), 1)
		require.NoError(t, err)
	}
	require.Len(t, r.byRef, most)
	require.Equal(t, most, r.used(candidates[0])+r.used(candidates[1]))
}

// A model of the reservations in the plainest form.
func TestReserveProperties(t *testing.T) {
	t.Parallel()
	type held struct {
		server int64
		seats  int
		until  time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		r := New(c.now, 1)
		model := map[string]held{}
		refs := rapid.StringMatching("[a-h]")
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				c.at = c.at.Add(time.Duration(rapid.IntRange(1, 70).Draw(t, "seconds")) * time.Second)
			},
			"release": func(t *rapid.T) {
				ref := refs.Draw(t, "ref")
				r.Release(t.Context(), ref)
				delete(model, ref)
			},
			"reserve": func(t *rapid.T) {
				ref, seats := refs.Draw(t, "ref"), rapid.IntRange(1, 50).Draw(t, "seats")
				var candidates []pool.Candidate
				for id := range int64(5) {
					if rapid.Bool().Draw(t, "listed") {
						continue
					}
					x := pool.Candidate{
						ServerID: id, CapacitySeats: rapid.IntRange(1, 200).Draw(t, "capacity"),
						Base: float64(rapid.IntRange(0, 100).Draw(t, "base")), Counted: map[string]struct{}{},
					}
					for _, ref := range rapid.SliceOfN(refs, 0, 5).Draw(t, "counted") {
						x.Counted[ref] = struct{}{}
					}
					candidates = append(candidates, x)
				}
				delete(model, ref)
				score := func(x pool.Candidate) float64 {
					used := x.Base + float64(seats)
					for ref, h := range model {
						if _, ok := x.Counted[ref]; !ok && h.server == x.ServerID && c.at.Before(h.until) {
							used += float64(h.seats)
						}
					}
					return used / float64(x.CapacitySeats)
				}
				id, err := r.Reserve(t.Context(), candidates, ref, seats)
				if len(candidates) == 0 {
					if err == nil {
						t.Fatal("chose among none")
					}
					return
				}
				best, got := math.Inf(1), math.Inf(1)
				for _, x := range candidates {
					best = min(best, score(x))
					if x.ServerID == id {
						got = score(x)
					}
				}
				if err != nil || got > best+near {
					t.Fatalf("server %d scores %v, the best %v (%v)", id, got, best, err)
				}
				model[ref] = held{server: id, seats: seats, until: c.at.Add(lifetime)}
			},
			"": func(t *rapid.T) {
				for id := range int64(5) {
					want := 0
					for _, h := range model {
						if h.server == id && c.at.Before(h.until) {
							want += h.seats
						}
					}
					if got := r.used(pool.Candidate{ServerID: id}); got != want {
						t.Fatalf("server %d: %d seats reserved, want %d", id, got, want)
					}
				}
			},
		})
	})
}

func BenchmarkReserve1000(b *testing.B) {
	r := New(nil, 1)
	candidates := equal(1000, 400)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		_, _ = r.Reserve(b.Context(), candidates, fmt.Sprint(i%5000), 20)
	}
}
