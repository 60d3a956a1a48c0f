// Package app wires Bluegate together: configuration in, two listeners out.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bluegate/bluegate/internal/admin"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/gateway"
	"github.com/bluegate/bluegate/internal/live/memory"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/store"
	"github.com/bluegate/bluegate/internal/tenant"
)

// maxCallsPerServer bounds the calls in flight to one server.
const maxCallsPerServer = 64

// App is one replica.
type App struct {
	config   Config
	log      *slog.Logger
	registry *prometheus.Registry
	key      store.Key
	now      func() time.Time   // the gateway's clock; tests set another
	tune     func(*http.Server) // nil, but in tests that can't wait for time-outs

	gateway     atomic.Pointer[gateway.Gateway]
	ready       atomic.Bool
	stopping    atomic.Bool
	becameReady chan struct{} // closed then
	failed      chan error    // what made it impossible to go on
	listener    net.Listener
	operator    net.Listener
	closers     closers
	parts       atomic.Pointer[parts]
}

// parts are what exists once the database could be opened.
type parts struct {
	store     *store.Store
	client    *bbb.Client
	directory *tenant.Directory
	pool      *pool.Pool
	meetings  *meeting.Registry
	version   int64 // of the configuration in SQL that was loaded
}

// closers are cleanups, run in reverse order.
type closers struct {
	mu   sync.Mutex
	list []func(ctx context.Context)
}

func (c *closers) add(f func(ctx context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, f)
}

func (c *closers) run(ctx context.Context) {
	c.mu.Lock()
	list := c.list
	c.list = nil
	c.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		list[i](ctx)
	}
}

// New returns an app that has not started.
func New(c Config, log *slog.Logger) (*App, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	key, made, err := c.Key()
	if err != nil {
		return nil, err
	}
	if made != "" {
		log.Warn("made a new encryption key: keep a copy of it in another place, without it the secrets in the database are lost", "file", made)
	}
	a := &App{
		config: c, log: log, key: key, registry: prometheus.NewRegistry(), now: time.Now,
		becameReady: make(chan struct{}), failed: make(chan error, 1),
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	return a, nil
}

// Version is the release, or the commit between two releases, that Go's build
// recorded in the program.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func buildInfo() prometheus.Collector {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bluegate_build_info", Help: "Always 1; the labels say what is running.",
	}, []string{"version", "revision", "goversion"})
	g.WithLabelValues(Version(), revision, runtime.Version()).Set(1)
	return g
}

// Start opens both listeners and goes on starting in the background: until it is
// ready, calls get what the table says for a service that is starting.
func (a *App) Start(ctx context.Context) error {
	proxies, err := a.config.proxies()
	if err != nil {
		return err
	}
	if a.operator, err = listen(ctx, "admin_listen", a.config.AdminListen); err != nil {
		return err
	}
	a.closers.add(func(context.Context) { _ = a.operator.Close() })
	if a.listener, err = listen(ctx, "listen", a.config.Listen); err != nil {
		return err
	}
	a.closers.add(func(context.Context) { _ = a.listener.Close() })

	a.gateway.Store(gateway.New(gateway.Options{Logger: a.log, Ready: func() bool { return false }, Now: a.now, TrustedProxies: proxies}))

	// What is begun last is stopped first: no more calls, then no more work.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { a.boot(work) })
	a.closers.add(func(context.Context) {
		stop()
		running.Wait()
	})
	a.serve(a.operator, newHTTPServer(admin.New(admin.Options{Gatherer: a.registry, Ready: a.Ready, Pprof: a.config.Pprof})))
	tenants := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.gateway.Load().ServeHTTP(w, r) }))
	a.serve(limitPerAddress(a.listener, a.config.ConnectionsPerAddress, proxies), tenants)
	a.log.Info("listening", "tenants", a.listener.Addr().String(), "operators", a.operator.Addr().String(), "version", Version())
	return nil
}

// serve serves until the closers stop it; requests in work are finished.
func (a *App) serve(l net.Listener, s *http.Server) {
	s.ErrorLog = slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)
	if a.tune != nil {
		a.tune(s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("serve: %w", err))
		}
	}()
	a.closers.add(func(ctx context.Context) {
		if err := s.Shutdown(ctx); err != nil {
			a.log.Warn("some requests were cut at the end of the shutdown time", "error", err)
			_ = s.Close()
		}
		<-done
	})
}

func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// Failed delivers the error that made it impossible to go on.
func (a *App) Failed() <-chan error { return a.failed }

// Ready reports whether new calls should be sent here. While the app stops it is
// false, though the calls that still arrive are answered like any other.
func (a *App) Ready() bool { return a.ready.Load() && !a.stopping.Load() }

// WaitReady waits until the app is ready, fails, or ctx is done.
func (a *App) WaitReady(ctx context.Context) error {
	select {
	case <-a.becameReady:
		return nil
	case err := <-a.failed:
		a.fail(err)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop lets requests in work finish, at most for the configured time, and stops
// everything in the reverse order of its start.
func (a *App) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.config.ShutdownTimeout)
	defer cancel()
	a.stopping.Store(true)
	if a.listener != nil {
		a.log.Info("stopping", "longest", a.config.ShutdownTimeout.String())
	}
	a.closers.run(ctx)
}

// Addr and AdminAddr are where the app listens.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// AdminAddr is the operators' listener.
func (a *App) AdminAddr() net.Addr { return a.operator.Addr() }

// boot opens the database, as often as it takes, and starts the rest on it.
func (a *App) boot(ctx context.Context) {
	s, err := a.openStore(ctx)
	if err != nil {
		a.fail(err)
		return
	}
	defer func() { _ = s.Close() }()
	// Before the schema is touched: another process may be serving from it.
	release, err := s.LockServe()
	if err != nil {
		a.fail(err)
		return
	}
	defer release()
	if err := a.retry(ctx, "migrate the database", func() error { return s.Migrate(ctx) }); err != nil {
		a.fail(err)
		return
	}

	p := a.wire(s)
	a.parts.Store(p)
	defer p.client.Close()
	defer p.pool.Stop()
	if err := a.retry(ctx, "load tenants, servers and claims", func() error { return a.load(ctx, p) }); err != nil {
		a.fail(err)
		return
	}
	p.pool.Start(ctx)
	first, cancel := context.WithTimeout(ctx, a.config.ReadyTimeout)
	err = p.pool.WaitPolled(first)
	cancel()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.log.Warn("not every server was polled in the time for starting", "error", err)
	}
	a.ready.Store(true)
	close(a.becameReady)
	a.log.Info("ready", "tenants", len(p.directory.Tenants()), "servers", len(p.pool.Servers()))
	a.follow(ctx, p)
}

// openStore opens the database; while it is away it is tried again.
func (a *App) openStore(ctx context.Context) (*store.Store, error) {
	var s *store.Store
	err := a.retry(ctx, "open the database", func() (err error) {
		s, err = store.Open(ctx, store.Options{URL: a.config.database(), Key: a.key, Logger: a.log, Registerer: a.registry})
		return err
	})
	return s, err
}

// retry repeats what is unavailable until it works or the app stops; any other
// error is final.
func (a *App) retry(ctx context.Context, what string, do func() error) error {
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return err
		}
		a.log.Warn("starting takes longer: trying again", "step", what, "error", err, "in", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// wire puts the parts together. The pool and the registry need each other: the
// pool polls for the registry, the registry places on the pool.
func (a *App) wire(s *store.Store) *parts {
	c := a.config
	p := &parts{store: s, client: bbb.NewClient(bbb.ClientOptions{
		ConnectTimeout: c.ConnectTimeout,
		// Some more than calls in flight, so that a server whose calls all hang can still be polled.
		MaxConnsPerServer: maxCallsPerServer + 8,
	})}
	p.directory = tenant.NewDirectory(tenant.Options{
		Logger: a.log, Registerer: a.registry,
		Owners: func(id string) []int64 { return p.meetings.Owners(id, 8) },
	})
	p.pool = pool.New(pool.Options{
		Client: p.client, Logger: a.log, Registerer: a.registry,
		PollInterval: c.PollInterval, PollTimeout: c.PollTimeout, DownAfter: c.DownAfter, UpAfter: c.UpAfter,
		CallTimeout: c.CallTimeout, CreateTimeout: c.CreateTimeout, MaxCallsPerServer: maxCallsPerServer,
		Moment: func() int64 { return p.meetings.Moment() },
		Claims: func(id int64) []pool.Claimed { return p.meetings.OnServer(id) },
		InUse:  func(id int64) bool { return p.meetings.InUse(id) },
		Polled: func(ctx context.Context, poll pool.Poll) { p.meetings.Reconcile(ctx, poll) },
	})
	p.meetings = meeting.New(meeting.Options{
		Store: s, Servers: p.pool, Reserver: memory.New(time.Now, 0), Logger: a.log, Registerer: a.registry,
		RefKey: a.key.Derive("meeting-reference"),
		ScopeKey: func(id int64) (string, bool) {
			t, ok := p.directory.Tenant(id)
			return t.ScopeKey, ok
		},
		Limits: meeting.Limits{
			CreateTimeout: c.CreateTimeout, UnknownSettles: c.UnknownSettles, EndingWait: c.EndingWait, InfoCache: c.InfoCache,
			LostAfter: c.LostAfter, LostAfterEmpty: c.LostAfterEmpty, StaleAfter: c.StaleAfter, FeedStale: c.FeedStale,
			FeedOverlap: store.FeedWindow,
		},
	})
	proxies, _ := c.proxies() // checked at the start
	a.gateway.Store(gateway.New(gateway.Options{
		Directory: p.directory, Meetings: p.meetings, Servers: p.pool, Logger: a.log, Registerer: a.registry,
		Ready: a.ready.Load, Now: a.now, MaxBody: c.MaxBodyBytes, TrustedProxies: proxies, Before: a.gateway.Load(),
	}))
	return p
}

// load reads tenants, servers and live claims.
func (a *App) load(ctx context.Context, p *parts) error {
	if err := a.reload(ctx, p); err != nil {
		return err
	}
	return p.meetings.Load(ctx)
}

// reload takes over tenants and servers if they have changed. The version is
// read first: what changes while they are read is read again.
func (a *App) reload(ctx context.Context, p *parts) error {
	version, err := p.store.ConfigVersion(ctx)
	if err != nil || version == p.version && p.directory.Loaded() {
		return err
	}
	listing, err := p.store.Listing(ctx)
	if err != nil {
		return err
	}
	servers, err := p.store.Servers(ctx)
	if err != nil {
		return err
	}
	p.directory.Set(listing)
	p.pool.SetServers(servers)
	p.version = version
	return nil
}

// follow tails what other processes change, until the app stops.
func (a *App) follow(ctx context.Context, p *parts) {
	tick := time.NewTicker(a.config.FeedInterval)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := p.meetings.Tail(ctx)
		if err == nil {
			err = a.reload(ctx, p)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			a.log.Error("the database does not answer: rooms that are known go on from memory", "error", err)
		case err == nil && away:
			a.log.Info("the database answers again")
		}
		away = err != nil
	}
}
