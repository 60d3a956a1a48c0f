package app_test

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/tenant"
)

var updateGolden = flag.Bool("update", false, "write the golden files of this package anew")

// varying are the values that differ from run to run. In golden files their
// place is taken by the element's name in braces; the pattern is held too.
var varying = func() []*regexp.Regexp {
	var list []*regexp.Regexp
	for name, pattern := range map[string]string{
		"createTime":        `\d{13}`,
		"createDate":        `[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d UTC \d{4}`,
		"startTime":         `\d{13}`,
		"internalMeetingID": `[0-9a-f]{40}-\d{13}`,
		"meeting_id":        `[0-9a-f]{40}-\d{13}`,
		"user_id":           `w_[a-z0-9]{12}`,
		"auth_token":        `[a-z0-9]{12}`,
		"session_token":     `[a-z0-9]{16}`,
		"url":               `http://127\.0\.0\.1:\d+/html5client/\?sessionToken=[a-z0-9]{16}`,
	} {
		list = append(list, regexp.MustCompile(`<(`+name+`)>`+pattern+`</`+name+`>`))
	}
	return list
}()

// goldens compares answers with the files of testdata/golden.
type goldens struct {
	t    *testing.T
	e    *apptest.Env
	key  string
	made map[string]string // value that the gateway or server made up -> its name in braces
	acme apptest.Tenant
}

// ask makes a tenant's call over a raw connection.
func (g *goldens) ask(call string, params ...string) rawReply {
	g.t.Helper()
	target := signedTarget(g.t, 40, "/t/acme/bigbluebutton/", call, phpQuery(params...), g.acme.Secret)
	return g.send(rawCall{target: target, header: map[string]string{"Accept": "*/*"}})
}

func (g *goldens) send(c rawCall) rawReply {
	g.t.Helper()
	r := c.send(g.t, g.e.URL(len(g.e.Replicas)-1))
	r.requireNoTrace(g.t, g.key)
	return r
}

// normalise puts names in the place of values that vary.
func (g *goldens) normalise(body string) string {
	for value, name := range g.made {
		body = strings.ReplaceAll(body, ">"+value+"<", ">{"+name+"}<")
	}
	for _, v := range varying {
		body = v.ReplaceAllString(body, "<$1>{$1}</$1>")
	}
	return body
}

// is compares an answer with a golden file and with BBB's rules for all answers.
func (g *goldens) is(file string, r rawReply) rawReply {
	g.t.Helper()
	require.Equal(g.t, http.StatusOK, r.status, "%s: %s", file, r.body)
	require.Equal(g.t, "text/xml;charset=utf-8", r.header.Get("Content-Type"), file)
	g.form(file, r.body)
	got := g.normalise(r.body)
	path := filepath.Join("testdata", "golden", file+".xml")
	if *updateGolden {
		require.NoError(g.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(g.t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(g.t, err, "go test ./internal/app -run TestT15 -update writes it")
	require.Equal(g.t, string(want), got, file)
	return r
}

var oneElement = regexp.MustCompile(`^(<[A-Za-z][^<>/]*>|</[^<>]+>|<[A-Za-z][^<>/]*/>|<([^<>/]+)>[^<>]*</([^<>]+)>)$`)

// form holds what all of BBB's answers have in common: no declaration, one
// element a line, nothing before or after.
func (g *goldens) form(file, body string) {
	g.t.Helper()
	require.True(g.t, strings.HasPrefix(body, "<response>\n<returncode>"), file)
	require.True(g.t, strings.HasSuffix(body, "\n</response>"), file)
	for line := range strings.SplitSeq(body, "\n") {
		m := oneElement.FindStringSubmatch(line)
		require.NotNil(g.t, m, "%s: %q", file, line)
		require.Equal(g.t, m[2], m[3], file)
	}
}

var plantedRef = regexp.MustCompile(`<bluegate-ref>[0-9a-f]+</bluegate-ref>\n`)

// server asks the simulated server itself the same question, scoped, and returns
// its answer with the two things that a tenant must not see changed: the scope
// in meeting IDs, and our metadata.
func (g *goldens) server(call string, params ...string) string {
	g.t.Helper()
	params = append([]string(nil), params...)
	for i := 0; i+1 < len(params); i += 2 {
		if params[i] == "meetingID" && params[i+1] != "" {
			params[i+1] = g.key + "-" + params[i+1]
		}
	}
	target := signedTarget(g.t, 40, "/bigbluebutton/", call, phpQuery(params...), "server-secret-1")
	r := rawCall{target: target, header: map[string]string{"Accept": "*/*"}}.send(g.t, g.e.Sims[0].APIURL())
	require.Equal(g.t, http.StatusOK, r.status)
	require.Equal(g.t, "text/xml;charset=utf-8", r.header.Get("Content-Type"))
	body := strings.ReplaceAll(r.body, "<meetingID>"+g.key+"-", "<meetingID>")
	return plantedRef.ReplaceAllString(body, "")
}

// same asks gateway and server, compares the two byte for byte, and the answer
// with a golden file.
func (g *goldens) same(file, call string, params ...string) rawReply {
	g.t.Helper()
	r := g.is(file, g.ask(call, params...))
	require.Equal(g.t, g.server(call, params...), r.body, "%s: the server's own answer", file)
	return r
}

// room is the first room of the golden files; its name and metadata have what
// XML must escape and BBB's renderer collapses.
func room(more ...string) []string {
	return append([]string{
		"name", "Curso  de Español <1> & \"2\"", "meetingID", "curso-1", "attendeePW", "ap", "moderatorPW", "mp",
		"voiceBridge", "70757", "maxParticipants", "25", "duration", "30", "record", "true", "welcome", "¡Hola!",
		"meta_Course-Id", "7 < 8 & 'x'", "meta_empty", "", "meta_bbb-origin", "chamilo", "meta_under_score", "dropped",
		"logoutURL", "https://portal.example.org/listing.php?a=1&b=2",
	}, more...)
}

// TestT15_GoldenAnswers holds every answer's bytes, as a tenant gets them.
func TestT15_GoldenAnswers(t *testing.T) {
	e := startForClients(t, apptest.Options{Config: func(c *app.Config) {
		c.InfoCache = -1 // each question is the server's own to answer
		c.CallTimeout, c.ReadyTimeout = 500*time.Millisecond, 500*time.Millisecond
	}})
	g := &goldens{t: t, e: e, key: scopeKeyOf(t, e, "acme"), made: map[string]string{}, acme: e.Tenant("acme")}
	g.before()
	g.refusedCreates()
	g.alone()
	g.people()
	g.two()
	g.withoutServer()
	g.after()
	g.denied()
}

// before is what is said while there is no meeting.
func (g *goldens) before() {
	g.t.Helper()
	g.same("getMeetings-none", "getMeetings")
	g.same("isMeetingRunning-unknown", "isMeetingRunning", "meetingID", "curso-1")
	g.same("isMeetingRunning-empty-id", "isMeetingRunning", "meetingID", "")
	g.is("isMeetingRunning-comma", g.ask("isMeetingRunning", "meetingID", "a,b"))
	g.same("getMeetingInfo-unknown", "getMeetingInfo", "meetingID", "curso-1")
	g.same("getMeetingInfo-without-id", "getMeetingInfo")
	g.same("end-unknown", "end", "meetingID", "curso-1", "password", "mp")
	g.same("end-empty-id", "end", "meetingID", "", "password", "mp")
	g.same("end-without-id", "end", "password", "mp")
	g.is("join-unknown", g.ask("join", "meetingID", "curso-1", "fullName", "Ada", "password", "mp", "redirect", "false"))
	g.is("join-empty-name", g.ask("join", "meetingID", "curso-1", "fullName", "", "password", "mp", "redirect", "false"))
	g.is("join-without-name", g.ask("join", "meetingID", "curso-1", "password", "mp", "redirect", "false"))
	g.is("join-empty-id", g.ask("join", "meetingID", "", "fullName", "Ada", "password", "mp", "redirect", "false"))
	for _, call := range []string{
		"getRecordings", "publishRecordings", "deleteRecordings", "updateRecordings", "getSessions", "insertDocument",
		"hooks/list", "hooks/create", "hooks/destroy", "../demo/regenerateRecord.jsp", "nonsense",
	} {
		g.is("unsupported", g.ask(call, "meetingID", "curso-1"))
	}
	// What curl makes of api/../demo.
	for _, path := range []string{"/t/acme", ""} {
		g.is("unsupported", g.send(rawCall{target: path + "/bigbluebutton/demo/regenerateRecord.jsp?recordID=a"}))
	}
	for _, target := range []string{
		"/bigbluebutton/api", "/bigbluebutton/api/", "/bigbluebutton", "/bigbluebutton/", "/t/acme/bigbluebutton/api",
		"/t/acme/bigbluebutton/api/", "/t/nobody/bigbluebutton/api/", "/bigbluebutton/api/?&checksum=d3ab0a",
	} {
		g.is("version", g.send(rawCall{target: target}))
	}
}

// refusedCreates is what BBB's rules refuse, in BBB's words.
func (g *goldens) refusedCreates() {
	g.t.Helper()
	for _, c := range []struct {
		file   string
		params []string
	}{
		{"create-without-name", []string{"meetingID", "curso-1"}},
		{"create-empty-name", []string{"name", "", "meetingID", "curso-1"}},
		{"create-short-name", []string{"name", "x", "meetingID", "curso-1"}},
		{"create-long-name", []string{"name", strings.Repeat("x", 257), "meetingID", "curso-1"}},
		{"create-without-id", []string{"name", "Curso"}},
		{"create-empty-id", []string{"name", "Curso", "meetingID", ""}},
		{"create-blank-before-id", []string{"name", "Curso", "meetingID", " curso"}},
		{"create-comma-in-id", []string{"name", "Curso", "meetingID", "a,b"}},
		{"create-long-id", []string{"name", "Curso", "meetingID", strings.Repeat("x", 257)}},
		{"create-short-password", []string{"name", "Curso", "meetingID", "curso-1", "attendeePW", "x"}},
		{"create-bad-record", []string{"name", "Curso", "meetingID", "curso-1", "record", "maybe"}},
		{"create-bad-breakout", []string{"name", "Curso", "meetingID", "curso-1", "isBreakoutRoom", "maybe"}},
	} {
		r := g.is(c.file, g.ask("create", c.params...))
		if c.file == "create-blank-before-id" {
			continue // behind the scope key the blank is no longer the first character
		}
		require.Equal(g.t, g.server("create", c.params...), r.body, "%s: the server's own answer", c.file)
	}
	g.is("create-breakout", g.ask("create", "name", "Curso", "meetingID", "curso-1", "isBreakout", "true", "sequence", "1"))
	require.Zero(g.t, len(g.e.Sims[0].Meetings()))
}

// alone is a room that nobody has joined.
func (g *goldens) alone() {
	g.t.Helper()
	g.is("create", g.ask("create", room()...))
	g.same("create-again", "create", room()...)
	g.same("create-other-password", "create", "name", "Curso", "meetingID", "curso-1", "attendeePW", "ap", "moderatorPW", "wrong")
	apptest.Eventually(g.t, func() bool { // the first milliseconds of a meeting
		return !strings.Contains(g.server("getMeetingInfo", "meetingID", "curso-1"), "<startTime>0</startTime>")
	}, "the meeting has begun")
	g.same("getMeetingInfo-nobody", "getMeetingInfo", "meetingID", "curso-1")
	g.same("isMeetingRunning-nobody", "isMeetingRunning", "meetingID", "curso-1")
}

// people is the room with people in it.
func (g *goldens) people() {
	g.t.Helper()
	g.is("join-xml", g.ask("join", "meetingID", "curso-1", "fullName", "Profesora Ñandú & Co", "password", "mp",
		"userID", "11", "userdata-bbb_x", "1", "userdata-bbb_custom", "<b>", "redirect", "false"))
	sent := g.ask("join", "meetingID", "curso-1", "fullName", "Alumno O'Brien", "role", "VIEWER", "userID", "22")
	require.Equal(g.t, http.StatusFound, sent.status)
	// Nothing but the ID and the checksum differ from what the tenant wrote.
	query := phpQuery("meetingID", g.key+"-curso-1", "fullName", "Alumno O'Brien", "role", "VIEWER", "userID", "22")
	require.Regexp(g.t, "^"+regexp.QuoteMeta(g.e.Sims[0].APIURL()+"api/join?"+query+"&checksum=")+"[0-9a-f]+$", sent.header.Get("Location"))
	require.Contains(g.t, follow(g.t, g.e, sent.header.Get("Location")).Body, "You are in the meeting")
	require.NoError(g.t, g.e.Sims[0].SetMedia(g.key+"-curso-1", 1, 1, 1))

	g.same("getMeetingInfo", "getMeetingInfo", "meetingID", "curso-1")
	internal := g.e.Sims[0].Meetings()[0].InternalID
	require.Equal(g.t, g.ask("getMeetingInfo", "meetingID", "curso-1").body,
		g.ask("getMeetingInfo", "meetingID", internal).body, "by the internal ID")
	g.same("isMeetingRunning", "isMeetingRunning", "meetingID", "curso-1")
	g.same("create-again-joined", "create", room()...)
}

// two is a list of two meetings; the second has passwords and a voice bridge
// that were made up.
func (g *goldens) two() {
	g.t.Helper()
	params := []string{"name", "Zwei", "meetingID", "Raum 2/ü [0]"}
	first := g.ask("create", params...)
	doc := first.document(g.t)
	for _, name := range []string{"attendeePW", "moderatorPW", "voiceBridge"} {
		require.NotEmpty(g.t, doc.get(name))
		g.made[doc.get(name)] = name
	}
	require.Regexp(g.t, `^[A-Za-z0-9]{8,}$`, doc.get("attendeePW"))
	require.Regexp(g.t, `^\d{5}$`, doc.get("voiceBridge"))
	g.is("create-made-up", first)
	g.same("create-made-up-again", "create", params...)
	apptest.Eventually(g.t, func() bool {
		body := g.server("getMeetings")
		return !strings.Contains(body, "<startTime>0</startTime>") && g.ask("getMeetings").body == body
	}, "the snapshot shows both")
	g.same("getMeetings", "getMeetings")
}

// withoutServer is what is said of the same room while its server hangs: from
// the last snapshot and, once the replica has restarted, from the claim.
func (g *goldens) withoutServer() {
	g.t.Helper()
	live := g.ask("getMeetingInfo", "meetingID", "curso-1")
	g.e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
	snapshot := g.ask("getMeetingInfo", "meetingID", "curso-1")
	require.Equal(g.t, live.body, snapshot.body, "from the snapshot")
	g.is("isMeetingRunning", g.ask("isMeetingRunning", "meetingID", "curso-1"))
	g.is("getMeetings", g.ask("getMeetings"))
	g.is("create-again", g.ask("create", room()...)) // the stored answer

	g.e.Replicas[0].Stop(g.t.Context())
	g.e.StartReplica()
	claim := g.is("getMeetingInfo-from-claim", g.ask("getMeetingInfo", "meetingID", "curso-1"))
	require.Equal(g.t, elementsOf(live.document(g.t)), elementsOf(claim.document(g.t)))
	for _, name := range []string{
		"meetingName", "meetingID", "internalMeetingID", "createTime", "createDate", "voiceBridge", "dialNumber",
		"attendeePW", "moderatorPW", "duration", "recording", "maxUsers",
	} {
		require.Equal(g.t, live.document(g.t).get(name), claim.document(g.t).get(name), name)
	}
	require.Equal(g.t, live.document(g.t).at("metadata"), claim.document(g.t).at("metadata"))
	g.is("getMeetings-from-claims", g.ask("getMeetings"))
	g.is("create-again", g.ask("create", room()...))
	unknown := g.ask("isMeetingRunning", "meetingID", "curso-1") // nothing is known of who is there
	require.Equal(g.t, http.StatusServiceUnavailable, unknown.status)
	require.Equal(g.t, "text/plain; charset=utf-8", unknown.header.Get("Content-Type"))

	g.e.Sims[0].SetFaults(bbbsim.Faults{})
	apptest.Eventually(g.t, func() bool { return g.ask("getMeetingInfo", "meetingID", "curso-1").body == live.body }, "the server is back")
}

// elementsOf lists a document's elements in order, without what is inside
// attendees.
func elementsOf(e *element) []string {
	var list []string
	for _, kid := range e.kids {
		list = append(list, kid.name)
		if kid.name != "attendees" {
			list = append(list, elementsOf(kid)...)
		}
	}
	return list
}

// after is the end of the rooms.
func (g *goldens) after() {
	g.t.Helper()
	g.is("end", g.ask("end", "meetingID", "curso-1", "password", "wrong"))
	g.same("getMeetingInfo-unknown", "getMeetingInfo", "meetingID", "curso-1")
	g.same("isMeetingRunning-unknown", "isMeetingRunning", "meetingID", "curso-1")
	g.same("end-unknown", "end", "meetingID", "curso-1", "password", "mp")
	g.is("join-unknown", g.ask("join", "meetingID", "curso-1", "fullName", "Ada", "password", "mp", "redirect", "false"))
	g.is("end", g.ask("end", "meetingID", "Raum 2/ü [0]"))
	apptest.Eventually(g.t, func() bool { return g.ask("getMeetings").body == g.server("getMeetings") }, "both are gone")
	g.same("getMeetings-none", "getMeetings")
}

// denied is what a caller gets that doesn't verify, and a suspended tenant.
func (g *goldens) denied() {
	g.t.Helper()
	for _, call := range []string{"create", "getMeetingInfo", "isMeetingRunning", "getMeetings", "end", "join"} {
		query := phpQuery("meetingID", "curso-1", "name", "Curso", "fullName", "Ada", "redirect", "false")
		for _, target := range []string{
			signedTarget(g.t, 40, "/t/acme/bigbluebutton/", call, query, "not-the-secret-0123456789"),
			signedTarget(g.t, 64, "/t/globex/bigbluebutton/", call, query, g.acme.Secret),
			signedTarget(g.t, 40, "/t/nobody/bigbluebutton/", call, query, g.acme.Secret),
			signedTarget(g.t, 40, "/bigbluebutton/", call, query, "not-the-secret-0123456789"),
			"/t/acme/bigbluebutton/api/" + call + "?" + query,
			"/t/acme/bigbluebutton/api/" + call + "?" + query + "&checksum=",
			"/t/acme/bigbluebutton/api/" + call + "?" + query + "&checksum=00",
		} {
			g.is("checksumError", g.send(rawCall{target: target}))
		}
	}
	who, err := g.e.Store.TenantBySlug(g.t.Context(), "acme")
	require.NoError(g.t, err)
	require.NoError(g.t, g.e.Store.SetTenantState(g.t.Context(), who.ID, tenant.Suspended))
	apptest.Eventually(g.t, func() bool {
		return strings.Contains(g.ask("join", "meetingID", "no-1", "fullName", "Ada", "redirect", "false").body, "tenantSuspended")
	}, "suspended")
	g.is("create-suspended", g.ask("create", "name", "Curso", "meetingID", "no-2"))
	g.is("join-suspended", g.ask("join", "meetingID", "no-1", "fullName", "Ada", "redirect", "false"))
}
