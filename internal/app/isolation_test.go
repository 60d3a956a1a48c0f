package app_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/tenant"
)

// TestT27_IsolationProperty drives random calls of three tenants, who use the
// same meeting IDs and try each other's, through a whole gateway. Every answer
// is the one that a model of three separate servers gives, and none has a
// foreign byte in it.
func TestT27_IsolationProperty(t *testing.T) {
	isolation(t, isolationRun{total: 300, longest: 30})
}

// TestT27_IsolationUnderFaults is the same with servers that hang, fail and go
// away for a moment. What a call comes to is less certain then; that nothing
// foreign shows, and that a live meeting is never denied, is not.
func TestT27_IsolationUnderFaults(t *testing.T) {
	isolation(t, isolationRun{total: 120, longest: 30, faults: true})
}

type isolationRun struct {
	total   int // steps, of all sequences together
	longest int // sequence
	faults  bool
}

func isolation(t *testing.T, run isolationRun) {
	t.Helper()
	e := startForClients(t, apptest.Options{Servers: 3, Config: func(c *app.Config) {
		c.FeedInterval = 20 * time.Millisecond
		c.InfoCache = 20 * time.Millisecond
		if run.faults {
			c.CallTimeout, c.CreateTimeout, c.ConnectTimeout = 200*time.Millisecond, 300*time.Millisecond, 200*time.Millisecond
			c.EndingWait = 200 * time.Millisecond
		}
	}})
	var total world
	sequence, finished := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if total.steps >= run.total && finished == sequence {
			return // rapid makes a hundred sequences; these are as many as the time is for
		}
		sequence++
		w := newWorld(rt, e, run, sequence)
		for range rapid.IntRange(1, run.longest).Draw(rt, "steps") {
			w.step()
		}
		w.finish()
		finished++
		total.served, total.steps, total.created = total.served+w.served, total.steps+w.steps, total.created+w.created
	})
	t.Logf("%d steps, %d calls served on the shared URL, %d meetings created", total.steps, total.served, total.created)
	require.Greater(t, total.steps, run.total/4) // a hundred sequences of drawn lengths may not reach it all
	require.Positive(t, total.served)
	require.Positive(t, total.created)
}

// world is the model: three tenants, each with rooms of its own.
type world struct {
	t       *rapid.T
	e       *apptest.Env
	run     isolationRun
	tenants []*inhabitant
	now     string // what is being done, for failures

	steps, served, created int
	// shaky tells that a server misbehaved in this sequence.
	shaky bool
}

// inhabitant is a tenant with markers that are nobody else's.
type inhabitant struct {
	slug, secret, marker, key string
	rooms                     map[string]*lived
	named                     map[string]bool // IDs that the tenant sent by itself
	internals                 []string        // internal IDs of all its meetings
}

// GoString is how rapid shows a tenant.
func (who *inhabitant) GoString() string { return who.slug }

// lived is a room's present life.
type lived struct {
	attendeePW, moderatorPW string
	internalID              string
	joined                  bool
	// sure tells that the room is live; it may be otherwise after a fault.
	sure bool
}

func newWorld(rt *rapid.T, e *apptest.Env, run isolationRun, sequence int) *world {
	w := &world{t: rt, e: e, run: run}
	for i := range 3 {
		// Letters that no hex and hardly any random text has.
		marker := fmt.Sprintf("Mk%cqz%dz", 'R'+i, sequence)
		slug := fmt.Sprintf("t%d-%d", sequence, i)
		if run.faults {
			slug = "f" + slug
		}
		secret := fmt.Sprintf("secret-of-%s-0123456789", marker)
		who, _, err := e.Store.CreateTenant(rt.Context(), tenant.Tenant{Slug: slug, Name: "Name" + marker}, secret, nil)
		require.NoError(rt, err)
		w.tenants = append(w.tenants, &inhabitant{
			slug: slug, secret: secret, marker: marker, key: who.ScopeKey,
			rooms: map[string]*lived{}, named: map[string]bool{},
		})
	}
	for _, me := range w.tenants { // until the gateway has heard of them
		w.eventually(func() bool {
			return w.send(me, ask{me: me, base: "/t/" + me.slug, call: "getMeetings", secret: me.secret}).body != checksumRefusal
		}, "the gateway knows the tenant")
	}
	return w
}

const (
	checksumRefusal = "<response>\n<returncode>FAILED</returncode>\n<messageKey>checksumError</messageKey>\n" +
		"<message>Checksums do not match</message>\n</response>"
	isolationWait = 10 * time.Second
)

func (w *world) eventually(cond func() bool, what string) {
	for deadline := time.Now().Add(isolationWait); !cond(); {
		require.True(w.t, time.Now().Before(deadline), what)
		time.Sleep(5 * time.Millisecond)
	}
}

// ask is one request of a sequence.
type ask struct {
	me     *inhabitant // whose answer it is to be; nil for nobody's
	method string
	base   string
	call   string
	params []string
	secret string
	digits int
	accept string
	body   string
	from   string
}

// send makes a request and holds the answer against everybody else's bytes.
func (w *world) send(me *inhabitant, a ask) rawReply {
	if a.digits == 0 {
		a.digits = 40
	}
	c := rawCall{
		method: a.method, body: a.body, from: a.from, header: map[string]string{"Accept": a.accept},
		target: signedTarget(w.t, a.digits, a.base+"/bigbluebutton/", a.call, phpQuery(a.params...), a.secret),
	}
	if a.body != "" {
		c.header["Content-Type"] = "application/xml"
	}
	r := c.send(w.t, w.e.URL(0))
	w.noForeignByte(me, r.body)
	for name, values := range r.header {
		w.noForeignByte(me, name+": "+strings.Join(values, "\n"))
	}
	require.NotContains(w.t, strings.ToLower(r.body), "bluegate", w.now)
	return r
}

// noForeignByte fails when a text that a tenant gets has something of another
// one, or of the servers, in it.
func (w *world) noForeignByte(me *inhabitant, text string) {
	if unescaped, err := url.QueryUnescape(text); err == nil && strings.Contains(text, "Location") {
		text = unescaped
	}
	require.NotContains(w.t, text, "server-secret", w.now)
	if me != nil {
		text = me.withoutOwnIDs(text)
		require.NotContains(w.t, text, me.key+"-", "%s: the scope key", w.now)
	}
	for _, other := range w.tenants {
		if other == me {
			continue
		}
		for _, foreign := range append([]string{other.marker, other.key + "-", other.secret}, other.internals...) {
			require.NotContains(w.t, text, foreign, "%s: of %s", w.now, other.slug)
		}
	}
}

var xmlEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

// withoutOwnIDs takes out what a tenant calls its own rooms: that comes back,
// even where it is what another tenant's are called.
func (who *inhabitant) withoutOwnIDs(text string) string {
	for id := range who.named {
		text = strings.ReplaceAll(text, "<meetingID>"+xmlEscape.Replace(id)+"</meetingID>", "")
		// In redirects to a server, in which nothing else has the scope key.
		text = strings.ReplaceAll(text, "join?meetingID="+who.key+"-"+id+"&", "")
		if len(id) > 200 { // by its hash
			text = regexp.MustCompile("join\\?meetingID="+who.key+"-~[0-9a-f]{40}&").ReplaceAllString(text, "")
		}
	}
	return text
}

// ids are what tenants call rooms: the same few for everybody, and what they
// might have seen or guessed of each other.
func (w *world) ids() []string {
	list := []string{
		"1", "57", "ab", "a1b2", "my room", "my  room", "Übung 1", strings.Repeat("x", 200), strings.Repeat("y", 255),
		"<b>&'\"", "a/b;c:d[0]", "%2525", "~0123456789abcdef0123456789abcdef01234567",
	}
	for _, who := range w.tenants {
		list = append(list, who.key, who.key+"-1")
		for _, id := range who.internals {
			list = append(list, id, id[:2], id[:8], id[:40], id[:41], hex.EncodeToString([]byte(id[:4])))
		}
	}
	return list
}

// step makes one random call.
func (w *world) step() {
	w.steps++
	me := rapid.SampledFrom(w.tenants).Draw(w.t, "tenant")
	what := rapid.SampledFrom([]string{
		"create", "create", "create", "create", "getMeetingInfo", "getMeetingInfo", "getMeetingInfo", "isMeetingRunning",
		"join", "join", "join", "getMeetings", "getMeetings", "end", "end", "end inside", "denied", "denied", "other", "fault",
	}).Draw(w.t, "what")
	id := rapid.SampledFrom(w.ids()).Draw(w.t, "id")
	a := ask{me: me, base: "/t/" + me.slug, secret: me.secret, accept: "*/*"}
	if rapid.IntRange(0, 3).Draw(w.t, "shared") == 0 {
		a.base = ""
		w.served++
	}
	a.digits = rapid.SampledFrom([]int{40, 64, 96, 128}).Draw(w.t, "digits")
	if rapid.IntRange(0, 4).Draw(w.t, "post") == 0 && what != "join" {
		a.method = http.MethodPost
	}
	w.now = fmt.Sprintf("%s by %s (%q) of %q", what, me.slug, a.base, id)
	switch what {
	case "create":
		w.create(me, a, id)
	case "getMeetingInfo":
		w.info(me, a, id)
	case "isMeetingRunning":
		w.running(me, a, id)
	case "join":
		w.join(me, a, id)
	case "getMeetings":
		w.list(me, a)
	case "end":
		w.end(me, a, id)
	case "end inside":
		w.endInside(me, id)
	case "denied":
		w.denied(me, a, id)
	case "other":
		w.other(me, a, id)
	case "fault":
		w.fault()
	}
	w.healthy()
}

func (w *world) fault() {
	if !w.run.faults {
		return
	}
	w.shaky = true
	s := rapid.SampledFrom(w.e.Sims).Draw(w.t, "server")
	s.SetFaults(bbbsim.Faults{Mode: rapid.SampledFrom([]bbbsim.Mode{
		bbbsim.ModeHang, bbbsim.ModeError, bbbsim.ModeCut, bbbsim.ModeRefuse, bbbsim.ModeDown,
	}).Draw(w.t, "mode")})
	// A call of each kind meets it.
	for range 2 {
		me := rapid.SampledFrom(w.tenants).Draw(w.t, "tenant")
		id := rapid.SampledFrom(w.ids()).Draw(w.t, "id")
		a := ask{me: me, base: "/t/" + me.slug, secret: me.secret, accept: "*/*"}
		switch rapid.IntRange(0, 3).Draw(w.t, "call") {
		case 0:
			w.create(me, a, id)
		case 1:
			w.info(me, a, id)
		case 2:
			w.end(me, a, id)
		case 3:
			w.list(me, a)
		}
	}
	s.SetFaults(bbbsim.Faults{})
}

// healthy holds that every life that is sure is there, on one server only.
func (w *world) healthy() {
	for _, me := range w.tenants {
		for id, r := range me.rooms {
			if !r.sure || w.shaky {
				continue
			}
			homes := 0
			for _, s := range w.e.Sims {
				for _, m := range s.Meetings() {
					if m.InternalID == r.internalID {
						homes++
						require.Contains(w.t, m.Name, me.marker, w.now)
					}
				}
			}
			require.Equal(w.t, 1, homes, "%s: %q of %s lives on one server", w.now, id, me.slug)
		}
	}
}

// named finds the room that an ID of the tenant names: by its external ID, else
// by BBB's internal one.
func (who *inhabitant) find(id string) (*lived, string) {
	if r := who.rooms[id]; r != nil {
		return r, id
	}
	for external, r := range who.rooms {
		if r.internalID == id {
			return r, external
		}
	}
	return nil, id
}

// unavailable reports an answer that says nothing, which is allowed after a fault.
func (w *world) unavailable(r rawReply) bool {
	if r.status != http.StatusServiceUnavailable {
		return false
	}
	require.True(w.t, w.shaky, "%s: %s", w.now, r.body)
	require.Contains(w.t, r.header.Get("Content-Type"), "text/plain", w.now)
	return true
}

func (w *world) create(me *inhabitant, a ask, id string) {
	me.named[id] = true
	password := rapid.SampledFrom([]string{"a", "a", "a", "b"}).Draw(w.t, "password")
	pw := "pw" + me.marker + password
	a.call = "create"
	a.params = []string{
		"name", "Room " + me.marker, "meetingID", id, "attendeePW", pw + "a", "moderatorPW", pw + "m",
		"meta_mark", me.marker, "meta_bluegate-ref", "forged", "welcome", "w" + me.marker,
	}
	if a.method == http.MethodPost {
		a.body = "<modules><module name=\"presentation\"><document name=\"" + me.marker + ".pdf\">QUJD</document></module></modules>"
	}
	r := w.send(me, a)
	if w.unavailable(r) {
		if room := me.rooms[id]; room == nil {
			me.rooms[id] = &lived{attendeePW: pw + "a", moderatorPW: pw + "m"} // may have come to be
		}
		return
	}
	if r.status == http.StatusTooManyRequests { // the same refusal for the third time
		require.True(w.t, me.rooms[id] != nil, w.now)
		return
	}
	doc := r.document(w.t)
	room := me.rooms[id]
	if doc.get("returncode") != "SUCCESS" {
		require.Equal(w.t, "idNotUnique", doc.get("messageKey"), "%s: %s", w.now, r.body)
		require.NotNil(w.t, room, w.now)
		require.True(w.t, !room.sure || room.moderatorPW != pw+"m", w.now)
		return
	}
	require.Equal(w.t, id, doc.get("meetingID"), w.now)
	require.Equal(w.t, pw+"a", doc.get("attendeePW"), w.now)
	require.Equal(w.t, pw+"m", doc.get("moderatorPW"), w.now)
	if room != nil && room.sure {
		require.Equal(w.t, "duplicateWarning", doc.get("messageKey"), w.now)
		require.Equal(w.t, room.internalID, doc.get("internalMeetingID"), w.now)
		return
	}
	if room == nil && !w.shaky {
		require.Empty(w.t, doc.get("messageKey"), "%s: a new meeting", w.now)
	}
	internalID := doc.get("internalMeetingID")
	for _, who := range w.tenants {
		if !w.shaky {
			require.NotContains(w.t, who.internals, internalID, "%s: a meeting of its own", w.now)
		}
	}
	w.created++
	me.internals = append(me.internals, internalID)
	me.rooms[id] = &lived{attendeePW: pw + "a", moderatorPW: pw + "m", internalID: internalID, sure: true}
}

func (w *world) info(me *inhabitant, a ask, id string) {
	a.call, a.params = "getMeetingInfo", []string{"meetingID", id, "password", "x"}
	r := w.send(me, a)
	room, external := me.find(id)
	if w.unavailable(r) {
		require.True(w.t, room == nil || !room.sure, "%s: a live meeting is never denied", w.now)
		return
	}
	doc := r.document(w.t)
	if room == nil || !room.sure && doc.get("returncode") == "FAILED" {
		require.Equal(w.t, "notFound", doc.get("messageKey"), "%s: %s", w.now, r.body)
		return
	}
	require.Equal(w.t, "SUCCESS", doc.get("returncode"), "%s: %s", w.now, r.body)
	w.shows(me, doc, external, room)
}

// shows holds a meeting that is shown to a tenant against the model.
func (w *world) shows(me *inhabitant, doc *element, id string, room *lived) {
	require.Equal(w.t, id, doc.get("meetingID"), w.now)
	require.Equal(w.t, "Room "+me.marker, doc.get("meetingName"), w.now)
	require.Equal(w.t, me.marker, doc.get("metadata", "mark"), w.now)
	require.Len(w.t, doc.at("metadata").kids, 1, w.now)
	for _, u := range doc.at("attendees").all("attendee") {
		require.Equal(w.t, "User "+me.marker, u.get("fullName"), w.now)
	}
	if room.sure {
		require.Equal(w.t, room.internalID, doc.get("internalMeetingID"), w.now)
		require.Equal(w.t, room.attendeePW, doc.get("attendeePW"), w.now)
		require.Equal(w.t, room.moderatorPW, doc.get("moderatorPW"), w.now)
		if !room.joined {
			require.Empty(w.t, doc.at("attendees").kids, w.now)
		}
	}
}

func (w *world) running(me *inhabitant, a ask, id string) {
	a.call, a.params = "isMeetingRunning", []string{"meetingID", id}
	r := w.send(me, a)
	room, _ := me.find(id)
	if w.unavailable(r) {
		return
	}
	doc := r.document(w.t)
	require.Equal(w.t, "SUCCESS", doc.get("returncode"), "%s: %s", w.now, r.body)
	if doc.get("running") == "true" {
		require.True(w.t, room != nil && (room.joined || !room.sure), "%s: nobody can be there", w.now)
	}
}

func (w *world) list(me *inhabitant, a ask) {
	a.call = "getMeetings"
	r := w.send(me, a)
	if w.unavailable(r) {
		return
	}
	doc := r.document(w.t)
	require.Equal(w.t, "SUCCESS", doc.get("returncode"), w.now)
	seen := map[string]bool{}
	for _, m := range doc.at("meetings").all("meeting") {
		id := m.get("meetingID")
		require.False(w.t, seen[id], "%s: %q twice", w.now, id)
		seen[id] = true
		room := me.rooms[id]
		require.NotNil(w.t, room, "%s: %q is not there", w.now, id)
		w.shows(me, m, id, room)
	}
	for id, room := range me.rooms {
		require.True(w.t, seen[id] || !room.sure, "%s: %q is missing", w.now, id)
	}
}

func (w *world) join(me *inhabitant, a ask, id string) {
	room, external := me.find(id)
	password := "nobody's"
	if room != nil {
		require.True(w.t, me.named[external])
		password = room.moderatorPW
	}
	a.call = "join"
	a.params = []string{"meetingID", id, "fullName", "User " + me.marker, "password", password, "userID", "u" + me.marker}
	forwarded := rapid.Bool().Draw(w.t, "redirect=false")
	if forwarded {
		a.params = append(a.params, "redirect", "false")
	}
	a.accept = rapid.SampledFrom([]string{"*/*", "text/html,*/*"}).Draw(w.t, "accept")
	r := w.send(me, a)
	if room != nil && !room.sure {
		return // any answer, as long as nothing foreign is in it
	}
	switch {
	case room == nil && a.accept != "*/*" && !forwarded:
		require.Contains(w.t, []int{http.StatusNotFound, http.StatusServiceUnavailable}, r.status, w.now)
		require.Contains(w.t, r.header.Get("Content-Type"), "text/html", w.now)
	case room == nil:
		require.Equal(w.t, "FAILED", r.document(w.t).get("returncode"), w.now)
	case forwarded && w.shaky && r.document(w.t).get("returncode") == "FAILED":
	case forwarded:
		doc := r.document(w.t)
		require.Equal(w.t, "SUCCESS", doc.get("returncode"), "%s: %s", w.now, r.body)
		require.Equal(w.t, room.internalID, doc.get("meeting_id"), w.now)
		w.enter(me, doc.get("url"))
		room.joined = true
	default:
		require.Equal(w.t, http.StatusFound, r.status, "%s: %s", w.now, r.body)
		w.enter(me, r.header.Get("Location"))
		room.joined = true
	}
}

// enter follows a browser into the room.
func (w *world) enter(me *inhabitant, location string) {
	at := w.e.Do(http.MethodGet, location, "", nil)
	if at.Status == http.StatusFound {
		at = w.e.Do(http.MethodGet, at.Header.Get("Location"), "", nil)
	}
	require.Equal(w.t, http.StatusOK, at.Status, w.now)
	require.Contains(w.t, at.Body, "Room "+me.marker, w.now)
	w.noForeignByte(me, at.Body)
}

func (w *world) end(me *inhabitant, a ask, id string) {
	a.call, a.params = "end", []string{"meetingID", id, "password", "wrong one"}
	r := w.send(me, a)
	doc := r.document(w.t) // never anything but XML
	room, external := me.find(id)
	switch {
	case room == nil && doc.get("messageKey") == "notFound":
	case room == nil:
		require.True(w.t, w.shaky, "%s: %s", w.now, r.body)
	case w.shaky:
		room.sure = false // stored as an intent, perhaps
	default:
		require.Equal(w.t, "sentEndMeetingRequest", doc.get("messageKey"), "%s: %s", w.now, r.body)
		delete(me.rooms, external)
	}
}

// endInside ends a meeting as its moderator does, inside of BBB.
func (w *world) endInside(me *inhabitant, id string) {
	room, external := me.find(id)
	if room == nil || !room.sure || w.shaky || me.rooms[room.internalID] != nil {
		return // or there is no ID that names this life alone
	}
	for _, s := range w.e.Sims {
		_ = s.EndFromInside(room.internalID) // one of them has it
	}
	a := ask{me: me, base: "/t/" + me.slug, secret: me.secret, call: "getMeetingInfo", params: []string{"meetingID", room.internalID}}
	w.eventually(func() bool { return w.send(me, a).document(w.t).get("messageKey") == "notFound" }, "gone: "+w.now)
	delete(me.rooms, external)
}

// denied is a call with a secret that is not the tenant's: nothing happens, and
// the answer is the same whoever and whatever exists.
func (w *world) denied(me *inhabitant, a ask, id string) {
	other := w.tenants[(slices.Index(w.tenants, me)+1)%3]
	a.call = rapid.SampledFrom([]string{"create", "getMeetingInfo", "isMeetingRunning", "getMeetings", "end"}).Draw(w.t, "call")
	a.params = []string{"meetingID", id, "name", "Denied"}
	switch rapid.IntRange(0, 3).Draw(w.t, "how") {
	case 0:
		a.base, a.secret = "/t/"+me.slug, other.secret
	case 1:
		a.base, a.secret = "/t/"+me.slug, me.secret+"x"
	case 2:
		a.base = "/t/nobody-" + me.slug
	case 3:
		a.base, a.secret = "", me.secret+"x"
		// Searches that find nobody are rationed by address.
		a.from = netip.AddrFrom4([4]byte{127, 1, byte(w.steps), byte(len(me.slug) + len(me.internals))}).String()
	}
	r := w.send(nil, a)
	if r.status == http.StatusTooManyRequests && a.call == "create" {
		return // the same refusal for the third time
	}
	if r.status == http.StatusServiceUnavailable && a.base == "" {
		return // out of budget
	}
	require.Equal(w.t, http.StatusOK, r.status, w.now)
	require.Equal(w.t, checksumRefusal, r.body, w.now)
}

// other is everything else that is the same for everybody.
func (w *world) other(me *inhabitant, a ask, id string) {
	a.call = rapid.SampledFrom([]string{"", "getRecordings", "deleteRecordings", "hooks/list", "getSessions", "nonsense"}).Draw(w.t, "call")
	a.params = []string{"meetingID", id, "recordID", id}
	doc := w.send(me, a).document(w.t)
	if a.call == "" {
		require.Equal(w.t, "2.0", doc.get("version"))
		return
	}
	require.Equal(w.t, "unsupportedRequest", doc.get("messageKey"))
}

// finish ends what is left, so that the servers don't fill up, and looks once
// more at everything.
func (w *world) finish() {
	for _, me := range w.tenants {
		a := ask{me: me, base: "/t/" + me.slug, secret: me.secret, accept: "*/*"}
		w.now = "the end of " + me.slug
		w.list(me, a)
		for _, id := range slices.Sorted(maps.Keys(me.rooms)) {
			w.end(me, a, id)
		}
	}
	if !w.shaky {
		for _, me := range w.tenants {
			w.list(me, ask{me: me, base: "/t/" + me.slug, secret: me.secret, accept: "*/*"})
		}
	}
}

// TestCreateByInternalID: a create names a room by its external ID alone. One
// that happens to be the internal ID of another room makes a room of its own,
// as on BBB; every other call finds the internal ID.
func TestCreateByInternalID(t *testing.T) {
	e := startForClients(t, apptest.Options{})
	acme := e.Tenant("acme")
	first := acme.Create("first").Answer(t)
	internal := first.Text("internalMeetingID")
	require.Equal(t, "first", acme.Info(internal).Answer(t).Text("meetingID"))
	second := acme.Create(internal).Answer(t)
	require.Equal(t, internal, second.Text("meetingID"))
	require.Empty(t, second.Key())
	require.NotEqual(t, internal, second.Text("internalMeetingID"))
	require.Equal(t, internal, acme.Info(internal).Answer(t).Text("meetingID"), "the external ID goes before")
	require.Len(t, e.Sims[0].Meetings(), 2)
}
