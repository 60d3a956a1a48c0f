// Package apptest runs whole replicas of Bluegate in tests: against simulated
// BBB servers, on SQLite or PostgreSQL, on 127.0.0.1.
package apptest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/store"
	"github.com/bluegate/bluegate/internal/store/pgtest"
	"github.com/bluegate/bluegate/internal/tenant"
)

// Options say what an environment consists of. The zero value is one replica on
// SQLite with one server, and the tenants acme and globex.
type Options struct {
	Servers  int // simulated servers; 0 = 1, negative = none
	Replicas int // 0 = 1; more need PostgreSQL
	// DatabaseURL is the database; "" = a SQLite file of its own.
	DatabaseURL string
	// Config changes a replica's configuration before it starts.
	Config func(c *app.Config)
	// App changes a replica before it starts.
	App func(a *app.App)
	// Sim changes a server's configuration before it starts.
	Sim func(i int, c *bbbsim.Config)
	// Tenants are slug and secret; nil = acme and globex with secrets of their own.
	Tenants map[string]string
}

// Env is a running environment. It is torn down with the test.
type Env struct {
	t        testing.TB
	Sims     []*bbbsim.Server
	Replicas []*app.App
	// Log is everything all replicas logged, as JSON lines.
	Log *Log
	// Store is a connection of the test's own to the replicas' database.
	Store   *store.Store
	config  app.Config
	begin   func(a *app.App)
	tenants map[string]string
}

// Tenant is how a test calls as a tenant.
type Tenant struct {
	Slug, Secret string
	// Base is the tenant's URL, ending in "/bigbluebutton/".
	Base string
	env  *Env
}

// Databases runs f as subtests on SQLite and on PostgreSQL.
func Databases(t *testing.T, f func(t *testing.T, databaseURL string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, "") })
	t.Run("postgres", func(t *testing.T) { f(t, pgtest.URL(t)) })
}

// Start starts the environment and waits until every replica is ready.
func Start(t testing.TB, o Options) *Env {
	t.Helper()
	e := Prepare(t, o)
	for range max(1, o.Replicas) {
		e.StartReplica()
	}
	return e
}

// Prepare starts servers and fills the database, but starts no replica.
func Prepare(t testing.TB, o Options) *Env {
	t.Helper()
	dir := t.TempDir()
	e := &Env{t: t, Log: &Log{}, begin: o.App, tenants: o.Tenants}
	key := store.NewKey()
	c := app.Default()
	c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	c.DataDir, c.DatabaseURL, c.EncryptionKey = dir, o.DatabaseURL, key.Encode()
	c.PollInterval, c.FeedInterval = 200*time.Millisecond, 100*time.Millisecond
	c.LogLevel = "debug"
	if o.Config != nil {
		o.Config(&c)
	}
	if c.DatabaseURL == "" {
		c.DatabaseURL = "sqlite:" + filepath.Join(dir, "bluegate.db")
	}
	e.config = c

	s, err := store.Open(t.Context(), store.Options{URL: c.DatabaseURL, Key: key})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Migrate(t.Context()))
	e.Store = s
	if o.Servers == 0 {
		o.Servers = 1
	}
	for i := range max(0, o.Servers) {
		sc := bbbsim.Config{Name: fmt.Sprintf("bbb%d", i+1), Secret: fmt.Sprintf("server-secret-%d", i+1), Seed: int64(i)}
		if o.Sim != nil {
			o.Sim(i, &sc)
		}
		sim := bbbsim.New(sc)
		_, err := sim.Start()
		require.NoError(t, err)
		t.Cleanup(sim.Close)
		e.Sims = append(e.Sims, sim)
		_, err = s.AddServer(t.Context(), pool.Server{Name: sc.Name, APIURL: sim.APIURL(), Secret: sc.Secret, CapacitySeats: 200})
		require.NoError(t, err)
	}
	if e.tenants == nil {
		e.tenants = map[string]string{"acme": "acme-secret-0123456789", "globex": "globex-secret-0123456789"}
	}
	for slug, secret := range e.tenants {
		_, _, err := s.CreateTenant(t.Context(), tenant.Tenant{Slug: slug, Name: slug}, secret, nil)
		require.NoError(t, err)
	}
	return e
}

// StartReplica starts one more replica and waits until it is ready.
func (e *Env) StartReplica() *app.App {
	e.t.Helper()
	a := e.Begin()
	ctx, cancel := context.WithTimeout(e.t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(e.t, a.WaitReady(ctx), "the replica does not get ready")
	return a
}

// Begin starts one more replica and does not wait until it is ready.
func (e *Env) Begin() *app.App {
	e.t.Helper()
	a, err := app.New(e.config, app.NewLogger(e.config, e.Log))
	require.NoError(e.t, err)
	if e.begin != nil {
		e.begin(a)
	}
	require.NoError(e.t, a.Start(e.t.Context()))
	e.t.Cleanup(func() {
		// A connection that was opened and never used would be waited for.
		client.CloseIdleConnections()
		a.Stop(context.Background())
	})
	e.Replicas = append(e.Replicas, a)
	return a
}

// Config is the replicas' configuration.
func (e *Env) Config() app.Config { return e.config }

// URL is where replica i listens for tenants.
func (e *Env) URL(i int) string { return "http://" + e.Replicas[i].Addr().String() }

// AdminURL is where replica i listens for operators.
func (e *Env) AdminURL(i int) string { return "http://" + e.Replicas[i].AdminAddr().String() }

// Tenant returns a tenant that calls the first replica by its own path.
func (e *Env) Tenant(slug string) Tenant { return e.TenantAt(0, slug) }

// TenantAt returns a tenant that calls replica i by its own path.
func (e *Env) TenantAt(i int, slug string) Tenant {
	return e.TenantOn(e.URL(i), slug)
}

// TenantOn returns a tenant that calls whatever listens on a URL, such as a
// replica in another process, by its own path.
func (e *Env) TenantOn(url, slug string) Tenant {
	return Tenant{Slug: slug, Secret: e.tenants[slug], Base: url + "/t/" + slug + "/bigbluebutton/", env: e}
}

// Shared returns the tenant calling by the shared URL.
func (t Tenant) Shared() Tenant {
	t.Base = strings.Replace(t.Base, "/t/"+t.Slug, "", 1)
	return t
}

// Result is an answer to a test's call.
type Result struct {
	Status int
	Header http.Header
	Body   string
}

// Answer scans the body as BBB XML; a body that isn't fails the test.
func (r Result) Answer(t testing.TB) bbb.Answer {
	t.Helper()
	a, err := bbb.ParseAnswer([]byte(r.Body))
	require.NoError(t, err, "%d %s", r.Status, r.Body)
	return a
}

// client follows no redirect and shares no connection limit with the code under test.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       60 * time.Second,
}

// URL returns the signed URL of a call with parameters, name and value by turns.
func (t Tenant) URL(call string, params ...string) string {
	c := bbb.Call{Name: call}
	for i := 0; i+1 < len(params); i += 2 {
		c = c.With(params[i], params[i+1])
	}
	return bbb.URL(t.Base, c, bbb.SHA1, t.Secret)
}

// Call makes a signed GET.
func (t Tenant) Call(call string, params ...string) Result {
	t.env.t.Helper()
	return t.env.Do(http.MethodGet, t.URL(call, params...), "", nil)
}

// Create creates a meeting with usual parameters (passwords ap and mp) and more.
func (t Tenant) Create(meetingID string, more ...string) Result {
	t.env.t.Helper()
	return t.Call("create", append([]string{
		"name", "Name of " + meetingID, "meetingID", meetingID, "attendeePW", "ap", "moderatorPW", "mp",
	}, more...)...)
}

// Info asks for a meeting.
func (t Tenant) Info(meetingID string) Result {
	t.env.t.Helper()
	return t.Call("getMeetingInfo", "meetingID", meetingID)
}

// Do makes a request as it is given and reads the whole answer. It may be called
// from any goroutine: what fails is told as status 0.
func (e *Env) Do(method, url, contentType string, body io.Reader) Result {
	req, err := http.NewRequestWithContext(context.WithoutCancel(e.t.Context()), method, url, body)
	if err != nil {
		return Result{Body: err.Error()}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return e.Send(req)
}

// Send is Do for a request with headers of its own.
func (e *Env) Send(req *http.Request) Result {
	resp, err := client.Do(req)
	if err != nil {
		return Result{Body: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return Result{Body: err.Error()}
	}
	return Result{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}
}

// Home returns the server that has the meeting of a scoped ID ending in
// "-<external ID>", and the meeting; it fails the test unless exactly one has it.
func (e *Env) Home(externalID string) (*bbbsim.Server, bbbsim.Meeting) {
	e.t.Helper()
	var home *bbbsim.Server
	var found bbbsim.Meeting
	for _, s := range e.Sims {
		for _, m := range s.Meetings() {
			if !m.Ended && strings.HasSuffix(m.MeetingID, "-"+externalID) {
				require.Nil(e.t, home, "%s lives on two servers", externalID)
				home, found = s, m
			}
		}
	}
	require.NotNil(e.t, home, "%s lives on no server", externalID)
	return home, found
}

// Count is how many calls of that name all servers together received.
func (e *Env) Count(call string) int {
	n := 0
	for _, s := range e.Sims {
		n += s.Count(call)
	}
	return n
}

// Claim returns the claim of a tenant's room that the database holds as live or
// lost; false when there is none.
func (e *Env) Claim(slug, externalID string) (meeting.Claim, bool) {
	e.t.Helper()
	ctx := context.WithoutCancel(e.t.Context())
	t, err := e.Store.TenantBySlug(ctx, slug)
	require.NoError(e.t, err)
	c, err := e.Store.Room(ctx, t.ID, externalID)
	if fault.Is(err, fault.NotFound) {
		return meeting.Claim{}, false
	}
	require.NoError(e.t, err)
	return c, true
}

// Eventually waits until cond holds, for at most ten seconds.
func Eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, 10*time.Second, 10*time.Millisecond, what)
}

// Log collects what replicas log.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is everything that was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
