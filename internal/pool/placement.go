package pool

import (
	"slices"
	"time"
)

// Ask is what a new meeting needs of its server.
type Ask struct {
	Pools   []string // empty: any; their order means nothing yet
	Seats   int      // participants expected
	Exclude []int64  // servers that must not be chosen
}

// View is what is known of one server at one moment.
type View struct {
	Server      Server
	Health      Health
	CircuitOpen bool
	// Doubtful reports that the last poll or the last call failed: health and
	// circuit have not moved yet, but another server is the better choice.
	Doubtful bool
	Snapshot *Snapshot // nil before the first successful poll
	Claims   []Claimed
}

// Candidate is a server that may get a meeting.
type Candidate struct {
	ServerID      int64
	Name          string
	Pool          string
	CapacitySeats int // at least 1
	// Base is the server's load in seats, without reservations.
	Base float64
	// Counted are the references of the claims whose seats are in Base: a
	// reservation of one of them adds nothing.
	Counted map[string]struct{}
}

// Candidates returns the servers that may get the meeting, in the order of views:
// enabled, not excluded, of an asked-for pool, circuit not open, and of the best
// health there is among those: up, else slow, else up but doubtful, else slow but
// doubtful, else unknown. It does no I/O.
func Candidates(views []View, ask Ask, now time.Time) []Candidate {
	places := eligible(views, ask)
	if len(places) == 0 {
		return nil
	}
	out := make([]Candidate, 0, len(places))
	for _, i := range places {
		v := &views[i]
		c := Candidate{
			ServerID:      v.Server.ID,
			Name:          v.Server.Name,
			Pool:          v.Server.Pool,
			CapacitySeats: max(1, v.Server.CapacitySeats),
			Base:          load(v.Snapshot, v.Claims, now),
		}
		if len(v.Claims) > 0 {
			c.Counted = make(map[string]struct{}, len(v.Claims))
			for j := range v.Claims {
				c.Counted[v.Claims[j].Ref] = struct{}{}
			}
		}
		out = append(out, c)
	}
	return out
}

// eligible returns the places in views of the servers that may get the meeting.
func eligible(views []View, ask Ask) []int {
	var out []int
	best := 0
	for i := range views {
		v := &views[i]
		r := rank(v.Health, v.Doubtful)
		if r == 0 || r < best || v.CircuitOpen || v.Server.AdminState != Enabled ||
			len(ask.Pools) > 0 && !slices.Contains(ask.Pools, v.Server.Pool) ||
			slices.Contains(ask.Exclude, v.Server.ID) {
			continue
		}
		if r > best {
			best = r
			out = out[:0]
		}
		out = append(out, i)
	}
	return out
}

// rank orders servers for placement: the greater the better, 0 is unfit.
func rank(h Health, doubtful bool) int {
	switch {
	case h == Up && !doubtful:
		return 5
	case h == Slow && !doubtful:
		return 4
	case h == Up:
		return 3
	case h == Slow:
		return 2
	case h == Unknown:
		return 1
	}
	return 0
}

// Candidates is the function Candidates over the pool's servers as they are now.
func (p *Pool) Candidates(ask Ask) []Candidate {
	views := p.views()
	// Claims cost most to collect: only of servers that may be chosen.
	for _, i := range eligible(views, ask) {
		views[i].Claims = p.claims(views[i].Server.ID)
	}
	return Candidates(views, ask, p.o.Now())
}

func (p *Pool) views() []View {
	members := p.roster.Load().list
	views := make([]View, 0, len(members))
	for _, m := range members {
		views = append(views, View{
			Server:      m.config.Load().server,
			Health:      m.state.Load().health,
			CircuitOpen: m.circuitOpen(),
			Doubtful:    m.doubtful(),
			Snapshot:    m.snapshot.Load(),
		})
	}
	return views
}

func (p *Pool) claims(serverID int64) []Claimed {
	if p.o.Claims == nil {
		return nil
	}
	return p.o.Claims(serverID)
}
