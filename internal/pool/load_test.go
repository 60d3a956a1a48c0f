package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	claim := func(internalID string, seats int, age time.Duration) Claimed {
		return Claimed{Ref: "ref-" + internalID, InternalID: internalID, Seats: seats, Since: now.Add(-age)}
	}
	for _, tt := range []struct {
		name   string
		rooms  []room
		claims []Claimed
		none   bool // no snapshot
		want   float64
	}{
		{name: "nothing"},
		{name: "no snapshot", none: true},
		{name: "no snapshot, claims", none: true, claims: []Claimed{claim("a", 20, 0), claim("", 5, time.Hour)}, want: 25},
		{name: "people of meetings that are not ours", rooms: []room{{id: "a", people: 7}, {id: "b", people: 3}}, want: 10},
		{name: "cameras", rooms: []room{{id: "a", people: 4, videos: 3}}, want: 5.5},
		{name: "a breakout's users are the parent's", rooms: []room{{id: "b", parent: "a", people: 6, videos: 2}, {id: "a", people: 10}}, want: 11},
		{name: "a breakout without its parent here", rooms: []room{{id: "b", parent: "a", people: 6}}, want: 6},
		{name: "a breakout of itself", rooms: []room{{id: "b", parent: "b", people: 6}}, want: 6},
		{name: "new and empty", rooms: []room{{id: "a"}}, claims: []Claimed{claim("a", 20, 0)}, want: 20},
		{name: "new and filling", rooms: []room{{id: "a", people: 8}}, claims: []Claimed{claim("a", 20, 0)}, want: 20},
		{name: "fuller than expected", rooms: []room{{id: "a", people: 35}}, claims: []Claimed{claim("a", 20, 0)}, want: 35},
		{name: "a third of the half hour", rooms: []room{{id: "a", people: 2}}, claims: []Claimed{claim("a", 30, 10*time.Minute)}, want: 20},
		{name: "more people than still expected", rooms: []room{{id: "a", people: 12}}, claims: []Claimed{claim("a", 20, 15*time.Minute)}, want: 12},
		{name: "after the half hour", rooms: []room{{id: "a", people: 2}}, claims: []Claimed{claim("a", 30, 30*time.Minute)}, want: 2},
		{name: "a clock that went back", rooms: []room{{id: "a"}}, claims: []Claimed{claim("a", 30, -time.Hour)}, want: 30},
		{name: "not listed yet", rooms: []room{{id: "a", people: 5}}, claims: []Claimed{claim("b", 20, time.Minute)}, want: 25},
		{name: "create not answered", rooms: []room{{id: "a", people: 5}}, claims: []Claimed{claim("", 20, time.Minute)}, want: 25},
		{name: "no expectation", rooms: []room{{id: "a", people: 5}}, claims: []Claimed{claim("a", 0, 0), claim("b", -3, 0)}, want: 5},
		{name: "an expectation of a breakout", rooms: []room{{id: "b", parent: "a", people: 6}, {id: "a", people: 10}}, claims: []Claimed{claim("a", 20, 0)}, want: 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s *Snapshot
			if !tt.none {
				s = snapshotOf(t, tt.rooms...)
			}
			require.InDelta(t, tt.want, load(s, tt.claims, now), 1e-9)
		})
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := snapshotOf(t, room{id: "a", people: 10, videos: 2}, room{id: "b", parent: "a", people: 4}, room{id: "c", people: 3})
	require.Equal(t, Totals{Meetings: 2, Breakouts: 1, Participants: 13, Listeners: 3, Voice: 6, Videos: 2, Largest: 10}, s.Totals)
	m, ok := s.ByInternalID("c")
	require.True(t, ok)
	require.Equal(t, "g-c", m.MeetingID)
	_, ok = s.ByInternalID("d")
	require.False(t, ok)
	_, ok = s.ByInternalID("")
	require.False(t, ok)
	var none *Snapshot
	_, ok = none.ByInternalID("a")
	require.False(t, ok)
}

func TestFit(t *testing.T) {
	t.Parallel()
	loose := append(make([]byte, 0, 1000), "abc"...)
	require.Less(t, cap(fit(loose)), 100)
	tight := []byte("abcdefgh")
	require.Same(t, &tight[0], &fit(tight)[0])
}
