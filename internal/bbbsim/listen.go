package bbbsim

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

var (
	errClosed  = errors.New("server is closed")
	errStarted = errors.New("server is started already")
)

// Times of a listener.
const (
	readHeaderTimeout = 30 * time.Second
	relistenFor       = 5 * time.Second
	relistenPause     = 10 * time.Millisecond
)

// listener is the port of a started server. It can be closed and opened again
// under the same number.
type listener struct {
	mu      sync.Mutex
	addr    string // "" until started
	server  *http.Server
	serving chan struct{} // closed when server no longer serves
	hold    io.Closer     // keeps the number of a closed port
	closed  bool
}

// Start listens on a free port of 127.0.0.1 and returns the base URL, e.g.
// "http://127.0.0.1:41234".
func (s *Server) Start() (string, error) {
	return s.StartOn("127.0.0.1:0")
}

// StartOn listens on an address and returns the base URL.
func (s *Server) StartOn(addr string) (string, error) {
	l := &s.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return "", fmt.Errorf("start %s: %w", addr, errClosed)
	case l.addr != "":
		return "", fmt.Errorf("start %s: %w", addr, errStarted)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("start simulated server: %w", err)
	}
	l.addr = ln.Addr().String()
	if s.Faults().Mode == ModeDown {
		l.closePort(ln)
		return l.url(), nil
	}
	l.serve(ln, s)
	return l.url(), nil
}

// URL returns the base URL of a started server, "" before.
func (s *Server) URL() string {
	s.listener.mu.Lock()
	defer s.listener.mu.Unlock()
	return s.listener.url()
}

// APIURL returns the URL an LMS or a gateway is configured with.
func (s *Server) APIURL() string { return s.URL() + "/bigbluebutton/" }

// ControlURL returns the base URL of the control API.
func (s *Server) ControlURL() string { return s.URL() + controlPrefix }

// Close stops listening, ends every connection and waits for the requests in
// progress. It may be called more than once.
func (s *Server) Close() {
	s.inflightMu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.inflightMu.Unlock()
	s.listener.close()
	s.inflight.Wait()
}

func (l *listener) url() string {
	if l.addr == "" {
		return ""
	}
	return "http://" + l.addr
}

// follow opens or closes the port of a started server as the faults in force say.
func (l *listener) follow(s *Server) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Read under the lock: of two changes at once the last one decides.
	open := s.Faults().Mode != ModeDown
	if l.closed || l.addr == "" || open == (l.server != nil) {
		return nil
	}
	if !open {
		l.closePort(nil)
		return nil
	}
	ln, err := l.relisten()
	if err != nil {
		return fmt.Errorf("listen again on %s: %w", l.addr, err)
	}
	l.serve(ln, s)
	return nil
}

func (l *listener) serve(ln net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		// Connections are broken on purpose here; there is nobody to tell.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	serving := make(chan struct{})
	l.server, l.serving = server, serving
	go func() {
		defer close(serving)
		_ = server.Serve(ln) // always ends with ErrServerClosed
	}()
}

// closePort closes the port and its connections and keeps its number from being
// given to somebody else.
func (l *listener) closePort(idle net.Listener) {
	if idle != nil {
		_ = idle.Close() // freshly opened
	}
	l.stop()
	l.hold = holdPort(l.addr)
}

func (l *listener) relisten() (net.Listener, error) {
	defer l.release()
	for deadline := time.Now().Add(relistenFor); ; {
		ln, err := net.Listen("tcp", l.addr)
		if err == nil || time.Now().After(deadline) {
			return ln, err
		}
		time.Sleep(relistenPause)
	}
}

func (l *listener) release() {
	if l.hold != nil {
		_ = l.hold.Close() // an unused socket
		l.hold = nil
	}
}

func (l *listener) stop() {
	if l.server == nil {
		return
	}
	_ = l.server.Close() // closing what is closed already is fine
	<-l.serving
	l.server, l.serving = nil, nil
}

func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.stop()
	l.release()
}
