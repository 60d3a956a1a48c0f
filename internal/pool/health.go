package pool

import "time"

// result is what one poll says of a server.
type result uint8

const (
	resultOK          result = iota
	resultRefused            // answered, but not to our secret
	resultTimeout            // no answer in time
	resultUnreachable        // no connection, or it broke
	resultError              // answered with something else than meetings
)

// results is every result.
func results() []result {
	return []result{resultOK, resultRefused, resultTimeout, resultUnreachable, resultError}
}

// String returns the metric label.
func (r result) String() string {
	switch r {
	case resultOK:
		return "ok"
	case resultRefused:
		return "refused"
	case resultTimeout:
		return "timeout"
	case resultUnreachable:
		return "unreachable"
	case resultError:
		return "error"
	}
	return "error"
}

// failed reports whether the server gave no sign of life that we can use.
func (r result) failed() bool { return r != resultOK && r != resultRefused }

// healths is every health state.
func healths() []Health { return []Health{Unknown, Up, Slow, Down, Refused} }

const (
	refusedAfter = 2 // refusals in a row
	slowAfter    = 2 // slow successes in a row, and quick ones to come back
)

// thresholds are how many consecutive results move a server's health.
type thresholds struct {
	downAfter int
	upAfter   int
}

// tracker turns the results of one server's polls into its health. The zero
// value is of health "" and must be newTracker's.
type tracker struct {
	health   Health
	since    time.Time // when health became what it is; zero for the first
	lastAt   time.Time // of the last result; zero before the first
	last     result
	run      int // polls without success since the last success, for people
	fails    int // consecutive results without success that count towards down
	oks      int
	refusals int
	slow     int
	quick    int
}

func newTracker() tracker { return tracker{health: Unknown} }

// observe takes in one result and reports whether health changed. While frozen,
// failures don't count: they say more about us than about the server.
func (t *tracker) observe(r result, isSlow, frozen bool, th thresholds, now time.Time) bool {
	t.last, t.lastAt = r, now
	next := t.health
	switch {
	case r == resultOK:
		t.run, t.fails, t.refusals = 0, 0, 0
		t.oks++
		next = t.succeed(isSlow, th)
	case r == resultRefused:
		t.run++
		t.fails++
		t.refusals++
		t.oks, t.slow, t.quick = 0, 0, 0
		if t.refusals >= refusedAfter {
			next = Refused
			t.fails = 0 // from here it takes a full run of failures to be down
		}
	default:
		t.run++
		t.oks, t.refusals, t.slow, t.quick = 0, 0, 0, 0
		if frozen {
			t.fails = 0
			break
		}
		t.fails++
		if t.fails >= th.downAfter {
			next = Down
		}
	}
	if next == t.health {
		return false
	}
	t.health, t.since = next, now
	return true
}

// succeed returns the health after a success.
func (t *tracker) succeed(isSlow bool, th thresholds) Health {
	if isSlow {
		t.slow++
		t.quick = 0
	} else {
		t.quick++
		t.slow = 0
	}
	switch {
	case t.health == Down && t.oks < th.upAfter:
		return Down
	case t.health == Slow && t.quick < slowAfter:
		return Slow
	case t.slow >= slowAfter:
		return Slow
	}
	return Up
}

// suspectSelf reports whether so many of the polled servers have failed that the
// fault is likely ours: at least 3 servers, and over 30 % of them.
func suspectSelf(polled, failed int) bool {
	return failed >= 3 && failed*10 > polled*3
}
