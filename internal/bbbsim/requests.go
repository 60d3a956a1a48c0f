package bbbsim

import (
	"net/http"
	"sync"
	"time"
)

// Request is one API call as it was received.
type Request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	// Call is the name after /api/, e.g. "create" or "hooks/create"; the version
	// document is "index".
	Call string `json:"call"`
	// Query is the raw query string, byte for byte.
	Query string `json:"query"`
	// Header holds the few headers that matter to the API (see loggedHeaders).
	Header http.Header `json:"header,omitempty"`
	Host   string      `json:"host"`
	Body   []byte      `json:"body,omitempty"`
	// Verified tells whether the checksum was right.
	Verified bool `json:"verified"`
}

// loggedHeaders are the headers kept in the request log.
var loggedHeaders = [...]string{
	"Accept", "Accept-Encoding", "Content-Type", "Cookie", "Traceparent", "User-Agent",
	"X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id",
}

// maxLoggedBytes bounds what the bodies in the log may take; the oldest requests
// go first.
const maxLoggedBytes = 64 << 20

// maxCountedCalls bounds the number of different names that are counted one by
// one, because a client may invent any number of them.
const maxCountedCalls = 1000

// requestLog keeps the last requests in a ring and counts all of them.
type requestLog struct {
	mu     sync.Mutex
	max    int
	ring   []Request
	head   int // index of the oldest one in ring
	size   int
	bytes  int
	total  int
	counts map[string]int
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if _, known := l.counts[r.Call]; known || len(l.counts) < maxCountedCalls {
		if l.counts == nil {
			l.counts = make(map[string]int)
		}
		l.counts[r.Call]++
	}
	if l.max <= 0 {
		return
	}
	for l.size > 0 && (l.size == l.max || l.bytes+len(r.Body) > maxLoggedBytes) {
		l.dropOldest()
	}
	if l.size == len(l.ring) {
		l.grow()
	}
	l.ring[(l.head+l.size)%len(l.ring)] = r
	l.size++
	l.bytes += len(r.Body)
}

func (l *requestLog) dropOldest() {
	l.bytes -= len(l.ring[l.head].Body)
	l.ring[l.head] = Request{}
	l.head = (l.head + 1) % len(l.ring)
	l.size--
}

// grow doubles the ring: a server that gets ten requests should not hold room
// for ten thousand.
func (l *requestLog) grow() {
	ring := make([]Request, min(l.max, max(16, 2*len(l.ring))))
	for i := range l.size {
		ring[i] = l.ring[(l.head+i)%len(l.ring)]
	}
	l.ring, l.head = ring, 0
}

func (l *requestLog) list() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Request, l.size)
	for i := range out {
		out[i] = l.ring[(l.head+i)%len(l.ring)]
	}
	return out
}

func (l *requestLog) count(call string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if call == "" {
		return l.total
	}
	return l.counts[call]
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.head, l.size, l.bytes, l.total, l.counts = nil, 0, 0, 0, 0, nil
}

func fewHeaders(all http.Header) http.Header {
	few := make(http.Header, 4)
	for _, name := range loggedHeaders {
		if values := all[name]; len(values) > 0 {
			few[name] = values
		}
	}
	return few
}
