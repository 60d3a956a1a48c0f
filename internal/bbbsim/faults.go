package bbbsim

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

// Mode is the way a server misbehaves.
type Mode string

// The fault modes. All but ModeRefuse and ModeDown touch API calls only; control
// under /_sim/ works in every mode but ModeDown.
const (
	// ModeOK answers. It is the zero value's meaning too.
	ModeOK Mode = "ok"
	// ModeRefuse resets (RST) the connection as soon as the path of a request is
	// read, before anything takes effect or is logged. The client sees a
	// connection that was established and then reset: it cannot know whether
	// the call took effect. Control requests on the same port are still served.
	ModeRefuse Mode = "refuse"
	// ModeDown closes the port of a started server and every connection: a
	// client gets "connection refused", which proves that nothing took effect.
	// Control is closed too, so this mode exists for tests in the same process
	// only. The port is listened on again, with the same number, when the mode
	// changes. On a server that is only used as a handler it resets every
	// request, control included.
	ModeDown Mode = "down"
	// ModeHang accepts a request and does not answer it until the mode changes,
	// the client goes or the server is closed. The call takes effect when it is
	// answered, not before.
	ModeHang Mode = "hang"
	// ModeError answers 500 with an HTML page; the call takes no effect.
	ModeError Mode = "error"
	// ModeCut lets the call take effect, writes half of the real answer and
	// closes the connection.
	ModeCut Mode = "cut"
)

var errUnknownMode = errors.New("unknown fault mode")

// ParseMode reads the name of a mode; "" is ok.
func ParseMode(text string) (Mode, error) {
	mode := Mode(text)
	switch mode {
	case "":
		return ModeOK, nil
	case ModeOK, ModeRefuse, ModeDown, ModeHang, ModeError, ModeCut:
		return mode, nil
	}
	return "", fmt.Errorf("%w %q", errUnknownMode, text)
}

// Faults says how a server misbehaves from now on.
type Faults struct {
	Mode Mode
	// Latency is waited, in real time, after the call took effect and before it
	// is answered: a client that gives up leaves a created meeting behind.
	Latency time.Duration
	// Calls limits the faults to the calls of these names; empty is all. It
	// means nothing to ModeDown.
	Calls []string
}

func (f Faults) hits(call string) bool {
	return len(f.Calls) == 0 || slices.Contains(f.Calls, call)
}

// SetFaults replaces the faults in force; Faults{} ends them. Requests that hang
// look at the new faults. It panics when a port closed by ModeDown cannot be
// listened on again, since a test could not go on and has no other way to know.
func (s *Server) SetFaults(f Faults) {
	if f.Mode == "" {
		f.Mode = ModeOK
	}
	f.Calls = slices.Clone(f.Calls)
	s.faultMu.Lock()
	s.faults = f
	close(s.faultsChanged)
	s.faultsChanged = make(chan struct{})
	s.faultMu.Unlock()

	if err := s.listener.follow(s); err != nil {
		panic(fmt.Sprintf("bbbsim: %v", err))
	}
}

// Faults returns the faults in force.
func (s *Server) Faults() Faults {
	f, _ := s.currentFaults()
	return f
}

// currentFaults returns the faults in force, and a channel that is closed when
// they are replaced.
func (s *Server) currentFaults() (Faults, <-chan struct{}) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.faults, s.faultsChanged
}

// faultsFor returns what is to be done to one call.
func (s *Server) faultsFor(call string) (Faults, <-chan struct{}) {
	f, changed := s.currentFaults()
	if f.Mode != ModeDown && !f.hits(call) {
		return Faults{Mode: ModeOK}, changed
	}
	return f, changed
}

// hangWhileTold returns the faults for a call once it is no longer to hang; false
// when the client has gone or the server closes.
func (s *Server) hangWhileTold(r *http.Request, call string) (Faults, bool) {
	for {
		f, changed := s.faultsFor(call)
		if f.Mode != ModeHang {
			return f, true
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return Faults{}, false
		case <-s.closing:
			return Faults{}, false
		}
	}
}

// wait waits for the latency of a fault; false when there is nobody left to
// answer.
func (s *Server) wait(r *http.Request, latency time.Duration) bool {
	if latency <= 0 {
		return true
	}
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.closing:
	}
	return false
}

// resetConnection ends the connection of a request with RST instead of the usual
// FIN, so that the client sees "connection reset" and no answer.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// Not a connection we may take over: this aborts it without an answer.
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: without it the client sees EOF
	}
	_ = conn.Close() // nothing can be done about a connection that won't close
}
