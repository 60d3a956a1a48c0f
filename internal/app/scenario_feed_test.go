package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// TestFeed_Tenant suspends and resumes a tenant: every replica knows.
func TestFeed_Tenant(t *testing.T) {
	t.Parallel()
	e := apptest.Start(t, apptest.Options{Replicas: 2, DatabaseURL: postgres(t), Config: quick})
	require.True(t, e.Tenant("acme").Create("open").Answer(t).Success())
	acme, err := e.Store.TenantBySlug(t.Context(), "acme")
	require.NoError(t, err)
	require.NoError(t, e.Store.SetTenantState(t.Context(), acme.ID, tenant.Suspended))
	for i := range e.Replicas {
		me := e.TenantAt(i, "acme")
		n := 0
		apptest.Eventually(t, func() bool {
			n++ // another room each time: the loop brake is not what is tested
			r := me.Create(fmt.Sprintf("new-%d-%d", i, n))
			return r.Status == http.StatusOK && r.Answer(t).Key() == "tenantSuspended"
		}, "new rooms are refused")
		require.Equal(t, "duplicateWarning", me.Create("open").Answer(t).Key(), "an open one goes on")
		require.Equal(t, http.StatusFound, join(me, "open").Status)
		require.True(t, e.TenantAt(i, "globex").Create("theirs").Answer(t).Success())
	}
	require.NoError(t, e.Store.SetTenantState(t.Context(), acme.ID, tenant.Active))
	for i := range e.Replicas {
		n := 0
		apptest.Eventually(t, func() bool {
			n++
			_, ok := tried(e.TenantAt(i, "acme").Create(fmt.Sprintf("again-%d-%d", i, n)))
			return ok
		}, "it is welcome again")
	}
}

// TestFeed_Servers adds a server and drains the other one.
func TestFeed_Servers(t *testing.T) {
	t.Parallel()
	e := apptest.Start(t, apptest.Options{Replicas: 2, DatabaseURL: postgres(t), Config: quick})
	require.True(t, e.Tenant("acme").Create("before").Answer(t).Success())
	added := bbbsim.New(bbbsim.Config{Name: "added", Secret: "secret-of-the-added-one"})
	_, err := added.Start()
	require.NoError(t, err)
	t.Cleanup(added.Close)
	_, err = e.Store.AddServer(t.Context(), pool.Server{
		Name: "added", APIURL: added.APIURL(), Secret: "secret-of-the-added-one", CapacitySeats: 200,
	})
	require.NoError(t, err)
	servers, err := e.Store.Servers(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Store.SetServerAdminState(t.Context(), servers[0].ID, pool.Draining))
	for i := range e.Replicas {
		apptest.Eventually(t, func() bool {
			return scraped(e, i, "bluegate_server_polls_total", `server="added"`, `result="ok"`) > 1
		}, "the new server is polled")
	}
	e.Sims = append(e.Sims, added)
	for i := range e.Replicas {
		me := e.TenantAt(i, "acme")
		id := []string{"one", "two"}[i]
		require.True(t, me.Create(id).Answer(t).Success())
		home, _ := e.Home(id)
		require.Equal(t, added, home)
		require.Equal(t, "duplicateWarning", me.Create("before").Answer(t).Key(), "a draining server keeps its rooms")
		requireJoin(t, e, me, "before")
	}
}

// TestFeed_RoomElsewhere ends rooms and opens them on another server: the replica
// that knew the old ones goes where they are now, at once when it asks, and
// within the feed's interval when it does not.
func TestFeed_RoomElsewhere(t *testing.T) {
	t.Parallel()
	e := apptest.Start(t, apptest.Options{Servers: 2, Replicas: 2, DatabaseURL: postgres(t), Config: quick})
	here, there := e.TenantAt(0, "acme"), e.TenantAt(1, "acme")
	servers, err := e.Store.Servers(t.Context())
	require.NoError(t, err)
	// only makes one server the only one that takes new rooms.
	probes := 0
	only := func(i int) {
		// In this order there is no moment in which both do.
		require.NoError(t, e.Store.SetServerAdminState(t.Context(), servers[1-i].ID, pool.Draining))
		require.NoError(t, e.Store.SetServerAdminState(t.Context(), servers[i].ID, pool.Enabled))
		row := 0
		apptest.Eventually(t, func() bool {
			probes++
			id := fmt.Sprint("probe-", probes)
			if _, ok := tried(here.Create(id)); !ok {
				return false
			}
			home, _ := e.Home(id)
			row++
			if home != e.Sims[i] {
				row = 0
			}
			return row == 5
		}, "the configuration is known")
	}
	only(0)
	rooms := []string{"asked", "joined"}
	old := map[string]string{}
	for _, id := range rooms {
		old[id] = here.Create(id).Answer(t).Text("internalMeetingID")
		require.Equal(t, old[id], there.Info(id).Answer(t).Text("internalMeetingID"))
		require.Contains(t, join(there, id).Header.Get("Location"), e.Sims[0].APIURL())
	}
	only(1)
	next := map[string]string{}
	for _, id := range rooms {
		require.True(t, here.Call("end", "meetingID", id).Answer(t).Success())
		next[id] = here.Create(id).Answer(t).Text("internalMeetingID")
		require.NotEqual(t, old[id], next[id])
		home, _ := e.Home(id)
		require.Equal(t, e.Sims[1], home)
		if id == "asked" {
			require.Equal(t, next[id], there.Info(id).Answer(t).Text("internalMeetingID"))
			require.Equal(t, next[id], there.Create(id).Answer(t).Text("internalMeetingID"))
			require.Contains(t, join(there, id).Header.Get("Location"), e.Sims[1].APIURL())
		}
	}
	apptest.Eventually(t, func() bool {
		return strings.Contains(join(there, "joined").Header.Get("Location"), e.Sims[1].APIURL())
	}, "joins go to the new server")
	for _, id := range rooms {
		requireJoin(t, e, there, id)
		require.Equal(t, "notFound", there.Info(old[id]).Answer(t).Key())
		c := requireState(t, e, "acme", id, meeting.Running)
		require.Equal(t, 2, c.Generation)
	}
}
