package pool

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCandidates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	view := func(id int64, change func(*View)) View {
		v := View{Server: server(id), Health: Up}
		if change != nil {
			change(&v)
		}
		return v
	}
	health := func(h Health) func(*View) { return func(v *View) { v.Health = h } }
	state := func(s AdminState) func(*View) { return func(v *View) { v.Server.AdminState = s } }
	pool := func(name string) func(*View) { return func(v *View) { v.Server.Pool = name } }
	open := func(v *View) { v.CircuitOpen = true }
	doubtful := func(v *View) { v.Doubtful = true }
	for _, tt := range []struct {
		name  string
		views []View
		ask   Ask
		want  []int64
	}{
		{name: "no servers"},
		{name: "in their order", views: []View{view(2, nil), view(1, nil)}, want: []int64{2, 1}},
		{name: "enabled only", views: []View{view(1, state(Draining)), view(2, state(Disabled)), view(3, nil)}, want: []int64{3}},
		{name: "down and refused never", views: []View{view(1, health(Down)), view(2, health(Refused))}},
		{name: "slow only without up", views: []View{view(1, health(Slow)), view(2, nil)}, want: []int64{2}},
		{name: "slow before unknown", views: []View{view(1, health(Unknown)), view(2, health(Slow)), view(3, health(Down))}, want: []int64{2}},
		{name: "unknown last", views: []View{view(1, health(Unknown)), view(2, health(Down))}, want: []int64{1}},
		{name: "circuit open", views: []View{view(1, open), view(2, health(Slow))}, want: []int64{2}},
		{name: "doubtful only without a better one", views: []View{view(1, doubtful), view(2, nil)}, want: []int64{2}},
		{name: "slow before doubtful", views: []View{view(1, doubtful), view(2, health(Slow))}, want: []int64{2}},
		{name: "doubtful before unknown", views: []View{view(1, health(Unknown)), view(2, doubtful)}, want: []int64{2}},
		{name: "excluded", views: []View{view(1, nil), view(2, health(Slow))}, ask: Ask{Exclude: []int64{1}}, want: []int64{2}},
		{name: "pools", views: []View{view(1, pool("a")), view(2, pool("b")), view(3, pool("c"))}, ask: Ask{Pools: []string{"c", "a"}}, want: []int64{1, 3}},
		{name: "slow in the asked pool, up elsewhere", views: []View{view(1, pool("b")), view(2, health(Slow))}, ask: Ask{Pools: []string{"default"}}, want: []int64{2}},
		{name: "no such pool", views: []View{view(1, nil)}, ask: Ask{Pools: []string{"x"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []int64
			for _, c := range Candidates(tt.views, tt.ask, now) {
				got = append(got, c.ServerID)
			}
			require.Equal(t, tt.want, got)
		})
	}

	t.Run("what is in them", func(t *testing.T) {
		t.Parallel()
		s := server(7)
		s.CapacitySeats, s.Pool = 0, "gold"
		got := Candidates([]View{{
			Server: s, Health: Up, Snapshot: snapshotOf(t, room{id: "a", people: 30}),
			Claims: []Claimed{{Ref: "r1", InternalID: "a", Seats: 20, Since: now}, {Ref: "r2", Seats: 5, Since: now}},
		}}, Ask{}, now)
		require.Equal(t, []Candidate{{
			ServerID: 7, Name: "s7", Pool: "gold", CapacitySeats: 1, Base: 35,
			Counted: map[string]struct{}{"r1": {}, "r2": {}},
		}}, got)
	})
}

func TestPoolCandidates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) { f.body = listing(room{id: "a", people: 4}) })
		var looked []int64
		ss := servers(3)
		ss[2].AdminState = Draining
		p := fakePool(t, f, Options{Claims: func(id int64) []Claimed {
			looked = append(looked, id)
			return []Claimed{{Ref: fmt.Sprint("r", id), Seats: 10, Since: time.Now()}}
		}}, ss)
		got := p.Candidates(Ask{})
		require.Len(t, got, 2, "unknown, but there is no better one")
		require.InDelta(t, 10, got[0].Base, 1e-9, "its claims, without a snapshot")
		p.Start(t.Context())
		synctest.Wait()
		looked = nil
		got = p.Candidates(Ask{Exclude: []int64{2}})
		require.Len(t, got, 1)
		require.InDelta(t, 14, got[0].Base, 1e-9)
		require.Contains(t, got[0].Counted, "r1")
		require.Equal(t, []int64{1}, looked)

		f.set(1, func(f *fake) { f.status = 500 })
		_, _ = p.Call(t.Context(), 1, named("create"))
		got = p.Candidates(Ask{})
		require.Len(t, got, 1, "a failed call makes a server the second choice at once")
		require.EqualValues(t, 2, got[0].ServerID)
		f.set(1, func(f *fake) { f.status = 0 })
		time.Sleep(15 * time.Second)
		require.Len(t, p.Candidates(Ask{}), 2, "until the next good poll")

		f.set(1, func(f *fake) { f.status = 500 })
		for range 5 {
			_, _ = p.Call(t.Context(), 1, named("create"))
		}
		got = p.Candidates(Ask{})
		require.Len(t, got, 1)
		require.EqualValues(t, 2, got[0].ServerID)
		f.set(1, func(f *fake) { f.status = 0 })
		time.Sleep(15 * time.Second)
		require.Len(t, p.Candidates(Ask{}), 2, "a half-open circuit gets its trial")
	})
}

func TestCandidatesProperties(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	pools := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "servers")
		views := make([]View, n)
		for i := range views {
			v := &views[i]
			v.Server = Server{
				ID: int64(i + 1), CapacitySeats: rapid.IntRange(-1, 500).Draw(t, "capacity"),
				Pool:       rapid.SampledFrom(pools).Draw(t, "pool"),
				AdminState: rapid.SampledFrom([]AdminState{Enabled, Enabled, Draining, Disabled}).Draw(t, "state"),
			}
			v.Health = rapid.SampledFrom(healths()).Draw(t, "health")
			v.CircuitOpen = rapid.Bool().Draw(t, "open")
			for range rapid.IntRange(0, 4).Draw(t, "claims") {
				v.Claims = append(v.Claims, Claimed{
					Ref: rapid.StringN(1, 3, 3).Draw(t, "ref"), Seats: rapid.IntRange(0, 50).Draw(t, "seats"),
					Since: now.Add(-time.Duration(rapid.IntRange(-10, 90).Draw(t, "age")) * time.Minute),
				})
			}
		}
		ask := Ask{
			Pools:   rapid.SliceOfN(rapid.SampledFrom(pools), 0, 2).Draw(t, "pools"),
			Exclude: rapid.SliceOfN(rapid.Int64Range(1, 12), 0, 3).Draw(t, "exclude"),
		}
		got := Candidates(views, ask, now)
		fit := func(v View) bool {
			return v.Server.AdminState == Enabled && !v.CircuitOpen && v.Health != Down && v.Health != Refused &&
				(len(ask.Pools) == 0 || slices.Contains(ask.Pools, v.Server.Pool)) && !slices.Contains(ask.Exclude, v.Server.ID)
		}
		some, best := false, Unknown
		for _, v := range views {
			if fit(v) {
				some = true
				if v.Health == Up || v.Health == Slow && best != Up {
					best = v.Health
				}
			}
		}
		if some != (len(got) > 0) {
			t.Fatalf("fit servers: %v, candidates: %d", some, len(got))
		}
		seen := map[int64]bool{}
		for _, c := range got {
			v := views[c.ServerID-1]
			if seen[c.ServerID] || !fit(v) || v.Health != best {
				t.Fatalf("%+v is no candidate", c)
			}
			seen[c.ServerID] = true
			seats := 0
			for _, claim := range v.Claims {
				seats += claim.Seats
				if _, ok := c.Counted[claim.Ref]; !ok {
					t.Fatalf("%q is in the base and not among the counted", claim.Ref)
				}
			}
			if c.CapacitySeats < 1 || c.Base < 0 || c.Base != float64(seats) {
				t.Fatalf("%+v: want a base of %d", c, seats)
			}
		}
		for _, v := range views {
			if fit(v) && v.Health == best && !seen[v.Server.ID] {
				t.Fatalf("server %d is missing", v.Server.ID)
			}
		}
	})
}

// A claim's life never lowers the load below the people there, and a listed
// claim never counts for more than the greater of people and expectation.
func TestLoadProperties(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		var rooms []room
		var claims []Claimed
		people, most := 0, 0
		for i := range rapid.IntRange(0, 8).Draw(t, "rooms") {
			r := room{id: fmt.Sprint(i), people: rapid.IntRange(0, 80).Draw(t, "people")}
			rooms = append(rooms, r)
			people += r.people
			if !rapid.Bool().Draw(t, "claimed") {
				most += r.people
				continue
			}
			c := Claimed{
				Ref: r.id, InternalID: r.id, Seats: rapid.IntRange(0, 80).Draw(t, "seats"),
				Since: now.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(t, "age")) * time.Second),
			}
			claims = append(claims, c)
			most += max(r.people, c.Seats)
		}
		s := NewSnapshot(1, 1, 0, now, mustParse(t, rooms))
		got := load(s, claims, now)
		later := load(s, claims, now.Add(10*time.Minute))
		if got < float64(people) || got > float64(most)+1e-9 || later > got || later < float64(people) {
			t.Fatalf("load %v, later %v: people %d, at most %d", got, later, people, most)
		}
	})
}
