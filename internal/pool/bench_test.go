package pool

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
)

// cpu returns the CPU time of the process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap returns the bytes in live objects.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkPoll1000Servers polls 1,000 servers of 10 meetings with 20 people. The
// answers are a simulated server's, made once and served on loopback from this
// process: the CPU seconds are of both sides, and "served-cpu-s" is what serving
// them alone takes, measured by reading and not looking at them.
func BenchmarkPoll1000Servers(b *testing.B) {
	const n = 1000
	sim := bbbsim.New(bbbsim.Config{Secret: secret, JoinDelay: -1, MaxRequests: -1})
	sim.Fill(10, 20)
	rec := httptest.NewRecorder()
	sim.ServeHTTP(rec, httptest.NewRequest("GET", bbb.URL("/bigbluebutton/", bbb.Call{Name: "getMeetings"}, bbb.SHA256, secret), nil))
	body := rec.Body.Bytes()
	require.Equal(b, 200, rec.Code)
	web := httptest.NewServer(page(200, "Content-Type", "text/xml;charset=utf-8", string(body)))
	defer web.Close()
	client := bbb.NewClient(bbb.ClientOptions{})
	defer client.Close()
	ss := servers(n)
	for i := range ss {
		ss[i].APIURL = web.URL + "/bigbluebutton/"
	}
	before := heap()
	p := New(Options{Client: client, PollInterval: time.Hour, MaxPolls: 32, PollTimeout: time.Minute})
	p.SetServers(ss)
	p.Start(b.Context())
	require.NoError(b, p.WaitPolled(b.Context()))
	require.Len(b, p.Snapshot(1).Meetings, 10)
	require.Equal(b, 200, p.Snapshot(1).Totals.Participants)

	served := cpu(b)
	plain(b, ss)
	served = cpu(b) - served

	start := cpu(b)
	rounds := 0
	for b.Loop() {
		rounds++
		var wg sync.WaitGroup
		for id := range int64(n) {
			wg.Go(func() {
				if _, err := p.PollNow(b.Context(), id+1); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric((cpu(b)-start).Seconds()/float64(rounds), "cpu-s/round")
	b.ReportMetric(served.Seconds(), "served-cpu-s/round")
	b.ReportMetric(float64(len(body))*n/1e6, "MB-read/round")
	b.ReportMetric(float64(heap()-before)/1e6, "MB-kept")
	p.Stop()
}

// plain fetches every server's answer without a poll, 32 at a time.
func plain(b *testing.B, ss []Server) {
	b.Helper()
	limit := make(chan struct{}, 32)
	var wg sync.WaitGroup
	for _, s := range ss {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			resp, err := http.Get(s.APIURL)
			if err != nil {
				b.Error(err)
				return
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
		})
	}
	wg.Wait()
}

func BenchmarkCandidates1000(b *testing.B) {
	now := time.Now()
	rooms := make([]room, 10)
	claims := make([]Claimed, 10)
	for i := range rooms {
		id := string(rune('a' + i))
		rooms[i] = room{id: id, people: 20}
		claims[i] = Claimed{Ref: "a-reference-of-some-length-" + id, InternalID: id, Seats: 25, Since: now.Add(-time.Duration(i) * time.Minute)}
	}
	snapshot := snapshotOf(b, rooms...)
	views := make([]View, 1000)
	for i := range views {
		views[i] = View{Server: server(int64(i + 1)), Health: Up, Snapshot: snapshot, Claims: claims}
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(Candidates(views, Ask{Pools: []string{"default"}, Seats: 20}, now)) != 1000 {
			b.Fatal("a server is missing")
		}
	}
}
