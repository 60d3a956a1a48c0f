package bbbsim

import "time"

// Clock tells the time. A test hands in its own to move it by hand.
type Clock interface {
	Now() time.Time
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// auditTick is how often a meeting looks at its own expiry rules (BBB API, life
// cycle: the audit runs about every ten seconds).
const auditTick = 10 * time.Second

// scaled turns a duration of simulated life into one of the server's clock.
func (s *Server) scaled(d time.Duration) time.Duration {
	if s.cfg.Speed == 1 {
		return d
	}
	return time.Duration(float64(d) / s.cfg.Speed)
}

// audit returns the first audit of a meeting created at `created` that finds the
// limit `due` exceeded. The rules say "more than", so an audit at exactly `due`
// does not count.
func (s *Server) audit(created, due time.Time) time.Time {
	tick := s.scaled(auditTick)
	if tick <= 0 {
		return due
	}
	if due.Before(created) {
		due = created
	}
	return created.Add((due.Sub(created)/tick + 1) * tick)
}
