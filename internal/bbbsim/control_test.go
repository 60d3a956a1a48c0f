package bbbsim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// operate performs a control operation on the handler.
func (s *sim) operate(method, name, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do(httptest.NewRequest(method, "/_sim/"+name, strings.NewReader(body)))
}

func TestControl(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("t7-abc", "meta_Foo=bar")
	steps := []struct{ method, name, body string }{
		{http.MethodPost, "users", `{"meetingID":"t7-abc","count":3}`},
		{http.MethodPost, "users", `{"meetingID":"t7-abc","count":2}`},
		{http.MethodPost, "users", `{"meetingID":"t7-abc","count":-1}`},
	}
	for _, step := range steps {
		if w := s.operate(step.method, step.name, step.body); w.Code != http.StatusOK || w.Body.String() != "{\"status\":\"ok\"}\n" {
			t.Errorf("%+v: %d %s", step, w.Code, w.Body)
		}
	}
	var meetings []Meeting
	w := s.operate(http.MethodGet, "meetings", "")
	if err := json.Unmarshal(w.Body.Bytes(), &meetings); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if len(meetings) != 1 || meetings[0].Participants != 4 || len(meetings[0].Users) != 5 || meetings[0].Metadata["foo"] != "bar" || meetings[0].ModeratorPW != "mp" {
		t.Errorf("meetings %+v", meetings)
	}
	var requests []Request
	if err := json.Unmarshal(s.operate(http.MethodGet, "requests", "").Body.Bytes(), &requests); err != nil {
		t.Fatal(err)
	}
	if len(requests) != 1 || requests[0].Call != "create" || !requests[0].Verified || requests[0].Method != http.MethodGet ||
		!requests[0].Time.Equal(s.clock.Now()) || !strings.HasPrefix(requests[0].Query, "name=Name&meetingID=t7-abc&") {
		t.Errorf("control itself is not logged, the create is: %+v", requests)
	}
	s.operate(http.MethodPost, "faults", `{"mode":"hang","latency_ms":250,"calls":["create","end"]}`)
	if f := s.Faults(); f.Mode != ModeHang || f.Latency != 250*time.Millisecond || strings.Join(f.Calls, ",") != "create,end" {
		t.Errorf("faults %+v", f)
	}
	s.operate(http.MethodPost, "end", `{"meetingID":"t7-abc"}`)
	if !s.meeting("t7-abc").Ended {
		t.Error("not ended")
	}
	s.operate(http.MethodPost, "restart", "")
	if len(s.Meetings()) != 0 || s.Count("") != 1 || s.Faults().Mode != ModeHang {
		t.Error("restart")
	}
	s.operate(http.MethodPost, "reset", "")
	if s.Count("") != 0 || s.Faults().Mode != ModeOK {
		t.Error("reset")
	}
	if body := s.operate(http.MethodGet, "meetings", "").Body.String() + s.operate(http.MethodGet, "requests", "").Body.String(); body != "[]\n[]\n" {
		t.Errorf("empty lists are %q", body)
	}
}

func TestControlFailures(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc")
	for _, test := range []struct {
		method, name, body string
		code               int
		text               string
	}{
		{http.MethodPost, "nonsense", "", 404, `unknown control \"nonsense\"`},
		{http.MethodGet, "", "", 404, "unknown control"},
		{http.MethodGet, "faults", "", 405, "faults wants POST"},
		{http.MethodPost, "meetings", "", 405, "meetings wants GET"},
		{http.MethodPost, "faults", "", 400, "body: EOF"},
		{http.MethodPost, "faults", "{", 400, "body:"},
		{http.MethodPost, "faults", "{}{}", 400, "more than one JSON value"},
		{http.MethodPost, "faults", `{"mode":"slow"}`, 400, `unknown fault mode \"slow\"`},
		{http.MethodPost, "faults", `{"mode":"down"}`, 400, "use \\\"refuse\\\""},
		{http.MethodPost, "faults", `{"latency":1}`, 400, "unknown field"},
		{http.MethodPost, "faults", `{"latency_ms":-1}`, 400, "latency_ms: value out of range"},
		{http.MethodPost, "faults", `{"latency_ms":9000000000000}`, 400, "latency_ms: value out of range"},
		{http.MethodPost, "users", `{"meetingID":"nope","count":1}`, 404, "no such meeting"},
		{http.MethodPost, "users", `{"meetingID":"abc","count":10001}`, 400, "count: value out of range"},
		{http.MethodPost, "users", `{"meetingID":"abc","count":-1}`, 400, "fewer users are present"},
		{http.MethodPost, "end", `{"meetingID":"nope"}`, 404, "no such meeting"},
		{http.MethodPost, "end", `{"meetingID":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too large"},
	} {
		w := s.operate(test.method, test.name, test.body)
		var out struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != test.code || !strings.Contains(w.Body.String(), test.text) {
			t.Errorf("%s %s: %d %s", test.method, test.name, w.Code, w.Body)
		}
	}
	if s.Faults().Mode != ModeOK || s.meeting("abc").Participants != 0 {
		t.Error("a refused operation took effect")
	}
}

func TestRequestLog(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{MaxRequests: 20})
	for range 50 {
		s.get("getMeetings", "")
	}
	s.post("create", signed("create", newMeeting)+"&checksum=", typeXML, modulesXML)
	requests := s.Requests()
	last := requests[len(requests)-1]
	if len(requests) != 20 || s.Count("") != 51 || s.Count("getMeetings") != 50 || s.Count("create") != 1 || s.Count("end") != 0 {
		t.Errorf("%d kept, counts %d %d", len(requests), s.Count(""), s.Count("getMeetings"))
	}
	if last.Call != "create" || last.Method != http.MethodPost || last.Header.Get("Content-Type") != typeXML || last.Host != "example.com" || last.Verified {
		t.Errorf("last %+v", last)
	}
	none := newSim(t, Config{MaxRequests: -1})
	none.get("getMeetings", "")
	if len(none.Requests()) != 0 || none.Count("getMeetings") != 1 {
		t.Error("nothing is to be kept, all is to be counted")
	}
}

func TestRequestLogIsBounded(t *testing.T) {
	t.Parallel()
	log := requestLog{max: 1000}
	body := make([]byte, 1<<20)
	for range 100 {
		log.add(Request{Call: "create", Body: body})
	}
	if got := len(log.list()); got != 64 || log.bytes != maxLoggedBytes {
		t.Errorf("%d requests of 1 MiB kept, %d bytes", got, log.bytes)
	}
	log.reset()
	for i := range 2 * maxCountedCalls {
		log.add(Request{Call: strings.Repeat("x", i+1)})
	}
	if len(log.counts) != maxCountedCalls || log.count("") != 2*maxCountedCalls {
		t.Errorf("%d names counted, %d in all", len(log.counts), log.count(""))
	}
}

func TestClientPage(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Name: "bbb1", Profile: profile})
		s.get("create", "name=%3Cscript%3E&meetingID=abc&moderatorPW=mp")
		location := s.get("join", "meetingID=abc&fullName=%22%3Cb%3EJo&password=mp").Header().Get("Location")
		w := s.do(httptest.NewRequest(http.MethodGet, location, http.NoBody))
		wantStatus(t, w, http.StatusOK)
		body := w.Body.String()
		if !strings.Contains(body, "You are in the meeting <strong>&lt;script&gt;</strong> as <strong>&#34;&lt;b&gt;Jo</strong> (MODERATOR).") ||
			!strings.Contains(body, "simulated BigBlueButton server (bbb1)") || strings.Contains(body, "<script>") {
			t.Errorf("page %s", body)
		}
		s.clock.move(time.Second)
		if n := s.meeting("abc").Participants; n != 1 {
			t.Fatalf("%d present", n)
		}
		leave := between(t, body, `action="`, `"`)
		wantStatus(t, s.do(httptest.NewRequest(http.MethodPost, leave, http.NoBody)), http.StatusOK)
		if n := s.meeting("abc").Participants; n != 0 {
			t.Errorf("%d present after leaving", n)
		}
		wantStatus(t, s.do(httptest.NewRequest(http.MethodGet, location, http.NoBody)), http.StatusUnauthorized)
		wantStatus(t, s.do(httptest.NewRequest(http.MethodPost, leave, http.NoBody)), http.StatusOK)
	})
}

func TestClientPageWaiting(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc", "guestPolicy=ASK_MODERATOR")
	location := s.get("join", "meetingID=abc&fullName=Jo&password=ap").Header().Get("Location")
	w := s.do(httptest.NewRequest(http.MethodGet, location, http.NoBody))
	if !strings.Contains(w.Body.String(), "You are waiting to be let into the meeting") {
		t.Errorf("page %s", w.Body)
	}
	s.do(httptest.NewRequest(http.MethodPost, strings.Replace(location, "/?", "/leave?", 1), http.NoBody))
	if n := len(s.meeting("abc").Users); n != 0 {
		t.Errorf("%d users after leaving the waiting room", n)
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	w := s.do(httptest.NewRequest(http.MethodHead, target("getMeetings", signed("getMeetings", "")), http.NoBody))
	if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}
