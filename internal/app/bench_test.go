package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
)

// Figures of a shared machine mean nothing by themselves, so every one here is
// a ratio: the gateway and what it is compared with answer the same requests of
// the same clients by turns, over loopback, in one process. The gateway runs as
// in production: its own listener, the log of every call (thrown away), JSON.

const benchSecret = "server-secret-1"

// startBench starts a replica on one simulated server and opens rooms room-0,
// room-1 and so on in it.
func startBench(b *testing.B, rooms int, infoCache time.Duration) *apptest.Env {
	b.Helper()
	e := apptest.Prepare(b, apptest.Options{
		Config: func(c *app.Config) {
			production := app.Default()
			c.PollInterval, c.FeedInterval, c.LogLevel = production.PollInterval, production.FeedInterval, production.LogLevel
			c.InfoCache = infoCache
			// A busy machine that keeps the feed waiting must not be taken for SQL reads.
			c.FeedStale = time.Minute
		},
		Sim: func(_ int, c *bbbsim.Config) { c.Secret, c.JoinDelay, c.MaxRequests = benchSecret, -1, -1 },
	})
	a, err := app.New(e.Config(), app.NewLogger(e.Config(), io.Discard))
	require.NoError(b, err)
	require.NoError(b, a.Start(b.Context()))
	b.Cleanup(func() { a.Stop(context.Background()) })
	require.NoError(b, a.WaitReady(b.Context()))
	e.Replicas = append(e.Replicas, a)
	acme := e.Tenant("acme")
	for i := range rooms {
		require.True(b, acme.Create(roomID(i)).Answer(b).Success())
	}
	return e
}

func roomID(i int) string { return fmt.Sprintf("room-%d", i) }

// joinURLs are joins of many people into many rooms as Chamilo writes them.
func joinURLs(t apptest.Tenant, rooms int) []string {
	urls := make([]string, 2000)
	for i := range urls {
		urls[i] = t.URL("join", "meetingID", roomID(i%rooms), "fullName", fmt.Sprintf("Anna Bäcker %d", i), "password", "ap",
			"userID", fmt.Sprint(4711+i), "userdata-bbb_custom_style_url", "https://portal.example.org/plugin/bbb/resources/style.css",
			"avatarURL", "https://portal.example.org/app/upload/users/4/4711.png")
	}
	return urls
}

// runningURLs ask about the rooms one after the other.
func runningURLs(t apptest.Tenant, rooms int) []string {
	urls := make([]string, rooms)
	for i := range urls {
		urls[i] = t.URL("isMeetingRunning", "meetingID", roomID(i))
	}
	return urls
}

// touched is what calls cost elsewhere: operations on the database, without
// those with which a replica follows changes, and calls that servers received,
// without polls.
func touched(b *testing.B, e *apptest.Env) (sql, server float64) {
	b.Helper()
	for line := range strings.Lines(e.Do(http.MethodGet, e.AdminURL(0)+"/metrics", "", nil).Body) {
		var value float64
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "bluegate_store_operation_duration_seconds_count{") ||
			strings.Contains(name, `"changes"`) || strings.Contains(name, `"config_version"`) {
			continue
		}
		_, err := fmt.Sscan(number, &value)
		require.NoError(b, err)
		sql += value
	}
	require.Positive(b, sql, "the metrics tell of no operation at all")
	return sql, float64(e.Count("") - e.Count("getMeetings"))
}

// connections runs f with kept-alive connections and with one of its own for
// each request, as PHP's curl makes them. Blocks are short, so that what else
// the machine does falls on both sides.
func connections(b *testing.B, f func(b *testing.B, fresh bool, block int)) {
	b.Run("keepalive", func(b *testing.B) { f(b, false, 1500) })
	b.Run("fresh", func(b *testing.B) { f(b, true, 500) })
}

// BenchmarkJoin compares a join of a running room with a gin handler that does
// nothing, and holds that it touches neither the database nor a server.
func BenchmarkJoin(b *testing.B) {
	const rooms = 100
	e := startBench(b, rooms, time.Second)
	engine := gin.New()
	engine.NoRoute(func(c *gin.Context) { c.Status(http.StatusFound) })
	empty := serve(b, engine)
	for _, door := range []struct {
		name string
		t    apptest.Tenant
	}{{"path", e.Tenant("acme")}, {"shared", e.Tenant("acme").Shared()}} {
		urls := joinURLs(door.t, rooms)
		same := make([]string, len(urls))
		for i := range urls {
			same[i] = strings.Replace(urls[i], e.URL(0), empty, 1)
		}
		b.Run(door.name, func(b *testing.B) {
			connections(b, func(b *testing.B, fresh bool, block int) {
				sql, server := touched(b, e)
				duel(b, "x-empty-gin(>=0.5)", block, fresh, sideOf(b, http.StatusFound, urls), sideOf(b, http.StatusFound, same))
				sqlNow, serverNow := touched(b, e)
				b.ReportMetric(sqlNow-sql, "sql-operations")
				b.ReportMetric(serverNow-server, "server-calls")
				if sqlNow != sql || serverNow != server {
					b.Error("joins of running rooms must touch neither the database nor a server")
				}
			})
		})
	}
}

// reverseProxy serves a proxy to the simulated server that does nothing else,
// over a transport like the gateway's own.
func reverseProxy(b *testing.B, target string, buffers httputil.BufferPool) string {
	b.Helper()
	to, err := url.Parse(target)
	require.NoError(b, err)
	transport := &http.Transport{MaxIdleConnsPerHost: 72, MaxConnsPerHost: 72, IdleConnTimeout: 90 * time.Second, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	return serve(b, &httputil.ReverseProxy{
		Transport:  transport,
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(to) },
		BufferPool: buffers,
	})
}

// buffers are for a proxy what spares it 32 KB of garbage a request.
type buffers struct{ pool sync.Pool }

func (p *buffers) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *buffers) Put(b []byte) { p.pool.Put(&b) }

// BenchmarkIsMeetingRunning compares isMeetingRunning of many rooms with
// httputil.ReverseProxy before the same server: "proxied" with every question
// going to the server, "cached" as the gateway comes. The target holds against
// the proxy as everybody writes it; "lean" is the same proxy with a buffer pool.
func BenchmarkIsMeetingRunning(b *testing.B) {
	const rooms = 300
	for _, mode := range []struct {
		name   string
		cache  time.Duration
		rivals []rival
	}{
		{"proxied", -1, []rival{{"plain", "x-reverseproxy(>=0.9)", nil}, {"lean", "x-lean-reverseproxy", &buffers{}}}},
		{"cached", time.Second, []rival{{"plain", "x-reverseproxy", nil}}},
	} {
		b.Run(mode.name, func(b *testing.B) {
			e := startBench(b, rooms, mode.cache)
			urls := runningURLs(e.Tenant("acme"), rooms)
			for _, rival := range mode.rivals {
				proxy := reverseProxy(b, e.Sims[0].URL(), rival.buffers)
				direct := make([]string, 0, rooms)
				for _, m := range e.Sims[0].Meetings() {
					call := bbb.Call{Name: "isMeetingRunning"}.With("meetingID", m.MeetingID)
					direct = append(direct, bbb.URL(proxy+"/bigbluebutton/", call, bbb.SHA256, benchSecret))
				}
				b.Run(rival.name, func(b *testing.B) {
					connections(b, func(b *testing.B, fresh bool, block int) {
						sql, server := touched(b, e)
						n := float64(duel(b, rival.metric, block, fresh, sideOf(b, http.StatusOK, urls), sideOf(b, http.StatusOK, direct)))
						sqlNow, serverNow := touched(b, e)
						calls := serverNow - server - n // those of the proxy apart
						b.ReportMetric(sqlNow-sql, "sql-operations")
						b.ReportMetric(calls/n, "server-calls/req")
						if sqlNow != sql || mode.cache < 0 && calls != n {
							b.Error("questions about running rooms must go to the server, each once, and not to the database")
						}
					})
				})
			}
		})
	}
}

// rival is a proxy that the gateway is compared with.
type rival struct {
	name, metric string
	buffers      httputil.BufferPool
}

// BenchmarkHandler measures calls without a network.
func BenchmarkHandler(b *testing.B) {
	const rooms = 100
	e := startBench(b, rooms, time.Hour)
	acme := e.Tenant("acme")
	b.Run("join/path", func(b *testing.B) {
		inProcess(b, e.Replicas[0].Handler(), http.StatusFound, joinURLs(acme, rooms))
	})
	b.Run("join/shared", func(b *testing.B) {
		inProcess(b, e.Replicas[0].Handler(), http.StatusFound, joinURLs(acme.Shared(), rooms))
	})
	b.Run("isMeetingRunning/cached", func(b *testing.B) {
		inProcess(b, e.Replicas[0].Handler(), http.StatusOK, runningURLs(acme, rooms))
	})
}
