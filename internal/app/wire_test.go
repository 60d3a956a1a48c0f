package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/tenant"
)

// recordedSecret is what the recordings in testdata/wire were signed with. It is
// too short for the shared URL.
const recordedSecret = "s3cr3tSalt"

// longSecret signs the copies that go to the shared URL.
const longSecret = "long-enough-for-the-shared-url"

// recorded is a request of a real plugin, as it was on the wire.
type recorded struct {
	Method  string            `json:"method"`
	Target  string            `json:"target"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// call splits the target at the API's path; ok is false for the client's page.
func (r recorded) call() (name, query string, ok bool) {
	rest, ok := strings.CutPrefix(r.Target, "/bigbluebutton/api/")
	name, query, _ = strings.Cut(rest, "?")
	return name, query, ok
}

// unsigned is the query without its checksum, which all recordings have last.
func unsigned(t testing.TB, query string) (rest, checksum string) {
	t.Helper()
	i := strings.LastIndex(query, "checksum=")
	require.GreaterOrEqual(t, i, 0, query)
	return strings.TrimSuffix(query[:i], "&"), query[i+len("checksum="):]
}

// genuine reports whether the recorded checksum was made with the recorded
// secret: each recording has one call that wasn't.
func genuine(t testing.TB, name, query string) bool {
	t.Helper()
	rest, checksum := unsigned(t, query)
	return checksum == checksumOf(t, len(checksum), name, rest, recordedSecret)
}

func readRecording(t testing.TB, version string) []recorded {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "wire", "chamilo-"+version+".jsonl"))
	require.NoError(t, err)
	var list []recorded
	for line := range bytes.Lines(text) {
		var r recorded
		require.NoError(t, json.Unmarshal(line, &r))
		list = append(list, r)
	}
	require.Greater(t, len(list), 25, "recording of %s", version)
	return list
}

// startForClients starts a replica whose servers let people in and end meetings
// at once, and that asks servers again soon, so that no test waits.
func startForClients(t testing.TB, o apptest.Options) *apptest.Env {
	t.Helper()
	given := o.Sim
	o.Sim = func(i int, c *bbbsim.Config) {
		c.JoinDelay, c.EndDelay = -1, -1
		if given != nil {
			given(i, c)
		}
	}
	if o.Config == nil {
		o.Config = func(c *app.Config) { c.InfoCache = 20 * time.Millisecond }
	}
	return apptest.Start(t, o)
}

// TestWire replays what five versions of Chamilo sent, byte for byte: by the
// tenant's path in every form that an administrator's entry leads to, and by the
// shared URL.
func TestWire(t *testing.T) {
	e := startForClients(t, apptest.Options{Servers: 2, Tenants: map[string]string{
		"school": recordedSecret, "shared": longSecret, "other": "other-secret-0123456789",
	}})
	// What is typed as host ends up in the path in these forms (1.2 of the
	// client's notes); the new generation repairs most entries.
	old := []string{
		"/t/school/bigbluebutton/", "/t/school//bigbluebutton/", "/t/school/bigbluebutton/bigbluebutton/",
		"/t/school/bigbluebutton//bigbluebutton/", "/t/school/bigbluebutton/api/bigbluebutton/",
	}
	repaired := []string{"/t/school/bigbluebutton/", "/t/school/bigbluebutton/api/bigbluebutton/"}
	for i, p := range plugins {
		paths := old
		if p.version == "1.11.32" || p.version == "2.0" {
			paths = repaired
		}
		list := readRecording(t, p.version)
		t.Run(p.version, func(t *testing.T) {
			for _, path := range paths {
				t.Run(path, func(t *testing.T) { newReplay(t, e, "school", path, recordedSecret).run(list) })
			}
			t.Run("shared", func(t *testing.T) {
				for _, path := range []string{"/bigbluebutton/", "//bigbluebutton/"} {
					newReplay(t, e, "shared", path, longSecret).run(resigned(t, list))
				}
			})
			t.Run("short secret on the shared URL", func(t *testing.T) {
				refusedLikeAWrongChecksum(t, e, list, byte(2*i+1))
			})
		})
	}
}

// resigned is a recording in which the checksums, and no other byte, are those
// of the long secret; the call that was not signed with the secret still isn't.
func resigned(t testing.TB, list []recorded) []recorded {
	t.Helper()
	out := slices.Clone(list)
	for i, r := range out {
		name, query, ok := r.call()
		if !ok || !genuine(t, name, query) {
			continue
		}
		rest, checksum := unsigned(t, query)
		out[i].Target = strings.TrimSuffix(r.Target, checksum) +
			checksumOf(t, len(checksum), name, rest, longSecret)
	}
	return out
}

// refusedLikeAWrongChecksum sends a recording to the shared URL, where its secret
// is too short to be looked for: nobody can tell from the answers that a tenant
// has it. The two ways come from addresses of their own, since fruitless
// searches are rationed by address.
func refusedLikeAWrongChecksum(t *testing.T, e *apptest.Env, list []recorded, address byte) {
	before := served(e)
	asked := 0
	seen := map[string]bool{}
	for _, r := range list {
		name, query, ok := r.call()
		if !ok || seen[r.Target] || strings.Contains(name, "/") || strings.Contains(name, "Recordings") {
			continue // not identified at all, or to be braked as a repetition
		}
		seen[r.Target] = true
		asked++
		rest, checksum := unsigned(t, query)
		wrong := strings.TrimSuffix(r.Target, checksum) + checksumOf(t, len(checksum), name, rest, "nobody's secret at all")
		from := func(n byte) string { return netip.AddrFrom4([4]byte{127, 0, 1, n}).String() }
		short := rawCall{method: r.Method, target: r.Target, header: r.Headers, body: r.Body, from: from(address)}.send(t, e.URL(0))
		bad := rawCall{method: r.Method, target: wrong, header: r.Headers, body: r.Body, from: from(address + 1)}.send(t, e.URL(0))
		require.Equal(t, bad.status, short.status, r.Target)
		require.Equal(t, bad.body, short.body, r.Target)
		bad.header.Del("Date")
		short.header.Del("Date")
		require.Equal(t, bad.header, short.header, r.Target)
		require.Equal(t, "checksumError", short.document(t).get("messageKey"), r.Target)
	}
	require.Greater(t, asked, 8)
	require.Equal(t, before, served(e), "no server was asked")
}

// served is how many of the servers' calls were for a tenant: getMeetings is
// the gateway's own.
func served(e *apptest.Env) int {
	return e.Count("create") + e.Count("join") + e.Count("end") + e.Count("getMeetingInfo") + e.Count("isMeetingRunning")
}

// replay follows a recording and knows what each answer has to be.
type replay struct {
	t      testing.TB
	e      *apptest.Env
	slug   string
	key    string
	path   string
	secret string
	rooms  map[string]*playedRoom
	// location is where the last join sent the browser.
	location string
}

type playedRoom struct {
	name, attendeePW, moderatorPW string
	internalID                    string
	users                         []string
	names                         []string
}

func newReplay(t testing.TB, e *apptest.Env, slug, path, secret string) *replay {
	t.Helper()
	return &replay{
		t: t, e: e, slug: slug, key: scopeKeyOf(t, e, slug), path: path, secret: secret, rooms: map[string]*playedRoom{},
	}
}

func (p *replay) run(list []recorded) {
	p.t.Helper()
	done := map[string]int{}
	for _, r := range list {
		name, query, ok := r.call()
		if !ok {
			p.clientPage(r)
			continue
		}
		done[name]++
		values, err := url.ParseQuery(query)
		require.NoError(p.t, err)
		send := func() rawReply {
			reply := rawCall{
				method: r.Method, target: p.path + strings.TrimPrefix(r.Target, "/bigbluebutton/"), header: r.Headers, body: r.Body,
			}.send(p.t, p.e.URL(0))
			reply.requireNoTrace(p.t, p.key)
			return reply
		}
		rest, checksum := unsigned(p.t, query)
		if checksum != checksumOf(p.t, len(checksum), name, rest, p.secret) {
			p.failed(send(), "checksumError", "Checksums do not match")
			continue
		}
		room := p.rooms[values.Get("meetingID")]
		switch {
		case name == "create":
			p.create(send(), values)
		case name == "join":
			p.join(send(), name, query, values, room)
		case name == "getMeetingInfo" && room != nil:
			p.info(send, values.Get("meetingID"), room)
		case name == "isMeetingRunning":
			require.Equal(p.t, "<response>\n<returncode>SUCCESS</returncode>\n<running>false</running>\n</response>", send().body)
		case name == "getMeetings":
			p.meetings(send())
		case name == "end" && room != nil:
			require.Equal(p.t, "sentEndMeetingRequest", send().document(p.t).get("messageKey"))
			delete(p.rooms, values.Get("meetingID"))
		case name == "end", name == "getMeetingInfo":
			p.failed(send(), "notFound", "A meeting with that ID does not exist")
		default: // recordings and hooks
			require.Equal(p.t, "unsupportedRequest", p.failed(send(), "", "").get("messageKey"))
		}
	}
	require.Empty(p.t, p.rooms, "all rooms of a recording end in it")
	for call, least := range map[string]int{"create": 2, "join": 2, "getMeetingInfo": 7, "getMeetings": 1, "end": 2, "getRecordings": 5} {
		require.GreaterOrEqual(p.t, done[call], least, call)
	}
}

// failed requires a FAILED answer; key "" is any.
func (p *replay) failed(reply rawReply, key, message string) *element {
	p.t.Helper()
	doc := reply.document(p.t)
	require.Equal(p.t, "FAILED", doc.get("returncode"), reply.body)
	if key != "" {
		require.Equal(p.t, key, doc.get("messageKey"))
		require.Equal(p.t, message, doc.get("message"))
	}
	return doc
}

func (p *replay) create(reply rawReply, values url.Values) {
	p.t.Helper()
	id := values.Get("meetingID")
	doc := reply.document(p.t)
	require.Equal(p.t, "SUCCESS", doc.get("returncode"), reply.body)
	require.Equal(p.t, id, doc.get("meetingID"))
	require.Equal(p.t, values.Get("attendeePW"), doc.get("attendeePW"))
	require.Equal(p.t, values.Get("moderatorPW"), doc.get("moderatorPW"))
	require.Regexp(p.t, `^[0-9a-f]{40}-\d{13}$`, doc.get("internalMeetingID"))
	require.Equal(p.t, values.Get("duration"), doc.get("duration"))
	room := p.rooms[id]
	if room != nil {
		require.Equal(p.t, "duplicateWarning", doc.get("messageKey"))
		require.Equal(p.t, room.internalID, doc.get("internalMeetingID"))
		return
	}
	require.Empty(p.t, doc.get("messageKey"))
	p.rooms[id] = &playedRoom{
		name: values.Get("name"), attendeePW: values.Get("attendeePW"), moderatorPW: values.Get("moderatorPW"),
		internalID: doc.get("internalMeetingID"),
	}
	_, home := p.e.Home(id)
	require.Equal(p.t, p.key+"-"+id, home.MeetingID)
	require.Equal(p.t, values.Get("name"), home.Name)
}

// join expects a redirect to the meeting's server that differs from what the
// plugin sent in the meetingID and the checksum alone, and follows it.
func (p *replay) join(reply rawReply, name, query string, values url.Values, room *playedRoom) {
	p.t.Helper()
	id := values.Get("meetingID")
	require.NotNil(p.t, room)
	require.Equal(p.t, http.StatusFound, reply.status, reply.body)
	p.location = reply.header.Get("Location")
	home, _ := p.e.Home(id)
	base, sent, _ := strings.Cut(p.location, "?")
	require.Equal(p.t, home.APIURL()+"api/"+name, base)
	want, _ := unsigned(p.t, query)
	got, _ := unsigned(p.t, sent)
	require.Equal(p.t, strings.Replace(want, "meetingID="+url.QueryEscape(id), "meetingID="+url.QueryEscape(p.key+"-"+id), 1), got)
	good := values.Get("password") == room.attendeePW || values.Get("password") == room.moderatorPW
	if !good {
		doc, err := simpleXML(follow(p.t, p.e, p.location).Body)
		require.NoError(p.t, err)
		require.Equal(p.t, "FAILED", doc.get("returncode"), "the server refuses a wrong password")
		p.location = ""
		return
	}
	room.users = append(room.users, values.Get("userID"))
	room.names = append(room.names, values.Get("fullName"))
}

// clientPage is the browser's second step: the recorded one was to a server that
// is gone, so it goes where it was sent here.
func (p *replay) clientPage(r recorded) {
	p.t.Helper()
	require.Contains(p.t, r.Target, "sessionToken=")
	require.NotEmpty(p.t, p.location, "%s without a join before it", r.Target)
	page := follow(p.t, p.e, p.location)
	require.Equal(p.t, http.StatusOK, page.Status, page.Body)
	require.Contains(p.t, page.Body, "You are in the meeting")
	p.location = ""
}

// info asks until everybody who joined is listed, which may take the moment for
// which an answer is kept.
func (p *replay) info(send func() rawReply, id string, room *playedRoom) {
	p.t.Helper()
	var doc *element
	apptest.Eventually(p.t, func() bool {
		doc = send().document(p.t)
		return len(doc.at("attendees").all("attendee")) == len(room.users)
	}, "everybody is listed")
	require.Equal(p.t, "SUCCESS", doc.get("returncode"))
	require.Equal(p.t, strings.Join(strings.Fields(room.name), " "), doc.get("meetingName"))
	require.Equal(p.t, id, doc.get("meetingID"))
	require.Equal(p.t, room.internalID, doc.get("internalMeetingID"))
	require.Equal(p.t, room.attendeePW, doc.get("attendeePW"))
	require.Equal(p.t, room.moderatorPW, doc.get("moderatorPW"))
	var users, names []string
	for _, a := range doc.at("attendees").all("attendee") {
		users, names = append(users, a.get("userID")), append(names, a.get("fullName"))
	}
	require.Equal(p.t, room.users, users)
	require.Equal(p.t, room.names, names)
}

func (p *replay) meetings(reply rawReply) {
	p.t.Helper()
	doc := reply.document(p.t)
	require.Equal(p.t, "SUCCESS", doc.get("returncode"))
	ids := map[string]bool{}
	for _, m := range doc.at("meetings").all("meeting") {
		ids[m.get("meetingID")] = true
		room := p.rooms[m.get("meetingID")]
		require.NotNil(p.t, room, "%s is not this tenant's", m.get("meetingID"))
		require.Equal(p.t, room.internalID, m.get("internalMeetingID"))
		require.Equal(p.t, room.attendeePW, m.get("attendeePW"))
	}
	require.Len(p.t, ids, len(p.rooms))
}

// TestWireSlides sends the slides of Chamilo 2.0: whole, and with the
// Content-Length in characters that its client computes, which cuts them.
func TestWireSlides(t *testing.T) {
	e := startForClients(t, apptest.Options{Servers: 2})
	acme := e.Tenant("acme")
	const body = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<modules><module name="presentation"><document name="Lección 1.pdf" filename="Lección 1.pdf" removable="true">` +
		`JVBERi0xLjQgZHVtbXkK</document></module></modules>` + "\n"
	send := func(id, length string) rawReply {
		header := map[string]string{"Accept": "*/*", "Accept-Encoding": "UTF-8", "Content-type": "application/xml"}
		if length != "" {
			header["Content-Length"] = length
		}
		query := phpQuery("name", "Curso", "meetingID", id, "attendeePW", "ap", "moderatorPW", "mp")
		return rawCall{
			method: http.MethodPost, header: header, body: body,
			target: signedTarget(t, 64, "/t/acme/bigbluebutton/", "create", query, acme.Secret),
		}.send(t, e.URL(0))
	}
	whole := send("whole", "")
	require.Equal(t, "SUCCESS", whole.document(t).get("returncode"))
	_, m := e.Home("whole")
	require.Len(t, m.Modules, 1, "the slides reached the server")
	var received []byte
	for _, s := range e.Sims {
		for _, r := range s.Requests() {
			if r.Call == "create" {
				received = r.Body
			}
		}
	}
	require.Equal(t, body, string(received), "byte for byte")

	cut := send("cut", "150")
	require.Equal(t, "SUCCESS", cut.document(t).get("returncode"), "a class is not lost for its slides")
	require.True(t, cut.close, "stray bytes follow on the connection")
	e.Home("cut")
}

// TestChamiloClass plays a class as each version's pages do (3 of the client's
// notes): opened, joined, listed, attended, ended, and over for everybody.
func TestChamiloClass(t *testing.T) {
	for _, profile := range []bbbsim.Profile{bbbsim.Profile24, bbbsim.Profile30} {
		t.Run("BBB "+string(profile), func(t *testing.T) { chamiloClass(t, profile) })
	}
}

func chamiloClass(t *testing.T, profile bbbsim.Profile) {
	e := startForClients(t, apptest.Options{Servers: 3, Sim: func(_ int, c *bbbsim.Config) { c.Profile = profile }})
	for i, p := range plugins {
		t.Run(p.version, func(t *testing.T) {
			slug := []string{"acme", "globex"}[i%2]
			c := &chamilo{
				plugin: p, t: t, env: e, path: "/t/" + slug + "/bigbluebutton/", secret: e.Tenant(slug).Secret,
				calls: map[string]int{},
			}
			if i%2 == 1 {
				c.path = "/bigbluebutton/"
			}
			join, message := c.openRoom("16b02f0ac9f3e32.7928059"+p.version, "CURSO420")
			require.Empty(t, message)
			require.Equal(t, 1, c.calls["create"])
			require.Equal(t, 1, c.calls["getMeetingInfo"], "readable the moment that create returned")
			page := follow(t, e, join)
			require.Contains(t, page.Body, "You are in the meeting")
			require.Contains(t, page.Body, "MODERATOR")

			join, message = c.learner("Alumno O'Brien", "22")
			require.Empty(t, message)
			page = follow(t, e, join)
			require.Contains(t, page.Body, "Alumno O&#39;Brien")
			require.Contains(t, page.Body, "VIEWER")

			apptest.Eventually(t, func() bool { return c.listing()[0].users == "2" }, "the listing shows both")
			require.Empty(t, c.died)
			require.True(t, c.rows[0].open)
			c.runCron()
			require.Equal(t, []string{"11", "22"}, c.rows[0].present)

			require.True(t, c.end(c.rows[0]))
			require.Equal(t, infoOver, second(c.meetingInfo(c.rows[0])))
			join, message = c.learner("Alumno O'Brien", "22")
			require.Empty(t, join)
			require.Equal(t, "no active conference", message)
			require.False(t, c.listing()[0].open)
			require.Empty(t, c.died)

			// The next room is a new one, and nothing is left of the first.
			_, message = c.openRoom("16b02f0ac9f3e32.8928059"+p.version, "CURSO420")
			require.Empty(t, message)
			require.Len(t, c.listing(), 2)
			require.True(t, c.rows[1].open)
			require.True(t, c.end(c.rows[1]))
		})
	}
}

func second[A, B any](_ A, b B) B { return b }

// TestChamiloSurvivesAHungServer: no version ends a class, or closes its row,
// because the server does not answer for a while (T17, T46).
func TestChamiloSurvivesAHungServer(t *testing.T) {
	e := startForClients(t, apptest.Options{Config: func(c *app.Config) {
		c.InfoCache, c.CallTimeout = 20*time.Millisecond, 250*time.Millisecond
	}})
	var portals []*chamilo
	for i, p := range plugins {
		c := &chamilo{
			plugin: p, t: t, env: e, path: "/t/acme/bigbluebutton/", secret: e.Tenant("acme").Secret, calls: map[string]int{},
		}
		c.rows = make([]*row, i) // row numbers of their own
		for j := range c.rows {
			c.rows[j] = &row{id: 57 + j, meetingID: "gone"}
		}
		join, message := c.openRoom("16b02f0ac9f3e32.7928059"+p.version, "CURSO420")
		require.Empty(t, message, p.version)
		require.Equal(t, http.StatusOK, follow(t, e, join).Status)
		c.rows = c.rows[i:]
		portals = append(portals, c)
	}
	// The last that is known has the teacher in it.
	apptest.Eventually(t, func() bool {
		body := e.Tenant("acme").Call("getMeetings").Body
		return strings.Count(body, "<participantCount>1</participantCount>") == len(plugins)
	}, "snapshots show the teachers")
	e.Sims[0].SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
	for _, c := range portals {
		list := c.listing()
		require.Empty(t, c.died, c.version)
		require.True(t, list[0].open, c.version)
		require.Equal(t, "1", list[0].users, c.version)
		c.runCron()
		require.True(t, c.rows[0].open, c.version)
		require.Equal(t, []string{"11"}, c.rows[0].present, c.version)
		_, message := c.learner("Alumno O'Brien", "22")
		require.Empty(t, message, "learners still get in: the browser may reach what the gateway can't")
		require.Zero(t, c.calls["end"], c.version)
	}
	e.Sims[0].SetFaults(bbbsim.Faults{})
	require.Len(t, e.Sims[0].Meetings(), len(plugins))
	require.Zero(t, e.Count("end"))
	for _, c := range portals {
		require.True(t, c.listing()[0].open, c.version)
	}
}

// TestChamiloRefused: a create that is refused ends the loop of 1.10 to 1.11.32
// after three answers, and no page shows a class that isn't (T44).
func TestChamiloRefused(t *testing.T) {
	secrets := map[string]string{}
	for _, p := range plugins {
		secrets["c"+strings.ReplaceAll(p.version, ".", "-")] = "secret-of-" + p.version + "-0123456789"
	}
	e := startForClients(t, apptest.Options{Tenants: secrets})
	for slug := range secrets {
		who, err := e.Store.TenantBySlug(t.Context(), slug)
		require.NoError(t, err)
		require.NoError(t, e.Store.SetTenantState(t.Context(), who.ID, tenant.Suspended))
	}
	for slug := range secrets {
		tries := 0
		apptest.Eventually(t, func() bool {
			tries++ // SUCCESS while the news is on its way, and then the room exists
			return e.Tenant(slug).Create("probe"+strconv.Itoa(tries)).Answer(t).Key() == "tenantSuspended"
		}, "suspended")
	}
	for _, p := range plugins {
		slug := "c" + strings.ReplaceAll(p.version, ".", "-")
		c := &chamilo{plugin: p, t: t, env: e, path: "/t/" + slug + "/bigbluebutton/", secret: secrets[slug], calls: map[string]int{}}
		join, message := c.openRoom("16b02f0ac9f3e32.7928059", "CURSO420")
		require.Empty(t, join)
		require.NotEmpty(t, message)
		if p.loopsCreate {
			require.Equal(t, 3, c.calls["create"], p.version)
			require.NotEmpty(t, c.died, "the loop ends with an exception")
		} else {
			require.Equal(t, 1, c.calls["create"], p.version)
		}
		c.died = ""
		c.listing() // closes the row that was left behind
		require.Empty(t, c.died)
		require.False(t, c.rows[0].open)
	}
}

// TestWireJoinOfNoMeeting: 1.9 sends the browser to a room that is not there; a
// person gets a page, and an old client's own URL parameters go nowhere.
func TestWireJoinOfNoMeeting(t *testing.T) {
	e := startForClients(t, apptest.Options{})
	acme := e.Tenant("acme")
	join := func(accept string, more string) rawReply {
		query := phpQuery("meetingID", "3539", "fullName", "Ñandú & Co", "password", "CURSOmod", "userID", "", "webVoiceConf", "") + more
		r := rawCall{
			target: signedTarget(t, 40, "/t/acme/bigbluebutton/", "join", query, acme.Secret),
			header: map[string]string{"Accept": accept},
		}.send(t, e.URL(0))
		r.requireNoTrace(t, scopeKeyOf(t, e, "acme"))
		return r
	}
	page := join("text/html,application/xhtml+xml,*/*;q=0.8", "")
	require.Equal(t, http.StatusNotFound, page.status)
	require.Contains(t, page.header.Get("Content-Type"), "text/html")
	require.Contains(t, page.body, "<h1>This room is not open</h1>")
	require.Equal(t, "FAILED", join("*/*", "").document(t).get("returncode"))

	require.Equal(t, "SUCCESS", acme.Create("3539", "attendeePW", "CURSO", "moderatorPW", "CURSOmod").Answer(t).Text("returncode"))
	// 1.11.8 to 1.11.10 append this unescaped, inside what is signed.
	sent := join("*/*", "&redirectClient=true&clientURL=https://gw.example.org/html5client/join")
	require.Equal(t, http.StatusFound, sent.status)
	require.NotContains(t, sent.header.Get("Location"), "gw.example.org")
	require.NotContains(t, sent.header.Get("Location"), "redirectClient")
	require.Contains(t, follow(t, e, sent.header.Get("Location")).Body, "You are in the meeting")
}
