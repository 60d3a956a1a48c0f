package app_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/meeting"
)

// killedInCreate starts a replica in a process of its own, has it send a create to a
// server with those faults and kills it when the server has the call.
func killedInCreate(t *testing.T, db string, faults bbbsim.Faults) (*apptest.Env, *bbbsim.Server) {
	t.Helper()
	e := apptest.Prepare(t, apptest.Options{Servers: 2, DatabaseURL: db, Config: quick})
	for _, s := range e.Sims {
		s.SetFaults(faults)
	}
	first := startChild(t, e)
	first.waitReady(e)
	answered := make(chan apptest.Result, 1)
	go func() { answered <- e.TenantOn(first.URL, "acme").Create("r") }()
	apptest.Eventually(t, func() bool { return e.Count("create") == 1 }, "a server has the create")
	if faults.Mode != bbbsim.ModeHang {
		apptest.Eventually(t, func() bool { return len(e.Sims[0].Meetings())+len(e.Sims[1].Meetings()) == 1 }, "it has made the meeting")
	}
	first.kill()
	require.Zero(t, (<-answered).Status, "nobody was told")
	c, ok := e.Claim("acme", "r")
	require.True(t, ok)
	require.Equal(t, meeting.Claimed, c.State)
	return e, e.Sims[c.ServerID-1]
}

// TestT03_KilledAfterTheServerAccepted kills a replica between the server's
// create and its own record of it.
func TestT03_KilledAfterTheServerAccepted(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e, home := killedInCreate(t, db, bbbsim.Faults{Latency: 300 * time.Millisecond, Calls: []string{"create"}})
		for _, s := range e.Sims {
			s.SetFaults(bbbsim.Faults{})
		}
		next := startChild(t, e)
		next.waitReady(e)
		acme := e.TenantOn(next.URL, "acme")
		began := time.Now()
		c := requireState(t, e, "acme", "r", meeting.Running)
		require.Less(t, time.Since(began), within(e))
		require.Equal(t, 1, e.Count("create"), "it was found, not made again")
		require.Equal(t, home.Meetings()[0].InternalID, c.InternalID)

		info, ok := tried(acme.Info("r"))
		require.True(t, ok)
		require.Equal(t, c.InternalID, info.Text("internalMeetingID"))
		again, ok := tried(acme.Create("r"))
		require.True(t, ok)
		require.Equal(t, "duplicateWarning", again.Key())
		require.Equal(t, c.InternalID, again.Text("internalMeetingID"))
		require.Equal(t, home.Meetings()[0].VoiceBridge, again.Text("voiceBridge"))
		join := acme.Call("join", "meetingID", "r", "fullName", "Ada", "password", "mp")
		require.Equal(t, http.StatusFound, join.Status)
		require.Equal(t, http.StatusFound, e.Do(http.MethodGet, join.Header.Get("Location"), "", nil).Status)
		server, _ := e.Home("r")
		require.Equal(t, home, server)
		require.Zero(t, e.Count("end"))
	})
}

// TestT03_KilledWithTheServerHung leaves the outcome unknown: while the server
// may have the meeting, it is not made elsewhere.
func TestT03_KilledWithTheServerHung(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e, home := killedInCreate(t, db, bbbsim.Faults{Mode: bbbsim.ModeHang, Calls: []string{"create"}})
		for _, s := range e.Sims {
			s.SetFaults(bbbsim.Faults{})
		}
		home.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
		next := startChild(t, e)
		next.waitReady(e)
		acme := e.TenantOn(next.URL, "acme")
		_, ok := tried(acme.Info("r"))
		require.True(t, ok, "nobody knows that it does not exist")
		requireUnknown(t, acme.Create("r"))
		requireUnknown(t, acme.Create("r"))
		_, ok = tried(acme.Info("r"))
		require.True(t, ok)

		home.SetFaults(bbbsim.Faults{})
		apptest.Eventually(t, func() bool {
			r := acme.Create("r")
			if _, ok := tried(r); ok {
				return true
			}
			requireUnknown(t, r)
			return false
		}, "the server answers again")
		server, m := e.Home("r")
		require.Equal(t, home, server)
		require.Equal(t, "mp", m.ModeratorPW)
		for _, s := range e.Sims {
			if s != home {
				require.Zero(t, s.Count("create"))
			}
		}
	})
}

// TestT03_KilledAndNeverCreated loses the create on its way: the room is free
// again when it can't turn up any more, and not before.
func TestT03_KilledAndNeverCreated(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e, _ := killedInCreate(t, db, bbbsim.Faults{Mode: bbbsim.ModeHang, Calls: []string{"create"}})
		for _, s := range e.Sims {
			s.SetFaults(bbbsim.Faults{})
		}
		began := time.Now()
		next := startChild(t, e)
		next.waitReady(e)
		acme := e.TenantOn(next.URL, "acme")
		apptest.Eventually(t, func() bool {
			r := acme.Info("r")
			if _, ok := tried(r); ok {
				return false
			}
			require.Equal(t, "notFound", r.Answer(t).Key())
			return true
		}, "the room is free")
		require.Greater(t, time.Since(began), e.Config().CreateTimeout+e.Config().UnknownSettles)
		require.Equal(t, 1, e.Count("create"))
		require.Empty(t, acme.Create("r").Answer(t).Key())
		e.Home("r")
		c, _ := e.Claim("acme", "r")
		require.Equal(t, 2, c.Generation)
	})
}

// TestKill_BothReplicasMidClass kills every replica while classes are on.
func TestKill_BothReplicasMidClass(t *testing.T) {
	t.Parallel()
	e := apptest.Prepare(t, apptest.Options{Servers: 3, DatabaseURL: postgres(t), Config: with(func(c *app.Config) {
		c.PollInterval = time.Second
	})})
	replicas := []*child{startChild(t, e), startChild(t, e)}
	const rooms, people = 9, 3
	internal := map[string]string{}
	for n := range rooms {
		for _, slug := range []string{"acme", "globex"} {
			r := replicas[n%2]
			r.waitReady(e)
			id := fmt.Sprintf("%s-%d", slug, n)
			internal[id] = e.TenantOn(r.URL, slug).Create(id).Answer(t).Text("internalMeetingID")
			home, m := e.Home(id)
			require.NoError(t, home.AddUsers(m.MeetingID, people))
		}
	}
	// Creates are under way when both die.
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		parallel(6, func(i int) { e.TenantOn(replicas[i%2].URL, "acme").Create(fmt.Sprint("late-", i/2)) })
	}()
	for _, r := range replicas {
		r.kill()
	}
	<-busy

	began := time.Now()
	for i := range replicas {
		replicas[i] = startChild(t, e)
	}
	for _, r := range replicas {
		r.waitReady(e)
		for _, slug := range []string{"acme", "globex"} {
			tenant := e.TenantOn(r.URL, slug)
			for n := range rooms {
				id := fmt.Sprintf("%s-%d", slug, n)
				info, ok := tried(tenant.Info(id))
				require.True(t, ok, id)
				require.Equal(t, internal[id], info.Text("internalMeetingID"))
				require.EqualValues(t, people, info.Int("participantCount"))
				require.Equal(t, http.StatusFound, tenant.Call("join", "meetingID", id, "fullName", "Ada", "password", "mp").Status)
				require.Equal(t, "duplicateWarning", tenant.Create(id).Answer(t).Key())
			}
			meetings, err := bbb.ParseMeetings([]byte(tenant.Call("getMeetings").Body))
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(meetings), rooms)
		}
	}
	require.Less(t, time.Since(began), within(e)+5*time.Second, "two programs were started in that time, too")
	seen := map[string]int{}
	for _, s := range e.Sims {
		for _, m := range s.Meetings() {
			seen[m.MeetingID]++
			require.Equal(t, 1, seen[m.MeetingID], "%s lives on two servers", m.MeetingID)
		}
	}
	for id := range internal {
		_, m := e.Home(id)
		require.Equal(t, people, m.Participants, "people are still inside")
		require.Equal(t, internal[id], m.InternalID)
	}
	for i := range 3 { // whatever became of the creates under way, the room works
		id := fmt.Sprint("late-", i)
		apptest.Eventually(t, func() bool {
			_, ok := tried(e.TenantOn(replicas[0].URL, "acme").Create(id))
			return ok
		}, "a room whose create was cut opens")
		e.Home(id)
	}
	require.Zero(t, e.Count("end"))
}
