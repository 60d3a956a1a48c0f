package bbbsim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started is a server with a port, and a client without keep-alive.
type started struct {
	*sim
	client *http.Client
}

func start(t *testing.T, cfg Config) *started {
	t.Helper()
	s := newSim(t, cfg)
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return &started{s, &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// call performs a signed call over the network.
func (s *started) call(ctx context.Context, call, query string) (int, string, error) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.APIURL()+"api/"+call+"?"+signed(call, query), http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := s.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func (s *started) control(method, name, body string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.ControlURL()+name, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("control %s: %v", name, err)
	}
	defer func() { _ = response.Body.Close() }()
	out, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("control %s: %v", name, err)
	}
	return response.StatusCode, string(out)
}

// fetch gets a URL and tells only whether it was answered.
func fetch(t *testing.T, client *http.Client, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

const newMeeting = "name=Name&meetingID=abc"

func TestStart(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") || s.APIURL() != s.URL()+"/bigbluebutton/" || s.ControlURL() != s.URL()+"/_sim/" {
		t.Errorf("%s %s %s", s.URL(), s.APIURL(), s.ControlURL())
	}
	if _, err := s.Start(); !errors.Is(err, errStarted) {
		t.Errorf("second start: %v", err)
	}
	if _, err := newSim(t, Config{}).StartOn(strings.TrimPrefix(s.URL(), "http://")); err == nil {
		t.Error("the port was given twice")
	}
	if code, body, err := s.call(t.Context(), "getMeetings", ""); code != http.StatusOK || err != nil || !strings.Contains(body, "noMeetings") {
		t.Errorf("%d %s %v", code, body, err)
	}
	s.Close()
	s.Close()
	if _, _, err := s.call(t.Context(), "getMeetings", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after close: %v", err)
	}
	if _, err := s.Start(); !errors.Is(err, errClosed) {
		t.Errorf("start after close: %v", err)
	}
	if n := newSim(t, Config{}); n.URL() != "" {
		t.Errorf("URL before start %q", n.URL())
	}
}

// Without a public URL links lead where the request came from.
func TestBaseOfLinks(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.cfg.PublicURL = ""
	s.create("abc")
	code, body, err := s.call(t.Context(), "join", "meetingID=abc&fullName=Jo&password=mp&redirect=false")
	if code != http.StatusOK || err != nil || !strings.Contains(body, "<url>"+s.URL()+"/html5client/?sessionToken=") {
		t.Errorf("%d %s %v", code, body, err)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	if code, body := s.control(http.MethodPost, "faults", `{"mode":"refuse"}`); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	if _, _, err := s.call(t.Context(), "create", newMeeting); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if err := fetch(t, s.client, s.URL()+"/html5client/"); err == nil {
		t.Error("the client page is served")
	}
	if code, body := s.control(http.MethodGet, "meetings", ""); code != http.StatusOK || body != "[]\n" {
		t.Errorf("control: %d %s", code, body)
	}
	if s.Count("") != 0 {
		t.Error("a refused request was received")
	}
	s.control(http.MethodPost, "faults", `{"mode":"ok"}`)
	if code, _, err := s.call(t.Context(), "create", newMeeting); code != http.StatusOK || err != nil {
		t.Errorf("afterwards: %d %v", code, err)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.create("abc")
	url := s.URL()
	for range 3 {
		s.SetFaults(Faults{Mode: ModeDown})
		s.SetFaults(Faults{Mode: ModeDown, Calls: []string{"create"}})
		if _, _, err := s.call(t.Context(), "getMeetings", ""); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("got %v, want connection refused", err)
		}
		s.SetFaults(Faults{})
		if code, body, err := s.call(t.Context(), "getMeetings", ""); code != http.StatusOK || err != nil || !strings.Contains(body, "abc") {
			t.Fatalf("afterwards: %d %s %v", code, body, err)
		}
	}
	if s.URL() != url {
		t.Errorf("the port changed to %s", s.URL())
	}
	s.SetFaults(Faults{Mode: ModeDown})
	s.Close()
}

func TestDownBeforeStart(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.SetFaults(Faults{Mode: ModeDown})
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, http.DefaultClient, s.URL()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want connection refused", err)
	}
}

// A connection that is kept alive goes down with the port.
func TestDownEndsConnections(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.client.Transport = &http.Transport{}
	defer s.client.CloseIdleConnections()
	if _, _, err := s.call(t.Context(), "getMeetings", ""); err != nil {
		t.Fatal(err)
	}
	s.SetFaults(Faults{Mode: ModeDown})
	if _, _, err := s.call(t.Context(), "getMeetings", ""); err == nil {
		t.Error("an old connection is still served")
	}
}

// waitFor waits until the server has received n calls.
func (s *started) waitFor(call string, n int) {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for s.Count(call) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("%d calls of %s, want %d", s.Count(call), call, n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestHang(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.SetFaults(Faults{Mode: ModeHang})
	type result struct {
		code int
		err  error
	}
	results := make(chan result, 1)
	do := func(ctx context.Context) {
		code, _, err := s.call(ctx, "create", newMeeting)
		results <- result{code, err}
	}
	// The client goes: no effect.
	ctx, cancel := context.WithCancel(t.Context())
	go do(ctx)
	s.waitFor("create", 1)
	cancel()
	if r := <-results; !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %v", r)
	}
	if s.alive("abc") {
		t.Error("a hanging call took effect")
	}
	// Another fault that hangs too changes nothing; then the mode changes.
	go do(t.Context())
	s.waitFor("create", 2)
	s.SetFaults(Faults{Mode: ModeHang, Latency: time.Nanosecond})
	s.control(http.MethodPost, "faults", `{}`)
	if r := <-results; r.code != http.StatusOK || r.err != nil {
		t.Errorf("got %v", r)
	}
	// The mode changes to another fault.
	s.SetFaults(Faults{Mode: ModeHang})
	go do(t.Context())
	s.waitFor("create", 3)
	s.SetFaults(Faults{Mode: ModeError})
	if r := <-results; r.code != http.StatusInternalServerError {
		t.Errorf("got %v", r)
	}
	// The port goes.
	s.SetFaults(Faults{Mode: ModeHang})
	go do(t.Context())
	s.waitFor("create", 4)
	s.SetFaults(Faults{Mode: ModeDown})
	if r := <-results; r.err == nil {
		t.Errorf("got %v", r)
	}
	// The server closes.
	s.SetFaults(Faults{Mode: ModeHang})
	go do(t.Context())
	s.waitFor("create", 5)
	s.Close()
	if r := <-results; r.err == nil {
		t.Errorf("got %v", r)
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.SetFaults(Faults{Mode: ModeError})
	code, body, err := s.call(t.Context(), "create", newMeeting)
	if code != http.StatusInternalServerError || err != nil || !strings.Contains(body, "<h1>Error 500") {
		t.Errorf("%d %s %v", code, body, err)
	}
	if s.alive("abc") || s.Count("create") != 1 {
		t.Errorf("took effect %v, received %d", s.alive("abc"), s.Count("create"))
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.SetFaults(Faults{Mode: ModeCut})
	code, body, err := s.call(t.Context(), "create", newMeeting)
	if code != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(body, "<response>\n<returncode>SUCCESS") || strings.Contains(body, "</response>") {
		t.Errorf("%d %s %v", code, body, err)
	}
	if !s.alive("abc") {
		t.Error("a cut create took no effect")
	}
	s.SetFaults(Faults{})
	_, whole, err := s.call(t.Context(), "create", newMeeting)
	if err != nil || len(body) < 200 || len(body) > len(whole)/2 {
		t.Errorf("half of it is %d of %d bytes", len(body), len(whole))
	}
	// An answer without a body is cut in its head.
	s.SetFaults(Faults{Mode: ModeCut})
	if code, _, err := s.call(t.Context(), "join", "meetingID=abc&fullName=Jo&role=viewer"); err == nil {
		t.Errorf("a cut redirect arrived: %d", code)
	}
	if n := len(s.meeting("abc").Users); n != 1 {
		t.Errorf("%d users registered", n)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.SetFaults(Faults{Latency: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, _, err := s.call(ctx, "create", newMeeting)
		failed <- err
	}()
	deadline := time.Now().Add(10 * time.Second)
	for !s.alive("abc") && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || !s.alive("abc") {
		t.Errorf("%v, created %v", err, s.alive("abc"))
	}
	s.SetFaults(Faults{Latency: 20 * time.Millisecond})
	begin := time.Now()
	if code, _, err := s.call(t.Context(), "getMeetings", ""); code != http.StatusOK || err != nil {
		t.Errorf("%d %v", code, err)
	}
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	// Closing the server doesn't wait for it.
	s.SetFaults(Faults{Latency: time.Hour})
	go func() {
		_, _, err := s.call(t.Context(), "getMeetings", "")
		failed <- err
	}()
	s.waitFor("getMeetings", 2)
	s.Close()
	if err := <-failed; err == nil {
		t.Error("answered in spite of the latency")
	}
}

func TestFaultsOfSomeCalls(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{ModeRefuse, ModeError, ModeCut} {
		s := start(t, Config{})
		s.SetFaults(Faults{Mode: mode, Calls: []string{"create", "end"}})
		code, _, err := s.call(t.Context(), "create", newMeeting)
		if err == nil && code == http.StatusOK {
			t.Errorf("%s: create is not hit", mode)
		}
		if code, _, err := s.call(t.Context(), "getMeetings", ""); code != http.StatusOK || err != nil {
			t.Errorf("%s: getMeetings is hit: %d %v", mode, code, err)
		}
		s.Close()
	}
}

// Without a connection to break the request is aborted.
func TestFaultsOfAHandler(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{ModeRefuse, ModeDown, ModeCut} {
		s := newSim(t, Config{})
		s.SetFaults(Faults{Mode: mode})
		func() {
			defer func() {
				if got, _ := recover().(error); !errors.Is(got, http.ErrAbortHandler) {
					t.Errorf("%s: %v", mode, got)
				}
			}()
			s.get("create", newMeeting)
		}()
		if got, want := s.alive("abc"), mode == ModeCut; got != want {
			t.Errorf("%s: took effect %v", mode, got)
		}
	}
	s := newSim(t, Config{})
	s.Close()
	defer func() {
		if recover() == nil {
			t.Error("a closed server answers")
		}
	}()
	s.get("getMeetings", "")
}

// A client that has gone is waited for no longer.
func TestClientGone(t *testing.T) {
	t.Parallel()
	for _, f := range []Faults{{Mode: ModeHang}, {Latency: time.Hour}} {
		s := newSim(t, Config{})
		s.SetFaults(f)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		func() {
			defer func() { _ = recover() }()
			r := httptest.NewRequest(http.MethodGet, target("create", signed("create", newMeeting)), http.NoBody)
			s.do(r.WithContext(ctx))
		}()
		if got, want := s.alive("abc"), f.Mode != ModeHang; got != want {
			t.Errorf("%+v: took effect %v", f, got)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Mode{"": ModeOK, "ok": ModeOK, "refuse": ModeRefuse, "down": ModeDown, "hang": ModeHang, "error": ModeError, "cut": ModeCut} {
		if got, err := ParseMode(text); got != want || err != nil {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if _, err := ParseMode("slow"); !errors.Is(err, errUnknownMode) {
		t.Errorf("got %v", err)
	}
	for text, want := range map[string]Profile{"": Profile30, "3.0": Profile30, "2.4": Profile24} {
		if got, err := ParseProfile(text); got != want || err != nil {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if _, err := ParseProfile("2.7"); err == nil {
		t.Error("2.7 is accepted")
	}
}
