package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/meeting"
)

// quick are times with which nobody has to wait for a server.
func quick(c *app.Config) {
	c.PollInterval, c.FeedInterval = 50*time.Millisecond, 50*time.Millisecond
	c.PollTimeout, c.ConnectTimeout = 300*time.Millisecond, 300*time.Millisecond
	c.CreateTimeout, c.CallTimeout = 400*time.Millisecond, 250*time.Millisecond
	c.UnknownSettles, c.EndingWait = 200*time.Millisecond, 2*time.Second
	c.InfoCache = 10 * time.Millisecond
}

// with is quick and more.
func with(more func(c *app.Config)) func(c *app.Config) {
	return func(c *app.Config) {
		quick(c)
		more(c)
	}
}

// frozen polls once, at the start, and never again.
func frozen(c *app.Config) { c.PollInterval = time.Hour }

// scraped is the sum of a metric's series on a replica, those that all the
// labels given (such as `call="create"`) stand in.
func scraped(e *apptest.Env, replica int, name string, labels ...string) float64 {
	text := e.Do(http.MethodGet, e.AdminURL(replica)+"/metrics", "", nil).Body
	sum := 0.0
series:
	for line := range strings.SplitSeq(text, "\n") {
		series, value, _ := strings.Cut(line, " ")
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue series
			}
		}
		n, err := strconv.ParseFloat(value, 64)
		if err == nil {
			sum += n
		}
	}
	return sum
}

// tried is an answer when it is XML that says SUCCESS.
func tried(r apptest.Result) (bbb.Answer, bool) {
	a, err := bbb.ParseAnswer([]byte(r.Body))
	return a, err == nil && r.Status == http.StatusOK && a.Success()
}

// requireUnknown holds that an answer says that nothing can be known or done now.
func requireUnknown(t testing.TB, r apptest.Result) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, r.Status, r.Body)
	require.True(t, strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain"), r.Header)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	_, err := bbb.ParseAnswer([]byte(r.Body))
	require.Error(t, err, r.Body)
}

// parallel runs f n times at once.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// requireState waits until a room's claim has a state; "" is none.
func requireState(t testing.TB, e *apptest.Env, slug, id string, state meeting.State) meeting.Claim {
	t.Helper()
	var c meeting.Claim
	apptest.Eventually(t, func() bool {
		c, _ = e.Claim(slug, id)
		return c.State == state
	}, fmt.Sprintf("%s of %s is %q", id, slug, state))
	return c
}

// seat puts people into a meeting and waits until every replica has seen them.
func seat(t testing.TB, e *apptest.Env, slug, id string, people int) {
	t.Helper()
	home, m := e.Home(id)
	require.NoError(t, home.AddUsers(m.MeetingID, people))
	for i := range e.Replicas {
		apptest.Eventually(t, func() bool {
			list, err := bbb.ParseMeetings([]byte(e.TenantAt(i, slug).Call("getMeetings").Body))
			return err == nil && slices.ContainsFunc(list, func(l bbb.Meeting) bool { return l.MeetingID == id && l.Participants == people })
		}, "the people are seen")
	}
}

// TestT01_CreateInFlight asks for a room whose create is under way, with polls
// running in between.
func TestT01_CreateInFlight(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		for name, faults := range map[string]bbbsim.Faults{
			"not made yet":       {Mode: bbbsim.ModeHang, Calls: []string{"create"}},
			"made, not told yet": {Latency: time.Second, Calls: []string{"create"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e := apptest.Start(t, apptest.Options{DatabaseURL: freshly(t, db), Config: with(func(c *app.Config) {
					c.PollInterval, c.CreateTimeout = 20*time.Millisecond, 8*time.Second
				})})
				acme := e.Tenant("acme")
				e.Sims[0].SetFaults(faults)
				created := make(chan apptest.Result)
				go func() { created <- acme.Create("r") }()
				apptest.Eventually(t, func() bool { return e.Count("create") == 1 }, "the create is with the server")
				for polls := e.Count("getMeetings"); e.Count("getMeetings") < polls+10; {
					info, ok := tried(acme.Info("r"))
					require.True(t, ok, "the room is there while it is made")
					require.Equal(t, "Name of r", info.Text("meetingName"))
					require.Equal(t, "r", info.Text("meetingID"))
				}
				e.Sims[0].SetFaults(bbbsim.Faults{})
				require.True(t, (<-created).Answer(t).Success())
				require.Equal(t, http.StatusFound, acme.Call("join", "meetingID", "r", "fullName", "Ada", "password", "mp").Status)
				requireState(t, e, "acme", "r", meeting.Running)
				e.Home("r")
				require.Equal(t, 1, e.Count("create"))
			})
		}
	})
}

// freshly is another database of the same kind.
func freshly(t testing.TB, db string) string {
	t.Helper()
	if db == "" {
		return ""
	}
	return postgres(t)
}

// TestT02_ParallelCreates lets 50 creates of one room meet on two replicas.
func TestT02_ParallelCreates(t *testing.T) {
	e := apptest.Start(t, apptest.Options{Servers: 3, Replicas: 2, DatabaseURL: postgres(t), Config: with(func(c *app.Config) {
		c.CreateTimeout = 8 * time.Second
	})})
	const n = 50
	for _, s := range e.Sims {
		s.SetFaults(bbbsim.Faults{Latency: 100 * time.Millisecond, Calls: []string{"create"}})
	}

	t.Run("same", func(t *testing.T) {
		answers := make([]apptest.Result, n)
		parallel(n, func(i int) { answers[i] = e.TenantAt(i%2, "acme").Create("same") })
		first := 0
		_, home := e.Home("same")
		for _, r := range answers {
			a := r.Answer(t)
			require.True(t, a.Success(), r.Body)
			require.Equal(t, home.InternalID, a.Text("internalMeetingID"))
			if a.Key() == "" {
				first++
			} else {
				require.Equal(t, "duplicateWarning", a.Key())
			}
		}
		require.Equal(t, 1, first, "one caller created it")
		require.LessOrEqual(t, e.Count("create"), 2, "a replica's callers share one call")
		require.Positive(t, scraped(e, 0, "bluegate_create_coalesced_total")+scraped(e, 1, "bluegate_create_coalesced_total"))
		require.InDelta(t, 1, scraped(e, 0, "bluegate_placements_total")+scraped(e, 1, "bluegate_placements_total"), 0)
	})

	t.Run("other passwords", func(t *testing.T) {
		answers := make([]apptest.Result, n)
		of := func(i int) string { return []string{"mp", "mp", "mp", "mp", "other"}[i/2%5] }
		parallel(n, func(i int) {
			// Each request is its own: the loop brake is not what is tested here.
			answers[i] = e.TenantAt(i%2, "acme").Create("pw", "moderatorPW", of(i), "meta_n", strconv.Itoa(i))
		})
		_, home := e.Home("pw")
		for i, r := range answers {
			a := r.Answer(t)
			if of(i) == home.ModeratorPW {
				require.True(t, a.Success(), r.Body)
				require.Equal(t, home.InternalID, a.Text("internalMeetingID"))
			} else {
				require.Equal(t, "idNotUnique", a.Key())
				require.NotContains(t, r.Body, home.ModeratorPW+"<")
				require.NotContains(t, r.Body, home.InternalID)
			}
		}
	})

	t.Run("one server refuses", func(t *testing.T) {
		e.Sims[1].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeDown})
		for round := range 4 {
			id := fmt.Sprint("refused-", round)
			answers := make([]apptest.Result, n)
			parallel(n, func(i int) { answers[i] = e.TenantAt(i%2, "acme").Create(id) })
			_, home := e.Home(id)
			first := 0
			for _, r := range answers {
				a := r.Answer(t)
				require.True(t, a.Success(), r.Body)
				require.Equal(t, home.InternalID, a.Text("internalMeetingID"))
				if a.Key() == "" {
					first++
				}
			}
			require.Equal(t, 1, first)
		}
	})
}

// TestT04_TramplingHerd creates 200 rooms within two seconds while no poll tells
// what the servers have.
//
// Replicas reserve seats for themselves and learn of each other's claims through
// the feed, so two of them may choose the same server within one feed interval:
// measured on a busy machine, two replicas end within 4 of each other with a feed
// of 50 ms, and that is what is held.
func TestT04_TramplingHerd(t *testing.T) {
	herd := func(t *testing.T, db string, replicas, most int) {
		t.Helper()
		const servers, rooms, callers = 22, 200, 16
		e := apptest.Start(t, apptest.Options{Servers: servers, Replicas: replicas, DatabaseURL: db, Config: with(func(c *app.Config) {
			frozen(c)
			c.CreateTimeout, c.PollTimeout = 8*time.Second, 5*time.Second
		})})
		parallel(callers, func(i int) {
			for n := i; n < rooms; n += callers {
				for { // on a busy machine the database may ask for patience
					_, ok := tried(e.TenantAt(n%replicas, "acme").Create(fmt.Sprint("room-", n)))
					if ok || t.Context().Err() != nil {
						break
					}
				}
			}
		})
		counts := make([]int, 0, servers)
		sum := 0
		for _, s := range e.Sims {
			counts = append(counts, len(s.Meetings()))
			sum += len(s.Meetings())
		}
		t.Logf("meetings per server: %v", counts)
		require.Equal(t, rooms, sum)
		require.LessOrEqual(t, slices.Max(counts)-slices.Min(counts), most, counts)
	}
	t.Run("one replica", func(t *testing.T) {
		apptest.Databases(t, func(t *testing.T, db string) { herd(t, db, 1, 2) })
	})
	t.Run("two replicas", func(t *testing.T) { herd(t, postgres(t), 2, 4) })
}

// TestT16_ReadableAtOnce asks for a room in the moment its create returned, on
// this replica and on another one, with polls running.
func TestT16_ReadableAtOnce(t *testing.T) {
	ask := func(t *testing.T, e *apptest.Env, replicas int) {
		t.Helper()
		for n := range 40 {
			id := fmt.Sprint("r", n)
			require.True(t, e.TenantAt(n%replicas, "acme").Create(id).Answer(t).Success())
			for i := range replicas {
				other := e.TenantAt((n+i+1)%replicas, "acme")
				info, ok := tried(other.Info(id))
				require.True(t, ok)
				require.Equal(t, "Name of "+id, info.Text("meetingName"))
				require.Equal(t, id, info.Text("meetingID"))
				require.Equal(t, "duplicateWarning", other.Create(id).Answer(t).Key())
				require.Equal(t, http.StatusFound, other.Call("join", "meetingID", id, "fullName", "Ada", "password", "ap").Status)
				running, ok := tried(other.Call("isMeetingRunning", "meetingID", id))
				require.True(t, ok)
				require.NotEmpty(t, running.Text("running"))
			}
		}
		require.Equal(t, 40, e.Count("create"))
	}
	polls := with(func(c *app.Config) { c.PollInterval = 10 * time.Millisecond })
	t.Run("one replica", func(t *testing.T) {
		apptest.Databases(t, func(t *testing.T, db string) {
			ask(t, apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: db, Config: polls}), 1)
		})
	})
	t.Run("two replicas", func(t *testing.T) {
		ask(t, apptest.Start(t, apptest.Options{Servers: 2, Replicas: 2, DatabaseURL: postgres(t), Config: polls}), 2)
	})
}

var elementName = regexp.MustCompile(`<(\w+)>`)

// TestT17_ServerAway asks for a class whose server does not answer as it should.
func TestT17_ServerAway(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		for name, faults := range map[string]bbbsim.Faults{
			"hangs":    {Mode: bbbsim.ModeHang},
			"too slow": {Latency: time.Second},
			"cuts":     {Mode: bbbsim.ModeCut},
			"500":      {Mode: bbbsim.ModeError},
			"resets":   {Mode: bbbsim.ModeRefuse},
			"is down":  {Mode: bbbsim.ModeDown},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e := apptest.Start(t, apptest.Options{DatabaseURL: freshly(t, db), Config: with(func(c *app.Config) {
					c.StaleAfter, c.InfoCache = 1500*time.Millisecond, -1
				})})
				acme := e.Tenant("acme")
				require.True(t, acme.Create("r", "meta_course", "A & B", "duration", "90", "maxParticipants", "30").Answer(t).Success())
				seat(t, e, "acme", "r", 3)
				healthy := acme.Info("r")
				require.EqualValues(t, 3, healthy.Answer(t).Int("participantCount"))
				before := scraped(e, 0, "bluegate_stale_answers_total", `call="getMeetingInfo"`)
				require.Zero(t, before)

				e.Sims[0].SetFaults(faults)
				began := time.Now()
				stale, ok := tried(acme.Info("r"))
				require.True(t, ok)
				require.Less(t, time.Since(began), time.Second)
				require.EqualValues(t, 3, stale.Int("participantCount"), "the people are kept")
				require.Equal(t, 3, strings.Count(string(stale.Bytes()), "<attendee>"))
				require.Equal(t, "Name of r", stale.Text("meetingName"))
				require.InDelta(t, before+1, scraped(e, 0, "bluegate_stale_answers_total", `call="getMeetingInfo"`), 0)

				var old bbb.Answer
				apptest.Eventually(t, func() bool {
					old, ok = tried(acme.Info("r"))
					require.True(t, ok)
					return old.Int("participantCount") == 0
				}, "what the snapshot says is not believed for ever")
				for _, m := range elementName.FindAllStringSubmatch(healthy.Body, -1) {
					switch m[1] {
					case "response", "attendee", "course", "userID", "fullName", "role", "isPresenter", "isListeningOnly",
						"hasJoinedVoice", "hasVideo", "clientType", "customdata":
					default:
						require.True(t, old.Has(m[1]), m[1])
					}
				}
				for _, name := range []string{
					"meetingName", "meetingID", "internalMeetingID", "createTime", "attendeePW", "moderatorPW",
					"voiceBridge", "dialNumber", "duration", "maxUsers", "recording",
				} {
					require.Equal(t, healthy.Answer(t).Text(name), old.Text(name), name)
				}
				metadata, err := old.Sub("metadata")
				require.NoError(t, err)
				require.Equal(t, "A & B", metadata.Text("course"))

				require.Zero(t, e.Count("end"))
				if name != "hangs" { // the circuit takes its time to close
					return
				}
				e.Sims[0].SetFaults(bbbsim.Faults{})
				apptest.Eventually(t, func() bool {
					a, ok := tried(acme.Info("r"))
					require.True(t, ok)
					return a.Int("participantCount") == 3
				}, "the server is believed again")
			})
		}
	})
}

// TestT27_SameIDAtOnce creates the same IDs as two tenants at the same time.
func TestT27_SameIDAtOnce(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{Servers: 2, DatabaseURL: db, Config: quick})
		const rooms = 10
		slugs := []string{"acme", "globex"}
		callers := func(i int) apptest.Tenant {
			if i/2%2 == 0 {
				return e.Tenant(slugs[i%2])
			}
			return e.Tenant(slugs[i%2]).Shared()
		}
		answers := make([]apptest.Result, 4*rooms)
		parallel(4*rooms, func(i int) {
			id := strconv.Itoa(1 + i/4) // small numbers, as of Chamilo 1.9
			answers[i] = callers(i).Call("create", "name", "Name of "+slugs[i%2], "meetingID", id, "meta_owner", slugs[i%2])
		})
		own := map[string][]string{} // tenant, what is its alone
		for i := range 4 * rooms {
			a, slug := answers[i].Answer(t), slugs[i%2]
			require.True(t, a.Success(), answers[i].Body)
			require.Equal(t, strconv.Itoa(1+i/4), a.Text("meetingID"))
			own[slug] = append(own[slug], a.Text("internalMeetingID"), a.Text("attendeePW"), a.Text("moderatorPW"))
		}
		for i := range 4 * rooms {
			other := slugs[(i+1)%2]
			requireNothingOf(t, answers[i].Body, own[other])
		}
		total := 0
		for _, s := range e.Sims {
			total += len(s.Meetings())
		}
		require.Equal(t, 2*rooms, total)

		for i := range 4 { // both tenants by both ways
			me, slug, other := callers(i), slugs[i%2], slugs[(i+1)%2]
			for n := range rooms {
				id := strconv.Itoa(1 + n)
				info := me.Info(id)
				require.Equal(t, "Name of "+slug, info.Answer(t).Text("meetingName"))
				requireNothingOf(t, info.Body, append(own[other], other, "bluegate-ref"))
			}
			apptest.Eventually(t, func() bool { return strings.Count(me.Call("getMeetings").Body, "<meeting>") == rooms }, "own rooms are listed")
			requireNothingOf(t, me.Call("getMeetings").Body, append(own[other], other, "bluegate-ref"))
			foreign := own[other][0]
			require.Equal(t, "notFound", me.Info(foreign).Answer(t).Key())
			require.Equal(t, "notFound", me.Call("end", "meetingID", foreign).Answer(t).Key())
			require.Equal(t, "false", me.Call("isMeetingRunning", "meetingID", foreign).Answer(t).Text("running"))
			require.Equal(t, "meetingForciblyEnded", me.Call("join", "meetingID", foreign, "fullName", "Eve", "role", "MODERATOR").Answer(t).Key())
		}
		require.Zero(t, e.Count("end"))
		require.True(t, e.Tenant("acme").Call("end", "meetingID", "1").Answer(t).Success())
		apptest.Eventually(t, func() bool { return e.Tenant("acme").Info("1").Answer(t).Key() == "notFound" }, "it ended")
		require.True(t, e.Tenant("globex").Info("1").Answer(t).Success())
	})
}

func requireNothingOf(t testing.TB, body string, texts []string) {
	t.Helper()
	for _, text := range texts {
		require.NotContains(t, body, text)
	}
}

// TestT33_CreateBeforeEveryJoin creates a room ten times before each of its joins.
func TestT33_CreateBeforeEveryJoin(t *testing.T) {
	t.Parallel()
	apptest.Databases(t, func(t *testing.T, db string) {
		for name, passwords := range map[string][]string{
			"given":     {"attendeePW", "ap", "moderatorPW", "mp"},
			"not given": nil,
			"empty":     {"attendeePW", "", "moderatorPW", ""},
		} {
			t.Run(name, func(t *testing.T) {
				e := apptest.Start(t, apptest.Options{
					Servers: 3, DatabaseURL: freshly(t, db), Config: quick,
					Sim: func(_ int, c *bbbsim.Config) { c.JoinDelay = -1 },
				})
				acme := e.Tenant("acme")
				params := append([]string{"name", "A class", "meetingID", "r", "meta_course", "algebra"}, passwords...)
				first := acme.Call("create", params...).Answer(t)
				require.Empty(t, first.Key())
				require.NotEmpty(t, first.Text("moderatorPW"))
				require.NotEmpty(t, first.Text("attendeePW"))
				home, m := e.Home("r")
				require.Equal(t, m.ModeratorPW, first.Text("moderatorPW"))
				for people := 1; people <= 3; people++ {
					for range 10 {
						a := acme.Call("create", params...).Answer(t)
						require.True(t, a.Success())
						require.Equal(t, "duplicateWarning", a.Key())
						for _, field := range []string{
							"meetingID", "internalMeetingID", "parentMeetingID", "attendeePW", "moderatorPW", "createTime",
							"voiceBridge", "dialNumber", "createDate", "duration", "hasBeenForciblyEnded",
						} {
							require.Equal(t, first.Text(field), a.Text(field), field)
						}
					}
					join := acme.Call("join", "meetingID", "r", "fullName", "Ada", "userID", strconv.Itoa(people), "password", first.Text("moderatorPW"))
					require.Equal(t, http.StatusFound, join.Status)
					require.Equal(t, http.StatusFound, e.Do(http.MethodGet, join.Header.Get("Location"), "", nil).Status)
				}
				apptest.Eventually(t, func() bool { return acme.Info("r").Answer(t).Int("participantCount") == 3 }, "the people are in")
				require.Equal(t, "true", acme.Call("create", params...).Answer(t).Text("hasUserJoined"))
				info := acme.Info("r").Answer(t)
				require.EqualValues(t, 3, info.Int("moderatorCount"))
				metadata, err := info.Sub("metadata")
				require.NoError(t, err)
				require.Equal(t, "algebra", metadata.Text("course"))
				require.Len(t, home.Meetings(), 1)
				require.Equal(t, 1, e.Count("create"))
				require.InDelta(t, 1, scraped(e, 0, "bluegate_placements_total"), 0, "its load is counted once")
			})
		}
	})
}
