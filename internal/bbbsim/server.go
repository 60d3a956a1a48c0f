package bbbsim

import (
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Server is a simulated BBB server. All methods may be used concurrently.
type Server struct {
	cfg Config

	mu       sync.Mutex // guards the state of the simulated server
	rand     *rand.Rand
	meetings []*meeting          // in the order of creation
	byID     map[string]*meeting // by internal ID
	voices   map[string]*meeting // by voice bridge, telephone and web
	sessions map[string]*user    // by session token
	cookies  map[string]int      // JSESSIONID -> users that own it
	next     time.Time           // when something happens next; zero: never
	floor    int64               // no createTime below it (see createTime)
	filled   int                 // meetings made by Fill so far
	rendered int                 // size of the last getMeetings answer

	log requestLog

	faultMu       sync.Mutex
	faults        Faults
	faultsChanged chan struct{}

	listener listener

	inflightMu sync.Mutex
	inflight   sync.WaitGroup
	closed     bool
	closing    chan struct{}
}

// New returns a server without a port; see [Server.Start].
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	name := fnv.New64a()
	_, _ = name.Write([]byte(cfg.Name)) // a hash never fails
	s := &Server{
		cfg:           cfg,
		rand:          rand.New(rand.NewPCG(uint64(cfg.Seed), name.Sum64())), // #nosec G404 -- reproducible on purpose
		faults:        Faults{Mode: ModeOK},
		faultsChanged: make(chan struct{}),
		closing:       make(chan struct{}),
	}
	s.log.max = cfg.MaxRequests
	s.forget()
	return s
}

// ServeHTTP implements http.Handler: the API under /bigbluebutton/, the client
// page under /html5client and control under /_sim/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		resetConnection(w)
		return
	}
	defer s.inflight.Done()

	path := mergeSlashes(r.URL.Path)
	f, _ := s.currentFaults()
	if f.Mode == ModeDown {
		resetConnection(w)
		return
	}
	switch {
	case strings.HasPrefix(path, controlPrefix):
		s.serveControl(w, r, strings.TrimPrefix(path, controlPrefix))
	case path == apiRoot || strings.HasPrefix(path, apiRoot+"/"):
		s.serveAPI(w, r, path)
	case f.Mode == ModeRefuse && len(f.Calls) == 0:
		resetConnection(w)
	case path == clientRoot || strings.HasPrefix(path, clientRoot+"/"):
		s.serveClient(w, r, path)
	default:
		notFoundPage(path).write(w, r)
	}
}

// enter counts a request in; false when the server is closed.
func (s *Server) enter() bool {
	s.inflightMu.Lock()
	defer s.inflightMu.Unlock()
	if s.closed {
		return false
	}
	s.inflight.Add(1)
	return true
}

// Restart forgets every meeting and session, as a restart of bbb-web does: they
// live in its memory only.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
}

// Reset is Restart, and forgets the received requests and the faults as well.
func (s *Server) Reset() {
	s.Restart()
	s.log.reset()
	s.SetFaults(Faults{})
}

func (s *Server) forget() {
	for _, m := range s.meetings {
		s.floor = max(s.floor, m.createTime+1)
	}
	s.meetings = nil
	s.byID = make(map[string]*meeting)
	s.voices = make(map[string]*meeting)
	s.sessions = make(map[string]*user)
	s.cookies = make(map[string]int)
	s.next = time.Time{}
}

// Requests returns the received API calls, oldest first; only the last
// Config.MaxRequests are kept. Requests that were refused were not received.
func (s *Server) Requests() []Request { return s.log.list() }

// Count returns the number of received API calls of a name; "" counts all.
func (s *Server) Count(call string) int { return s.log.count(call) }

// mergeSlashes does what nginx does in front of a real server (merge_slashes).
func mergeSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}
