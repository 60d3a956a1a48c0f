package meeting

import "slices"

// Live reports whether the claim holds its room: at most one claim of a room
// does, under a unique constraint.
func (s State) Live() bool {
	switch s {
	case Claimed, Unknown, Running, Ending:
		return true
	case Lost, Ended, Released, Superseded:
	}
	return false
}

// Final reports whether the claim will never change again.
func (s State) Final() bool {
	switch s {
	case Ended, Released, Superseded:
		return true
	case Claimed, Unknown, Running, Ending, Lost:
	}
	return false
}

// next lists where a state may go. Staying in a state (to record more about
// it) is always allowed, but for final states.
func (s State) next() []State {
	switch s {
	case Claimed:
		return []State{Running, Unknown, Released}
	case Unknown:
		return []State{Running, Released}
	case Running:
		return []State{Ending, Lost, Ended}
	case Ending:
		return []State{Ended, Lost}
	case Lost:
		return []State{Running, Superseded, Ended}
	case Ended, Released, Superseded:
	}
	return nil
}

// CanBecome reports whether a claim may go from s to another state.
func (s State) CanBecome(to State) bool {
	if s == to {
		return !s.Final()
	}
	return slices.Contains(s.next(), to)
}

// States is every state, in the order of a claim's life.
func States() []State {
	return []State{Claimed, Unknown, Running, Ending, Lost, Ended, Released, Superseded}
}
