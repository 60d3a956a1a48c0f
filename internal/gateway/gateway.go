// Package gateway is the tenants' edge: BBB calls in, BBB XML out. One file a
// call; failure.go holds every messageKey of our own.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// maxQuery is the longest raw query that is looked at, in bytes.
const maxQuery = 64 << 10

// Directory knows who is calling.
type Directory interface {
	Identify(ctx context.Context, w tenant.Where, call bbb.Call) (tenant.Caller, error)
	HostTenant(host string) (slug string, ok bool)
}

// Servers names servers, for logs.
type Servers interface {
	Server(id int64) (pool.Server, bool)
}

// Options wires a gateway.
type Options struct {
	Directory  Directory
	Meetings   *meeting.Registry
	Servers    Servers
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil for none
	Now        func() time.Time      // nil for time.Now
	// Ready reports whether calls can be answered; before, they get what the
	// table says for a service that is starting.
	Ready func() bool
	// Before is the gateway that answered until now, nil for none: whom it told
	// that we can't know is remembered.
	Before *Gateway
	// MaxBody is the largest request body in bytes; 0 for 64 MiB.
	MaxBody int64
	// TempDir holds large bodies while they are in work; "" for the system's.
	TempDir string
	// TrustedProxies are networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
}

// Gateway answers tenants' calls.
type Gateway struct {
	directory Directory
	meetings  *meeting.Registry
	servers   Servers
	log       *slog.Logger
	now       func() time.Time
	ready     func() bool
	proxies   []netip.Prefix
	metrics   *metrics
	brake     *brake
	unsure    *unsure
	bodies    *bodies
	pages     *pages
	calls     map[string]handler
	engine    *gin.Engine
}

// request is a call whose caller is known.
type request struct {
	*http.Request
	caller tenant.Caller
	call   bbb.Call // as it was signed, checksum included
}

type handler func(ctx context.Context, r *request) (answer, error)

// New returns a gateway.
func New(o Options) *Gateway {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 64 << 20
	}
	g := &Gateway{
		directory: o.Directory, meetings: o.Meetings, servers: o.Servers, log: o.Logger, now: o.Now, ready: o.Ready,
		proxies: o.TrustedProxies,
		brake:   newBrake(o.Now),
		unsure:  newUnsure(o.Now),
		bodies:  &bodies{limit: o.MaxBody, dir: o.TempDir},
		pages:   newPages(),
	}
	if o.Before != nil {
		g.unsure = o.Before.unsure
	}
	g.calls = map[string]handler{
		"create":           g.create,
		"join":             g.join,
		"isMeetingRunning": g.isMeetingRunning,
		"getMeetingInfo":   g.getMeetingInfo,
		"getMeetings":      g.getMeetings,
		"end":              g.end,
	}
	names := []string{"version", "other"}
	for name := range g.calls {
		names = append(names, name)
	}
	g.metrics = newMetrics(o.Registerer, names)
	g.engine = newEngine()
	g.engine.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	g.engine.GET("/readyz", g.readyz)
	g.engine.NoRoute(func(c *gin.Context) { g.serve(c.Writer, c.Request) })
	return g
}

// newEngine returns a gin engine that never redirects by itself.
func newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.HandleMethodNotAllowed = false
	return e
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.engine.ServeHTTP(w, r) }

func (g *Gateway) readyz(c *gin.Context) {
	if !g.ready() {
		c.String(http.StatusServiceUnavailable, "not ready\n")
		return
	}
	c.String(http.StatusOK, "ok\n")
}

// serve answers one request from its path to its log line.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	slug, name, ok := parsePath(r.URL.Path)
	if !ok {
		http.Error(w, "There is nothing here. A BigBlueButton API URL ends in /bigbluebutton/.", http.StatusNotFound)
		return
	}
	e := &event{began: g.now(), call: name}
	g.metrics.inFlight.Inc()
	defer g.metrics.inFlight.Dec()
	e.answer = g.answer(r, slug, name, e)
	e.bytes = g.write(w, r, e.answer)
	if g.calls[e.call] == nil && e.call != "version" {
		e.call = "other" // bounded labels
	}
	g.metrics.requests.WithLabelValues(e.call, e.answer.result).Inc()
	g.metrics.duration.WithLabelValues(e.call).Observe(g.now().Sub(e.began).Seconds())
	g.logEvent(r.Context(), r.Method, e)
}

// answer decides what a request is answered with. The loop brake comes before
// everything that costs anything.
func (g *Gateway) answer(r *http.Request, slug, name string, e *event) answer {
	if name == "" {
		e.call = "version"
		return xmlAnswer(bbb.Version())
	}
	switch name {
	case "create":
	case "getMeetingInfo":
		a := g.handle(r, slug, name, e)
		if g.unsure.check(a, e.tenant, func() string { return g.clientAddr(r).String() }) {
			return failed(name, errUnsure)
		}
		return a
	default:
		return g.handle(r, slug, name, e)
	}
	key := g.brake.key(r.Host, r.URL.Path, r.URL.RawQuery)
	if g.brake.on(key) {
		g.metrics.suppressed.Inc()
		return loopBroken()
	}
	a := g.handle(r, slug, name, e)
	switch a.result {
	case "ok":
		g.brake.succeeded(key)
	case "failed", "denied":
		if g.brake.refused(key) {
			g.metrics.suppressed.Inc()
			return loopBroken()
		}
	}
	return a
}

// handle checks what needs no caller, identifies the caller and lets the call's
// handler answer.
func (g *Gateway) handle(r *http.Request, slug, name string, e *event) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("panic", "call", name, "panic", p, "stack", string(debug.Stack()))
			a = g.failed(r, name, nil, errors.New("panic"), e)
		}
	}()
	handle := g.calls[name]
	switch {
	case len(r.URL.RawQuery) > maxQuery:
		return g.failed(r, name, nil, errQueryLong, e)
	case handle == nil, r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		return g.failed(r, name, nil, errUnsupported, e)
	case !g.ready():
		return g.failed(r, name, nil, errStarting, e)
	}
	if slug == "" {
		slug, _ = g.directory.HostTenant(r.Host)
	}
	req := &request{Request: r, call: bbb.Call{Name: name, Query: r.URL.RawQuery}}
	caller, err := g.directory.Identify(r.Context(), tenant.Where{Slug: slug, Addr: g.clientAddr(r)}, req.call)
	if err != nil {
		e.reason = string(tenant.ReasonOf(err))
		return g.failed(r, name, nil, err, e)
	}
	req.caller, e.tenant = caller, caller.Tenant.Slug
	if caller.Expired {
		if err := g.servesExpired(r.Context(), req); err != nil {
			e.reason = "expired"
			return g.failed(r, name, nil, err, e)
		}
	}
	a, err = handle(r.Context(), req)
	if err != nil {
		return g.failed(r, name, req, err, e)
	}
	return a
}

// servesExpired returns nil when the call is about a meeting that was created
// with the expired secret it is signed with. Not knowing that is no refusal: it
// would tell an LMS that its class is over.
func (g *Gateway) servesExpired(ctx context.Context, r *request) error {
	id := r.call.Value("meetingID")
	if id == "" {
		return errChecksum
	}
	secretID, err := g.meetings.CreatedWith(ctx, r.caller.Tenant.ID, id)
	switch {
	case fault.Is(err, fault.NotFound), err == nil && secretID != r.caller.SecretID:
		return errChecksum
	}
	return err
}

func (g *Gateway) failed(r *http.Request, name string, req *request, err error, e *event) answer {
	if e.reason == "" { // else the cause only repeats it
		e.cause = fault.As(err).Err
	}
	if name == "join" {
		return g.joinFailed(r, req, err)
	}
	return failed(name, err)
}

// write sends an answer and returns how many bytes its body has.
func (g *Gateway) write(w http.ResponseWriter, r *http.Request, a answer) int {
	h := w.Header()
	h["Cache-Control"] = noCache
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.retry {
		h.Set("Retry-After", retryAfter)
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	for _, c := range a.cookies {
		h.Add("Set-Cookie", c)
	}
	if r.ContentLength != 0 {
		// Clients that count characters send more bytes than they announced.
		h.Set("Connection", "close")
	}
	w.WriteHeader(a.status)
	n, _ := w.Write(a.body) // a client that went away is not our failure
	return n
}

var noCache = []string{"no-cache"} //nolint:gochecknoglobals // shared, never changed

// clientAddr is where a request comes from: the connection's address or, behind
// trusted proxies, the last address in X-Forwarded-For that isn't one of theirs.
func (g *Gateway) clientAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	if !g.trusted(addr) {
		return addr
	}
	hops := forwardedFor(r.Header)
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(hops[i])
		if err != nil {
			return addr
		}
		addr = hop.Unmap()
		if !g.trusted(addr) {
			break
		}
	}
	return addr
}

func (g *Gateway) trusted(addr netip.Addr) bool {
	for _, p := range g.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (g *Gateway) serverName(id int64) string {
	if s, ok := g.servers.Server(id); ok {
		return s.Name
	}
	return ""
}
