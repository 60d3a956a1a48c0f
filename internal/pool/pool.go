package pool

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// Options configure a pool. What is zero gets the default in brackets.
type Options struct {
	Client     *bbb.Client
	Logger     *slog.Logger          // [none]
	Registerer prometheus.Registerer // [none]
	Now        func() time.Time      // [time.Now]

	PollInterval time.Duration // from one poll's start to the next's [10 s]
	PollJitter   float64       // share of PollInterval that is added or taken at random [0.2; negative: none]
	PollTimeout  time.Duration // [5 s]
	MaxPolls     int           // polls at the same time [64]
	DownAfter    int           // failed polls in a row until down [3]
	UpAfter      int           // successful polls in a row from down to up [2]
	SlowAfter    time.Duration // a poll that takes longer is slow [3 s]

	CallTimeout       time.Duration // [4 s]
	CreateTimeout     time.Duration // of the create call [8 s]
	MaxCallsPerServer int           // calls in flight to one server; those beyond are not sent [64]
	BreakerFailures   int           // failed calls in a row until a server's circuit opens [5]
	BreakerCooldown   time.Duration // until an open circuit lets one call try [5 s]

	// Moment numbers what the registry knows at present. It is called right
	// before a poll is sent. [none: 0]
	Moment func() int64
	// Claims returns what the registry knows to live on a server, from memory.
	// The result isn't kept. [none]
	Claims func(serverID int64) []Claimed
	// InUse reports whether meetings live on a server or may come back to it: a
	// disabled one is polled as long as it is. [never]
	InUse func(serverID int64) bool
	// Polled is called after every poll, successful or not, before those that
	// wait for the poll go on. Polls of one server are reported one at a time;
	// its next one waits for Polled to return. [none]
	Polled func(ctx context.Context, p Poll)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	orDefault(&o.PollInterval, 10*time.Second)
	orDefault(&o.PollTimeout, 5*time.Second)
	orDefault(&o.MaxPolls, 64)
	orDefault(&o.DownAfter, 3)
	orDefault(&o.UpAfter, 2)
	orDefault(&o.SlowAfter, 3*time.Second)
	orDefault(&o.CallTimeout, 4*time.Second)
	orDefault(&o.CreateTimeout, 8*time.Second)
	orDefault(&o.MaxCallsPerServer, 64)
	orDefault(&o.BreakerFailures, 5)
	orDefault(&o.BreakerCooldown, 5*time.Second)
	switch {
	case o.PollJitter == 0:
		o.PollJitter = 0.2
	case o.PollJitter < 0:
		o.PollJitter = 0
	}
	o.PollJitter = min(o.PollJitter, 1)
	return o
}

func orDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// caller sends one request; *bbb.Client is one.
type caller interface {
	Do(ctx context.Context, r bbb.Request) (bbb.Response, error)
}

// Pool polls the servers, keeps their health and snapshots, and calls them. Its
// methods may be used by many goroutines.
type Pool struct {
	o       Options
	client  caller
	metrics *metrics
	lanes   lanes
	number  atomic.Uint64 // of the last poll

	// roster is who there is. It is swapped whole, under mu.
	roster atomic.Pointer[roster]
	mu     sync.Mutex
	ctx    context.Context // the pollers' life, from Start to Stop; nil before
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// healthMu makes a result and what follows from all results one step.
	healthMu sync.Mutex
	frozen   atomic.Bool // health moves to down no more; written under healthMu

	polledOnce atomic.Bool // Polled has been true with servers
	firsts     notice      // tells of first polls and of changes of the roster
}

// roster is the members of one moment; it is never changed.
type roster struct {
	list []*member // in the order of SetServers
	byID map[int64]*member
}

// member is a server with what belongs to it for as long as its URL and secret
// stay the same.
type member struct {
	config   atomic.Pointer[config]
	state    atomic.Pointer[tracker] // replaced under healthMu, never changed
	snapshot atomic.Pointer[Snapshot]
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	inFlight atomic.Int64
	failedAt atomic.Int64       // when a call last failed, in Unix nanoseconds; 0 for never
	stop     context.CancelFunc // nil while not started; under Pool.mu
	wake     chan struct{}      // of size 1: there is a look to take, or the configuration changed

	mu   sync.Mutex
	next *look // asked for and not begun
	gone bool  // nobody will poll this member again
}

// config is how a member is configured now.
type config struct {
	server    Server
	algorithm bbb.Algorithm
	series    *series
}

// polled reports whether the server is polled though nobody asks and nothing
// lives there.
func (c *config) polled() bool { return c.server.AdminState != Disabled }

// doubtful reports that the last poll failed, or a call since the last good one.
func (m *member) doubtful() bool {
	failed, s := m.failedAt.Load(), m.snapshot.Load()
	return m.state.Load().run > 0 || failed > 0 && (s == nil || failed >= s.At.UnixNano())
}

func (m *member) circuitOpen() bool {
	// A half-open circuit lets a trial through: that server must get calls, or
	// it would never close again.
	return m.breaker.State() == gobreaker.StateOpen
}

// New returns a pool without servers.
func New(o Options) *Pool {
	o = o.withDefaults()
	p := &Pool{o: o, client: o.Client, lanes: newLanes(o.MaxPolls)}
	p.firsts.init()
	p.roster.Store(&roster{})
	p.metrics = newMetrics(p)
	if o.Registerer != nil {
		o.Registerer.MustRegister(p.metrics)
	}
	return p
}

// Start begins to poll; each server's first poll begins at once. The pollers end
// when ctx does, or with Stop. A pool is started once.
func (p *Pool) Start(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx != nil {
		return
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.ctx = ctx
	for _, m := range p.roster.Load().list {
		p.begin(ctx, m)
	}
}

// Stop ends all polling and returns when every goroutine has. Calls go on.
func (p *Pool) Stop() {
	p.mu.Lock()
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(context.Background())
	}
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait()
}

// begin starts a member's poller. The caller holds mu.
func (p *Pool) begin(ctx context.Context, m *member) {
	ctx, m.stop = context.WithCancel(ctx)
	p.wg.Go(func() { p.run(ctx, m) })
}

// SetServers replaces the configuration. A server that stays, by its ID, keeps
// its health, snapshot and circuit; one with another URL or secret begins as
// unknown (with another secret alone, its snapshot stays). Calls in flight end as
// they would have.
func (p *Pool) SetServers(servers []Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.roster.Load()
	now := &roster{list: make([]*member, 0, len(servers)), byID: make(map[int64]*member, len(servers))}
	for _, s := range servers {
		c := p.configure(s, old.byID[s.ID])
		m := p.enlist(c, old.byID[s.ID])
		now.list = append(now.list, m)
		now.byID[s.ID] = m
	}
	p.roster.Store(now)
	for _, m := range old.list {
		if now.byID[m.config.Load().server.ID] != m {
			p.dismiss(m)
		}
	}
	p.metrics.keep(now.list)
	if p.ctx != nil && p.ctx.Err() == nil {
		for _, m := range now.list {
			if m.stop == nil {
				p.begin(p.ctx, m)
			}
		}
	}
	p.healthMu.Lock()
	p.reviewFreeze(p.o.Now())
	p.healthMu.Unlock()
	p.tellFirst()
}

func (p *Pool) configure(s Server, was *member) *config {
	alg, err := bbb.ParseAlgorithm(s.Algorithm)
	if err != nil {
		// Every supported BBB version takes it.
		alg = bbb.SHA256
		if s.Algorithm != "" && (was == nil || was.config.Load().server.Algorithm != s.Algorithm) {
			p.o.Logger.Warn("unknown checksum algorithm of a server: using sha256", "server", s.Name)
		}
	}
	return &config{server: s, algorithm: alg, series: p.metrics.series(s.Name)}
}

// enlist returns the member for a configuration: the one that was, if it is
// still the same server.
func (p *Pool) enlist(c *config, was *member) *member {
	if was != nil {
		before := was.config.Load()
		if before.server.APIURL == c.server.APIURL && before.server.Secret == c.server.Secret {
			was.config.Store(c)
			if before.polled() != c.polled() {
				// What was known is old by the time it is enabled again.
				p.forget(was)
				was.nudge()
			}
			return was
		}
	}
	m := &member{wake: make(chan struct{}, 1), breaker: p.newBreaker(c.server.Name)}
	m.config.Store(c)
	t := newTracker()
	m.state.Store(&t)
	if was != nil && was.config.Load().server.APIURL == c.server.APIURL {
		m.snapshot.Store(was.snapshot.Load())
	}
	return m
}

// forget resets a member's health.
func (p *Pool) forget(m *member) {
	p.healthMu.Lock()
	defer p.healthMu.Unlock()
	t := newTracker()
	m.state.Store(&t)
}

// dismiss ends a member's poller and tells those that wait for a poll.
func (p *Pool) dismiss(m *member) {
	if m.stop != nil {
		m.stop()
	}
	m.retire()
}

// Server returns a server's configuration.
func (p *Pool) Server(id int64) (Server, bool) {
	m, ok := p.roster.Load().byID[id]
	if !ok {
		return Server{}, false
	}
	return m.config.Load().server, true
}

// Servers returns every server's configuration, in the order of SetServers.
func (p *Pool) Servers() []Server {
	members := p.roster.Load().list
	out := make([]Server, 0, len(members))
	for _, m := range members {
		out = append(out, m.config.Load().server)
	}
	return out
}

// Health returns a server's health; Unknown for a server that isn't there.
func (p *Pool) Health(id int64) Health {
	m, ok := p.roster.Load().byID[id]
	if !ok {
		return Unknown
	}
	return m.state.Load().health
}

// DownSince returns when a server's health became down; false when it is not.
func (p *Pool) DownSince(id int64) (time.Time, bool) {
	m, ok := p.roster.Load().byID[id]
	if !ok {
		return time.Time{}, false
	}
	t := m.state.Load()
	if t.health != Down {
		return time.Time{}, false
	}
	return t.since, true
}

// Snapshot returns what a server listed in its last successful poll; nil before
// the first. It takes no lock.
func (p *Pool) Snapshot(id int64) *Snapshot {
	m, ok := p.roster.Load().byID[id]
	if !ok {
		return nil
	}
	return m.snapshot.Load()
}

// Polled reports whether every server that is not disabled was polled once,
// successfully or not. Once it was true with servers it stays so: a server that
// is added later doesn't take readiness away.
func (p *Pool) Polled() bool {
	return p.polledOnce.Load() || p.allPolled()
}

// tellFirst follows a first poll or a change of the roster.
func (p *Pool) tellFirst() {
	if len(p.roster.Load().list) > 0 && p.allPolled() {
		p.polledOnce.Store(true)
	}
	p.firsts.tell()
}

// WaitPolled waits until every server that there is now and that is not disabled
// was polled once. The error is ctx's.
func (p *Pool) WaitPolled(ctx context.Context) error {
	for {
		told := p.firsts.channel()
		if p.allPolled() {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, "starting", "The servers have not all been looked at yet.", ctx.Err())
		}
	}
}

func (p *Pool) allPolled() bool {
	for _, m := range p.roster.Load().list {
		if m.config.Load().polled() && m.state.Load().lastAt.IsZero() {
			return false
		}
	}
	return true
}

// notice tells any number of waiters that something happened.
type notice struct {
	mu sync.Mutex
	ch chan struct{}
}

func (n *notice) init() { n.ch = make(chan struct{}) }

// channel returns a channel that is closed by the next tell.
func (n *notice) channel() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ch
}

func (n *notice) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.ch)
	n.ch = make(chan struct{})
}
