package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
)

// TestShutdownFinishesWhatIsInWork: after Stop began, a create against a slow
// server still gets its SUCCESS, a body that is still coming is still read, and
// nobody new is let in.
func TestShutdownFinishesWhatIsInWork(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang, Calls: []string{"create"}})
	inWork := make(chan apptest.Result, 1)
	go func() { inWork <- e.Tenant("acme").Create("slow") }()

	upload := dialTenants(t, e)
	_, err := fmt.Fprintf(upload, "POST %s HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n%s",
		target(created(e, "globex", "", "upload")), len(twoSlides), twoSlides[:20])
	require.NoError(t, err)
	apptest.Eventually(t, func() bool {
		return e.Count("create") == 1 && gaugeOf(t, e, "bluegate_api_requests_in_flight") == 2
	}, "both are in work")

	addr := e.Replicas[0].Addr().String()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.Replicas[0].Stop(context.Background())
	}()
	var d net.Dialer
	apptest.Eventually(t, func() bool {
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, "new connections are refused")
	ready := e.Do(http.MethodGet, e.AdminURL(0)+"/readyz", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, ready.Status, "a load balancer is told")
	select {
	case <-stopped:
		t.Fatal("stopped although calls were in work")
	case r := <-inWork:
		t.Fatalf("answered before the server did: %d %s", r.Status, r.Body)
	default:
	}

	_, err = io.WriteString(upload, twoSlides[20:])
	require.NoError(t, err)
	e.Sims[0].SetFaults(bbbsim.Faults{})
	r := <-inWork
	require.Equal(t, http.StatusOK, r.Status, r.Body)
	require.True(t, r.Answer(t).Success())
	resp, err := http.ReadResponse(bufio.NewReader(upload), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(body), "<returncode>SUCCESS</returncode>")
	<-stopped

	// The next process knows both classes.
	e.StartReplica()
	for slug, id := range map[string]string{"acme": "slow", "globex": "upload"} {
		require.True(t, e.TenantAt(1, slug).Info(id).Answer(t).Success())
		e.Home(id)
	}
}

// TestShutdownIsBounded: what does not come to an end is cut when the time is up.
func TestShutdownIsBounded(t *testing.T) {
	e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) { c.ShutdownTimeout = 300 * time.Millisecond }})
	e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang, Calls: []string{"create"}})
	done := make(chan apptest.Result, 1)
	go func() { done <- e.Tenant("acme").Create("slow") }()
	apptest.Eventually(t, func() bool { return e.Count("create") == 1 }, "the create is in work")
	began := time.Now()
	e.Replicas[0].Stop(context.Background())
	require.Less(t, time.Since(began), 5*time.Second)
	require.Zero(t, (<-done).Status, "cut")
	require.Contains(t, e.Log.String(), "cut at the end of the shutdown time")
	require.Equal(t, 30*time.Second, app.Default().ShutdownTimeout)
}

// TestStopBeforeReady: an app whose database never came stops at once.
func TestStopBeforeReady(t *testing.T) {
	e := apptest.Prepare(t, apptest.Options{})
	c := e.Config()
	c.DatabaseURL = "postgres://nobody@127.0.0.1:1/nothing"
	a, err := app.New(c, app.NewLogger(c, io.Discard))
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context()))
	require.False(t, a.Ready())
	began := time.Now()
	a.Stop(context.Background())
	require.Less(t, time.Since(began), 5*time.Second)
}
