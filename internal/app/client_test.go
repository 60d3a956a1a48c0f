package app_test

import (
	"bufio"
	"context"
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
	"net/netip"
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
func (c rawCall) send(t checking, base string) rawReply {
	t.Helper()
	addr := strings.TrimPrefix(base, "http://")
	addr, _, _ = strings.Cut(addr, "/")
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if c.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.from)}
	}
	conn, err := dialer.DialContext(context.Background(), "tcp", addr)
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

// checking is what *testing.T and *rapid.T have in common.
type checking interface {
	require.TestingT
	Helper()
	Fatalf(format string, args ...any)
}

// hashOf returns the hash that a checksum of that many hex digits is made with.
func hashOf(t checking, digits int) hash.Hash {
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
func checksumOf(t checking, digits int, call, query, secret string) string {
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
func signedTarget(t checking, digits int, path, call, query, secret string) string {
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
		return nil, errors.New("String could not be parsed as XML")
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
func (r rawReply) document(t checking) *element {
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

// spelling is a request as some client spells it. In query, CHECKSUM stands for
// the checksum's value, wherever the client puts it.
type spelling struct {
	client string
	call   string
	query  string
	digits int // of the checksum
	method string
	header map[string]string
	body   string
	// id is the meetingID that must come back; "" when the call names none.
	id string
}

// target signs the request as bbb-web checks it: the checksum is cut out as
// "&checksum=X", else as "checksum=X&", else as "checksum=X".
func (s spelling) target(t testing.TB, path, secret string) string {
	t.Helper()
	rest := s.query
	for _, cut := range []string{"&checksum=CHECKSUM", "checksum=CHECKSUM&", "checksum=CHECKSUM"} {
		rest = strings.ReplaceAll(rest, cut, "")
	}
	return path + "api/" + s.call + "?" + strings.ReplaceAll(s.query, "CHECKSUM", checksumOf(t, s.digits, s.call, rest, secret))
}

const (
	longText = "%5BLorem%20ipsum%5D%20d%C3%B6lor+sit;amet~(x)*!'%22%3C%3E"
	slides   = `<?xml version='1.0' encoding='UTF-8'?><modules><module name='presentation'>` +
		`<document url='http://127.0.0.1/a.pdf' /></module></modules>`
)

// createSpellings are creates as clients in PHP, Ruby, Java, Go, Python and
// JavaScript send them, with the meetingID that each means.
var createSpellings = []spelling{
	{client: "exporter, checksum first", digits: 40, id: "expfd6118a0", query: "checksum=CHECKSUM&meetingID=expfd6118a0&name=exp&attendeePW=a1&moderatorPW=m1&record=true"},
	{client: "Go, sorted, checksum in the middle", digits: 40, id: "go-1", query: "allowStartStopRecording=true&attendeePW=a+p&autoStartRecording=false&checksum=CHECKSUM&lockSettingsDisableCam=false&meetingID=go-1&moderatorPW=m+p&name=Go+Room&welcome=Hi+%25%25CONFNAME%25%25"},
	{client: "PHP, Chamilo 1.x, empty parameters", digits: 40, id: "5584", query: "name=Curso+de+Espa%C3%B1ol&meetingID=5584&attendeePW=CURSO912&moderatorPW=CURSO912mod&dialNumber=&voiceBridge=12345&webVoice=&logoutURL=https%3A%2F%2Fx.example%2F&maxParticipants=-1&record=true&duration=300&checksum=CHECKSUM"},
	{client: "PHP, Chamilo 1.11.32, a parameter without =", digits: 40, id: "16b02f0cd327936.82708912", query: "name=Curso&meetingID=16b02f0cd327936.82708912&attendeePW=ap&moderatorPW=mp&record=true&duration=300&meta_OriginURLhttps%3A%2F%2Fportal.example.org%2F&checksum=CHECKSUM"},
	{client: "PHP, RFC 3986 with + for blanks", digits: 64, id: "php o+f/<run> ü", query: "name=php+%21%27%28%29%2A&meetingID=php+o%2Bf%2F<run>+%C3%BC&attendeePW=ap&moderatorPW=mp&checksum=CHECKSUM"},
	{client: "PHP, %20", digits: 96, id: "little red", query: "name=little%20red%20button&meetingID=little%20red&attendeePW=a%20p&moderatorPW=m%20p&checksum=CHECKSUM"},
	{client: "PHP, Moodle, ~ escaped and brackets", digits: 128, id: "29133b-4-119[0]", query: "name=Moodle+%7E+Room&meetingID=29133b-4-119%5B0%5D&attendeePW=ap&moderatorPW=mp&meta_bbb-origin=Moodle&meta_bbb-context=&checksum=CHECKSUM"},
	{client: "PHP, WordPress, escaped twice", digits: 40, id: "wp%2068246e43%2Fx", query: "name=Anna%E2%80%99s+Room&meetingID=wp%252068246e43%252Fx&attendeePW=v%252Fp&moderatorPW=m%252Fp&checksum=CHECKSUM"},
	{client: "Java, ID and passwords not escaped", digits: 40, id: "java-28fffdcde2c:x;y(z)'!*~", query: "meetingID=java-28fffdcde2c:x;y(z)'!*~&name=J%7E+*-._&attendeePW=a;p&moderatorPW=m:p&checksum=CHECKSUM"},
	{client: "Java, XML under a form content type", digits: 40, id: "java-form:x;y", query: "meetingID=java-form:x;y&name=Java&attendeePW=ap&moderatorPW=mp&checksum=CHECKSUM", method: http.MethodPost, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, body: slides},
	{client: "Ruby, sorted, XML without a content type", digits: 40, id: "ruby-1", query: "attendeePW=ap&checksum=CHECKSUM&logoutURL=http%3A%2F%2Fx.example%2F%3Fa%3Db&meetingID=ruby-1&moderatorPW=mp&name=Plain+Name", method: http.MethodPost, body: slides},
	{client: "JavaScript, bare ! ' ( ) *", digits: 64, id: "js (x)*!'", query: "meetingID=js%20(x)*!'&name=Zoe%20O'Neil%20(x)*!&attendeePW=a%26p&moderatorPW=m%26p&checksum=CHECKSUM"},
	{client: "JavaScript, a list as a repeated parameter", digits: 40, id: "js-arr", query: "disabledFeatures=chat&disabledFeatures=polls&name=Arr&meetingID=js-arr&attendeePW=ap&moderatorPW=mp&checksum=CHECKSUM"},
	{client: "node, nothing escaped but blanks", digits: 40, id: "node/über:1", query: "name=[n]+/{y}+:;,@$?=&meetingID=node/über:1&attendeePW=ap&moderatorPW=mp&logoutURL=//127.0.0.1/x?a=b:c/d@e,f;g$h&welcome=50%25+[y]+(z)!*'~&meta_k=a,b:c/d;e&checksum=CHECKSUM"},
	{client: "Python, quote_plus, long", digits: 40, id: "py 1", query: "name=py&meetingID=py+1&attendeePW=ap&moderatorPW=mp&welcome=" + strings.Repeat(longText, 110) + "&checksum=CHECKSUM"},
	{client: "lower-case escapes, GET with a content type", digits: 40, id: "ä/ö", query: "name=%c3%a4%C3%A4&meetingID=%c3%a4%2f%C3%B6&attendeePW=ap&moderatorPW=mp&checksum=CHECKSUM", header: map[string]string{"Content-Type": "application/xml", "Accept-Encoding": "UTF-8"}},
	{client: "all encodings accepted", digits: 40, id: "enc", query: "name=enc&meetingID=enc&attendeePW=ap&moderatorPW=mp&checksum=CHECKSUM", header: map[string]string{"Content-Type": "application/json", "Accept-Encoding": "deflate, gzip, br, zstd"}},
	{client: "stray &s", digits: 40, id: "amp", query: "&name=amp&&meetingID=amp&attendeePW=ap&moderatorPW=mp&&checksum=CHECKSUM"},
}

// TestT34_Spellings sends what clients of six languages put on the wire: every
// spelling verifies, means the same as on BBB, and reaches the server with the
// bytes that the client chose.
func TestT34_Spellings(t *testing.T) {
	e := startForClients(t, apptest.Options{Servers: 2})
	key := scopeKeyOf(t, e, "acme")
	secret := e.Tenant("acme").Secret
	for _, path := range []string{"/t/acme/bigbluebutton/", "/bigbluebutton/"} {
		for i, s := range createSpellings {
			s.call = "create"
			// Searches for the tenant that find none are rationed by address.
			forger := netip.AddrFrom4([4]byte{127, 0, 2, byte(i + 1)}).String()
			t.Run(path+" "+s.client, func(t *testing.T) { spelt(t, e, s, path, key, secret, forger) })
		}
	}
}

func spelt(t *testing.T, e *apptest.Env, s spelling, path, key, secret, forger string) {
	before := e.Count("create")
	send := func(s spelling) rawReply {
		r := rawCall{method: s.method, target: s.target(t, path, secret), header: s.header, body: s.body}.send(t, e.URL(0))
		r.requireNoTrace(t, key)
		return r
	}
	r := send(s)
	doc := r.document(t)
	require.Equal(t, "SUCCESS", doc.get("returncode"), r.body)
	require.Equal(t, s.id, doc.get("meetingID"))
	require.Empty(t, r.header.Get("Content-Encoding"))
	require.Equal(t, before+1, e.Count("create"))
	internalID := doc.get("internalMeetingID")
	home, m := e.Home(s.id)
	require.Equal(t, key+"-"+s.id, m.MeetingID)
	if s.body != "" {
		require.Len(t, m.Modules, 1)
	}
	list := home.Requests()
	var sent string
	for _, r := range list {
		if r.Call == "create" && r.Verified {
			sent = r.Query
		}
	}
	sameParameters(t, s.query, sent)

	// Every other call names the room by what came back, in another spelling.
	for _, ask := range []spelling{
		{call: "getMeetingInfo", digits: 40, query: phpQuery("meetingID", s.id) + "&checksum=CHECKSUM"},
		{call: "isMeetingRunning", digits: 128, query: "checksum=CHECKSUM&" + phpQuery("meetingID", s.id)},
		{call: "getMeetingInfo", digits: 64, query: "meetingID=" + strings.ReplaceAll(phpQuery("", s.id)[1:], "+", "%20") + "&password=&checksum=CHECKSUM"},
		{call: "getMeetingInfo", digits: 96, query: "checksum=CHECKSUM&meetingID=" + internalID},
	} {
		require.Equal(t, "SUCCESS", send(ask).document(t).get("returncode"), ask.call)
	}
	join := send(spelling{call: "join", digits: 40, query: "avatarURL=&" + phpQuery("fullName", "Zoë", "meetingID", s.id) +
		"&password=&role=Moderator&userID=gl-1&userdata-bbb_x=a%20b&checksum=CHECKSUM"})
	require.Equal(t, http.StatusFound, join.status, join.body)
	require.Contains(t, follow(t, e, join.header.Get("Location")).Body, "(MODERATOR)")

	// What was signed is what is verified: other bytes of the same meaning fail.
	for _, forged := range []func(string) string{
		func(q string) string { return strings.Replace(q, "name=", "%6eame=", 1) },
		func(q string) string { return q + "&record=true" },
		func(q string) string { return strings.Replace(q, "meetingID=", "meetingID=x", 1) },
	} {
		target := s.target(t, path, secret)
		call, query, _ := strings.Cut(target, "?")
		r := rawCall{method: s.method, target: call + "?" + forged(query), header: s.header, body: s.body, from: forger}.send(t, e.URL(0))
		require.Equal(t, "checksumError", r.document(t).get("messageKey"))
	}
	require.Equal(t, before+1, e.Count("create"))
	end := spelling{call: "end", digits: 40, query: "meetingID=" + internalID + "&checksum=CHECKSUM"}
	if len(s.id)%2 == 0 {
		end.query = "password=&" + phpQuery("meetingID", s.id) + "&checksum=CHECKSUM"
	}
	require.Equal(t, "sentEndMeetingRequest", send(end).document(t).get("messageKey"))
	require.Equal(t, "notFound", send(end).document(t).get("messageKey"))
}

// sameParameters requires that what a client sent reached the server byte for
// byte and in order, but for the meetingID, the checksum, what must not reach a
// server, and what is appended.
func sameParameters(t *testing.T, client, server string) {
	t.Helper()
	pieces := func(query string) []string {
		var out []string
		for p := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(p, "=")
			switch {
			case name == "meetingID":
				out = append(out, "meetingID")
			case p == "", name == "checksum", name == "meta_bluegate-ref", p == "voiceBridge=12345":
			default:
				out = append(out, p)
			}
		}
		return out
	}
	require.Equal(t, pieces(client), pieces(server))
}

// TestT34_Nothing asks what needs no parameters, in every form there is.
func TestT34_Nothing(t *testing.T) {
	e := startForClients(t, apptest.Options{})
	secret := e.Tenant("acme").Secret
	for _, path := range []string{"/t/acme/bigbluebutton/", "/bigbluebutton/"} {
		for _, digits := range []int{40, 64, 96, 128} {
			sum := checksumOf(t, digits, "getMeetings", "", secret)
			for _, query := range []string{"checksum=" + sum, "&checksum=" + sum, "checksum=" + sum + "&", "checksum=" + strings.ToUpper(sum)} {
				r := rawCall{target: path + "api/getMeetings?" + query}.send(t, e.URL(0))
				require.Equal(t, "noMeetings", r.document(t).get("messageKey"), query)
			}
		}
		for _, target := range []string{"api", "api/", "api/?&checksum=d3ab0a", "api?checksum=d3ab0a"} {
			require.Equal(t, "2.0", rawCall{target: path + target}.send(t, e.URL(0)).document(t).get("version"), target)
		}
	}
}
