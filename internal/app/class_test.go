package app_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app/apptest"
)

// TestClass is the main job: a class is created, looked at, joined and ended.
func TestClass(t *testing.T) {
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{Servers: 3, DatabaseURL: db})
		acme := e.Tenant("acme")

		created := acme.Create("c1").Answer(t)
		require.True(t, created.Success())
		require.Equal(t, "c1", created.Text("meetingID"))
		require.Empty(t, created.Key())
		home, m := e.Home("c1")
		require.Equal(t, m.InternalID, created.Text("internalMeetingID"))

		info := acme.Info("c1").Answer(t)
		require.True(t, info.Success())
		require.Equal(t, "Name of c1", info.Text("meetingName"))

		joined := acme.Call("join", "meetingID", "c1", "fullName", "Ada", "password", "mp")
		require.Equal(t, http.StatusFound, joined.Status)
		require.Contains(t, joined.Header.Get("Location"), home.APIURL()+"api/join?meetingID=")
		page := e.Do(http.MethodGet, joined.Header.Get("Location"), "", nil)
		require.Equal(t, http.StatusFound, page.Status, page.Body)
		require.Contains(t, page.Header.Get("Location"), "sessionToken=")

		apptest.Eventually(t, func() bool {
			return acme.Call("isMeetingRunning", "meetingID", "c1").Answer(t).Text("running") == "true"
		}, "the class runs")
		require.True(t, acme.Call("end", "meetingID", "c1", "password", "wrong").Answer(t).Success())
		apptest.Eventually(t, func() bool { return acme.Info("c1").Answer(t).Key() == "notFound" }, "the class is over")
		require.Equal(t, "noMeetings", acme.Call("getMeetings").Answer(t).Key())
	})
}
