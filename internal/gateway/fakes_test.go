package gateway

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// fakeDirectory knows one tenant, acme, whose calls carry its name as checksum,
// and lets it be whatever a test says.
type fakeDirectory struct {
	err     error
	expired bool
	state   tenant.State
	where   tenant.Where // of the last call
	calls   int
}

func (d *fakeDirectory) Identify(_ context.Context, w tenant.Where, call bbb.Call) (tenant.Caller, error) {
	d.calls++
	d.where = w
	if d.err != nil {
		return tenant.Caller{}, d.err
	}
	if !strings.Contains(call.Query, "checksum=good") {
		return tenant.Caller{}, errChecksum
	}
	return tenant.Caller{
		Tenant: tenant.Tenant{ID: 1, Slug: "acme", ScopeKey: "gacme", State: d.state}, SecretID: 7, Expired: d.expired,
	}, nil
}

func (d *fakeDirectory) HostTenant(host string) (string, bool) {
	if host == "acme.example.com" {
		return "acme", true
	}
	return "", false
}

// fakeStore holds one running room, "runs", and loses every other.
type fakeStore struct{ away bool }

func (s *fakeStore) running() meeting.Claim {
	return meeting.Claim{
		ID: 1, TenantID: 1, ExternalID: "runs", Generation: 1, Seq: 1, State: meeting.Running, ServerID: 1,
		ScopedID: "gacme-runs", InternalID: strings.Repeat("a", 40) + "-1700000000000", CreateTime: 1700000000000,
		AttendeePW: "ap", ModeratorPW: "mp", SecretID: 7, Params: "name=Runs&meetingID=gacme-runs", CreatedAt: time.UnixMilli(1700000000000),
	}
}

var errAway = fault.New(fault.Unavailable, "storeUnavailable", "The database can't be asked right now.")

func (s *fakeStore) Room(_ context.Context, tenantID int64, externalID string) (meeting.Claim, error) {
	switch {
	case s.away:
		return meeting.Claim{}, errAway
	case tenantID == 1 && externalID == "runs":
		return s.running(), nil
	}
	return meeting.Claim{}, fault.New(fault.NotFound, "claimNotFound", "There is none.")
}

func (s *fakeStore) ByInternalID(context.Context, int64, string) (meeting.Claim, error) {
	if s.away {
		return meeting.Claim{}, errAway
	}
	return meeting.Claim{}, fault.New(fault.NotFound, "claimNotFound", "There is none.")
}

func (s *fakeStore) Claim(_ context.Context, _ int64, c meeting.Claim) (meeting.Claim, error) {
	if s.away {
		return c, errAway
	}
	c.ID, c.Generation, c.Seq = 2, 1, 2
	return c, nil
}

func (s *fakeStore) Move(_ context.Context, _ int64, _, to meeting.Claim) (meeting.Claim, error) {
	if s.away {
		return to, errAway
	}
	to.Seq++
	return to, nil
}

func (s *fakeStore) Live(context.Context) ([]meeting.Claim, int64, error) {
	return []meeting.Claim{s.running()}, 1, nil
}

func (s *fakeStore) Changes(context.Context, int64, func(id, seq int64) bool) ([]meeting.Claim, error) {
	return nil, nil
}

// fakeServers is one server, which answers every call with the same body.
type fakeServers struct {
	body []byte
	err  error
	sent []pool.Call
}

func (s *fakeServers) Server(id int64) (pool.Server, bool) {
	return pool.Server{ID: id, Name: "bbb1"}, id == 1
}

func (s *fakeServers) Servers() []pool.Server {
	return []pool.Server{{ID: 1, Name: "bbb1", AdminState: pool.Enabled}}
}
func (s *fakeServers) Health(int64) pool.Health          { return pool.Up }
func (s *fakeServers) DownSince(int64) (time.Time, bool) { return time.Time{}, false }
func (s *fakeServers) Snapshot(int64) *pool.Snapshot     { return nil }
func (s *fakeServers) PollNow(context.Context, int64) (pool.Poll, error) {
	return pool.Poll{}, errors.New("no poll")
}

func (s *fakeServers) Call(_ context.Context, _ int64, c pool.Call) (bbb.Response, error) {
	s.sent = append(s.sent, c)
	if s.err != nil {
		return bbb.Response{}, &bbb.CallError{Sent: true, Err: s.err}
	}
	out := bbb.Response{Status: 200, Body: s.body}
	if a, err := bbb.ParseAnswer(s.body); err == nil && (a.Success() || a.Failed()) {
		out.Answer = &a
	}
	return out, nil
}

func (s *fakeServers) JoinURL(_ int64, c bbb.Call) (string, error) {
	return bbb.URL("https://bbb1.example.com/bigbluebutton/", c, bbb.SHA256, "server-secret"), nil
}

func (s *fakeServers) Candidates(ask pool.Ask) []pool.Candidate {
	if len(ask.Exclude) > 0 {
		return nil
	}
	return []pool.Candidate{{ServerID: 1, Name: "bbb1", CapacitySeats: 1}}
}

func (s *fakeServers) Reserve(_ context.Context, candidates []pool.Candidate, _ string, _ int) (int64, error) {
	if len(candidates) == 0 {
		return 0, errors.New("no candidate")
	}
	return candidates[0].ServerID, nil
}

func (s *fakeServers) Release(context.Context, string) {}

type fakes struct {
	directory fakeDirectory
	store     fakeStore
	servers   fakeServers
	ready     bool
	clock     time.Time
}

func (f *fakes) now() time.Time { return f.clock }

// newTestGateway returns a gateway on fakes, and the fakes, which may be changed
// between calls.
func newTestGateway(t testing.TB, proxies ...netip.Prefix) (*Gateway, *fakes) {
	t.Helper()
	f := &fakes{ready: true, clock: time.Unix(1700000000, 0)}
	f.servers.body = bbb.Success("meetingName", "Runs", "meetingID", "gacme-runs", "internalMeetingID", strings.Repeat("a", 40)+"-1700000000000", "running", "true")
	r := meeting.New(meeting.Options{
		Store: &f.store, Servers: &f.servers, Reserver: &f.servers, RefKey: []byte("key"),
		ScopeKey: func(int64) (string, bool) { return "gacme", true },
		Limits:   meeting.Limits{InfoCache: -1, CreateTimeout: time.Millisecond, EndingWait: time.Millisecond, FeedStale: 1000 * time.Hour},
	})
	require.NoError(t, r.Load(t.Context()))
	return New(Options{
		Directory: &f.directory, Meetings: r, Servers: &f.servers, Now: f.now, Ready: func() bool { return f.ready },
		MaxBody: 1 << 16, TrustedProxies: proxies,
	}), f
}
