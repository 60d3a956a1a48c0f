package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/store/pgtest"
)

// rowNumber is what Chamilo asks for, at once, after an answer that it can't
// read: the number of its own row, which is no meeting. When it is told so it
// ends the class.
const rowNumber = "57"

// askTwice asks like Chamilo for a class that lives and reports whether the
// first answer was a success. No answer may be FAILED, whatever happens.
func askTwice(t testing.TB, me apptest.Tenant, id string) bool {
	t.Helper()
	first := me.Info(id)
	if _, ok := tried(first); ok {
		return true
	}
	requireUnknown(t, first)
	requireUnknown(t, me.Info(rowNumber))
	return false
}

// TestT46_ServerHung asks while the class's server hangs.
func TestT46_ServerHung(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: db, Config: quick})
		acme := e.Tenant("acme")
		require.True(t, acme.Create("r").Answer(t).Success())
		home, _ := e.Home("r")
		home.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
		for range 20 {
			require.True(t, askTwice(t, acme, "r"))
		}
		require.Equal(t, "notFound", acme.Info(rowNumber).Answer(t).Key(), "that one is known not to exist")
		// Nor is a room whose create hangs denied.
		for _, s := range e.Sims {
			s.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
		}
		requireUnknown(t, acme.Create("unknown"))
		for range 5 {
			require.True(t, askTwice(t, acme, "unknown"))
		}
		require.Zero(t, e.Count("end"))
	})
}

// TestT46_SQLAway asks while the database is stopped, hangs, and comes back.
func TestT46_SQLAway(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	e := apptest.Start(t, apptest.Options{Servers: 2, Replicas: 2, DatabaseURL: pg.URL(), Config: quick})
	here, there := e.TenantAt(0, "acme"), e.TenantAt(1, "acme")
	require.True(t, here.Create("r").Answer(t).Success())
	require.Equal(t, "notFound", here.Info(rowNumber).Answer(t).Key())

	pg.Stop()
	require.True(t, askTwice(t, here, "r"), "a class that is known lives on in memory")
	requireUnknown(t, here.Info(rowNumber))
	askTwice(t, there, "r")
	for range 20 {
		require.True(t, askTwice(t, here, "r"))
		requireUnknown(t, here.Info(rowNumber))
	}
	require.Equal(t, 302, here.Call("join", "meetingID", "r", "fullName", "Ada", "password", "mp").Status)
	require.Equal(t, "duplicateWarning", here.Create("r").Answer(t).Key())
	requireUnknown(t, here.Create("new"))
	require.True(t, here.Call("end", "meetingID", "r", "password", "mp").Answer(t).Failed(), "the intent can't be stored")
	pg.Resume()
	for range 3 {
		require.True(t, askTwice(t, here, "r"))
	}
	apptest.Eventually(t, func() bool {
		r := here.Info(rowNumber)
		if r.Status == 503 {
			requireUnknown(t, r)
			return false
		}
		return r.Answer(t).Key() == "notFound"
	}, "what is not there is known again")

	pg.Freeze()
	require.True(t, askTwice(t, here, "r"))
	requireUnknown(t, here.Info(rowNumber))
	require.True(t, askTwice(t, here, "r"))
	pg.Thaw()
	require.Zero(t, e.Count("end"))
}

// TestT46_SQLBackInBetween has the database come back between Chamilo's two
// questions, for a class that this replica has not heard of yet.
func TestT46_SQLBackInBetween(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	e := apptest.Start(t, apptest.Options{Replicas: 2, DatabaseURL: pg.URL(), Config: with(func(c *app.Config) {
		c.FeedInterval = time.Hour
	})})
	here, there := e.TenantAt(0, "acme"), e.TenantAt(1, "acme")
	require.True(t, there.Create("r").Answer(t).Success())
	pg.Stop()
	first := here.Info("r")
	requireUnknown(t, first)
	pg.Resume()
	apptest.Eventually(t, func() bool {
		_, ok := tried(here.Info("r"))
		requireUnknown(t, here.Info(rowNumber))
		return ok
	}, "the class is known")
	require.True(t, askTwice(t, here, "r"))
}

// TestT46_JustStarted asks a replica from its first moment, when it can't reach
// the database yet, until it is ready.
func TestT46_JustStarted(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: pg.URL(), Config: quick})
	require.True(t, e.Tenant("acme").Create("r").Answer(t).Success())
	pg.Stop()
	fresh := e.Begin()
	late := e.TenantAt(1, "acme")
	for range 10 {
		require.False(t, askTwice(t, late, "r"))
		require.False(t, fresh.Ready())
	}
	pg.Resume()
	apptest.Eventually(t, func() bool { return askTwice(t, late, "r") }, "the replica is ready")
	for range 10 {
		require.True(t, askTwice(t, late, "r"))
	}
	require.True(t, e.Tenant("acme").Info("r").Answer(t).Success())
	c, ok := e.Claim("acme", "r")
	require.True(t, ok)
	require.Equal(t, meeting.Running, c.State)
	require.Zero(t, e.Count("end"))
}
