package app_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// concurrency is how many clients call at the same time.
const concurrency = 64

// side is one of two servers that are compared: what it is sent and what it
// must answer.
type side struct {
	addr     string
	requests [][]byte
	status   int
	rotate   int // where the next block begins in requests
}

// sideOf returns a side that is sent a GET for each URL, as PHP's curl writes it.
func sideOf(b *testing.B, status int, urls []string) *side {
	b.Helper()
	s := &side{status: status}
	for _, text := range urls {
		u, err := url.Parse(text)
		require.NoError(b, err)
		s.addr = u.Host
		s.requests = append(s.requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n", u.RequestURI(), u.Host))
	}
	return s
}

// serve serves h on loopback, bounded as the gateway's listener is, and returns
// the base URL.
func serve(b *testing.B, h http.Handler) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 3 * time.Minute,
		IdleTimeout: 75 * time.Second, MaxHeaderBytes: 256 << 10,
	}
	go func() { _ = s.Serve(l) }() // ends with the benchmark
	b.Cleanup(func() { _ = s.Close() })
	return "http://" + l.Addr().String()
}

// lean is a client that does as little as it can: both sides pay for it, and
// what it costs brings any ratio nearer to 1.
type lean struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

func (c *lean) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do sends a request, on a connection of its own if fresh, and returns the
// answer's status.
func (c *lean) do(request []byte, fresh bool) (int, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return 0, err
		}
		c.conn = conn
		if c.r == nil {
			c.r = bufio.NewReader(conn)
		}
		c.r.Reset(conn)
	}
	if fresh {
		defer c.close()
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, err
	}
	return c.answer()
}

func (c *lean) answer() (status int, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if len(line) < len("HTTP/1.1 200") {
				return 0, errors.New("no status line")
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("no content length")
	}
	_, err = c.r.Discard(length)
	return status, err
}

// spent is what a block of requests took.
type spent struct{ wall, cpu time.Duration }

// run sends n requests from concurrency clients.
func (s *side) run(b *testing.B, n int, fresh bool) spent {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, concurrency)
	clients := make([]lean, concurrency)
	start, cpu := time.Now(), processCPU(b)
	for i := range clients {
		c := &clients[i]
		c.addr = s.addr
		wg.Go(func() {
			defer c.close()
			for {
				k := int(next.Add(1)) - 1
				if k >= n {
					return
				}
				status, err := c.do(s.requests[(s.rotate+k)%len(s.requests)], fresh)
				if err == nil && status != s.status {
					err = fmt.Errorf("the answer's status is %d", status)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	out := spent{time.Since(start), processCPU(b) - cpu}
	s.rotate += n
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
	return out
}

// processCPU returns the CPU time of the process: clients, gateway and
// simulated servers together.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// duel runs blocks of requests against both sides by turns and reports how many
// requests a second the first one answers for one of the second: the median of
// the rounds as metric, beside it what a quarter of the rounds stayed below
// and above, and the median by CPU time instead of the clock, which
// other work on the machine disturbs less. It returns how many requests each
// side was sent.
func duel(b *testing.B, metric string, block int, fresh bool, first, second *side) int {
	b.Helper()
	const leastRounds = 9
	first.run(b, block, fresh) // warm up
	second.run(b, block, fresh)
	var ratios, perCPU, rates []float64
	round := func() {
		var f, s spent
		if len(ratios)%2 == 0 { // neither side is always the one behind
			f = first.run(b, block, fresh)
			s = second.run(b, block, fresh)
		} else {
			s = second.run(b, block, fresh)
			f = first.run(b, block, fresh)
		}
		ratios = append(ratios, float64(s.wall)/float64(f.wall))
		perCPU = append(perCPU, float64(s.cpu)/float64(f.cpu))
		rates = append(rates, float64(block)/f.wall.Seconds())
	}
	for b.Loop() {
		round()
	}
	for len(ratios) < leastRounds {
		round()
	}
	for _, list := range [][]float64{ratios, perCPU, rates} {
		slices.Sort(list)
	}
	b.ReportMetric(0, "ns/op") // of a round: says nothing
	b.ReportMetric(ratios[len(ratios)/2], metric)
	b.ReportMetric(ratios[len(ratios)/4], "ratio-p25")
	b.ReportMetric(ratios[len(ratios)*3/4], "ratio-p75")
	b.ReportMetric(perCPU[len(perCPU)/2], "ratio-by-cpu")
	b.ReportMetric(rates[len(rates)/2], "req/s")
	return block * (len(rates) + 1)
}

// discard is a response writer for calls without a network.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }

// inProcess measures a handler by itself: time and allocations, no network.
func inProcess(b *testing.B, h http.Handler, status int, urls []string) {
	b.Helper()
	requests := make([]*http.Request, len(urls))
	for i, text := range urls {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, text, nil)
		require.NoError(b, err)
		r.RemoteAddr = "127.0.0.1:40000"
		requests[i] = r
	}
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, requests[i%len(requests)])
		if w.status != status {
			b.Fatalf("the answer's status is %d", w.status)
		}
		i++
	}
}
