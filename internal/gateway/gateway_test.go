package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
)

func call(g *Gateway, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func browses(r *http.Request) { r.Header.Set("Accept", "text/html") }

// TestBrakeMemory: what the brake remembers is bounded, whatever is asked.
func TestBrakeMemory(t *testing.T) {
	now := time.Unix(1700000000, 0)
	b := newBrake(func() time.Time { return now })
	first := b.key("gw", "/t/acme/api/create", "x")
	for range brakeAfter {
		b.refused(first)
	}
	require.True(t, b.on(first))
	for n := range 3 * brakeSize {
		b.refused(b.key("gw", "/t/acme/api/create", fmt.Sprint(n)))
	}
	require.LessOrEqual(t, b.m.Len(), brakeSize)
	require.False(t, b.on(first), "the oldest went")
}

func TestBrakeKey(t *testing.T) {
	b := newBrake(time.Now)
	require.Equal(t, b.key("gw", "/p", "q"), b.key("gw", "/p", "q"))
	for _, other := range [][3]string{{"gx", "/p", "q"}, {"gw", "/P", "q"}, {"gw", "/p", "q&"}, {"gw/", "p", "q"}} {
		require.NotEqual(t, b.key("gw", "/p", "q"), b.key(other[0], other[1], other[2]), other)
	}
}

// TestClientAddress: X-Forwarded-For is believed from trusted proxies alone, and
// only as far as they vouch for it.
func TestClientAddress(t *testing.T) {
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.9:1", "", "192.0.2.9"},
		{"192.0.2.9:1", "198.51.100.1", "192.0.2.9"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "203.0.113.5, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "203.0.113.5, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"10.0.0.1:1", "198.51.100.1, unknown", "10.0.0.1"},
		{"10.0.0.1:1", "2001:db8::1", "2001:db8::1"},
		{"[::ffff:10.0.0.1]:1", "198.51.100.1", "198.51.100.1"},
		{"[2001:db8::2]:1", "198.51.100.1", "2001:db8::2"},
		{"rubbish", "198.51.100.1", "invalid IP"},
	} {
		g, f := newTestGateway(t, netip.MustParsePrefix("10.0.0.0/8"))
		call(g, "/bigbluebutton/api/getMeetings", func(r *http.Request) {
			r.RemoteAddr = c.peer
			if c.forwarded != "" {
				first, rest, _ := strings.Cut(c.forwarded, ", ")
				r.Header.Add("X-Forwarded-For", first)
				if rest != "" {
					r.Header.Add("X-Forwarded-For", rest) // several lines are one list
				}
			}
		})
		require.Equal(t, c.want, f.directory.where.Addr.String(), c)
	}
}

// TestDoors: the slug of the path is who is called; else the host name's tenant.
func TestDoors(t *testing.T) {
	for target, want := range map[string]string{
		"http://gw/t/globex/bigbluebutton/api/getMeetings":               "globex",
		"http://gw/bigbluebutton/api/getMeetings":                        "",
		"http://acme.example.com/bigbluebutton/api/getMeetings":          "acme",
		"http://acme.example.com/t/globex/bigbluebutton/api/getMeetings": "globex",
	} {
		g, f := newTestGateway(t)
		call(g, target)
		require.Equal(t, want, f.directory.where.Slug, target)
	}
}

// TestJoinErrorRedirect: an LMS that asked for it learns why a join failed, in
// BBB's own form; nobody is sent anywhere without a signature.
func TestJoinErrorRedirect(t *testing.T) {
	const reason = "errors=[%7B%22message%22:%22You%20can%20not%20join%20a%20meeting%20that%20has%20already%20been%20forcibly%20ended%22," +
		"%22key%22:%22meetingForciblyEnded%22%7D]"
	g, _ := newTestGateway(t)
	for _, c := range []struct{ errorURL, logoutURL, want string }{
		{"https://lms.example.org", "", "https://lms.example.org?" + reason},
		{"https://lms.example.org/a?b=c", "https://lms.example.org/out", "https://lms.example.org/a?b=c&" + reason},
		{"", "http://lms.example.org/out#top", "http://lms.example.org/out?" + reason + "#top"},
		{"javascript:alert(1)", "", ""},
		{"//lms.example.org/x", "", ""},
		{"/relative", "data:text/html,x", ""},
		{"https://", "ftp://lms.example.org", ""},
		{"https://lms.example.org/\r\nSet-Cookie: a=b", "", ""},
		{"%zz", "", ""},
	} {
		q := url.Values{"meetingID": {"none"}, "fullName": {"Ada"}, "errorRedirectUrl": {c.errorURL}, "logoutURL": {c.logoutURL}}.Encode()
		for _, accept := range []func(*http.Request){func(*http.Request) {}, browses} {
			w := call(g, "/t/acme/bigbluebutton/api/join?"+q+"&checksum=good", accept)
			require.Equal(t, c.want, w.Header().Get("Location"), c)
			require.Equal(t, c.want != "", w.Code == http.StatusFound, c)
			require.Empty(t, w.Header().Values("Set-Cookie"))
			w = call(g, "/t/acme/bigbluebutton/api/join?"+q+"&checksum=bad", accept)
			require.Empty(t, w.Header().Get("Location"), "never without a signature: %v", c)
		}
	}
	w := call(g, "/t/acme/bigbluebutton/api/join?meetingID=none&fullName=Ada&redirect=false&errorRedirectUrl=https%3A%2F%2Flms.example.org&checksum=good")
	require.Equal(t, http.StatusOK, w.Code, "redirect=false wants XML")
}

// TestJoinPages: people read sentences, in a page that holds nothing of theirs
// unescaped.
func TestJoinPages(t *testing.T) {
	g, f := newTestGateway(t)
	page := func(query string, code int, contains ...string) {
		t.Helper()
		w := call(g, "/t/acme/bigbluebutton/api/join?"+query, browses)
		require.Equal(t, code, w.Code, w.Body)
		require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		for _, text := range contains {
			require.Contains(t, w.Body.String(), text)
		}
		require.NotContains(t, w.Body.String(), "<script")
		require.NotContains(t, w.Body.String(), "checksum=")
	}
	page("meetingID=none&fullName=Ada&checksum=good", http.StatusNotFound, "<h1>This room is not open</h1>", "meetingForciblyEnded")
	page("meetingID=%3Cscript%3E&fullName=%3Cscript%3E&checksum=bad", http.StatusForbidden, "<h1>This link does not work</h1>", "checksumError")
	page("meetingID=runs&checksum=good", http.StatusBadRequest, "You must provide your name")
	f.store.away = true
	page("meetingID=none&fullName=Ada&checksum=good", http.StatusServiceUnavailable, "One moment, please", `http-equiv="refresh"`)
	f.ready = false
	page("meetingID=runs&fullName=Ada&checksum=good", http.StatusServiceUnavailable, "<small>starting</small>", `http-equiv="refresh"`)
}

// TestExpiredSecret: an expired secret serves the rooms made with it. That it
// can't be known which those are is no refusal: an LMS that hears one ends its
// class.
func TestExpiredSecret(t *testing.T) {
	g, f := newTestGateway(t)
	f.directory.expired = true
	key := func(target string) string {
		w := call(g, "/t/acme/bigbluebutton/api/"+target+"&checksum=good")
		if w.Code != http.StatusOK {
			return fmt.Sprint(w.Code)
		}
		a, err := bbb.ParseAnswer(w.Body.Bytes())
		require.NoError(t, err)
		return a.Text("returncode") + a.Key()
	}
	require.Equal(t, "SUCCESS", key("getMeetingInfo?meetingID=runs"))
	require.Equal(t, "SUCCESSduplicateWarning", key("create?meetingID=runs&name=Runs"))
	require.Equal(t, "FAILEDchecksumError", key("getMeetingInfo?meetingID=none"))
	require.Equal(t, "FAILEDchecksumError", key("create?meetingID=new&name=New"))
	require.Equal(t, "FAILEDchecksumError", key("getMeetings?x"))
	f.store.away = true
	require.Equal(t, "SUCCESS", key("getMeetingInfo?meetingID=runs"))
	require.Equal(t, "503", key("getMeetingInfo?meetingID=57"))
	require.Equal(t, "503", key("create?meetingID=new2&name=New"))
	require.Equal(t, "FAILEDstoreUnavailable", key("end?meetingID=57"))
	f.store.away = false
	require.Equal(t, "503", key("getMeetingInfo?meetingID=57"), "we know again; the LMS asks because we did not (T46)")
	f.clock = f.clock.Add(unsureFor)
	require.Equal(t, "FAILEDchecksumError", key("getMeetingInfo?meetingID=57"))
}

// TestPanic: a defect of ours is answered by the table too, and costs no other call.
func TestPanic(t *testing.T) {
	g, _ := newTestGateway(t)
	g.directory = nil
	for target, status := range map[string]int{
		"getMeetingInfo?meetingID=runs": http.StatusServiceUnavailable,
		"create?meetingID=new&name=New": http.StatusServiceUnavailable,
		"end?meetingID=runs":            http.StatusOK,
	} {
		w := call(g, "/t/acme/bigbluebutton/api/"+target+"&checksum=good")
		require.Equal(t, status, w.Code, target)
	}
}

func TestParsePath(t *testing.T) {
	for path, want := range map[string][2]string{
		"/bigbluebutton/api/create":                          {"", "create"},
		"/t/acme/bigbluebutton/api/create":                   {"acme", "create"},
		"//t//acme//bigbluebutton//api//create//":            {"acme", "create"},
		"/bigbluebutton/bigbluebutton/api/create":            {"", "create"},
		"/bigbluebutton/api/bigbluebutton/api/create":        {"", "create"},
		"/t/acme/api/create":                                 {"acme", "create"},
		"/bigbluebutton/api/hooks/create":                    {"", "hooks/create"},
		"/bigbluebutton/api":                                 {"", ""},
		"/bigbluebutton":                                     {"", ""},
		"/t/acme/bigbluebutton/":                             {"acme", ""},
		"/t/acme":                                            {"acme", noCall},
		"/t/acme/create":                                     {"acme", noCall},
		"/bigbluebutton/create":                              {"", noCall},
		"/t/bigbluebutton/api/create":                        {"bigbluebutton", "create"},
		"/t/t/bigbluebutton/api/t":                           {"t", "t"},
		"/t/acme/bigbluebutton/api/getMeetingInfo/../create": {"acme", "getMeetingInfo/../create"},
	} {
		slug, call, ok := parsePath(path)
		require.True(t, ok, path)
		require.Equal(t, want, [2]string{slug, call}, path)
	}
	for _, path := range []string{"", "/", "/t", "/t/", "/t//", "/x/bigbluebutton/api/create", "/bigbluebuttonx/api/create", "*", "/T/acme/bigbluebutton/api"} {
		_, _, ok := parsePath(path)
		require.False(t, ok, path)
	}
}
