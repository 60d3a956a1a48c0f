package app_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/meeting"
)

func join(me apptest.Tenant, id string) apptest.Result {
	return me.Call("join", "meetingID", id, "fullName", "Ada", "password", "mp")
}

// requireJoin follows a join into the meeting's client.
func requireJoin(t testing.TB, e *apptest.Env, me apptest.Tenant, id string) {
	t.Helper()
	r := join(me, id)
	require.Equal(t, http.StatusFound, r.Status, r.Body)
	page := e.Do(http.MethodGet, r.Header.Get("Location"), "", nil)
	require.Equal(t, http.StatusFound, page.Status, page.Body)
	require.Contains(t, page.Header.Get("Location"), "sessionToken=")
}

// TestLife_EndAndNext ends a class and opens its room again at once.
func TestLife_EndAndNext(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: db, Config: quick})
		acme := e.Tenant("acme")
		first := acme.Create("r").Answer(t)
		seat(t, e, "acme", "r", 2)
		require.Equal(t, "sentEndMeetingRequest", acme.Call("end", "meetingID", "r", "password", "ap").Answer(t).Key())
		c, ok := e.Claim("acme", "r")
		require.True(t, ok)
		require.Equal(t, meeting.Ending, c.State)
		require.Equal(t, "meetingForciblyEnded", join(acme, "r").Answer(t).Key())

		next := acme.Create("r", "moderatorPW", "other").Answer(t)
		require.True(t, next.Success())
		require.Empty(t, next.Key())
		require.NotEqual(t, first.Text("internalMeetingID"), next.Text("internalMeetingID"))
		require.Equal(t, "other", next.Text("moderatorPW"))
		_, m := e.Home("r")
		require.Equal(t, next.Text("internalMeetingID"), m.InternalID)
		c = requireState(t, e, "acme", "r", meeting.Running)
		require.Equal(t, 2, c.Generation)
		require.Equal(t, next.Text("internalMeetingID"), acme.Info("r").Answer(t).Text("internalMeetingID"))
		require.Equal(t, "notFound", acme.Info(first.Text("internalMeetingID")).Answer(t).Key())
		require.True(t, acme.Info(next.Text("internalMeetingID")).Answer(t).Success())

		// And for good.
		require.True(t, acme.Call("end", "meetingID", "r").Answer(t).Success())
		requireState(t, e, "acme", "r", "")
		require.Equal(t, "notFound", acme.Call("end", "meetingID", "r").Answer(t).Key())
	})
}

// TestLife_EndedFromInside ends classes behind our back: a question notices, and
// so does the poll.
func TestLife_EndedFromInside(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		t.Run("noticed by a question", func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{DatabaseURL: freshly(t, db), Config: with(frozen)})
			acme := e.Tenant("acme")
			for _, id := range []string{"info", "create", "other"} {
				require.True(t, acme.Create(id).Answer(t).Success())
			}
			first, ok := e.Claim("acme", "create")
			require.True(t, ok)
			for _, id := range []string{"info", "create"} {
				home, m := e.Home(id)
				require.NoError(t, home.EndFromInside(m.MeetingID))
				apptest.Eventually(t, func() bool {
					return !slices.ContainsFunc(home.Meetings(), func(l bbbsim.Meeting) bool { return l.InternalID == m.InternalID })
				}, "it has ended")
				if id == "info" {
					apptest.Eventually(t, func() bool { return acme.Info(id).Answer(t).Key() == "notFound" }, "it is noticed")
					_, ok = e.Claim("acme", id)
					require.False(t, ok)
				}
			}
			next := acme.Create("create").Answer(t)
			require.Empty(t, next.Key())
			require.NotEqual(t, first.InternalID, next.Text("internalMeetingID"))
			require.True(t, acme.Info("other").Answer(t).Success())
			require.Zero(t, e.Count("end"))
		})
		t.Run("noticed by the poll", func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{DatabaseURL: freshly(t, db), Config: quick})
			acme := e.Tenant("acme")
			require.True(t, acme.Create("r").Answer(t).Success())
			home, m := e.Home("r")
			require.NoError(t, home.EndFromInside(m.MeetingID))
			infos := e.Count("getMeetingInfo")
			requireState(t, e, "acme", "r", "")
			require.Equal(t, infos, e.Count("getMeetingInfo"))
			require.Equal(t, "notFound", acme.Info("r").Answer(t).Key())
			require.NotEqual(t, m.InternalID, acme.Create("r").Answer(t).Text("internalMeetingID"))
		})
	})
}

// TestLife_EndWhileTheServerHangs stores the intent and carries it out later.
func TestLife_EndWhileTheServerHangs(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{DatabaseURL: db, Config: with(func(c *app.Config) {
			c.EndingWait = 100 * time.Millisecond // or the circuit opens, and all take longer
		})})
		acme := e.Tenant("acme")
		require.True(t, acme.Create("r").Answer(t).Success())
		seat(t, e, "acme", "r", 3)
		e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
		for range 2 {
			require.Equal(t, "sentEndMeetingRequest", acme.Call("end", "meetingID", "r").Answer(t).Key())
		}
		c, ok := e.Claim("acme", "r")
		require.True(t, ok)
		require.Equal(t, meeting.Ending, c.State)
		_, ok = tried(acme.Info("r"))
		require.True(t, ok, "it goes on until it ends")
		requireUnknown(t, acme.Create("r"))
		require.Len(t, e.Sims[0].Meetings(), 1)

		e.Sims[0].SetFaults(bbbsim.Faults{})
		apptest.Eventually(t, func() bool { return len(e.Sims[0].Meetings()) == 0 }, "the class really ends")
		requireState(t, e, "acme", "r", "")
		require.Equal(t, "notFound", acme.Info("r").Answer(t).Key())
	})
}

// TestLife_EndOfAnUnknownCreate ends a room of which nobody knows whether it is.
func TestLife_EndOfAnUnknownCreate(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: db, Config: with(func(c *app.Config) { c.UnknownSettles = time.Minute })})
		acme := e.Tenant("acme")
		for _, s := range e.Sims {
			s.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
		}
		requireUnknown(t, acme.Create("r"))
		require.Equal(t, "sentEndMeetingRequest", acme.Call("end", "meetingID", "r").Answer(t).Key())
		c, ok := e.Claim("acme", "r")
		require.True(t, ok)
		require.Equal(t, meeting.Unknown, c.State)
		require.True(t, c.EndRequested)
		require.Equal(t, "meetingForciblyEnded", join(acme, "r").Answer(t).Key())
		_, ok = tried(acme.Info("r"))
		require.True(t, ok)

		// The create took effect after all: repeated by hand, it is the same call.
		home := e.Sims[c.ServerID-1]
		for _, s := range e.Sims {
			s.SetFaults(bbbsim.Faults{})
		}
		requests := home.Requests()
		for _, r := range requests {
			if r.Call == "create" {
				require.Equal(t, http.StatusOK, e.Do(http.MethodGet, home.APIURL()+"api/create?"+r.Query, "", nil).Status)
			}
		}
		requireState(t, e, "acme", "r", "")
		apptest.Eventually(t, func() bool { return len(home.Meetings()) == 0 }, "it is ended as soon as it is found")
		require.Equal(t, "notFound", acme.Info("r").Answer(t).Key())
	})
}

// TestLife_ServersRefuse places a room on the server that takes it.
func TestLife_ServersRefuse(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{Servers: 3, DatabaseURL: db, Config: with(frozen)})
		acme := e.Tenant("acme")
		e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
		e.Sims[2].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			require.True(t, acme.Create(id).Answer(t).Success(), id)
			home, _ := e.Home(id)
			require.Equal(t, e.Sims[1], home)
		}
		e.Sims[1].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
		requireUnknown(t, acme.Create("g"))
		_, ok := e.Claim("acme", "g")
		require.False(t, ok, "nothing is left behind by a create that had no effect")
		require.Equal(t, "notFound", acme.Info("g").Answer(t).Key())
	})
}

// TestLife_CreateUnknown repeats a create whose outcome is not known until its
// server answers.
func TestLife_CreateUnknown(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		for name, faults := range map[string]bbbsim.Faults{
			"hangs":         {Mode: bbbsim.ModeHang},
			"hangs, listed": {Mode: bbbsim.ModeHang, Calls: []string{"create"}},
			"cuts":          {Mode: bbbsim.ModeCut},
			"fails":         {Mode: bbbsim.ModeError, Calls: []string{"create"}},
			"resets":        {Mode: bbbsim.ModeRefuse, Calls: []string{"create"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: freshly(t, db), Config: with(func(c *app.Config) {
					c.UnknownSettles = time.Minute
				})})
				acme := e.Tenant("acme")
				for _, s := range e.Sims {
					s.SetFaults(faults)
				}
				requireUnknown(t, acme.Create("r"))
				c, ok := e.Claim("acme", "r")
				require.True(t, ok)
				home, other := e.Sims[c.ServerID-1], e.Sims[2-c.ServerID]
				other.SetFaults(bbbsim.Faults{})
				info, ok := tried(acme.Info("r"))
				require.True(t, ok)
				require.Equal(t, "Name of r", info.Text("meetingName"))
				requireUnknown(t, acme.Create("r"))

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
				require.Zero(t, other.Count("create"))
				requireJoin(t, e, acme, "r")
				require.Zero(t, e.Count("end"))
			})
		}
	})
}

// TestLife_ServerRestarts lets a server forget its classes with people in them.
func TestLife_ServerRestarts(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{DatabaseURL: db, Config: quick})
		acme := e.Tenant("acme")
		old := map[string]bbbsim.Meeting{}
		for _, id := range []string{"join", "create", "neither", "ended"} {
			require.True(t, acme.Call("create", "name", "Name of "+id, "meetingID", id, "meta_course", "algebra").Answer(t).Success())
			_, old[id] = e.Home(id)
			seat(t, e, "acme", id, 2)
		}
		e.Sims[0].Restart()
		for _, id := range []string{"join", "create", "neither", "ended"} {
			requireState(t, e, "acme", id, meeting.Lost)
			info, ok := tried(acme.Info(id))
			require.True(t, ok)
			require.Equal(t, "Name of "+id, info.Text("meetingName"))
		}
		require.Empty(t, e.Sims[0].Meetings())

		r := acme.Call("join", "meetingID", "join", "fullName", "Ada", "password", old["join"].ModeratorPW)
		require.Equal(t, http.StatusFound, r.Status)
		require.Equal(t, http.StatusFound, e.Do(http.MethodGet, r.Header.Get("Location"), "", nil).Status)
		created := acme.Call("create", "name", "Name of create", "meetingID", "create").Answer(t)
		require.True(t, created.Success())
		for _, id := range []string{"join", "create"} {
			_, m := e.Home(id)
			require.NotEqual(t, old[id].InternalID, m.InternalID)
			require.Equal(t, old[id].AttendeePW, m.AttendeePW)
			require.Equal(t, old[id].ModeratorPW, m.ModeratorPW)
			require.Equal(t, old[id].Name, m.Name)
			require.Equal(t, "algebra", m.Metadata["course"])
			require.Equal(t, m.InternalID, acme.Info(id).Answer(t).Text("internalMeetingID"))
		}
		require.InDelta(t, 2, scraped(e, 0, "bluegate_meetings_relocated_total"), 0)
		require.True(t, acme.Info("neither").Answer(t).Success())
		require.True(t, acme.Call("end", "meetingID", "ended").Answer(t).Success())
		require.Equal(t, "notFound", acme.Info("ended").Answer(t).Key())
		require.Zero(t, e.Count("end"), "nobody's class was ended by us")
	})
}

// TestLife_ServerDownForLong loses a server for longer than its rooms wait for it.
func TestLife_ServerDownForLong(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		start := func(t *testing.T) (*apptest.Env, *bbbsim.Server, bbbsim.Meeting) {
			t.Helper()
			e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: freshly(t, db), Config: with(func(c *app.Config) {
				c.LostAfter, c.LostAfterEmpty, c.DownAfter = 900*time.Millisecond, 100*time.Millisecond, 2
			})})
			acme := e.Tenant("acme")
			require.True(t, acme.Create("r").Answer(t).Success())
			seat(t, e, "acme", "r", 2)
			home, m := e.Home("r")
			home.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
			apptest.Eventually(t, func() bool { return scraped(e, 0, "bluegate_placements_total") == 1 }, "it was placed once")
			require.Equal(t, http.StatusFound, join(acme, "r").Status, "its people may reach what we can't")
			require.Equal(t, "duplicateWarning", acme.Create("r").Answer(t).Key())
			requireState(t, e, "acme", "r", meeting.Lost)
			_, ok := tried(acme.Info("r"))
			require.True(t, ok)
			return e, home, m
		}
		t.Run("back before anybody asked", func(t *testing.T) {
			t.Parallel()
			e, home, m := start(t)
			home.SetFaults(bbbsim.Faults{})
			c := requireState(t, e, "acme", "r", meeting.Running)
			require.Equal(t, m.InternalID, c.InternalID)
			require.Equal(t, 1, c.Generation)
			_, now := e.Home("r")
			require.Equal(t, 2, now.Participants)
			require.Zero(t, e.Count("end"))
		})
		t.Run("back with an old copy", func(t *testing.T) {
			t.Parallel()
			e, home, old := start(t)
			acme := e.Tenant("acme")
			requireJoin(t, e, acme, "r")
			other := e.Sims[0]
			if other == home {
				other = e.Sims[1]
			}
			require.Len(t, other.Meetings(), 1)
			copied := other.Meetings()[0]
			require.Equal(t, old.ModeratorPW, copied.ModeratorPW)

			home.SetFaults(bbbsim.Faults{})
			polls := home.Count("getMeetings")
			apptest.Eventually(t, func() bool { return home.Count("getMeetings") > polls+5 }, "it is polled again")
			require.Len(t, home.Meetings(), 1, "people are in it: it is left alone")
			require.Equal(t, 2, home.Meetings()[0].Participants)
			require.Equal(t, copied.InternalID, acme.Info("r").Answer(t).Text("internalMeetingID"))
			require.Zero(t, e.Count("end"))

			// An end means the room as it is now. What is opened next with other
			// passwords is not refused for the old copy's sake.
			require.True(t, acme.Call("end", "meetingID", "r").Answer(t).Success())
			requireState(t, e, "acme", "r", "")
			require.Len(t, home.Meetings(), 1)
			for _, pw := range []string{"new1", "new2", "new3"} {
				next := acme.Create("r", "moderatorPW", pw).Answer(t)
				require.True(t, next.Success())
				require.Equal(t, pw, next.Text("moderatorPW"))
				require.Len(t, other.Meetings(), 1)
				require.True(t, acme.Call("end", "meetingID", "r").Answer(t).Success())
			}
			require.Equal(t, old.InternalID, home.Meetings()[0].InternalID)
			require.Zero(t, home.Count("end"))
		})
		t.Run("never back, and it was to end", func(t *testing.T) {
			t.Parallel()
			e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: freshly(t, db), Config: with(func(c *app.Config) {
				c.LostAfter, c.LostAfterEmpty, c.DownAfter = 900*time.Millisecond, 100*time.Millisecond, 2
			})})
			acme := e.Tenant("acme")
			require.True(t, acme.Create("r").Answer(t).Success())
			home, _ := e.Home("r")
			home.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
			require.True(t, acme.Call("end", "meetingID", "r").Answer(t).Success())
			apptest.Eventually(t, func() bool {
				_, ok := tried(acme.Create("r"))
				return ok
			}, "the room can be used again")
		})
	})
}
