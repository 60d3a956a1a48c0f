package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
)

// TestSlowClients: a client that is too slow with its headers or its body is
// cut, and one that sends nothing at all as well. Its connection is free again.
func TestSlowClients(t *testing.T) {
	const patience = 300 * time.Millisecond
	e := apptest.Start(t, apptest.Options{App: func(a *app.App) {
		a.Tune(func(s *http.Server) {
			require.Equal(t, 10*time.Second, s.ReadHeaderTimeout, "what is tuned here is bounded in earnest")
			require.Positive(t, s.ReadTimeout)
			require.Positive(t, s.WriteTimeout)
			require.Positive(t, s.IdleTimeout)
			s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = patience, patience, patience
		})
	}})
	post := "POST " + target(created(e, "acme", "", "c1")) + " HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\n<modules>"
	for name, c := range map[string]struct{ sent, answer string }{
		"nothing":            {"", ""},
		"half a line":        {"GET /bigbluebutton/api", ""},
		"half the headers":   {"GET /bigbluebutton/api HTTP/1.1\r\nHost: gw\r\n", ""},
		"half the body":      {post, "bodyUnreadable"},
		"idle after a call":  {"GET /bigbluebutton/api HTTP/1.1\r\nHost: gw\r\n\r\n", "<version>2.0</version>"},
		"body nobody wanted": {strings.Replace(post, "api/create", "api/getMeetings", 1), "checksumError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dialTenants(t, e)
			_, err := io.WriteString(conn, c.sent)
			require.NoError(t, err)
			got, err := io.ReadAll(conn) // ends when the gateway hangs up
			if !errors.Is(err, net.ErrClosed) && err != nil {
				require.NotErrorIs(t, err, context.DeadlineExceeded, "the gateway waits without end")
				var timeout net.Error
				require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the gateway waits without end")
			}
			require.Contains(t, string(got), c.answer)
		})
	}
}

// TestConnectionsPerAddress: one address holds so many connections and no more;
// those of trusted proxies, behind which are many, are not counted.
func TestConnectionsPerAddress(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted=%v", trusted), func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) {
				c.ConnectionsPerAddress = 5
				if trusted {
					c.TrustedProxies = []string{"127.0.0.0/8"}
				}
			}})
			served := func(conn net.Conn) bool {
				if _, err := io.WriteString(conn, "GET /bigbluebutton/api HTTP/1.1\r\nHost: gw\r\n\r\n"); err != nil {
					return false
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					return false
				}
				defer func() { _ = resp.Body.Close() }()
				_, err = io.Copy(io.Discard, resp.Body)
				return err == nil && resp.StatusCode == http.StatusOK
			}
			conns := make([]net.Conn, 12)
			open := 0
			for i := range conns {
				conns[i] = dialTenants(t, e)
				if served(conns[i]) {
					open++
				}
			}
			if trusted {
				require.Len(t, conns, open)
				return
			}
			require.Equal(t, 5, open)
			require.True(t, served(conns[0]), "those that are open go on")
			require.NoError(t, conns[0].Close())
			apptest.Eventually(t, func() bool {
				conn := dialTenants(t, e)
				defer func() { _ = conn.Close() }()
				return served(conn)
			}, "whoever closes one may open another")
		})
	}
}

// TestForwardedFor: behind a trusted proxy an attacker on the shared URL loses
// the scan for itself; who pretends to be somebody else gains nothing.
func TestForwardedFor(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted=%v", trusted), func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) {
				if trusted {
					c.TrustedProxies = []string{"127.0.0.1"}
				}
			}})
			from := func(url, address string) apptest.Result {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				require.NoError(t, err)
				req.Header.Set("X-Forwarded-For", address)
				return e.Send(req)
			}
			bad := e.Tenant("acme").Shared()
			bad.Secret = "not-the-secret-0123456789"
			throttled := false
			for n := 0; n < 200 && !throttled; n++ {
				r := from(bad.URL("getMeetings", "n", fmt.Sprint(n)), "198.51.100.1")
				throttled = r.Status == http.StatusServiceUnavailable
			}
			require.True(t, throttled, "who guesses secrets is slowed down")
			r := from(e.Tenant("acme").Shared().URL("getMeetings", "from", "elsewhere"), "198.51.100.2")
			if trusted {
				require.Equal(t, http.StatusOK, r.Status, "another client of the proxy is not touched: %s", r.Body)
			} else {
				require.Equal(t, http.StatusServiceUnavailable, r.Status, "the header of anybody counts for nothing")
			}
			require.Equal(t, http.StatusOK, e.Tenant("acme").Call("getMeetings").Status, "a throttled address loses only the scan")
		})
	}
}

// TestAdminListener: what operators get, and that tenants' clients don't.
func TestAdminListener(t *testing.T) {
	for _, pprof := range []bool{false, true} {
		t.Run(fmt.Sprintf("pprof=%v", pprof), func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) { c.Pprof = pprof }})
			status := func(url string) int { return e.Do(http.MethodGet, url, "", nil).Status }
			require.True(t, e.Tenant("acme").Create("c1").Answer(t).Success())
			metrics := e.Do(http.MethodGet, e.AdminURL(0)+"/metrics", "", nil)
			require.Equal(t, http.StatusOK, metrics.Status)
			for _, name := range []string{
				`bluegate_build_info{`, `bluegate_api_requests_total{call="create",result="ok"} 1`, `bluegate_api_requests_total{call="end",result="error"} 0`,
				`bluegate_api_requests_in_flight 0`, `bluegate_create_loops_suppressed_total 0`, "bluegate_server_up", "bluegate_placements_total", "go_goroutines", "process_",
			} {
				require.Contains(t, metrics.Body, name)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				require.Equal(t, http.StatusOK, status(e.AdminURL(0)+path), path)
				require.Equal(t, http.StatusOK, status(e.URL(0)+path), path)
			}
			require.Equal(t, http.StatusNotFound, status(e.URL(0)+"/metrics"))
			for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
				want := http.StatusNotFound
				if pprof {
					want = http.StatusOK
				}
				require.Equal(t, want, status(e.AdminURL(0)+path), path)
				require.Equal(t, http.StatusNotFound, status(e.URL(0)+path), path)
			}
			require.NotEqual(t, http.StatusOK, status(e.AdminURL(0)+"/bigbluebutton/api"), "no calls of tenants here")
		})
	}
}

// TestPortTaken: the error says which port of ours is meant and what to do.
func TestPortTaken(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	for setting, change := range map[string]func(c *app.Config){
		"listen":       func(c *app.Config) { c.Listen = taken.Addr().String() },
		"admin_listen": func(c *app.Config) { c.AdminListen = taken.Addr().String() },
	} {
		c := app.Default()
		c.Listen, c.AdminListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
		change(&c)
		a, err := app.New(c, app.NewLogger(c, io.Discard))
		require.NoError(t, err)
		require.EqualError(t, a.Start(t.Context()), setting+" is "+taken.Addr().String()+
			", which another program uses: stop that one or choose another address")
		a.Stop(context.Background())
	}
}
