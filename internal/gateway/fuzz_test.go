package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

// Circumstances of a fuzzed call.
const (
	notReady = 1 << iota
	storeAway
	suspended
	expired
	busy
	browser
	serverSilent
)

// FuzzGateway: whatever is asked, under whatever circumstances, and whatever the
// server says, the answer is one that the table "What we answer when we can't"
// allows.
func FuzzGateway(f *testing.F) {
	info := string(bbb.Success("meetingName", "Runs", "meetingID", "gacme-runs", "internalMeetingID", strings.Repeat("a", 40)+"-1700000000000"))
	for _, call := range []string{"create", "join", "getMeetingInfo", "isMeetingRunning", "getMeetings", "end", "getRecordings", "hooks/create", "", "."} {
		for _, query := range []string{
			"checksum=good", "meetingID=runs&checksum=good", "meetingID=new&name=New&checksum=good", "meetingID=runs&name=Runs&fullName=Ada&checksum=good",
			"meetingID=none&fullName=Ada&errorRedirectUrl=https%3A%2F%2Flms.example.org%2F%3Fa&checksum=good", "meetingID=runs&fullName=A&redirect=false&checksum=good",
			"meetingID=%ff&checksum=good", "meetingID=runs", "meetingID=runs&meetingID=runs&checksum=good", "&&=&%&checksum=good",
		} {
			f.Add(http.MethodGet, "/t/acme/bigbluebutton/api/"+call, query, "", info, uint8(0))
		}
		for bit := range 7 {
			f.Add(http.MethodPost, "//bigbluebutton/api//bigbluebutton/api/"+call, "meetingID=runs&name=Runs&fullName=A&checksum=good", "<modules/>", info, uint8(1<<bit))
		}
	}
	f.Add("BREW", "/t//", "", "", "", uint8(0xff))
	f.Add(http.MethodGet, "/t/acme/bigbluebutton/api/getMeetingInfo", "meetingID=runs&checksum=good", "", "<response><returncode>SUCCESS</returncode><metadata><bluegate-ref>x", uint8(0))
	f.Add(http.MethodPost, "/bigbluebutton/api/create", "meetingID=n&name=nn&voiceBridge=77777&checksum=good", strings.Repeat("<", 70000),
		string(bbb.Failed("nonUniqueVoiceBridge", "")), uint8(0))

	f.Fuzz(func(t *testing.T, method, path, query, body, serverBody string, circumstances uint8) {
		if strings.ContainsAny(method, " \r\n") || method == "" {
			method = http.MethodGet // net/http lets nothing else through
		}
		g, fk := newTestGateway(t)
		is := func(c uint8) bool { return circumstances&c != 0 }
		fk.ready, fk.store.away, fk.directory.expired = !is(notReady), is(storeAway), is(expired)
		fk.servers.body = []byte(serverBody)
		if is(suspended) {
			fk.directory.state = tenant.Suspended
		}
		if is(busy) {
			fk.directory.err = fault.New(fault.Unavailable, "overloaded", "The service is busy.")
		}
		if is(serverSilent) {
			fk.servers.err = io.ErrUnexpectedEOF
		}
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "gw", Header: http.Header{}, RemoteAddr: "192.0.2.1:1234",
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}
		if is(browser) {
			r.Header.Set("Accept", "text/html,*/*;q=0.8")
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r.WithContext(t.Context()))
		holdAnswer(t, r, w, circumstances)
	})
}

// holdAnswer holds what is true of every answer.
func holdAnswer(t *testing.T, r *http.Request, w *httptest.ResponseRecorder, circumstances uint8) {
	t.Helper()
	_, call, ours := parsePath(r.URL.Path)
	if !ours {
		return // gin's and the 404's own
	}
	body, kind, location := w.Body.String(), w.Header().Get("Content-Type"), w.Header().Get("Location")
	bad := func(why string) {
		t.Helper()
		t.Fatalf("%s: %s %q?%q (%b): %d %s %s\n%s", why, r.Method, r.URL.Path, r.URL.RawQuery, circumstances, w.Code, kind, location, body)
	}
	answer, err := bbb.ParseAnswer([]byte(body))
	isXML := err == nil && (answer.Success() || answer.Failed())
	switch kind {
	case bbb.ContentType:
		if !isXML || w.Code != http.StatusOK && (w.Code != http.StatusRequestEntityTooLarge || call != "create") {
			bad("XML is BBB's, with HTTP 200")
		}
		if !utf8.ValidString(body) && utf8.ValidString(r.URL.RawQuery) && answer.Failed() {
			bad("what we write ourselves is UTF-8")
		}
	case "text/plain; charset=utf-8":
		if isXML || w.Code != http.StatusServiceUnavailable && w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			bad("text is for those who are to come again")
		}
		if call != "create" && call != "getMeetingInfo" && call != "isMeetingRunning" && call != "getMeetings" {
			bad("this call is answered in XML")
		}
	case "text/html; charset=utf-8":
		if call != "join" || location != "" {
			bad("pages are for joins")
		}
		switch w.Code {
		case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable:
		default:
			bad("an unusual page")
		}
	case "":
		if w.Code != http.StatusFound || location == "" || body != "" {
			bad("only a redirect has no body")
		}
	default:
		bad("an unknown content type")
	}
	if w.Code == http.StatusFound && (call != "join" || !strings.Contains(r.URL.RawQuery, "checksum=good")) {
		bad("only a verified join is redirected")
	}
	live := circumstances&(notReady|busy) == 0 && r.URL.RawQuery == "meetingID=runs&checksum=good" && (r.Method == http.MethodGet || r.Method == http.MethodPost)
	if live && call == "getMeetingInfo" && !answer.Success() {
		bad("a running room is told to run")
	}
	if strings.Contains(body, "noRecordings") {
		bad("a false word of recordings")
	}
}
