package app_test

import (
	"bufio"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app/apptest"
)

// What LMSs' clients do, written independently of internal/bbb so that a mistake
// there is not repeated, and hidden, here: signing, escaping as PHP does, raw
// requests, reading answers as SimpleXML does.

// rawCall is a request that reaches the gateway byte for byte: Go's HTTP client
// would write its own request line and headers.
type rawCall struct {
	method string // "" = GET
	target string
	header map[string]string
	body   string
	from   string // local address; "" = any
}

// rawReply is the answer to a rawCall.
type rawReply struct {
	status int
	header http.Header
	body   string
	close  bool // the connection is closed after it
}

// send sends the call to a gateway or server at base ("http://host:port...").
func (c rawCall) send(t testing.TB, base string) rawReply {
	t.Helper()
	addr := strings.TrimPrefix(base, "http://")
	addr, _, _ = strings.Cut(addr, "/")
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if c.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.from)}
	}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	if c.method == "" {
		c.method = http.MethodGet
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.method, c.target, addr)
	for _, name := range slices.Sorted(maps.Keys(c.header)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, c.header[name])
	}
	if _, given := c.header["Content-Length"]; !given && c.method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(c.body))
	}
	b.WriteString("\r\n" + c.body)
	_, err = io.WriteString(conn, b.String())
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: c.method})
	require.NoError(t, err, "%s %s", c.method, c.target)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return rawReply{resp.StatusCode, resp.Header, string(body), resp.Close}
}

// hashOf returns the hash that a checksum of that many hex digits is made with.
func hashOf(t testing.TB, digits int) hash.Hash {
	t.Helper()
	switch digits {
	case 40:
		return sha1.New()
	case 64:
		return sha256.New()
	case 96:
		return sha512.New384()
	case 128:
		return sha512.New()
	}
	t.Fatalf("no hash has %d hex digits", digits)
	return nil
}

// checksumOf signs a call as clients do: over the name, the query as it is
// written, and the secret.
func checksumOf(t testing.TB, digits int, call, query, secret string) string {
	t.Helper()
	h := hashOf(t, digits)
	_, _ = io.WriteString(h, call+query+secret)
	return hex.EncodeToString(h.Sum(nil))
}

// phpURLEncode is PHP's urlencode: letters, digits, "-", "_" and "." stay, a
// blank is "+", all else is "%XX".
func phpURLEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// phpQuery joins parameters, name and value by turns, as Chamilo does.
func phpQuery(params ...string) string {
	var list []string
	for i := 0; i+1 < len(params); i += 2 {
		list = append(list, params[i]+"="+phpURLEncode(params[i+1]))
	}
	return strings.Join(list, "&")
}

// signedTarget is the request target of a call below a base path that ends in "/".
func signedTarget(t testing.TB, digits int, path, call, query, secret string) string {
	t.Helper()
	target := path + "api/" + call + "?" + query
	if query != "" {
		target += "&"
	}
	return target + "checksum=" + checksumOf(t, digits, call, query, secret)
}

// element is a document as PHP's SimpleXML holds it.
type element struct {
	name string
	text string
	kids []*element
}

// simpleXML reads a document as `new SimpleXMLElement($body)` does: white space
// or anything else before the document, or a document that is not well-formed,
// is an exception.
func simpleXML(body string) (*element, error) {
	if !strings.HasPrefix(body, "<") {
		return nil, errors.New("String could not be parsed as XML") //nolint:staticcheck // PHP's own words
	}
	decoder := xml.NewDecoder(strings.NewReader(body))
	root := &element{}
	open := []*element{root}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("parse as XML: %w", err)
		}
		parent := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local}
			parent.kids = append(parent.kids, e)
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			parent.text += string(token)
		}
	}
	if len(root.kids) != 1 {
		return nil, errors.New("no single root element")
	}
	return root.kids[0], nil
}

// all returns the children of that name; of nil, none.
func (e *element) all(name string) []*element {
	var out []*element
	if e != nil {
		for _, kid := range e.kids {
			if kid.name == name {
				out = append(out, kid)
			}
		}
	}
	return out
}

// at returns the first element at a path of names, or nil.
func (e *element) at(path ...string) *element {
	for _, name := range path {
		list := e.all(name)
		if len(list) == 0 {
			return nil
		}
		e = list[0]
	}
	return e
}

// get returns the text of the first element at a path, "" when there is none.
func (e *element) get(path ...string) string {
	if e = e.at(path...); e == nil {
		return ""
	}
	return e.text
}

// document parses an answer that must be BBB XML.
func (r rawReply) document(t testing.TB) *element {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Contains(t, r.header.Get("Content-Type"), "xml")
	doc, err := simpleXML(r.body)
	require.NoError(t, err, r.body)
	require.Equal(t, "response", doc.name)
	return doc
}

// ourHeaders are all the headers that answers to tenants may have.
var ourHeaders = []string{
	"Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "Location", "Retry-After", "Set-Cookie",
}

// requireNoTrace fails when an answer shows that there is a gateway: clients
// compare exact sets of elements, and nobody is to learn of other tenants.
// The scope key may stand in a redirect to a server, and nowhere else.
func (r rawReply) requireNoTrace(t testing.TB, scopeKey string) {
	t.Helper()
	require.NotContains(t, strings.ToLower(r.body), "bluegate")
	for name, values := range r.header {
		require.Contains(t, ourHeaders, name)
		require.NotContains(t, strings.ToLower(strings.Join(values, "\n")), "bluegate")
	}
	if scopeKey != "" {
		require.NotContains(t, r.body, scopeKey+"-")
	}
}

// scopeKeyOf returns what a tenant's meeting IDs begin with on the servers.
func scopeKeyOf(t testing.TB, e *apptest.Env, slug string) string {
	t.Helper()
	who, err := e.Store.TenantBySlug(t.Context(), slug)
	require.NoError(t, err)
	return who.ScopeKey
}

// follow is a browser that was sent somewhere: the last page and its status.
func follow(t testing.TB, e *apptest.Env, location string) apptest.Result {
	t.Helper()
	for range 5 {
		r := e.Do(http.MethodGet, location, "", nil)
		if r.Status != http.StatusFound {
			return r
		}
		location = r.Header.Get("Location")
	}
	t.Fatal("too many redirects")
	return apptest.Result{}
}

// plugin is how a version of Chamilo's plugin behaves.
type plugin struct {
	version     string
	sha256      bool // official client: SHA-256, empty values dropped, role in join
	loopsCreate bool // repeats a create until SUCCESS or a body that is no XML
	loopsInfo   bool // the same with getMeetingInfo after create
	rowIDs      bool // the meetingID is the row's number
	asksByRow   bool // after a non-XML answer asks again with the row's number
	asksOnEmpty bool // and after an empty one
	endsAsPupil bool // sends end with the attendees' password for teachers
	cron        bool
	recordings  bool // asks for the recordings of every row on the listing
}

var plugins = []plugin{
	{version: "1.9.8", rowIDs: true, recordings: true},
	{version: "1.10.6", loopsCreate: true, loopsInfo: true, asksByRow: true, asksOnEmpty: true, recordings: true},
	{version: "1.11.6", loopsCreate: true, asksByRow: true, asksOnEmpty: true, endsAsPupil: true, recordings: true},
	{version: "1.11.32", loopsCreate: true, asksByRow: true, cron: true, recordings: true},
	{version: "2.0", sha256: true, cron: true, recordings: true},
}

// maxLoop is when a test gives up a loop that a real plugin would never end.
const maxLoop = 20

// chamilo is a portal with the plugin: its rows, and what it called.
type chamilo struct {
	plugin
	t      testing.TB
	env    *apptest.Env
	path   string // "/t/<slug>/bigbluebutton/"
	secret string
	rows   []*row
	calls  map[string]int
	// died is the exception that killed the last page, "" for none.
	died string
}

// row is a row of plugin_bbb_meeting.
type row struct {
	id                     int
	meetingID, name        string
	attendeePW, moderatePW string
	open                   bool
	present                []string // the attendance table
}

// ask makes a call, parameters as name and value by turns. The document is nil
// for an empty body; an exception kills the page.
func (c *chamilo) ask(call string, params ...string) (*element, error) {
	c.t.Helper()
	digits := 40
	if c.sha256 {
		digits = 64
		var kept []string
		for i := 0; i+1 < len(params); i += 2 {
			if params[i+1] != "" && params[i+1] != "0" {
				kept = append(kept, params[i], params[i+1])
			}
		}
		params = kept
	}
	target := signedTarget(c.t, digits, c.path, call, phpQuery(params...), c.secret)
	header := map[string]string{"Accept": "*/*"}
	if c.sha256 {
		header["Accept-Encoding"] = "UTF-8"
	}
	c.calls[call]++
	reply := rawCall{target: target, header: header}.send(c.t, c.env.URL(0))
	reply.requireNoTrace(c.t, "")
	if c.sha256 && reply.status/100 != 2 {
		return nil, fmt.Errorf("HTTP %d", reply.status)
	}
	if reply.body == "" {
		return nil, nil //nolint:nilnil // as PHP has it: null, and no exception
	}
	return simpleXML(reply.body)
}

// joinURL is where the plugin sends a browser.
func (c *chamilo) joinURL(r *row, name, password, userID, role string) string {
	c.t.Helper()
	params := []string{"meetingID", r.meetingID, "fullName", name, "password", password, "userID", userID}
	digits := 40
	switch {
	case c.sha256:
		digits = 64
		params = append(params, "role", role)
	default:
		params = append(params, "webVoiceConf", "")
	}
	return c.env.URL(0) + signedTarget(c.t, digits, c.path, "join", phpQuery(params...), c.secret)
}

// openRoom is start.php?launch=1 of a teacher: the join URL, or why there is none.
func (c *chamilo) openRoom(meetingID, course string) (join, message string) {
	c.t.Helper()
	c.died = ""
	i := slices.IndexFunc(c.rows, func(r *row) bool { return r.open })
	if i < 0 {
		r := &row{
			id: 57 + len(c.rows), meetingID: meetingID, name: course + "-0",
			attendeePW: course, moderatePW: course + "mod", open: true,
		}
		if c.rowIDs {
			r.meetingID, r.name = strconv.Itoa(r.id), course
		}
		i = len(c.rows)
		c.rows = append(c.rows, r) // before any call is made
		if !c.create(r) {
			return "", "not created"
		}
	}
	return c.enter(c.rows[i], "Profesora Ñandú & Co", "11", true)
}

func (c *chamilo) create(r *row) bool {
	c.t.Helper()
	voice := "77982"
	if c.rowIDs {
		voice = "12345"
	}
	params := []string{"name", r.name, "meetingID", r.meetingID, "attendeePW", r.attendeePW, "moderatorPW", r.moderatePW}
	logout := "https://portal.example.org/plugin/bbb/listing.php?cidReq=" + r.attendeePW
	if c.sha256 {
		params = append(params, "voiceBridge", voice, "logoutURL", logout, "record", "true", "duration", "300", "maxParticipants", "-1")
	} else {
		params = append(params, "dialNumber", "", "voiceBridge", voice, "webVoice", "", "logoutURL", logout,
			"maxParticipants", "-1", "record", "true", "duration", "300")
	}
	for range maxLoop {
		doc, err := c.ask("create", params...)
		if err != nil {
			c.died = err.Error()
			return false
		}
		if doc.get("returncode") == "SUCCESS" {
			require.NotEmpty(c.t, doc.get("meetingID"))
			require.NotEmpty(c.t, doc.get("internalMeetingID"))
			return true
		}
		if !c.loopsCreate {
			return false
		}
	}
	c.t.Errorf("%s would repeat the create for ever", c.version)
	return false
}

// info is what the plugin makes of getMeetingInfo.
type info int

const (
	infoRuns info = iota
	infoOver
	infoUnreachable
)

func (c *chamilo) meetingInfo(r *row) (*element, info) {
	c.t.Helper()
	read := func(id string) (*element, info) {
		params := []string{"meetingID", id, "password", r.moderatePW}
		if c.sha256 {
			params = params[:2]
		}
		doc, err := c.ask("getMeetingInfo", params...)
		switch {
		case err != nil, doc == nil && c.asksOnEmpty:
			return nil, infoUnreachable
		case doc.get("returncode") == "SUCCESS":
			return doc, infoRuns
		case doc.get("returncode") == "FAILED":
			return doc, infoOver // whatever its messageKey
		}
		return nil, infoUnreachable
	}
	doc, state := read(r.meetingID)
	if state == infoUnreachable && c.asksByRow {
		doc, state = read(strconv.Itoa(r.id)) // "backwards support"
	}
	return doc, state
}

// enter is what joining comes to: getMeetingInfo, then a URL for the browser.
func (c *chamilo) enter(r *row, name, userID string, teacher bool) (join, message string) {
	c.t.Helper()
	doc, state := c.meetingInfo(r)
	for i := 0; c.loopsInfo && (state != infoRuns || doc.get("meetingName") == ""); i++ {
		if i == maxLoop {
			c.t.Errorf("%s would repeat getMeetingInfo for ever", c.version)
			break
		}
		if !teacher {
			break
		}
		doc, state = c.meetingInfo(r)
	}
	if !c.rowIDs && (state != infoRuns || doc.get("meetingName") == "") {
		return "", "no active conference"
	}
	if teacher {
		return c.joinURL(r, name, r.moderatePW, userID, "MODERATOR"), ""
	}
	return c.joinURL(r, name, r.attendeePW, userID, "VIEWER"), ""
}

// learner follows the course's link: "no active conference" without an open row.
func (c *chamilo) learner(name, userID string) (join, message string) {
	c.t.Helper()
	for _, r := range c.rows {
		if r.open {
			return c.enter(r, name, userID, false)
		}
	}
	return "", "no active conference"
}

// shown is a row of the listing.
type shown struct {
	open   bool
	users  string
	hidden bool // by an answer on recordings that can't be read
}

// listing is a teacher's view of listing.php: it closes rows that are over.
func (c *chamilo) listing() []shown {
	c.t.Helper()
	c.died = ""
	var out []shown
	for _, r := range c.rows {
		doc, state := c.meetingInfo(r)
		if state == infoOver && r.open {
			if !c.end(r) {
				return out
			}
		}
		s := shown{open: r.open, users: doc.get("participantCount")}
		if c.recordings {
			list, err := c.ask("getRecordings", "meetingID", r.meetingID)
			if err != nil {
				c.died = err.Error()
				return out
			}
			require.NotEqual(c.t, "noRecordings", list.get("messageKey"), "a false noRecordings orphans recordings")
			s.hidden = list.get("returncode") != "SUCCESS"
		}
		out = append(out, s)
	}
	return out
}

// runCron is cron_close_meeting.php: it closes rows that are over and keeps the
// attendance of the others.
func (c *chamilo) runCron() {
	c.t.Helper()
	for _, r := range c.rows {
		if !r.open {
			continue
		}
		doc, state := c.meetingInfo(r)
		switch state {
		case infoOver:
			c.end(r)
		case infoRuns:
			r.present = nil
			count, err := strconv.Atoi(doc.get("participantCount"))
			require.NoError(c.t, err)
			list := doc.at("attendees").all("attendee")
			require.Len(c.t, list, count)
			for _, a := range list {
				r.present = append(r.present, a.get("userID"))
			}
		case infoUnreachable:
		}
	}
}

// end is action=end, and what closes a row: an answer that is no XML kills the
// page before the row is closed.
func (c *chamilo) end(r *row) bool {
	c.t.Helper()
	password := r.moderatePW
	if c.endsAsPupil {
		password = r.attendeePW
	}
	if _, err := c.ask("end", "meetingID", r.meetingID, "password", password); err != nil {
		c.died = err.Error()
		return false
	}
	r.open = false
	return true
}
