package meeting

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// memStore is a Store in memory. It keeps the rules that the databases keep.
type memStore struct {
	mu     sync.Mutex
	rows   map[int64]Claim
	lastID int64
	seq    int64
	// before, when set, runs first in every method, unlocked; its error is the
	// method's, and nothing is done.
	before func(method string, to State) error
	// hidden are claims whose change is not committed yet: no reader sees it.
	hidden map[int64]bool
}

var errAway = fault.New(fault.Unavailable, "storeUnavailable", "The database can't be asked right now.")

func newMemStore() *memStore {
	return &memStore{rows: map[int64]Claim{}, hidden: map[int64]bool{}}
}

func (s *memStore) enter(method string, to State) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(method, to)
}

// away lets the named methods fail ("" = all) from now on; nil ends it.
func (s *memStore) away(fails func(method string, to State) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = func(method string, to State) error {
		if fails != nil && fails(method, to) {
			return errAway
		}
		return nil
	}
}

func allAway(string, State) bool { return true }

func present(s State) bool { return s.Live() || s == Lost }

func (s *memStore) find(match func(c Claim) bool) (Claim, error) {
	var found Claim
	for _, c := range s.rows {
		if present(c.State) && match(c) && c.Generation > found.Generation {
			found = c
		}
	}
	if found.ID == 0 {
		return Claim{}, fault.New(fault.NotFound, "claimNotFound", "There is no such claim.")
	}
	return found, nil
}

func (s *memStore) Room(_ context.Context, tenantID int64, externalID string) (Claim, error) {
	if err := s.enter("Room", ""); err != nil {
		return Claim{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(func(c Claim) bool { return c.TenantID == tenantID && c.ExternalID == externalID })
}

func (s *memStore) ByInternalID(_ context.Context, tenantID int64, internalID string) (Claim, error) {
	if err := s.enter("ByInternalID", ""); err != nil {
		return Claim{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(func(c Claim) bool { return c.TenantID == tenantID && c.InternalID == internalID })
}

func (s *memStore) Claim(_ context.Context, tenantID int64, c Claim) (Claim, error) {
	if err := s.enter("Claim", Claimed); err != nil {
		return Claim{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Generation = 1
	for _, other := range s.rows {
		if other.TenantID != tenantID || other.ExternalID != c.ExternalID {
			continue
		}
		if other.State.Live() {
			return Claim{}, fault.New(fault.Conflict, "roomClaimed", "The room is claimed already.")
		}
		c.Generation = max(c.Generation, other.Generation+1)
	}
	s.lastID++
	s.seq++
	c.ID, c.Seq, c.TenantID, c.State = s.lastID, s.seq, tenantID, Claimed
	c.CreatedAt, c.UpdatedAt = time.Now(), time.Now()
	s.rows[c.ID] = c
	return c, nil
}

func (s *memStore) Move(_ context.Context, tenantID int64, from, to Claim) (Claim, error) {
	if err := s.enter("Move", to.State); err != nil {
		return Claim{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.rows[from.ID]
	switch {
	case !ok || row.TenantID != tenantID:
		return Claim{}, fault.New(fault.NotFound, "claimNotFound", "There is no such claim.")
	case row.State != from.State, row.Seq != from.Seq, row.Generation != from.Generation:
		return Claim{}, fault.New(fault.Conflict, "claimMoved", "The claim was changed by others in the meantime.")
	}
	if to.State.Live() {
		for _, other := range s.rows {
			if other.ID != row.ID && other.TenantID == tenantID && other.ExternalID == row.ExternalID && other.State.Live() {
				return Claim{}, fault.New(fault.Conflict, "roomClaimed", "The room is claimed already.")
			}
		}
	}
	s.seq++
	row.State, row.InternalID, row.CreateTime, row.Answer = to.State, to.InternalID, to.CreateTime, bytes.Clone(to.Answer)
	row.AttendeePW, row.ModeratorPW, row.EndRequested = to.AttendeePW, to.ModeratorPW, to.EndRequested
	row.Seq, row.UpdatedAt = s.seq, time.Now()
	s.rows[row.ID] = row
	return row, nil
}

func (s *memStore) Live(context.Context) ([]Claim, int64, error) {
	if err := s.enter("Live", ""); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Claim
	for _, c := range s.rows {
		if present(c.State) && !s.hidden[c.ID] {
			list = append(list, c)
		}
	}
	return list, s.seq, nil
}

func (s *memStore) Changes(ctx context.Context, floor int64, known func(id, seq int64) bool) ([]Claim, error) {
	if err := s.enter("Changes", ""); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, errAway
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Claim
	for _, c := range s.rows {
		if c.Seq > floor && !s.hidden[c.ID] && !known(c.ID, c.Seq) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Claim) int { return cmp.Compare(a.Seq, b.Seq) })
	return list, nil
}

func (s *memStore) hide(id int64, hidden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden[id] = hidden
}

// of returns the claims of a room, oldest first.
func (s *memStore) of(externalID string) []Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Claim
	for _, c := range s.rows {
		if c.ExternalID == externalID {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Claim) int { return cmp.Compare(a.Generation, b.Generation) })
	return list
}

// states are the states of a room's claims, oldest first.
func (s *memStore) states(externalID string) []State {
	list := s.of(externalID)
	states := make([]State, 0, len(list))
	for _, c := range list {
		states = append(states, c.State)
	}
	return states
}

// fakeMeeting is a meeting on a fake server.
type fakeMeeting struct {
	life   bbb.Life
	people int
}

func (m fakeMeeting) fields() bbb.Fields {
	return m.life.Info().With("participantCount", strconv.Itoa(m.people))
}

// fakeServer answers like a BBB server. Its fields are the test's to change,
// under world.mu.
type fakeServer struct {
	id       int64
	meetings map[string]fakeMeeting // by the ID that it was given
	down     time.Time              // since when it is; zero: up
	snapshot *pool.Snapshot
	calls    map[string]int
	accepts  bool // takes creates and does not answer them
	// answer, when set, may answer a call instead: with an error, or FAILED.
	answer func(call string) (bbb.Response, error, bool)
}

// world is what a registry is tested in. It is all one replica sees; see
// world.replica for a second one.
type world struct {
	*shared
	r       *Registry
	metrics *prometheus.Registry
}

type shared struct {
	t     testing.TB
	store *memStore
	key   []byte

	mu      sync.Mutex
	servers map[int64]*fakeServer
	clock   int64 // of the servers, so that createTimes differ
	polls   uint64
	ended   []string // internal IDs of the meetings that a call ended
}

const (
	acmeID   = 1
	globexID = 2
)

var (
	acme   = tenant.Tenant{ID: acmeID, Slug: "acme", ScopeKey: "kacme", State: tenant.Active}
	globex = tenant.Tenant{ID: globexID, Slug: "globex", ScopeKey: "kglobx", State: tenant.Active}
)

// newWorld returns a registry that has loaded, with n servers that are up.
func newWorld(t testing.TB, n int) *world {
	t.Helper()
	s := &shared{t: t, store: newMemStore(), key: []byte("reference key"), servers: map[int64]*fakeServer{}}
	for i := range n {
		s.servers[int64(i+1)] = &fakeServer{id: int64(i + 1), meetings: map[string]fakeMeeting{}, calls: map[string]int{}}
	}
	w := s.replica()
	require.NoError(t, w.r.Load(t.Context()))
	return w
}

// replica returns another replica of the same world; it has not loaded yet.
func (s *shared) replica() *world {
	w := &world{shared: s, metrics: prometheus.NewRegistry()}
	w.r = New(Options{
		Store: s.store, Servers: w, Reserver: w, Registerer: w.metrics, RefKey: s.key,
		ScopeKey: func(id int64) (string, bool) {
			key, ok := map[int64]string{acmeID: acme.ScopeKey, globexID: globex.ScopeKey}[id]
			return key, ok
		},
	})
	return w
}

// on runs f on a server, locked.
func (s *shared) on(id int64, f func(v *fakeServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.servers[id])
}

// count is how many calls of that name all servers received.
func (s *shared) count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, v := range s.servers {
		n += v.calls[call]
	}
	return n
}

// homes are the servers that hold a meeting of that scoped ID.
func (s *shared) homes(scopedID string) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for _, id := range slices.Sorted(maps.Keys(s.servers)) {
		if _, ok := s.servers[id].meetings[scopedID]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// Server implements Servers.
func (s *shared) Server(id int64) (pool.Server, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.servers[id]
	return pool.Server{ID: id, Name: fmt.Sprint("bbb", id), Pool: "default", AdminState: pool.Enabled}, ok
}

// Servers implements Servers.
func (s *shared) Servers() []pool.Server {
	s.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.servers))
	s.mu.Unlock()
	list := make([]pool.Server, 0, len(ids))
	for _, id := range ids {
		v, _ := s.Server(id)
		list = append(list, v)
	}
	return list
}

// Health implements Servers.
func (s *shared) Health(id int64) pool.Health {
	if _, down := s.DownSince(id); down {
		return pool.Down
	}
	return pool.Up
}

// DownSince implements Servers.
func (s *shared) DownSince(id int64) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.servers[id].down
	return since, !since.IsZero()
}

// Snapshot implements Servers.
func (s *shared) Snapshot(id int64) *pool.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.servers[id].snapshot
}

// Candidates implements Servers: every server that is up, in order.
func (s *shared) Candidates(ask pool.Ask) []pool.Candidate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []pool.Candidate
	for _, id := range slices.Sorted(maps.Keys(s.servers)) {
		if s.servers[id].down.IsZero() && !slices.Contains(ask.Exclude, id) {
			list = append(list, pool.Candidate{ServerID: id})
		}
	}
	return list
}

// Reserve implements Reserver: the first candidate.
func (s *shared) Reserve(_ context.Context, candidates []pool.Candidate, _ string, _ int) (int64, error) {
	if len(candidates) == 0 {
		return 0, fault.New(fault.Denied, "noServerAvailable", "No server can take this meeting right now.")
	}
	return candidates[0].ServerID, nil
}

// Release implements Reserver.
func (s *shared) Release(context.Context, string) {}

// JoinURL implements Servers.
func (s *shared) JoinURL(id int64, c bbb.Call) (string, error) {
	return fmt.Sprintf("https://bbb%d/bigbluebutton/api/join?%s", id, c.Query), nil
}

// PollNow implements Servers as the pool does it: the registry reconciles before
// the caller goes on.
func (w *world) PollNow(ctx context.Context, id int64) (pool.Poll, error) {
	p := w.look(id, w.r.Moment())
	w.r.Reconcile(ctx, p)
	return p, p.Err
}

// poll polls a server and reconciles.
func (w *world) poll(id int64) { _, _ = w.PollNow(w.t.Context(), id) }

// look is the outcome of a poll of a server by somebody who knew claims up to a moment.
func (s *shared) look(id, moment int64) pool.Poll {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.servers[id]
	v.calls["getMeetings"]++
	s.polls++
	if !v.down.IsZero() {
		return pool.Poll{ServerID: id, Err: errAway}
	}
	list := make([]bbb.Fields, 0, len(v.meetings))
	for _, scoped := range slices.Sorted(maps.Keys(v.meetings)) {
		list = append(list, v.meetings[scoped].fields())
	}
	meetings, err := bbb.ParseMeetings(bbb.Meetings(list))
	require.NoError(s.t, err)
	v.snapshot = pool.NewSnapshot(id, s.polls, moment, time.Now(), meetings)
	return pool.Poll{ServerID: id, Snapshot: v.snapshot}
}

// Failures of a call, as the pool tells them.
var (
	errRefuses = &bbb.CallError{Sent: false, Err: fmt.Errorf("connection refused")}
	errHangs   = &bbb.CallError{Sent: true, Err: context.DeadlineExceeded}
)

func fails(err error) func(string) (bbb.Response, error, bool) {
	return func(string) (bbb.Response, error, bool) { return bbb.Response{}, err, true }
}

func failsOnly(call string, err error) func(string) (bbb.Response, error, bool) {
	return func(name string) (bbb.Response, error, bool) { return bbb.Response{}, err, name == call }
}

// says answers the calls of a name with FAILED and that key.
func says(call, key string) func(string) (bbb.Response, error, bool) {
	return func(name string) (bbb.Response, error, bool) {
		return response(bbb.Failed(key, "No.")), nil, name == call
	}
}

func response(body []byte) bbb.Response {
	a, err := bbb.ParseAnswer(body)
	if err != nil {
		panic(err)
	}
	return bbb.Response{Status: 200, Body: body, Answer: &a}
}

// Call implements Servers.
func (w *world) Call(_ context.Context, id int64, c pool.Call) (bbb.Response, error) {
	s := w.shared
	s.mu.Lock()
	v := s.servers[id]
	v.calls[c.Name]++
	down, answer := !v.down.IsZero(), v.answer
	s.mu.Unlock()
	if down {
		return bbb.Response{}, errHangs
	}
	if answer != nil { // unlocked: it may wait
		if resp, err, ok := answer(c.Name); ok {
			return resp, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serve(v, c.Call)
}

func (s *shared) serve(v *fakeServer, c bbb.Call) (bbb.Response, error) {
	id := c.Value("meetingID")
	scoped, found := id, false
	for key, m := range v.meetings {
		if key == id || m.life.InternalID == id {
			scoped, found = key, true
		}
	}
	m := v.meetings[scoped]
	switch c.Name {
	case "create":
		key, message := "", ""
		if found {
			if m.life.AttendeePW != c.Value("attendeePW") || m.life.ModeratorPW != c.Value("moderatorPW") {
				return response(bbb.Failed("idNotUnique", "A meeting already exists with that meeting ID.")), nil
			}
			key, message = bbb.DuplicateWarning()
		} else {
			m = s.start(v, c)
		}
		if v.accepts {
			return bbb.Response{}, errHangs
		}
		return response(m.life.Created(m.people > 0, key, message)), nil
	case "isMeetingRunning":
		return response(bbb.IsRunning(m.people > 0)), nil
	}
	if !found {
		return response(bbb.Failed("notFound", "A meeting with that ID does not exist")), nil
	}
	switch c.Name {
	case "getMeetingInfo":
		return response(bbb.MeetingInfo(m.fields())), nil
	case "end":
		delete(v.meetings, scoped)
		s.ended = append(s.ended, m.life.InternalID)
		return response(bbb.EndSent()), nil
	}
	return bbb.Response{}, fmt.Errorf("unexpected call %s", c.Name)
}

// start makes a meeting on a server; the caller holds mu.
func (s *shared) start(v *fakeServer, c bbb.Call) fakeMeeting {
	s.clock++
	scoped := c.Value("meetingID")
	m := fakeMeeting{life: bbb.Life{
		Name: c.Value("name"), MeetingID: scoped, InternalID: fmt.Sprintf("%040x-%d", len(scoped), s.clock), CreateTime: s.clock,
		AttendeePW: c.Value("attendeePW"), ModeratorPW: c.Value("moderatorPW"), VoiceBridge: fmt.Sprint(70000 + s.clock),
	}}
	for name, value := range c.Params() {
		if len(name) > 5 && name[:5] == "meta_" {
			m.life.Metadata = append(m.life.Metadata, name[5:], value)
		}
	}
	v.meetings[scoped] = m
	return m
}

// createCall is a tenant's create with the usual parameters and more.
func createCall(externalID string, more ...string) bbb.Call {
	c := bbb.Call{Name: "create"}.With("name", "A class").With("meetingID", externalID)
	for i := 0; i+1 < len(more); i += 2 {
		c = c.With(more[i], more[i+1])
	}
	return c
}

func (w *world) request(externalID string, more ...string) Create {
	w.t.Helper()
	req, err := NewCreate(acme.ScopeKey, createCall(externalID, more...), nil)
	require.NoError(w.t, err)
	return req
}

// create creates a room of acme.
func (w *world) create(externalID string, more ...string) (bbb.Answer, error) {
	w.t.Helper()
	out, err := w.r.Create(w.t.Context(), acme, 7, w.request(externalID, more...))
	if err != nil {
		return bbb.Answer{}, err
	}
	return *response(out.Answer).Answer, nil
}

// mustCreate creates a room of acme and returns its claim.
func (w *world) mustCreate(externalID string) Claim {
	w.t.Helper()
	a, err := w.create(externalID)
	require.NoError(w.t, err)
	require.True(w.t, a.Success())
	return w.claim(externalID)
}

// claim is the room's newest claim, whatever its state.
func (w *world) claim(externalID string) Claim {
	w.t.Helper()
	list := w.store.of(externalID)
	require.NotEmpty(w.t, list)
	return list[len(list)-1]
}

// info asks for a room of acme.
func (w *world) info(id string) (bbb.Answer, error) {
	w.t.Helper()
	read, err := w.r.Info(w.t.Context(), acmeID, id)
	if err != nil {
		return bbb.Answer{}, err
	}
	return *response(read.Answer).Answer, nil
}

func (w *world) join(externalID string) (Claim, error) {
	c, _, err := w.r.Join(w.t.Context(), acme, bbb.Call{Name: "join"}.With("meetingID", externalID).With("fullName", "Ada"))
	return c, err
}

// enter puts people into a meeting.
func (s *shared) enter(serverID int64, scopedID string, people int) {
	s.on(serverID, func(v *fakeServer) {
		m, ok := v.meetings[scopedID]
		require.True(s.t, ok)
		m.people = people
		v.meetings[scopedID] = m
	})
}

// restart lets a server forget everything.
func (s *shared) restart(serverID int64) {
	s.on(serverID, func(v *fakeServer) { v.meetings = map[string]fakeMeeting{} })
}

// forget lets a server forget one meeting, as at its end.
func (s *shared) forget(serverID int64, scopedID string) {
	s.on(serverID, func(v *fakeServer) { delete(v.meetings, scopedID) })
}

func (w *world) tail() { require.NoError(w.t, w.r.Tail(w.t.Context())) }

func requireFault(t testing.TB, err error, kind fault.Kind, key string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, fault.As(err).Kind, err.Error())
	require.Equal(t, key, fault.As(err).Key)
}

// metric is the sum over a counter's labels.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	require.NoError(w.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}
