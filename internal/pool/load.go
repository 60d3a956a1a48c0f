package pool

import "time"

const (
	// youngFor is how long people of a new meeting are still expected to come.
	youngFor = 30 * time.Minute
	// seatsPerCamera is what one camera adds to a server's load, in seats.
	seatsPerCamera = 0.5
)

// Claimed is what the registry knows of a meeting on a server.
type Claimed struct {
	Ref        string
	InternalID string // empty until the server answered the create
	Seats      int    // participants expected when it was placed
	Since      time.Time
}

// load returns a server's load in seats: over its meetings, the greater of the
// people now and the people still expected, and a weight per camera; and the full
// expectation of each claim that the snapshot (nil before the first) doesn't list.
func load(s *Snapshot, claims []Claimed, now time.Time) float64 {
	seats := 0.0
	if s != nil {
		seats = float64(s.Totals.Participants) + seatsPerCamera*float64(s.Totals.Videos)
	}
	for i := range claims {
		c := &claims[i]
		m, ok := s.find(c.InternalID)
		if !ok {
			seats += float64(max(c.Seats, 0))
			continue
		}
		// The snapshot's sum holds the people already.
		seats += max(0, expected(c, now)-float64(s.people(m)))
	}
	return seats
}

// expected returns how many people are still expected in a claimed meeting: all
// at its claim, none after youngFor, linear between.
func expected(c *Claimed, now time.Time) float64 {
	age := max(0, now.Sub(c.Since))
	if age >= youngFor || c.Seats <= 0 {
		return 0
	}
	return float64(c.Seats) * (1 - float64(age)/float64(youngFor))
}
