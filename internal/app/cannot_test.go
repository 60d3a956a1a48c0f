package app_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/store/pgtest"
	"github.com/bluegate/bluegate/internal/tenant"
)

// cannotTable is "What we answer when we can't" with every cell there is.
//
//	SUCCESS key   HTTP 200, XML, and the messageKey if there is one
//	FAILED key    HTTP 200, XML
//	503           text/plain and Retry-After: not XML, nothing is known
//	server        a redirect to the room on its server
//	LMS           a redirect to the LMS, which learns the reason
//	page N        a page for people with status N; that of 503 tries again by itself
//
// "Just opened" is a room that no poll has seen yet, 57 a row number that
// Chamilo asks for after an answer it can't read.
const cannotTable = `
call                                    | all is well                 | SQL away                    | server hangs                | server away                 | starting        | suspended                  | no server
create, room runs                       | SUCCESS duplicateWarning    | SUCCESS duplicateWarning    | SUCCESS duplicateWarning    | SUCCESS duplicateWarning    | 503             | SUCCESS duplicateWarning   | SUCCESS duplicateWarning
create, new room                        | SUCCESS                     | 503                         | 503                         | 503                         | 503             | FAILED tenantSuspended     | FAILED noServerAvailable
join, browser, room runs                | server                      | server                      | server                      | server                      | page 503        | server                     | server
join, API client, room runs             | server                      | server                      | server                      | server                      | FAILED starting | server                     | server
join, redirect=false, room runs         | SUCCESS successfullyJoined  | SUCCESS successfullyJoined  | FAILED serverUnavailable    | FAILED serverUnavailable    | FAILED starting | SUCCESS successfullyJoined | SUCCESS successfullyJoined
join, errorRedirectUrl, room runs       | server                      | server                      | server                      | server                      | FAILED starting | server                     | server
join, browser, no room                  | page 404                    | page 503                    | page 404                    | page 404                    | page 503        | page 403                   | page 404
join, API client, no room               | FAILED meetingForciblyEnded | FAILED storeUnavailable     | FAILED meetingForciblyEnded | FAILED meetingForciblyEnded | FAILED starting | FAILED tenantSuspended     | FAILED meetingForciblyEnded
join, redirect=false, no room           | FAILED meetingForciblyEnded | FAILED storeUnavailable     | FAILED meetingForciblyEnded | FAILED meetingForciblyEnded | FAILED starting | FAILED tenantSuspended     | FAILED meetingForciblyEnded
join, errorRedirectUrl, no room         | LMS                         | LMS                         | LMS                         | LMS                         | FAILED starting | LMS                        | LMS
join, logoutURL, browser, no room       | LMS                         | LMS                         | LMS                         | LMS                         | page 503        | LMS                        | LMS
join, errorRedirectUrl, wrong checksum  | page 403                    | page 403                    | page 403                    | page 403                    | page 503        | page 403                   | page 403
getMeetingInfo, room runs               | SUCCESS                     | SUCCESS                     | SUCCESS                     | SUCCESS                     | 503             | SUCCESS                    | SUCCESS
getMeetingInfo, just opened             | SUCCESS                     | SUCCESS                     | SUCCESS                     | SUCCESS                     | 503             | SUCCESS                    | SUCCESS
getMeetingInfo, no room                 | FAILED notFound             | 503                         | FAILED notFound             | FAILED notFound             | 503             | FAILED notFound            | FAILED notFound
getMeetingInfo, 57                      | FAILED notFound             | 503                         | FAILED notFound             | FAILED notFound             | 503             | FAILED notFound            | FAILED notFound
isMeetingRunning, room runs             | SUCCESS                     | SUCCESS                     | SUCCESS                     | SUCCESS                     | 503             | SUCCESS                    | SUCCESS
isMeetingRunning, just opened           | SUCCESS                     | SUCCESS                     | 503                         | 503                         | 503             | SUCCESS                    | SUCCESS
isMeetingRunning, no room               | SUCCESS                     | 503                         | SUCCESS                     | SUCCESS                     | 503             | SUCCESS                    | SUCCESS
getMeetings, some                       | SUCCESS                     | SUCCESS                     | SUCCESS                     | SUCCESS                     | 503             | SUCCESS                    | SUCCESS
getMeetings, none                       | SUCCESS noMeetings          | 503                         | SUCCESS noMeetings          | SUCCESS noMeetings          | 503             | SUCCESS noMeetings         | SUCCESS noMeetings
end, room runs                          | SUCCESS sentEndMeetingRequest | FAILED storeUnavailable   | SUCCESS sentEndMeetingRequest | SUCCESS sentEndMeetingRequest | FAILED starting | SUCCESS sentEndMeetingRequest | SUCCESS sentEndMeetingRequest
end, no room                            | FAILED notFound             | FAILED storeUnavailable     | FAILED notFound             | FAILED notFound             | FAILED starting | FAILED notFound            | FAILED notFound
getRecordings                           | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest | FAILED unsupportedRequest | FAILED unsupportedRequest
publishRecordings                       | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest | FAILED unsupportedRequest | FAILED unsupportedRequest
deleteRecordings                        | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest | FAILED unsupportedRequest | FAILED unsupportedRequest
updateRecordings                        | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest   | FAILED unsupportedRequest | FAILED unsupportedRequest | FAILED unsupportedRequest
`

const (
	lmsErrors = "https://lms.example.org/errors?course=7"
	lmsLogout = "https://lms.example.org/out"
)

// cannotCalls are the rows' calls, to replica i of the environment.
var cannotCalls = map[string]func(e *apptest.Env, i int) apptest.Result{
	"create, room runs": func(e *apptest.Env, i int) apptest.Result { return e.TenantAt(i, "acme").Create("runs") },
	"create, new room":  func(e *apptest.Env, i int) apptest.Result { return e.TenantAt(i, "acme").Create("new") },

	"join, browser, room runs":          joins("runs", "text/html,*/*;q=0.8"),
	"join, API client, room runs":       joins("runs", ""),
	"join, redirect=false, room runs":   joins("runs", "text/html", "redirect", "false"),
	"join, errorRedirectUrl, room runs": joins("runs", "", "errorRedirectUrl", lmsErrors),
	"join, browser, no room":            joins("none", "text/html,*/*;q=0.8"),
	"join, API client, no room":         joins("none", "*/*"),
	"join, redirect=false, no room":     joins("none", "text/html", "redirect", "false"),
	"join, errorRedirectUrl, no room":   joins("none", "", "errorRedirectUrl", lmsErrors, "logoutURL", lmsLogout),
	"join, logoutURL, browser, no room": joins("none", "text/html", "logoutURL", lmsLogout, "errorRedirectUrl", "javascript:alert(1)"),
	"join, errorRedirectUrl, wrong checksum": func(e *apptest.Env, i int) apptest.Result {
		t := e.TenantAt(i, "acme")
		t.Secret = "somebody-elses-secret-0123"
		return joinOf(e, t, "none", "text/html", "errorRedirectUrl", lmsErrors, "logoutURL", lmsLogout)
	},

	"getMeetingInfo, room runs":     asks("getMeetingInfo", "meetingID", "runs"),
	"getMeetingInfo, just opened":   asks("getMeetingInfo", "meetingID", "young"),
	"getMeetingInfo, no room":       asks("getMeetingInfo", "meetingID", "none"),
	"getMeetingInfo, 57":            asks("getMeetingInfo", "meetingID", "57"),
	"isMeetingRunning, room runs":   asks("isMeetingRunning", "meetingID", "runs"),
	"isMeetingRunning, just opened": asks("isMeetingRunning", "meetingID", "young"),
	"isMeetingRunning, no room":     asks("isMeetingRunning", "meetingID", "none"),
	"getMeetings, some":             asks("getMeetings"),
	"getMeetings, none":             func(e *apptest.Env, i int) apptest.Result { return e.TenantAt(i, "globex").Call("getMeetings") },
	"end, room runs":                asks("end", "meetingID", "ends", "password", "whatever"),
	"end, no room":                  asks("end", "meetingID", "none", "password", "mp"),
	"getRecordings":                 asks("getRecordings", "meetingID", "runs"),
	"publishRecordings":             asks("publishRecordings", "recordID", "r1", "publish", "true"),
	"deleteRecordings":              asks("deleteRecordings", "recordID", "r1"),
	"updateRecordings":              asks("updateRecordings", "recordID", "r1", "meta_a", "b"),
}

func asks(call string, params ...string) func(e *apptest.Env, i int) apptest.Result {
	return func(e *apptest.Env, i int) apptest.Result { return e.TenantAt(i, "acme").Call(call, params...) }
}

func joins(meetingID, accept string, more ...string) func(e *apptest.Env, i int) apptest.Result {
	return func(e *apptest.Env, i int) apptest.Result {
		return joinOf(e, e.TenantAt(i, "acme"), meetingID, accept, more...)
	}
}

func joinOf(e *apptest.Env, t apptest.Tenant, meetingID, accept string, more ...string) apptest.Result {
	target := t.URL("join", append([]string{"meetingID", meetingID, "fullName", "Ada", "password", "ap"}, more...)...)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	if err != nil {
		return apptest.Result{Body: err.Error()}
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	return e.Send(req)
}

// cannotColumn returns the cells of a column by row, in the table's order.
func cannotColumn(t testing.TB, title string) (rows []string, cells map[string]string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(cannotTable), "\n")
	column := -1
	for i, name := range strings.Split(lines[0], "|") {
		if strings.TrimSpace(name) == title {
			column = i
		}
	}
	require.Positive(t, column, "the table has no column %q", title)
	cells = map[string]string{}
	for _, line := range lines[1:] {
		fields := strings.Split(line, "|")
		name := strings.TrimSpace(fields[0])
		require.NotNil(t, cannotCalls[name], name)
		rows = append(rows, name)
		cells[name] = strings.TrimSpace(fields[column])
	}
	require.Len(t, cells, len(cannotCalls), "the table and the calls have the same rows")
	return rows, cells
}

// holdCannot makes every call of a column at once, to replica i, and holds the
// answers to the table.
func holdCannot(t *testing.T, e *apptest.Env, i int, column string) {
	t.Helper()
	rows, cells := cannotColumn(t, column)
	answers := make([]apptest.Result, len(rows))
	var wg sync.WaitGroup
	for n, name := range rows {
		wg.Go(func() { answers[n] = cannotCalls[name](e, i) })
	}
	wg.Wait()
	for n, name := range rows {
		t.Run(name, func(t *testing.T) {
			holdCell(t, e, name, cells[name], answers[n])
			if strings.HasPrefix(name, "getMeetingInfo") && strings.HasPrefix(cells[name], "SUCCESS") {
				holdWholeInfo(t, answers[n])
			}
		})
	}
}

func holdCell(t *testing.T, e *apptest.Env, row, cell string, got apptest.Result) {
	t.Helper()
	told := fmt.Sprintf("%d %s\n%s", got.Status, got.Header, got.Body)
	require.NotContains(t, got.Body, "noRecordings", told)
	require.Equal(t, "no-cache", got.Header.Get("Cache-Control"), told)
	kind, more, _ := strings.Cut(cell, " ")
	switch kind {
	case "SUCCESS", "FAILED":
		require.Equal(t, http.StatusOK, got.Status, told)
		require.Equal(t, bbb.ContentType, got.Header.Get("Content-Type"), told)
		require.Empty(t, got.Header.Get("Retry-After"), told)
		answer := got.Answer(t)
		require.Equal(t, kind, answer.Text("returncode"), told)
		require.Equal(t, more, answer.Key(), told)
	case "503":
		require.Equal(t, http.StatusServiceUnavailable, got.Status, told)
		require.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"), told)
		require.NotEmpty(t, got.Header.Get("Retry-After"), told)
		require.NotEmpty(t, got.Body)
		_, err := bbb.ParseAnswer([]byte(got.Body))
		require.Error(t, err, "must be no XML: %s", told)
	case "server":
		require.Equal(t, http.StatusFound, got.Status, told)
		require.True(t, strings.HasPrefix(got.Header.Get("Location"), e.Sims[0].APIURL()+"api/join?"), told)
	case "LMS":
		require.Equal(t, http.StatusFound, got.Status, told)
		want := lmsErrors + "&errors=["
		if strings.Contains(row, "logoutURL") {
			want = lmsLogout + "?errors=["
		}
		require.True(t, strings.HasPrefix(got.Header.Get("Location"), want), told)
		require.Empty(t, got.Body)
	case "page":
		require.Equal(t, more, fmt.Sprint(got.Status), told)
		require.Equal(t, "text/html; charset=utf-8", got.Header.Get("Content-Type"), told)
		require.Empty(t, got.Header.Get("Location"), told)
		require.Contains(t, got.Body, "<title>", told)
		retries := more == "503"
		require.Equal(t, retries, strings.Contains(got.Body, `<meta http-equiv="refresh"`), told)
		require.Equal(t, retries, got.Header.Get("Retry-After") != "", told)
	default:
		t.Fatalf("the table has the unknown cell %q", cell)
	}
}

// holdWholeInfo: whoever it comes from, the answer has every element that a
// client reads.
func holdWholeInfo(t *testing.T, got apptest.Result) {
	t.Helper()
	a := got.Answer(t)
	for _, name := range strings.Fields("meetingName meetingID internalMeetingID createTime createDate voiceBridge dialNumber attendeePW " +
		"moderatorPW running duration hasUserJoined recording hasBeenForciblyEnded startTime endTime participantCount listenerCount " +
		"voiceParticipantCount videoCount maxUsers moderatorCount attendees metadata isBreakout") {
		require.True(t, a.Has(name), "%s is missing: %s", name, got.Body)
	}
	id := a.Text("meetingID")
	require.Equal(t, "Name of "+id, a.Text("meetingName"))
	require.Equal(t, "mp", a.Text("moderatorPW"))
	require.NotContains(t, got.Body, "bluegate", "our reference never shows")
	if id == "runs" {
		require.GreaterOrEqual(t, a.Int("participantCount"), int64(3), "what is known of people is told")
	}
}

func cannotConfig(c *app.Config) {
	c.CallTimeout, c.CreateTimeout = time.Second, time.Second
	c.DownAfter = 1000 // what is tested is not how health moves
}

// openRooms opens the rooms of the table: one that polls have seen, with people,
// and, when polls no longer work, one that no poll has seen.
func openRooms(t *testing.T, e *apptest.Env) {
	t.Helper()
	acme := e.Tenant("acme")
	require.True(t, acme.Create("runs").Answer(t).Success())
	require.True(t, acme.Create("ends").Answer(t).Success())
	_, m := e.Home("runs")
	require.NoError(t, e.Sims[0].AddUsers(m.MeetingID, 3))
	apptest.Eventually(t, func() bool {
		return strings.Contains(acme.Call("getMeetings").Body, "<participantCount>3</participantCount>")
	}, "a poll has seen the people")
	e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeError, Calls: []string{"getMeetings"}})
	require.True(t, acme.Create("young").Answer(t).Success())
}

// TestWhatWeAnswerWhenWeCannot holds every cell of the table.
func TestWhatWeAnswerWhenWeCannot(t *testing.T) {
	t.Run("all is well", func(t *testing.T) {
		e := apptest.Start(t, apptest.Options{Config: cannotConfig})
		openRooms(t, e)
		holdCannot(t, e, 0, "all is well")
	})
	for name, mode := range map[string]bbbsim.Mode{
		"server hangs":                       bbbsim.ModeHang,
		"server away/refuses connections":    bbbsim.ModeDown,
		"server away/resets connections":     bbbsim.ModeRefuse,
		"server away/answers with errors":    bbbsim.ModeError,
		"server away/breaks off its answers": bbbsim.ModeCut,
	} {
		t.Run(name, func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{Config: cannotConfig})
			openRooms(t, e)
			e.Sims[0].SetFaults(bbbsim.Faults{Mode: mode})
			column, _, _ := strings.Cut(name, "/")
			holdCannot(t, e, 0, column)
		})
	}
	t.Run("suspended", func(t *testing.T) {
		e := apptest.Start(t, apptest.Options{Config: cannotConfig})
		openRooms(t, e)
		acme, err := e.Store.TenantBySlug(t.Context(), "acme")
		require.NoError(t, err)
		require.NoError(t, e.Store.SetTenantState(t.Context(), acme.ID, tenant.Suspended))
		apptest.Eventually(t, func() bool {
			return joins("none", "")(e, 0).Answer(t).Key() == "tenantSuspended"
		}, "the replica learns of it")
		holdCannot(t, e, 0, "suspended")
	})
	t.Run("no server", func(t *testing.T) {
		e := apptest.Start(t, apptest.Options{Config: cannotConfig})
		openRooms(t, e)
		servers, err := e.Store.Servers(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.Store.SetServerAdminState(t.Context(), servers[0].ID, pool.Disabled))
		apptest.Eventually(t, func() bool {
			return strings.Contains(e.Do(http.MethodGet, e.AdminURL(0)+"/metrics", "", nil).Body,
				`bluegate_server_admin_state{server="bbb1",state="disabled"} 1`)
		}, "the replica learns of it")
		holdCannot(t, e, 0, "no server")
	})
	t.Run("SQL away/SQLite breaks", func(t *testing.T) {
		e := apptest.Start(t, apptest.Options{Config: cannotConfig})
		openRooms(t, e)
		require.NoError(t, e.Replicas[0].CloseStore())
		holdWithoutSQL(t, e)
	})
	t.Run("starting/no SQLite file", func(t *testing.T) {
		e := apptest.Start(t, apptest.Options{Config: cannotConfig})
		openRooms(t, e)
		e.Replicas[0].Stop(context.Background())
		dir := filepath.Dir(strings.TrimPrefix(e.Config().DatabaseURL, "sqlite:"))
		require.NoError(t, os.Rename(dir, dir+".away"))
		t.Cleanup(func() { _ = os.Rename(dir+".away", dir) })
		e.Begin()
		holdStarting(t, e, 1)
	})
	t.Run("SQL away/PostgreSQL", func(t *testing.T) {
		pg := pgtest.Start(t)
		e := apptest.Start(t, apptest.Options{Config: cannotConfig, DatabaseURL: pg.URL()})
		openRooms(t, e)
		pg.Stop()
		t.Run("stopped", func(t *testing.T) { holdWithoutSQL(t, e) })
		e.Begin()
		t.Run("stopped while starting", func(t *testing.T) { holdStarting(t, e, 1) })
		pg.Resume()
		apptest.Eventually(t, func() bool {
			return e.Tenant("globex").Call("getMeetings").Status == http.StatusOK && e.Replicas[1].Ready()
		}, "both replicas go on by themselves")
		t.Run("back", func(t *testing.T) {
			holdCell(t, e, "", "SUCCESS", e.TenantAt(1, "acme").Info("young"))
			apptest.Eventually(t, func() bool { return e.TenantAt(1, "acme").Info("57").Status == http.StatusOK }, "absence is known again")
			holdCell(t, e, "", "FAILED notFound", e.TenantAt(1, "acme").Info("57"))
		})
		pg.Freeze()
		t.Run("frozen", func(t *testing.T) { holdWithoutSQL(t, e) })
		pg.Thaw()
	})
}

// holdWithoutSQL waits until the feed is old enough for the replica to see that
// it knows nothing of absence.
func holdWithoutSQL(t *testing.T, e *apptest.Env) {
	t.Helper()
	apptest.Eventually(t, func() bool {
		return e.Tenant("globex").Call("getMeetings").Status == http.StatusServiceUnavailable
	}, "the replica sees that the database is away")
	holdCannot(t, e, 0, "SQL away")
}

func holdStarting(t *testing.T, e *apptest.Env, i int) {
	t.Helper()
	for _, base := range []string{e.URL(i), e.AdminURL(i)} {
		require.Equal(t, http.StatusServiceUnavailable, e.Do(http.MethodGet, base+"/readyz", "", nil).Status)
		require.Equal(t, http.StatusOK, e.Do(http.MethodGet, base+"/healthz", "", nil).Status)
	}
	require.True(t, e.Do(http.MethodGet, e.URL(i)+"/bigbluebutton/api", "", nil).Answer(t).Success(), "the version needs nothing")
	holdCannot(t, e, i, "starting")
}

// TestNoServerAtAll is a gateway to which nobody has added a server yet.
func TestNoServerAtAll(t *testing.T) {
	e := apptest.Start(t, apptest.Options{Servers: -1})
	holdCell(t, e, "", "FAILED noServerAvailable", e.Tenant("acme").Create("new"))
	holdCell(t, e, "", "FAILED notFound", e.Tenant("acme").Info("new"))
	holdCell(t, e, "", "SUCCESS noMeetings", e.Tenant("acme").Call("getMeetings"))
}
