package app_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/pool"
)

// onWire sends a request as it is written to the first replica, closes its own
// side of the connection if halfClose, and reads one answer.
func onWire(t testing.TB, e *apptest.Env, text string, halfClose bool) apptest.Result {
	t.Helper()
	conn := dialTenants(t, e)
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	if halfClose {
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	}
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(t, err, "%.200q", text)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	if resp.Close {
		resp.Header.Set("Connection", "close") // the client library takes it out
	}
	return apptest.Result{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
}

func dialTenants(t testing.TB, e *apptest.Env) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", e.Replicas[0].Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

// target is what stands in the request line for a URL.
func target(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	_, rest, _ = strings.Cut(rest, "/")
	return "/" + rest
}

func requireFailed(t testing.TB, r apptest.Result, key string) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.Status, r.Body)
	require.Equal(t, bbb.ContentType, r.Header.Get("Content-Type"))
	a := r.Answer(t)
	require.True(t, a.Failed(), r.Body)
	require.Equal(t, key, a.Key(), r.Body)
	require.NotEmpty(t, a.Text("message"))
}

// lastCreate is the last create that a server got.
func lastCreate(t testing.TB, e *apptest.Env) bbbsim.Request {
	t.Helper()
	var last bbbsim.Request
	for _, r := range e.Sims[0].Requests() {
		if r.Call == "create" {
			last = r
		}
	}
	require.NotEmpty(t, last.Call, "no create reached the server")
	return last
}

func TestT37_EndOfNoMeeting(t *testing.T) {
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{DatabaseURL: db})
		acme := e.Tenant("acme")
		for _, id := range []string{
			"never", "57", strings.Repeat("x", 300), strings.Repeat("x", 3000), "a,b", "with\x00nul", "ünïcödé 🎓", "'; DROP TABLE claims; --", "%",
			strings.Repeat("a", 40) + "-1700000000000",
		} {
			requireFailed(t, acme.Call("end", "meetingID", id, "password", "mp"), "notFound")
			requireFailed(t, acme.Call("getMeetingInfo", "meetingID", id), "notFound")
			requireFailed(t, acme.Call("join", "meetingID", id, "fullName", "Ada", "password", "mp"), "meetingForciblyEnded")
		}
		requireFailed(t, acme.Call("end", "password", "mp"), "notFound")
		requireFailed(t, acme.Call("end", "meetingID", ""), "emptyError")
		require.Zero(t, e.Count("end"), "no server was asked")
	})
}

// TestT37_LongIDs: what is legal in BBB works at any length, although our prefix
// would make it too long for a server.
func TestT37_LongIDs(t *testing.T) {
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Start(t, apptest.Options{DatabaseURL: db, Servers: 2})
		acme, globex := e.Tenant("acme"), e.Tenant("globex")
		for what, id := range map[string]string{
			"200":                strings.Repeat("x", 200),
			"256":                strings.Repeat("x", 256),
			"256 of three bytes": strings.Repeat("€", 256),
			"128 of two units":   strings.Repeat("🎓", 128),
			"one":                "7",
		} {
			a := get(e, created(e, "acme", "", id)).Answer(t)
			require.True(t, a.Success(), what)
			require.Equal(t, id, a.Text("meetingID"))
			b := get(e, created(e, "globex", "", id)).Answer(t)
			require.True(t, b.Success(), what)
			require.NotEqual(t, a.Text("internalMeetingID"), b.Text("internalMeetingID"), "two tenants, two meetings")
			require.Equal(t, id, acme.Info(id).Answer(t).Text("meetingID"))
			require.Equal(t, http.StatusFound, acme.Call("join", "meetingID", id, "fullName", "Ada", "password", "mp").Status)
			require.Contains(t, acme.Call("getMeetings").Body, "<meetingID>"+id+"</meetingID>")
			require.Equal(t, "sentEndMeetingRequest", acme.Call("end", "meetingID", id).Answer(t).Key())
			require.True(t, globex.Info(id).Answer(t).Success(), "the other tenant's goes on")
		}
		for _, id := range []string{strings.Repeat("x", 257), strings.Repeat("x", 300), strings.Repeat("🎓", 129)} {
			requireFailed(t, get(e, created(e, "acme", "", id)), "sizeError")
			requireFailed(t, acme.Call("isMeetingRunning", "meetingID", id), "sizeError")
		}
		named := func(n int) apptest.Result {
			return acme.Call("create", "meetingID", fmt.Sprint("named-", n), "name", strings.Repeat("n", n))
		}
		require.True(t, named(256).Answer(t).Success())
		requireFailed(t, named(257), "sizeError")
		requireFailed(t, named(300), "sizeError")
	})
}

// TestT37_LongIDNoOrphan: when something fails after the server has accepted a
// create, its repetition finds that meeting: there is no second one, anywhere.
func TestT37_LongIDNoOrphan(t *testing.T) {
	for _, length := range []int{200, 256} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			e := apptest.Start(t, apptest.Options{Servers: 3})
			for _, s := range e.Sims {
				s.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeCut, Calls: []string{"create"}})
			}
			id := strings.Repeat("x", length)
			acme := e.Tenant("acme")
			create := func() apptest.Result { return get(e, created(e, "acme", "", id)) }
			require.Equal(t, http.StatusServiceUnavailable, create().Status)
			for _, s := range e.Sims {
				s.SetFaults(bbbsim.Faults{})
			}
			apptest.Eventually(t, func() bool {
				r := create()
				return r.Status == http.StatusOK && r.Answer(t).Success()
			}, "the repetition works")
			alive := 0
			for _, s := range e.Sims {
				alive += len(s.Meetings())
			}
			require.Equal(t, 1, alive)
			require.Equal(t, id, acme.Info(id).Answer(t).Text("meetingID"))
		})
	}
}

func TestT37_PostJoin(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	acme := e.Tenant("acme")
	require.True(t, acme.Create("c1").Answer(t).Success())
	url := acme.URL("join", "meetingID", "c1", "fullName", "Ada", "password", "mp")
	for _, body := range []string{"", "fullName=Eve&meetingID=c2"} {
		r := e.Do(http.MethodPost, url, "application/x-www-form-urlencoded", strings.NewReader(body))
		require.Equal(t, http.StatusFound, r.Status, r.Body)
		require.Contains(t, r.Header.Get("Location"), "fullName=Ada")
		page := e.Do(http.MethodGet, r.Header.Get("Location"), "", nil)
		require.Equal(t, http.StatusFound, page.Status, page.Body)
	}
}

const twoSlides = `<?xml version="1.0" encoding="UTF-8"?><modules>` +
	`<module name="presentation"><document url="https://lms.example.org/a.pdf?x=1&amp;y=2" filename="Fête – 日本.pdf"/></module></modules>`

// TestT37_Bodies: the slides reach the server byte for byte, under the type the
// client gave if that says XML, and the connection is closed after the answer:
// clients that count characters send more bytes than they announce.
func TestT37_Bodies(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	acme := e.Tenant("acme")
	for i, c := range []struct{ name, contentType, body, want string }{
		{"XML with charset", "application/xml; charset=utf-8", twoSlides, "application/xml; charset=utf-8"},
		{"XML", "application/xml", twoSlides, "application/xml"},
		{"text/xml", "text/xml", twoSlides, "text/xml"},
		{"capitals", "Application/XML", twoSlides, "Application/XML"},
		{"no type", "", twoSlides, "application/xml"},
		{"a form's type", "application/x-www-form-urlencoded", twoSlides, "application/xml"},
		{"text", "text/plain", twoSlides, "application/xml"},
		{"a type that only begins like XML", "application/xml-dtd", twoSlides, "application/xml"},
		{"byte order mark", "text/xml; charset=UTF-8", "\ufeff" + twoSlides + "\n", "text/xml; charset=UTF-8"},
		{"single quotes", "application/xml", strings.ReplaceAll(twoSlides, `"`, `'`), "application/xml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := fmt.Sprint("body-", i)
			header := ""
			if c.contentType != "" {
				header = "Content-Type: " + c.contentType + "\r\n"
			}
			for _, framing := range []string{
				fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(c.body), c.body),
				fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 10, c.body[:10], len(c.body)-10, c.body[10:]),
			} {
				id += "x"
				r := onWire(t, e, "POST "+target(created(e, "acme", "", id))+" HTTP/1.1\r\nHost: gw\r\n"+header+framing, false)
				require.True(t, r.Answer(t).Success(), r.Body)
				require.Equal(t, "close", r.Header.Get("Connection"))
				got := lastCreate(t, e)
				require.Equal(t, http.MethodPost, got.Method)
				require.Equal(t, c.body, string(got.Body))
				require.Equal(t, c.want, got.Header.Get("Content-Type"))
				_, m := e.Home(id)
				require.Len(t, m.Modules, 1)
			}
		})
	}
	t.Run("form fields are no slides", func(t *testing.T) {
		r := e.Do(http.MethodPost, created(e, "acme", "", "form"), "application/x-www-form-urlencoded", strings.NewReader("name=Other&a=b"))
		require.True(t, r.Answer(t).Success(), r.Body)
		got := lastCreate(t, e)
		require.Equal(t, http.MethodGet, got.Method)
		require.Empty(t, got.Body)
	})
	t.Run("a repetition is sent the body too", func(t *testing.T) {
		require.Equal(t, "duplicateWarning", e.Do(http.MethodPost, created(e, "acme", "", "form"), "text/xml", strings.NewReader(twoSlides)).Answer(t).Key())
		require.True(t, acme.Info("form").Answer(t).Success())
	})
}

// TestT37_LargeBodies: what does not fit into memory goes through a file that
// is gone when the answer is there; what is above the limit is refused before
// any server hears of it.
func TestT37_LargeBodies(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	e := apptest.Start(t, apptest.Options{Config: func(c *app.Config) { c.MaxBodyBytes = 4 << 20 }})
	files := func() int {
		list, err := os.ReadDir(temp)
		require.NoError(t, err)
		return len(list)
	}
	document := func(size int) string {
		head, tail := `<modules><module name="presentation"><document name="a.pdf">`, `</document></module></modules>`
		return head + strings.Repeat("QUJD", (size-len(head)-len(tail))/4) + tail
	}
	unknownLength := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }
	for i, size := range []int{1<<20 - 8, 1<<20 + 8, 3 << 20} {
		for j, wrap := range []func(string) io.Reader{func(s string) io.Reader { return strings.NewReader(s) }, unknownLength} {
			id, body := fmt.Sprint("large-", i, j), document(size)
			r := e.Do(http.MethodPost, created(e, "acme", "", id), "application/xml", wrap(body))
			require.True(t, r.Answer(t).Success(), r.Body)
			require.True(t, body == string(lastCreate(t, e).Body), "%d bytes arrive as they were sent", size)
			require.Zero(t, files())
		}
	}
	before := e.Count("create")
	for j, wrap := range []func(string) io.Reader{func(s string) io.Reader { return strings.NewReader(s) }, unknownLength} {
		r := e.Do(http.MethodPost, created(e, "acme", "", fmt.Sprint("huge-", j)), "application/xml", wrap(document(5<<20)))
		require.Equal(t, http.StatusRequestEntityTooLarge, r.Status, r.Body)
		require.Equal(t, bbb.ContentType, r.Header.Get("Content-Type"))
		require.Equal(t, "bodyTooLarge", r.Answer(t).Key())
		require.True(t, r.Answer(t).Failed())
	}
	// What is announced as too large is refused before the first byte of it.
	r := onWire(t, e, "POST "+target(created(e, "acme", "", "announced"))+" HTTP/1.1\r\nHost: gw\r\nContent-Length: 5000000000\r\n\r\n", false)
	require.Equal(t, http.StatusRequestEntityTooLarge, r.Status, r.Body)
	require.Equal(t, "close", r.Header.Get("Connection"))
	require.Equal(t, before, e.Count("create"), "no server hears of it")
	require.Zero(t, files())

	// Whoever has not signed gets nothing read.
	r = onWire(t, e, "POST "+target(created(e, "acme", "not-the-secret-0123456789", "x"))+
		" HTTP/1.1\r\nHost: gw\r\nContent-Length: 3000000\r\n\r\n<modules>", false)
	requireFailed(t, r, "checksumError")
}

// TestT37_BrokenBodies: a client that counts characters cuts its own XML. That
// must not cost the class.
func TestT37_BrokenBodies(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	post := func(id, framing string, halfClose bool) apptest.Result {
		return onWire(t, e, "POST "+target(created(e, "acme", "", id))+
			" HTTP/1.1\r\nHost: gw\r\nContent-Type: application/xml\r\n"+framing, halfClose)
	}
	t.Run("announced too short", func(t *testing.T) {
		r := post("short", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(twoSlides)-12, twoSlides), false)
		require.True(t, r.Answer(t).Success(), "the server chokes on the slides, the class takes place: %s", r.Body)
		require.Equal(t, "close", r.Header.Get("Connection"), "stray bytes follow")
		var bodies []string
		for _, c := range e.Sims[0].Requests() {
			if c.Call == "create" {
				bodies = append(bodies, string(c.Body))
			}
		}
		require.Equal(t, []string{twoSlides[:len(twoSlides)-12], ""}, bodies, "forwarded as it came, then without")
	})
	t.Run("a bomb", func(t *testing.T) {
		bomb := `<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">` + strings.Repeat(`<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">`, 20) + `]><modules>&b;</modules>`
		r := post("bomb", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(bomb), bomb), false)
		require.True(t, r.Answer(t).Success(), r.Body)
	})
	before := e.Count("create")
	t.Run("announced too long", func(t *testing.T) {
		requireFailed(t, post("long", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(twoSlides)+100, twoSlides), true), "bodyUnreadable")
	})
	t.Run("cut in a chunk", func(t *testing.T) {
		requireFailed(t, post("chunk", fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(twoSlides)+100, twoSlides), true), "bodyUnreadable")
	})
	t.Run("broken chunks", func(t *testing.T) {
		requireFailed(t, post("chunks", "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"+twoSlides, true), "bodyUnreadable")
	})
	t.Run("cut behind what fits into memory", func(t *testing.T) {
		temp := t.TempDir()
		t.Setenv("TMPDIR", temp)
		requireFailed(t, post("file", fmt.Sprintf("Content-Length: %d\r\n\r\n<%s", 3<<20, strings.Repeat("x", 2<<20)), true), "bodyUnreadable")
		list, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, list)
	})
	require.Equal(t, before, e.Count("create"), "no server hears of a body that did not come whole")
}

// TestT37_SlowBodiesAreBounded: a tenant whose uploads hang has only so many in
// work, and others are not touched.
func TestT37_SlowBodiesAreBounded(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	upload := func(slug, id string) string {
		return "POST " + target(created(e, slug, "", id)) + " HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000000\r\n\r\n<modules>"
	}
	small := func(slug, id string) apptest.Result {
		return e.Do(http.MethodPost, created(e, slug, "", id), "text/xml", strings.NewReader(twoSlides))
	}
	var hanging []net.Conn
	n := 0
	apptest.Eventually(t, func() bool {
		n++
		conn := dialTenants(t, e)
		_, err := io.WriteString(conn, upload("acme", fmt.Sprint("slow-", n)))
		require.NoError(t, err)
		hanging = append(hanging, conn)
		r := small("acme", fmt.Sprint("small-", n))
		return r.Status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != ""
	}, "one more is sent away")
	require.GreaterOrEqual(t, n, 8)
	require.True(t, e.Tenant("acme").Create("without").Answer(t).Success(), "creates without slides go on")
	require.True(t, small("globex", "other").Answer(t).Success(), "another tenant is not touched")
	for _, conn := range hanging {
		require.NoError(t, conn.Close())
	}
	apptest.Eventually(t, func() bool {
		n++
		return small("acme", fmt.Sprint("after-", n)).Status == http.StatusOK
	}, "when they hang up there is room again")
}

// TestBadInput: whatever comes in, a clear answer goes out, and never a 500.
func TestBadInput(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	acme := e.Tenant("acme")
	require.True(t, acme.Create("c1").Answer(t).Success())
	base := "/t/acme/bigbluebutton/api/"
	signed := func(call, query string) string {
		return base + call + "?" + bbb.Call{Name: call, Query: query}.Sign(bbb.SHA1, acme.Secret)
	}
	const (
		nothing = "nothing here" // 404, text: this is no tenant's path
		refused = "refused"      // by the HTTP server: 4xx, text
		success = ""
	)
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct{ request, want string }{
		"root":                       {"GET / HTTP/1.1", nothing},
		"nonsense":                   {"GET /nonsense HTTP/1.1", nothing},
		"a tenant's name in front":   {"GET /acme/bigbluebutton/api/create HTTP/1.1", nothing},
		"no slug":                    {"GET /t//bigbluebutton HTTP/1.1", "checksumless"},
		"nothing behind the slug":    {"GET /t/acme HTTP/1.1", "unsupportedRequest"},
		"nonsense behind the slug":   {"GET /t/acme/nonsense HTTP/1.1", "unsupportedRequest"},
		"no api":                     {"GET /bigbluebutton/create HTTP/1.1", "unsupportedRequest"},
		"demo page":                  {"GET /bigbluebutton/demo/regenerateRecord.jsp?x=1 HTTP/1.1", "unsupportedRequest"},
		"unknown call":               {"GET " + base + "nonsense HTTP/1.1", "unsupportedRequest"},
		"call of hooks":              {"GET " + base + "hooks/create?callbackURL=x HTTP/1.1", "unsupportedRequest"},
		"more behind the call":       {"GET " + base + "create/more HTTP/1.1", "unsupportedRequest"},
		"call in capitals":           {"GET " + base + "CREATE HTTP/1.1", "unsupportedRequest"},
		"dots":                       {"GET /t/acme/../globex/bigbluebutton/api/create HTTP/1.1", "unsupportedRequest"},
		"escaped slash":              {"GET /t/acme%2Fbigbluebutton/api/getMeetings HTTP/1.1", "checksumError"},
		"slug of rubbish":            {"GET /t/%ff%00%0a/bigbluebutton/api/create HTTP/1.1", "checksumError"},
		"PUT":                        {"PUT " + signed("create", "meetingID=c2&name=C2") + " HTTP/1.1", "unsupportedRequest"},
		"DELETE":                     {"DELETE " + signed("end", "meetingID=c1") + " HTTP/1.1", "unsupportedRequest"},
		"OPTIONS":                    {"OPTIONS " + signed("create", "meetingID=c2&name=C2") + " HTTP/1.1", "unsupportedRequest"},
		"TRACE":                      {"TRACE " + signed("getMeetings", "") + " HTTP/1.1", "unsupportedRequest"},
		"invented method":            {"BREW " + signed("getMeetings", "") + " HTTP/1.1", "unsupportedRequest"},
		"64 KB of query":             {"GET " + signed("getMeetings", "x="+strings.Repeat("x", 64<<10)) + " HTTP/1.1", "queryTooLong"},
		"200 KB of query":            {"GET " + signed("getMeetings", "x="+strings.Repeat("x", 200<<10)) + " HTTP/1.1", "queryTooLong"},
		"2 MB of query":              {"GET " + signed("getMeetings", "x="+strings.Repeat("x", 2<<20)) + " HTTP/1.1", refused},
		"nearly 64 KB of query":      {"GET " + signed("getMeetings", "x="+strings.Repeat("x", 63<<10)) + " HTTP/1.1", success},
		"30,000 parameters":          {"GET " + signed("getMeetings", strings.Repeat("&a", 30000)) + " HTTP/1.1", success},
		"no UTF-8":                   {"GET " + signed("create", "meetingID=%ff%fe&name=C2") + " HTTP/1.1", "validationError"},
		"no UTF-8 in a name":         {"GET " + signed("create", "meetingID=c2&name=C2&%ff=1") + " HTTP/1.1", "validationError"},
		"no UTF-8, raw":              {"GET " + signed("create", "meetingID=c2&name=Fran\xe7ais") + " HTTP/1.1", "validationError"},
		"no UTF-8, join":             {"GET " + signed("join", "meetingID=c1&fullName=%e7") + " HTTP/1.1", "validationError"},
		"no UTF-8, info":             {"GET " + signed("getMeetingInfo", "meetingID=%c0%80") + " HTTP/1.1", "validationError"},
		"two IDs, create":            {"GET " + signed("create", "meetingID=c1&meetingID=c2&name=C2") + " HTTP/1.1", "validationError"},
		"two IDs, info":              {"GET " + signed("getMeetingInfo", "meetingID=c1&meeting%49D=c2") + " HTTP/1.1", "validationError"},
		"two IDs, join":              {"GET " + signed("join", "meetingID=c1&meetingID=c2&fullName=Ada") + " HTTP/1.1", "validationError"},
		"two IDs, end":               {"GET " + signed("end", "meetingID=c1&meetingID=c2") + " HTTP/1.1", "validationError"},
		"two IDs, running":           {"GET " + signed("isMeetingRunning", "meetingID=c1&meetingID=c2") + " HTTP/1.1", "validationError"},
		"two checksums":              {"GET " + signed("end", "meetingID=c1") + "&checksum=" + strings.Repeat("0", 40) + " HTTP/1.1", "checksumError"},
		"two checksums, other order": {"GET " + base + "end?checksum=" + strings.Repeat("0", 40) + "&" + bbb.Call{Name: "end", Query: "meetingID=c1"}.Sign(bbb.SHA1, acme.Secret) + " HTTP/1.1", "checksumError"},
		"checksum of odd length":     {"GET " + base + "end?meetingID=c1&checksum=abc HTTP/1.1", "checksumError"},
		"checksum of rubbish":        {"GET " + base + "end?meetingID=c1&checksum=" + strings.Repeat("%ff", 40) + " HTTP/1.1", "checksumError"},
		"comma, create":              {"GET " + signed("create", "meetingID=a,b&name=C2") + " HTTP/1.1", "validationError"},
		"comma, running":             {"GET " + signed("isMeetingRunning", "meetingID=a,b") + " HTTP/1.1", "validationError"},
		"comma, info":                {"GET " + signed("getMeetingInfo", "meetingID=a,b") + " HTTP/1.1", "notFound"},
		"comma, end":                 {"GET " + signed("end", "meetingID=a,b") + " HTTP/1.1", "notFound"},
		"300 characters, create":     {"GET " + signed("create", "name=C2&meetingID="+long) + " HTTP/1.1", "sizeError"},
		"300 characters, running":    {"GET " + signed("isMeetingRunning", "meetingID="+long) + " HTTP/1.1", "sizeError"},
		"300 characters, info":       {"GET " + signed("getMeetingInfo", "meetingID="+long) + " HTTP/1.1", "notFound"},
		"no ID, create":              {"GET " + signed("create", "name=C2") + " HTTP/1.1", "validationError"},
		"no ID, info":                {"GET " + signed("getMeetingInfo", "") + " HTTP/1.1", "notFound"},
		"no ID, join":                {"GET " + signed("join", "fullName=Ada") + " HTTP/1.1", "meetingForciblyEnded"},
		"empty ID, join":             {"GET " + signed("join", "fullName=Ada&meetingID=") + " HTTP/1.1", "emptyError"},
		"no name, join":              {"GET " + signed("join", "meetingID=c1") + " HTTP/1.1", "missingParamFullName"},
		"control characters":         {"GET " + signed("create", "meetingID=c%0d%0a2&name=C2") + " HTTP/1.1", "validationError"},
		"broken escapes":             {"GET " + signed("getMeetings", "x=%&y=%zz&%") + " HTTP/1.1", success},
		"broken escape in the path":  {"GET " + base + "%zz HTTP/1.1", refused},
		"blanks in the line":         {"GET " + base + "getMeetings?a b HTTP/1.1", refused},
		"no HTTP":                    {"nonsense", refused},
		"HTTP/1.0":                   {"GET " + signed("getMeetings", "") + " HTTP/1.0", success},
		"whole URL in the line":      {"GET http://gw" + signed("getMeetings", "") + " HTTP/1.1", success},
		"star":                       {"GET * HTTP/1.1", refused},
		"many headers":               {"GET " + signed("getMeetings", "") + " HTTP/1.1" + strings.Repeat("\r\nX-A: b", 2000), success},
		"300 KB of headers":          {"GET " + signed("getMeetings", "") + " HTTP/1.1" + strings.Repeat("\r\nX-A: "+strings.Repeat("b", 990), 300), refused},
		"two lengths":                {"POST " + signed("getMeetings", "") + " HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", refused},
		"negative length":            {"POST " + signed("getMeetings", "") + " HTTP/1.1\r\nContent-Length: -1", refused},
	} {
		t.Run(name, func(t *testing.T) {
			r := onWire(t, e, c.request+"\r\nHost: gw\r\n\r\n", false)
			require.NotEqual(t, http.StatusMovedPermanently, r.Status, "never a redirect")
			switch c.want {
			case nothing:
				require.Equal(t, http.StatusNotFound, r.Status)
				require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type"))
			case refused:
				require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound, http.StatusRequestHeaderFieldsTooLarge}, r.Status)
			case success:
				require.Equal(t, http.StatusOK, r.Status, r.Body)
				require.True(t, r.Answer(t).Success())
			case "checksumless": // "bigbluebutton" is taken for the slug
				requireFailed(t, r, "unsupportedRequest")
			default:
				requireFailed(t, r, c.want)
			}
		})
	}
	head := onWire(t, e, "HEAD "+signed("getMeetings", "")+" HTTP/1.1\r\nHost: gw\r\n\r\n", false)
	require.Equal(t, http.StatusOK, head.Status)
	require.Empty(t, head.Body)
	require.Equal(t, bbb.ContentType, head.Header.Get("Content-Type"))
	require.True(t, acme.Info("c1").Answer(t).Success(), "the class goes on")
	require.Equal(t, 1, e.Count("create"), "none of it reached a server")
	require.Zero(t, e.Count("end"))
}

// TestPathNoise: every shape in which Chamilo joins its setting "host" with a
// call, by path and by shared URL, is served and never redirected.
func TestPathNoise(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	acme := e.Tenant("acme")
	require.True(t, acme.Create("c1").Answer(t).Success())
	query := bbb.Call{Name: "getMeetingInfo", Query: "meetingID=c1"}.Sign(bbb.SHA1, acme.Secret)
	var version string
	for _, host := range []string{"", "/", "/bigbluebutton", "/bigbluebutton/", "/bigbluebutton/api", "//", "/bigbluebutton//bigbluebutton/", "/bigbluebutton/api/"} {
		for _, tenantPath := range []string{"", "/t/acme", "/t/acme/", "//t/acme", "/t//acme"} {
			for _, api := range []string{"/bigbluebutton/api/", "//bigbluebutton//api//", "/bigbluebutton/api"} {
				path := tenantPath + host + api
				for _, slash := range []string{"", "/"} {
					call := strings.TrimRight(path, "/") + "/getMeetingInfo" + slash
					r := onWire(t, e, "GET "+call+"?"+query+" HTTP/1.1\r\nHost: gw\r\n\r\n", false)
					require.Equal(t, http.StatusOK, r.Status, call)
					require.Equal(t, "Name of c1", r.Answer(t).Text("meetingName"), call)
				}
				r := onWire(t, e, "GET "+path+" HTTP/1.1\r\nHost: gw\r\n\r\n", false)
				require.Equal(t, http.StatusOK, r.Status, path)
				require.True(t, r.Answer(t).Success(), path)
				if version == "" {
					version = r.Body
				}
				require.Equal(t, version, r.Body, "the version is the same everywhere: %s", path)
			}
		}
	}
	for _, path := range []string{
		"/t/nobody/bigbluebutton/api", "/t/nobody/bigbluebutton", "/bigbluebutton", "/bigbluebutton/", "/api", "/api/",
		"/t/acme/bigbluebutton/api?checksum=wrong", "/bigbluebutton/api?&checksum=wrong",
	} {
		r := onWire(t, e, "GET "+path+" HTTP/1.1\r\nHost: gw\r\n\r\n", false)
		require.Equal(t, version, r.Body, path)
	}
}

// evilServer is a BBB server that can answer with anything.
type evilServer struct {
	*bbbsim.Server
	answer atomic.Pointer[http.HandlerFunc]
}

func (s *evilServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := s.answer.Load(); f != nil {
		(*f)(w, r)
		return
	}
	s.Server.ServeHTTP(w, r)
}

func writes(contentType string, chunks ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for _, c := range chunks {
			if _, err := io.WriteString(w, c); err != nil {
				return
			}
		}
	}
}

// TestBadServerAnswers: a server may answer with anything. A room that runs
// stays one that runs, a new one is opened nowhere else, and memory is bounded.
func TestBadServerAnswers(t *testing.T) {
	const head = `<response><returncode>SUCCESS</returncode><meetingID>x</meetingID><internalMeetingID>y</internalMeetingID>`
	huge := func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte("<a>1234567890</a>"), 1<<12)
		_, _ = io.WriteString(w, head)
		for sent := 0; sent < 100<<20; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "</response>")
	}
	bombs := map[string]http.HandlerFunc{
		"entities":        writes("text/xml", `<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>`+head+`<meetingName>&b;</meetingName></response>`),
		"external entity": writes("text/xml", `<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>`+head+`<meetingName>&a;</meetingName></response>`),
		"100 MB":          huge,
		"deep":            writes("text/xml", head, strings.Repeat("<a>", 1<<20)),
		"deep and closed": writes("text/xml", head, strings.Repeat("<a>", 1<<18), strings.Repeat("</a>", 1<<18), "</response>"),
		"garbage":         writes("application/octet-stream", strings.Repeat("\x00\xff<&>\"", 1000)),
		"cut":             writes("text/xml", head+"<meetingName>A cl"),
		"cut in a tag":    writes("text/xml", head+"<meetingNa"),
		"HTML":            writes("text/html", "<html><body><h1>It works!</h1></body></html>"),
		"nothing":         writes("text/xml"),
		"another root":    writes("text/xml", "<html><returncode>MAYBE</returncode></html>"),
		"no return code":  writes("text/xml", "<response><meetingName>x</meetingName></response>"),
		"two documents":   writes("text/xml", "<response><returncode>FAILED</returncode><messageKey>apiNotEnabled</messageKey></response>"+head+"</response>"),
		"JSON":            writes("application/json", `{"response":{"returncode":"SUCCESS"}}`),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusMovedPermanently)
		},
		"404": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"502 with XML": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			writes("text/xml", head+"</response>")(w, r)
		},
		"FAILED with a 500": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			writes("text/xml", string(bbb.Failed("notFound", "no")))(w, r)
		},
		"a wrong checksum": writes("text/xml", string(bbb.Failed("checksumError", "Checksums do not match"))),
		"huge headers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", strings.Repeat("a", 1<<20))
			writes("text/xml", head+"</response>")(w, r)
		},
		"a promise of bytes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "99999999999")
			writes("text/xml", head)(w, r)
		},
	}
	evil := &evilServer{Server: bbbsim.New(bbbsim.Config{Name: "evil", Secret: "evil-secret"})}
	listener := httptest.NewServer(evil)
	t.Cleanup(listener.Close)
	t.Cleanup(evil.Close)
	e := apptest.Prepare(t, apptest.Options{Servers: -1, Config: func(c *app.Config) {
		c.DownAfter, c.InfoCache = 100000, -1
		c.CallTimeout, c.CreateTimeout, c.PollInterval = 10*time.Second, 10*time.Second, time.Hour
	}})
	_, err := e.Store.AddServer(t.Context(), pool.Server{Name: "evil", APIURL: listener.URL + "/bigbluebutton/", Secret: "evil-secret", CapacitySeats: 100})
	require.NoError(t, err)
	e.StartReplica()
	acme := e.Tenant("acme")
	require.True(t, acme.Create("runs").Answer(t).Success())

	var memory runtime.MemStats
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			// A call that works in between keeps the circuit closed.
			evil.answer.Store(nil)
			apptest.Eventually(t, func() bool { return acme.Call("isMeetingRunning", "meetingID", "runs").Status == http.StatusOK }, "the circuit is closed")
			before := evil.Count("create")
			evil.answer.Store(&bomb)
			info := acme.Info("runs")
			require.Equal(t, http.StatusOK, info.Status, info.Body)
			require.True(t, info.Answer(t).Success(), info.Body)
			require.Equal(t, "Name of runs", info.Answer(t).Text("meetingName"))
			require.NotContains(t, info.Body, "DOCTYPE")
			require.True(t, acme.Create("runs").Answer(t).Success(), "a repetition finds its room")

			create := acme.Create("new " + name)
			if name != "a wrong checksum" { // a definite refusal, after which no server is left
				require.Equal(t, http.StatusServiceUnavailable, create.Status, create.Body)
			}
			require.Equal(t, "text/plain; charset=utf-8", create.Header.Get("Content-Type"), create.Body)
			require.Equal(t, before, evil.Count("create"))
			runtime.ReadMemStats(&memory)
			require.Less(t, memory.HeapInuse, uint64(700<<20), "memory is bounded")
		})
	}
	evil.answer.Store(nil)
	require.Equal(t, "Name of runs", acme.Info("runs").Answer(t).Text("meetingName"))
}

// TestHeaderFlood: connections that send headers without end cost the gateway no
// memory to speak of.
func TestHeaderFlood(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	var flood sync.WaitGroup
	for range 16 {
		conn := dialTenants(t, e)
		flood.Go(func() {
			line := "X-Flood: " + strings.Repeat("x", 8<<10) + "\r\n"
			_, _ = io.WriteString(conn, "GET /bigbluebutton/api/getMeetings HTTP/1.1\r\nHost: gw\r\n")
			for range 1 << 12 { // 32 MB
				if _, err := io.WriteString(conn, line); err != nil {
					return
				}
			}
			t.Error("the gateway reads headers without end")
		})
	}
	require.True(t, e.Tenant("acme").Create("c1").Answer(t).Success())
	flood.Wait()
}
