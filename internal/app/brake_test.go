package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/tenant"
)

// handClock is a clock that stands still until it is turned.
type handClock struct{ turned atomic.Int64 }

var handClockStart = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

func (c *handClock) now() time.Time          { return handClockStart.Add(time.Duration(c.turned.Load())) }
func (c *handClock) turn(d time.Duration)    { c.turned.Add(int64(d)) }
func (c *handClock) into(o *apptest.Options) { o.App = func(a *app.App) { a.SetClock(c.now) } }
func gaugeOf(t testing.TB, e *apptest.Env, series string) float64 {
	t.Helper()
	for line := range strings.SplitSeq(e.Do(http.MethodGet, e.AdminURL(0)+"/metrics", "", nil).Body, "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("there is no series %s", series)
	return 0
}

// refusal is a create that the gateway refuses and that a client repeats byte
// for byte.
type refusal struct {
	key string
	// work counts what a refused create costs: it must stand still while the
	// brake is on.
	work func(t testing.TB, e *apptest.Env) float64
	url  func(t *testing.T, e *apptest.Env) string
}

func identified(reason string) func(t testing.TB, e *apptest.Env) float64 {
	return func(t testing.TB, e *apptest.Env) float64 {
		return gaugeOf(t, e, `bluegate_api_auth_failures_total{reason="`+reason+`"}`)
	}
}

func identifiedBySlug(t testing.TB, e *apptest.Env) float64 {
	return gaugeOf(t, e, `bluegate_api_identified_total{by="slug"}`)
}

// created is the URL of a create, which may be signed with a secret of its own.
func created(e *apptest.Env, slug, secret, id string, more ...string) string {
	t := e.Tenant(slug)
	if secret != "" {
		t.Secret = secret
	}
	return t.URL("create", append([]string{"name", "A class", "meetingID", id, "attendeePW", "ap", "moderatorPW", "mp"}, more...)...)
}

func refusals() map[string]refusal {
	return map[string]refusal{
		"suspended tenant": {"tenantSuspended", identifiedBySlug, func(t *testing.T, e *apptest.Env) string {
			acme, err := e.Store.TenantBySlug(t.Context(), "acme")
			require.NoError(t, err)
			require.NoError(t, e.Store.SetTenantState(t.Context(), acme.ID, tenant.Suspended))
			apptest.Eventually(t, func() bool {
				return e.Tenant("acme").Call("join", "meetingID", "x", "fullName", "Ada").Answer(t).Key() == "tenantSuspended"
			}, "the replica learns of it")
			return created(e, "acme", "", "c1")
		}},
		"wrong secret": {"checksumError", identified("bad_checksum"), func(_ *testing.T, e *apptest.Env) string {
			return created(e, "acme", "not-the-secret-0123456789", "c1")
		}},
		"unknown slug": {"checksumError", identified("unknown_tenant"), func(_ *testing.T, e *apptest.Env) string {
			return created(e, "nobody", "not-the-secret-0123456789", "c1")
		}},
		"no checksum": {"checksumError", identified("missing"), func(_ *testing.T, e *apptest.Env) string {
			return e.Tenant("acme").Base + "api/create?meetingID=c1&name=A+class"
		}},
		"wrong secret, shared URL": {"checksumError", identified("bad_checksum"), func(_ *testing.T, e *apptest.Env) string {
			return e.Tenant("acme").Shared().Base + "api/create?meetingID=c1&name=A+class&checksum=" + strings.Repeat("0a", 20)
		}},
		"no server": {"noServerAvailable", func(t testing.TB, e *apptest.Env) float64 {
			return gaugeOf(t, e, `bluegate_placement_failures_total{reason="no_server"}`)
		}, func(_ *testing.T, e *apptest.Env) string { return created(e, "acme", "", "c1") }},
		"broken rule": {"sizeError", identifiedBySlug, func(_ *testing.T, e *apptest.Env) string {
			return created(e, "acme", "", strings.Repeat("x", 300))
		}},
		"query too long": {"queryTooLong", func(testing.TB, *apptest.Env) float64 { return 0 }, func(_ *testing.T, e *apptest.Env) string {
			return created(e, "acme", "", "c1", "welcome", strings.Repeat("x", 65<<10))
		}},
	}
}

func held(t *testing.T, r apptest.Result) {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, r.Status, r.Body)
	require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type"))
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	require.False(t, strings.HasPrefix(strings.TrimSpace(r.Body), "<"), "XML keeps the loop going: %s", r.Body)
}

func get(e *apptest.Env, url string) apptest.Result { return e.Do(http.MethodGet, url, "", nil) }

// TestT44_CreateLoop: Chamilo 1.10 to 1.11.32 repeats a refused create byte for
// byte, hundreds of times a second, until SUCCESS or a body that is no XML.
func TestT44_CreateLoop(t *testing.T) {
	for name, refused := range refusals() {
		t.Run(name, func(t *testing.T) {
			var clock handClock
			o := apptest.Options{}
			if name == "no server" {
				o.Servers = -1
			}
			clock.into(&o)
			e := apptest.Start(t, o)
			url := refused.url(t, e)
			suppressed := func() float64 { return gaugeOf(t, e, "bluegate_create_loops_suppressed_total") }
			before := suppressed()

			for n := 1; n <= 2; n++ {
				r := get(e, url)
				require.Equal(t, http.StatusOK, r.Status, r.Body)
				require.True(t, r.Answer(t).Failed())
				require.Equal(t, refused.key, r.Answer(t).Key())
			}
			held(t, get(e, url))
			work := refused.work(t, e)
			for range 300 {
				held(t, get(e, url))
			}
			require.InDelta(t, work, refused.work(t, e), 0, "a repetition costs nothing")
			require.InDelta(t, before+301, suppressed(), 0)

			// Others are not touched by it, and neither is the room's next create.
			require.NotEqual(t, http.StatusTooManyRequests, get(e, created(e, "globex", "", "c1")).Status)
			require.NotEqual(t, http.StatusTooManyRequests, get(e, url+"&").Status)
			require.Equal(t, "notFound", e.Tenant("acme").Info("c1").Answer(t).Key())

			clock.turn(59 * time.Second)
			held(t, get(e, url))
			clock.turn(time.Second)
			require.Equal(t, refused.key, get(e, url).Answer(t).Key(), "after a minute it starts anew")
			require.Equal(t, refused.key, get(e, url).Answer(t).Key())
			held(t, get(e, url))
		})
	}
}

// TestT44_SuccessClears: what was refused twice and then works is not held
// against the client.
func TestT44_SuccessClears(t *testing.T) {
	var clock handClock
	o := apptest.Options{}
	clock.into(&o)
	e := apptest.Start(t, o)
	ctx := t.Context()
	acme, err := e.Store.TenantBySlug(ctx, "acme")
	require.NoError(t, err)
	suspend := func(state tenant.State, key string) {
		t.Helper()
		require.NoError(t, e.Store.SetTenantState(ctx, acme.ID, state))
		apptest.Eventually(t, func() bool {
			return e.Tenant("acme").Call("join", "meetingID", "x", "fullName", "Ada").Answer(t).Key() == key
		}, "the replica learns of it")
	}
	for range 3 { // a fourth refusal would come if successes did not clear
		suspend(tenant.Suspended, "tenantSuspended")
		require.Equal(t, "tenantSuspended", e.Tenant("acme").Create("c1").Answer(t).Key())
		suspend(tenant.Active, "meetingForciblyEnded")
		require.True(t, e.Tenant("acme").Create("c1").Answer(t).Success())
		require.True(t, e.Tenant("acme").Call("end", "meetingID", "c1").Answer(t).Success())
		apptest.Eventually(t, func() bool { return e.Tenant("acme").Info("c1").Answer(t).Key() == "notFound" }, "the room is over")
	}
}

// TestT44_RoomTaken: a refusal that rests on a look at the server costs as many
// looks as there are refusals, and no more.
func TestT44_RoomTaken(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	require.True(t, e.Tenant("acme").Create("c1").Answer(t).Success())
	url := created(e, "acme", "", "c1", "attendeePW", "another")
	require.Equal(t, "idNotUnique", get(e, url).Answer(t).Key())
	for range 100 {
		get(e, url)
	}
	held(t, get(e, url))
	require.Equal(t, 1, e.Count("create"))
	require.LessOrEqual(t, e.Count("getMeetingInfo"), 3)
	require.Equal(t, "duplicateWarning", e.Tenant("acme").Create("c1").Answer(t).Key(), "the class itself goes on")
}

// TestT44_NotKnowing: a create that can't be answered now is no refusal. It gets
// its 503 as often as it is repeated, and works as soon as it can.
func TestT44_NotKnowing(t *testing.T) {
	e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) { c.DownAfter = 1000 }})
	e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
	for range 4 { // one more would open the circuit
		require.Equal(t, http.StatusServiceUnavailable, e.Tenant("acme").Create("c1").Status)
	}
	e.Sims[0].SetFaults(bbbsim.Faults{})
	apptest.Eventually(t, func() bool {
		r := e.Tenant("acme").Create("c1")
		require.NotEqual(t, http.StatusTooManyRequests, r.Status)
		return r.Status == http.StatusOK && r.Answer(t).Success()
	}, "the server is back")
}

// TestT44_ManyLoops: the brake's memory is bounded, and a client in a loop does
// not keep others waiting.
func TestT44_ManyLoops(t *testing.T) {
	e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) { c.LogLevel = "error" }})
	ctx, stop := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for n := range 8 {
		url := created(e, "acme", "not-the-secret-0123456789", fmt.Sprint("loop-", n))
		loops.Go(func() {
			for ctx.Err() == nil {
				get(e, url)
			}
		})
	}
	globex := e.Tenant("globex")
	for n := range 20 {
		id := fmt.Sprint("c-", n)
		require.True(t, globex.Create(id).Answer(t).Success())
		require.True(t, globex.Info(id).Answer(t).Success())
	}
	stop()
	loops.Wait()
	require.LessOrEqual(t, identified("bad_checksum")(t, e), float64(8*(3+8)), "only the first few were looked at")
	require.Equal(t, 20, e.Count("create"))
}
