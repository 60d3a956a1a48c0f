package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bluegate/bluegate/internal/bbb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "the-servers-secret-0123456789"

// fakes are servers in memory; they take the place of the client, so that a test
// can run in a bubble of fake time.
type fakes struct {
	mu      sync.Mutex
	byBase  map[string]*fake
	ongoing int
	most    int
}

// fake is one of them. Its fields may be changed under fakes.mu.
type fake struct {
	delay    time.Duration
	err      error  // answered after delay
	hang     bool   // until the caller gives up
	status   int    // 0: 200
	body     string // "": an empty getMeetings answer
	during   func() // called while a request is answered
	begun    []time.Time
	requests []bbb.Request
}

func newFakes() *fakes { return &fakes{byBase: map[string]*fake{}} }

// set changes a fake.
func (f *fakes) set(id int64, change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.get(base(id)))
}

func (f *fakes) get(base string) *fake {
	s := f.byBase[base]
	if s == nil {
		s = &fake{}
		f.byBase[base] = s
	}
	return s
}

// begun returns when requests to a fake began.
func (f *fakes) begun(id int64) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.get(base(id)).begun...)
}

func (f *fakes) Do(ctx context.Context, r bbb.Request) (bbb.Response, error) {
	f.mu.Lock()
	s := f.get(r.Base)
	s.begun = append(s.begun, time.Now())
	s.requests = append(s.requests, r)
	is := *s
	f.ongoing++
	f.most = max(f.most, f.ongoing)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.ongoing--
		f.mu.Unlock()
	}()
	if is.during != nil {
		is.during()
	}
	if is.hang {
		<-ctx.Done()
		return bbb.Response{}, &bbb.CallError{Sent: true, Err: ctx.Err()}
	}
	select {
	case <-time.After(is.delay):
	case <-ctx.Done():
		return bbb.Response{}, &bbb.CallError{Sent: true, Err: ctx.Err()}
	}
	if is.err != nil {
		return bbb.Response{}, &bbb.CallError{Sent: false, Err: is.err}
	}
	if is.body == "" {
		is.body = listing()
	}
	if is.status == 0 {
		is.status = 200
	}
	resp := bbb.Response{Status: is.status, Body: []byte(is.body)}
	if a, err := bbb.ParseAnswer(resp.Body); err == nil && is.status == 200 {
		resp.Answer = &a
	}
	return resp, nil
}

var errDown = errors.New("connection refused")

const refusal = "<response>\n<returncode>FAILED</returncode>\n<messageKey>checksumError</messageKey>\n<message>Checksums do not match</message>\n</response>"

// room is a meeting of a getMeetings answer.
type room struct {
	id, parent     string
	people, videos int
}

// listing writes a getMeetings answer.
func listing(rooms ...room) string {
	var b strings.Builder
	b.WriteString("<response>\n<returncode>SUCCESS</returncode>\n<meetings>\n")
	for _, r := range rooms {
		fmt.Fprintf(&b, "<meeting>\n<meetingName>n</meetingName>\n<meetingID>g-%s</meetingID>\n<internalMeetingID>%s</internalMeetingID>\n", r.id, r.id)
		fmt.Fprintf(&b, "<participantCount>%d</participantCount>\n<listenerCount>1</listenerCount>\n<voiceParticipantCount>2</voiceParticipantCount>\n<videoCount>%d</videoCount>\n", r.people, r.videos)
		fmt.Fprintf(&b, "<isBreakout>%v</isBreakout>\n", r.parent != "")
		if r.parent != "" {
			fmt.Fprintf(&b, "<parentMeetingID>%s</parentMeetingID>\n", r.parent)
		}
		b.WriteString("</meeting>\n")
	}
	b.WriteString("</meetings>\n</response>")
	return b.String()
}

// snapshotOf returns the snapshot of a server that lists the rooms.
func snapshotOf(t testing.TB, rooms ...room) *Snapshot {
	t.Helper()
	meetings, err := bbb.ParseMeetings([]byte(listing(rooms...)))
	require.NoError(t, err)
	return NewSnapshot(1, 1, 0, time.Time{}, meetings)
}

func base(id int64) string { return fmt.Sprintf("https://s%d.example.org/bigbluebutton/", id) }

func server(id int64) Server {
	return Server{
		ID: id, Name: fmt.Sprintf("s%d", id), APIURL: base(id), Secret: secret, Algorithm: "sha256",
		CapacitySeats: 100, Pool: "default", AdminState: Enabled,
	}
}

func servers(n int) []Server {
	out := make([]Server, n)
	for i := range out {
		out[i] = server(int64(i + 1))
	}
	return out
}

// fakePool returns a pool over fakes. It isn't started; it stops with the test.
func fakePool(t testing.TB, f *fakes, o Options, ss []Server) *Pool {
	t.Helper()
	p := New(o)
	p.client = f
	p.SetServers(ss)
	t.Cleanup(p.Stop)
	return p
}

// logs is a buffer for a logger.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// mustParse returns the rooms as meetings.
func mustParse(t require.TestingT, rooms []room) []bbb.Meeting {
	meetings, err := bbb.ParseMeetings([]byte(listing(rooms...)))
	require.NoError(t, err)
	return meetings
}
