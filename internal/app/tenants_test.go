package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/tenant"
)

func tenantID(t testing.TB, e *apptest.Env, slug string) int64 {
	t.Helper()
	found, err := e.Store.TenantBySlug(t.Context(), slug)
	require.NoError(t, err)
	return found.ID
}

// TestHostNames: a tenant's own host name stands for it, however it is written,
// also with a secret that is too short for the shared URL.
func TestHostNames(t *testing.T) {
	e := apptest.Start(t, apptest.Options{Tenants: map[string]string{"acme": "short", "globex": "globex-secret-0123456789"}})
	require.NoError(t, e.Store.AddHost(t.Context(), tenantID(t, e, "acme"), "bbb.acme.example"))
	acme, globex := e.Tenant("acme"), e.Tenant("globex")
	at := func(host string, as apptest.Tenant, call string, params ...string) apptest.Result {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, as.Shared().URL(call, params...), nil)
		require.NoError(t, err)
		req.Host = host
		return e.Send(req)
	}
	apptest.Eventually(t, func() bool {
		return at("bbb.acme.example", acme, "getMeetings").Answer(t).Success()
	}, "the replica learns of the host name")
	for _, host := range []string{"bbb.acme.example", "bbb.acme.example:8443", "BBB.Acme.Example", "bbb.acme.example.", "BBB.ACME.EXAMPLE.:80"} {
		require.True(t, at(host, acme, "create", "meetingID", "c1", "name", "A class").Answer(t).Success(), host)
		requireFailed(t, at(host, globex, "getMeetings"), "checksumError")
	}
	for _, host := range []string{"gw", "acme.example", "x.bbb.acme.example", "bbb.acme.example..", "[::1]:80"} {
		requireFailed(t, at(host, acme, "getMeetings"), "checksumError")
		require.True(t, at(host, globex, "getMeetings").Answer(t).Success(), "the shared URL works on any other name: %s", host)
	}
	e.Home("c1")
}

// TestUnknownWrongAndMissing: from outside, a tenant that does not exist, one
// with another secret and a missing checksum look the same, to the byte.
func TestUnknownWrongAndMissing(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	require.NoError(t, e.Store.SetTenantState(t.Context(), tenantID(t, e, "globex"), tenant.Suspended))
	same := map[string]bool{}
	for _, slug := range []string{"acme", "globex", "nobody"} {
		wrong := e.Tenant(slug)
		wrong.Secret = "not-the-secret-0123456789"
		for _, url := range []string{wrong.URL("getMeetings"), wrong.Base + "api/getMeetings", wrong.Shared().URL("getMeetings"), wrong.Base + "api/getMeetings?checksum=x"} {
			r := get(e, url)
			r.Header.Del("Date")
			same[fmt.Sprint(r.Status, r.Header, r.Body)] = true
		}
	}
	require.Len(t, same, 1, "%v", same)
}

// TestSuspendedTenant: rooms that are open go on, new ones are not opened, and a
// resumed tenant goes on where it was.
func TestSuspendedTenant(t *testing.T) {
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{DatabaseURL: db})
		acme := e.Tenant("acme")
		require.True(t, acme.Create("open").Answer(t).Success())
		id := tenantID(t, e, "acme")
		require.NoError(t, e.Store.SetTenantState(t.Context(), id, tenant.Suspended))
		apptest.Eventually(t, func() bool {
			r := acme.Create("new-" + fmt.Sprint(time.Now().UnixNano())).Answer(t)
			return r.Key() == "tenantSuspended"
		}, "the replica learns of it")
		require.Equal(t, "duplicateWarning", acme.Create("open").Answer(t).Key())
		require.True(t, acme.Info("open").Answer(t).Success())
		require.Equal(t, http.StatusFound, acme.Call("join", "meetingID", "open", "fullName", "Ada", "password", "mp").Status)
		require.True(t, acme.Call("getMeetings").Answer(t).Success())
		page := joins("new", "text/html")(e, 0)
		require.Equal(t, http.StatusForbidden, page.Status)
		require.Contains(t, page.Body, "suspended")
		require.True(t, e.Tenant("globex").Create("theirs").Answer(t).Success(), "others are not touched")
		require.Equal(t, "sentEndMeetingRequest", acme.Call("end", "meetingID", "open").Answer(t).Key())
		apptest.Eventually(t, func() bool { return acme.Info("open").Answer(t).Key() == "notFound" }, "it may be ended")
		requireFailed(t, acme.Create("open"), "tenantSuspended")

		require.NoError(t, e.Store.SetTenantState(t.Context(), id, tenant.Active))
		n := 0
		apptest.Eventually(t, func() bool {
			n++
			return acme.Create(fmt.Sprint("again-", n)).Answer(t).Success()
		}, "a resumed tenant opens rooms")
	})
}

// TestExpiredAndRevokedSecrets: an expired secret serves the rooms created with
// it until they end; a revoked one serves nothing, at once.
func TestExpiredAndRevokedSecrets(t *testing.T) {
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{DatabaseURL: db})
		id := tenantID(t, e, "acme")
		old, err := e.Store.AddSecret(t.Context(), id, "the-old-secret-0123456789", "old", nil)
		require.NoError(t, err)
		current := e.Tenant("acme")
		with := current
		with.Secret = old.Value
		apptest.Eventually(t, func() bool { return with.Call("getMeetings").Answer(t).Success() }, "the replica learns of the secret")
		require.True(t, with.Create("old-room").Answer(t).Success())
		require.True(t, current.Create("new-room").Answer(t).Success())

		past := time.Now().Add(-time.Hour)
		require.NoError(t, e.Store.ExpireSecret(t.Context(), id, old.ID, &past))
		apptest.Eventually(t, func() bool { return with.Call("getMeetings").Answer(t).Key() == "checksumError" }, "the replica learns of the expiry")
		for _, door := range []apptest.Tenant{with, with.Shared()} {
			require.True(t, door.Info("old-room").Answer(t).Success())
			require.True(t, door.Call("isMeetingRunning", "meetingID", "old-room").Answer(t).Success())
			require.Equal(t, http.StatusFound, door.Call("join", "meetingID", "old-room", "fullName", "Ada", "password", "mp").Status)
			require.Equal(t, "duplicateWarning", door.Create("old-room").Answer(t).Key())
			requireFailed(t, door.Info("new-room"), "checksumError")
			requireFailed(t, door.Info("no-room"), "checksumError")
			requireFailed(t, door.Call("end", "meetingID", "new-room"), "checksumError")
		}
		requireFailed(t, with.Create("another"), "checksumError")
		require.True(t, current.Info("old-room").Answer(t).Success(), "the current secret serves all")
		require.True(t, with.Call("end", "meetingID", "old-room").Answer(t).Success())
		apptest.Eventually(t, func() bool { return with.Info("old-room").Answer(t).Key() == "checksumError" }, "it ended")

		second, err := e.Store.AddSecret(t.Context(), id, "another-secret-0123456789", "leaked", nil)
		require.NoError(t, err)
		with.Secret = second.Value
		apptest.Eventually(t, func() bool { return with.Call("getMeetings").Answer(t).Success() }, "the replica learns of the secret")
		require.True(t, with.Create("leaked-room").Answer(t).Success())
		require.NoError(t, e.Store.RevokeSecret(t.Context(), id, second.ID))
		apptest.Eventually(t, func() bool { return with.Info("leaked-room").Answer(t).Key() == "checksumError" }, "revoked is at once")
		for _, door := range []apptest.Tenant{with, with.Shared()} {
			requireFailed(t, door.Info("leaked-room"), "checksumError")
			requireFailed(t, door.Call("getMeetings"), "checksumError")
		}
		require.True(t, current.Info("leaked-room").Answer(t).Success(), "the class goes on")
	})
}

// TestAlgorithms: one tenant's clients may sign with different hashes at once.
func TestAlgorithms(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	acme := e.Tenant("acme")
	for _, alg := range []bbb.Algorithm{bbb.SHA1, bbb.SHA256, bbb.SHA384, bbb.SHA512} {
		for _, base := range []string{acme.Base, acme.Shared().Base} {
			url := bbb.URL(base, bbb.Call{Name: "getMeetings", Query: "a=b"}, alg, acme.Secret)
			require.True(t, get(e, url).Answer(t).Success(), alg)
			broken := url[:len(url)-1] + strings.Map(func(r rune) rune {
				if r == '0' {
					return '1'
				}
				return '0'
			}, url[len(url)-1:])
			requireFailed(t, get(e, broken), "checksumError")
		}
	}
}
