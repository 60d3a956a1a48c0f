package bbbsim

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "639259d4-9dd8-4b25-bf01-95f9567eaf4b"

// fakeClock stands still until it is moved.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock { return &fakeClock{now: time.UnixMilli(1700000000000)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sim is a server under test and its clock.
type sim struct {
	*Server
	t     *testing.T
	clock *fakeClock
}

func newSim(t *testing.T, cfg Config) *sim {
	t.Helper()
	clock := newClock()
	cfg.Clock = clock
	if cfg.Secret == "" {
		cfg.Secret = testSecret
	}
	if cfg.PublicURL == "" {
		cfg.PublicURL = "https://bbb.example.com"
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	return &sim{Server: s, t: t, clock: clock}
}

// bothProfiles runs a test for each profile.
func bothProfiles(t *testing.T, test func(t *testing.T, profile Profile)) {
	t.Helper()
	for _, profile := range []Profile{Profile24, Profile30} {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			test(t, profile)
		})
	}
}

func sign(call, query string) string {
	sum := sha1.Sum([]byte(call + query + testSecret))
	return hex.EncodeToString(sum[:])
}

// signed appends the checksum to a query.
func signed(call, query string) string {
	if query == "" {
		return "checksum=" + sign(call, "")
	}
	return query + "&checksum=" + sign(call, query)
}

func target(call, query string) string {
	if query == "" {
		return "/bigbluebutton/api/" + call
	}
	return "/bigbluebutton/api/" + call + "?" + query
}

func (s *sim) do(r *http.Request) *httptest.ResponseRecorder {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// raw performs a GET with the query as it is.
func (s *sim) raw(call, query string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do(httptest.NewRequest(http.MethodGet, target(call, query), http.NoBody))
}

// get performs a signed GET.
func (s *sim) get(call, query string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.raw(call, signed(call, query))
}

func (s *sim) post(call, query, contentType, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, target(call, query), strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return s.do(r)
}

// create makes a meeting with the usual passwords and returns it.
func (s *sim) create(id string, extra ...string) Meeting {
	s.t.Helper()
	query := "name=Name&meetingID=" + id + "&attendeePW=ap&moderatorPW=mp"
	for _, e := range extra {
		query += "&" + e
	}
	if body := s.get("create", query).Body.String(); !strings.Contains(body, "<returncode>SUCCESS") {
		s.t.Fatalf("create %s: %s", id, body)
	}
	return s.meeting(id)
}

// meeting returns a meeting by external ID.
func (s *sim) meeting(id string) Meeting {
	s.t.Helper()
	for _, m := range s.Meetings() {
		if m.MeetingID == id {
			return m
		}
	}
	s.t.Fatalf("no meeting %q", id)
	return Meeting{}
}

func (s *sim) alive(id string) bool {
	s.t.Helper()
	for _, m := range s.Meetings() {
		if m.MeetingID == id {
			return true
		}
	}
	return false
}

// join joins as a moderator and fails the test unless the way in is shown.
func (s *sim) join(id, extra string) {
	s.t.Helper()
	query := "meetingID=" + id + "&fullName=Jo&password=mp"
	if extra != "" {
		query += "&" + extra
	}
	w := s.get("join", query)
	if w.Code != http.StatusFound || !strings.Contains(w.Header().Get("Location"), "sessionToken=") {
		s.t.Fatalf("join %s: %d %s %s", id, w.Code, w.Header().Get("Location"), w.Body)
	}
}

func (s *sim) addUsers(id string, n int) {
	s.t.Helper()
	if err := s.AddUsers(id, n); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sim) removeUsers(id string, n int) {
	s.t.Helper()
	if err := s.RemoveUsers(id, n); err != nil {
		s.t.Fatal(err)
	}
}

func lines(parts ...string) string { return strings.Join(parts, "\n") }

func failedXML(key, message string) string {
	return lines("<response>", "<returncode>FAILED</returncode>", "<messageKey>"+key+"</messageKey>",
		"<message>"+message+"</message>", "</response>")
}

// wantXML checks status, headers and body of an XML answer.
func wantXML(t *testing.T, w *httptest.ResponseRecorder, body string, noCache bool) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Errorf("status %d, want 200", w.Code)
	}
	if got := w.Header().Get("Content-Type"); got != "text/xml;charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	cache := ""
	if noCache {
		cache = "no-cache"
	}
	if got := w.Header().Get("Cache-Control"); got != cache {
		t.Errorf("Cache-Control %q, want %q", got, cache)
	}
	if got := w.Body.String(); got != body {
		t.Errorf("body\n%s\nwant\n%s", got, body)
	}
}

func wantFailure(t *testing.T, w *httptest.ResponseRecorder, key, message string) {
	t.Helper()
	wantXML(t, w, failedXML(key, message), true)
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "text/html;charset=utf-8" {
		t.Errorf("Content-Type %q, want HTML", got)
	}
}

// wantErrorRedirect checks the error in the query of a redirect.
func wantErrorRedirect(t *testing.T, w *httptest.ResponseRecorder, prefix, key, message string) {
	t.Helper()
	location := w.Header().Get("Location")
	if w.Code != http.StatusFound || !strings.HasPrefix(location, prefix) {
		t.Fatalf("%d to %q, want 302 to %q…: %s", w.Code, location, prefix, w.Body)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"message":"` + message + `","key":"` + key + `"}]`
	if got := u.Query().Get("errors"); got != want {
		t.Errorf("errors %s, want %s", got, want)
	}
}

// between returns what stands between two texts.
func between(t *testing.T, text, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, before)
	value, _, ok2 := strings.Cut(rest, after)
	if !ok || !ok2 {
		t.Fatalf("no %s…%s in %s", before, after, text)
	}
	return value
}
