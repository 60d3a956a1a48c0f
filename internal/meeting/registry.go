package meeting

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

// Servers is what the registry needs of the pool.
type Servers interface {
	Server(id int64) (pool.Server, bool)
	Servers() []pool.Server
	Health(id int64) pool.Health
	DownSince(id int64) (time.Time, bool)
	Snapshot(id int64) *pool.Snapshot
	PollNow(ctx context.Context, id int64) (pool.Poll, error)
	Call(ctx context.Context, id int64, c pool.Call) (bbb.Response, error)
	JoinURL(id int64, c bbb.Call) (string, error)
	Candidates(ask pool.Ask) []pool.Candidate
}

// Reserver picks a server among candidates and holds seats on it in one step.
type Reserver interface {
	Reserve(ctx context.Context, candidates []pool.Candidate, ref string, seats int) (int64, error)
	Release(ctx context.Context, ref string)
}

// Options wires a registry. Durations that are zero take their defaults.
type Options struct {
	Store      Store
	Servers    Servers
	Reserver   Reserver
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil for none
	Now        func() time.Time      // nil for time.Now
	// RefKey is the key of the MAC over references in meetings' metadata.
	RefKey []byte
	// ScopeKey returns a tenant's scope key.
	ScopeKey func(tenantID int64) (string, bool)

	Limits Limits
}

// Limits are the registry's times. The names are those of the configuration.
type Limits struct {
	// CreateTimeout is the longest a server may take to answer a create.
	CreateTimeout time.Duration // 8 s
	// UnknownSettles is how long after its deadline an unknown create may still
	// turn up; a look that began later decides.
	UnknownSettles time.Duration // 30 s
	// EndingWait is how long a create waits for the room's old life to go.
	EndingWait time.Duration // 3 s
	// InfoCache is how long a server's answer about a live meeting is passed on
	// again; negative switches caching and coalescing off.
	InfoCache time.Duration // 1 s
	// LostAfter and LostAfterEmpty are how long a server must be down before its
	// meetings with people, and those without, are given up.
	LostAfter      time.Duration // 10 min
	LostAfterEmpty time.Duration // 90 s
	// StaleAfter bounds the age of a snapshot that is shown instead of an answer.
	StaleAfter time.Duration // 10 min
	// FeedStale is the age of the change feed above which reads go to SQL.
	FeedStale time.Duration // 2 s
	// FeedOverlap is how long a change may stay invisible after its sequence
	// number was given out: longer than the store's longest transaction.
	FeedOverlap time.Duration // 10 s
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.CreateTimeout, 8 * time.Second},
		{&l.UnknownSettles, 30 * time.Second},
		{&l.EndingWait, 3 * time.Second},
		{&l.InfoCache, time.Second},
		{&l.LostAfter, 10 * time.Minute},
		{&l.LostAfterEmpty, 90 * time.Second},
		{&l.StaleAfter, 10 * time.Minute},
		{&l.FeedStale, 2 * time.Second},
		{&l.FeedOverlap, 10 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// Registry knows which room lives on which server. SQL is its truth; what it
// holds in memory is positive knowledge that the change feed confirms.
type Registry struct {
	store   Store
	servers Servers
	reserve Reserver
	log     *slog.Logger
	now     func() time.Time
	refKey  []byte
	scope   func(tenantID int64) (string, bool)
	limits  Limits
	metrics *metrics

	routes  *routes
	feed    feed
	flights flights
	answers answers

	lastMu sync.Mutex
	last   map[int64]int64 // server, what was known before its last poll

	unsavedMu sync.Mutex
	unsaved   map[int64]Claim // confirmed by a server, not yet by the store
}

// New returns a registry that knows nothing yet: Load it.
func New(o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{
		store: o.Store, servers: o.Servers, reserve: o.Reserver,
		log: o.Logger, now: o.Now, refKey: o.RefKey, scope: o.ScopeKey,
		limits:  o.Limits.withDefaults(),
		metrics: newMetrics(o.Registerer),
		routes:  newRoutes(),
		last:    map[int64]int64{},
		unsaved: map[int64]Claim{},
	}
	r.answers.init(r.limits.InfoCache, o.Now)
	return r
}

// Owners returns up to most tenants that own a live meeting with that external
// or internal ID.
func (r *Registry) Owners(meetingID string, most int) []int64 {
	return r.routes.owners(meetingID, most)
}

// Moment numbers what is known now; a poll that records it before it is sent
// cannot judge claims that became known later.
func (r *Registry) Moment() int64 { return r.routes.now() }

// InUse reports whether a live or lost meeting is known on a server.
func (r *Registry) InUse(serverID int64) bool { return len(r.routes.onServer(serverID)) > 0 }

// OnServer returns what is known to live on a server, for its load.
func (r *Registry) OnServer(serverID int64) []pool.Claimed {
	list := r.routes.onServer(serverID)
	claimed := make([]pool.Claimed, 0, len(list))
	for _, e := range list {
		if e.State.Live() {
			claimed = append(claimed, pool.Claimed{Ref: e.Ref, InternalID: e.InternalID, Seats: e.Seats, Since: e.CreatedAt})
		}
	}
	return claimed
}

// find returns the claim, live or lost, that an ID of the tenant's names: the
// external ID, else an internal one. NotFound rests on a reading of SQL that
// began after the call; Unavailable means that nothing is known.
func (r *Registry) find(ctx context.Context, tenantID int64, id string) (Claim, error) {
	known, ok := r.routes.find(tenantID, id)
	ok = ok && !known.over()
	if ok {
		switch r.feed.state(r.now(), r.limits.FeedStale) {
		case feedDown:
			return known.Claim, nil
		case feedFresh:
			if known.State == Running || known.State == Ending { // the others pass soon
				return known.Claim, nil
			}
		case feedStale:
		}
	}
	c, err := r.read(ctx, tenantID, id)
	if fault.Is(err, fault.NotFound) && looksInternal(id) {
		c, err = r.asRead(r.store.ByInternalID(ctx, tenantID, id))
	}
	if fault.Is(err, fault.Unavailable) && ok {
		return known.Claim, nil
	}
	return c, err
}

// read returns the claim of the room with that external ID, from SQL alone.
func (r *Registry) read(ctx context.Context, tenantID int64, externalID string) (Claim, error) {
	return r.asRead(r.store.Room(ctx, tenantID, externalID))
}

// asRead takes over what was read from SQL. A meeting that is over for the tenant
// is none.
func (r *Registry) asRead(c Claim, err error) (Claim, error) {
	if err != nil {
		return Claim{}, err
	}
	r.routes.apply(c, r.now())
	if c.over() {
		return Claim{}, ErrNotFound
	}
	// What a server confirmed and the store could not take yet is newer.
	if known, ok := r.routes.byClaim(c.ID); ok && known.Seq == c.Seq {
		return known.Claim, nil
	}
	return c, nil
}

// looksInternal reports whether an ID has the form of BBB's internal ones:
// 40 hex digits, a dash, milliseconds.
func looksInternal(id string) bool {
	return len(id) > 41 && len(id) < 64 && id[40] == '-'
}

// move advances a claim's row and what is known of it. When the row has moved
// meanwhile, Conflict is returned and the routes hold what it is now.
func (r *Registry) move(ctx context.Context, from, to Claim) (Claim, error) {
	if !from.State.CanBecome(to.State) {
		return from, fault.Newf(fault.Internal, "claimTransition", "a claim cannot go from %s to %s", from.State, to.State)
	}
	moved, err := r.store.Move(ctx, from.TenantID, from, to)
	if err == nil {
		r.routes.apply(moved, r.now())
		r.dropUnsaved(moved.ID)
		return moved, nil
	}
	if fault.Is(err, fault.Conflict) {
		if _, rerr := r.read(ctx, from.TenantID, from.ExternalID); fault.Is(rerr, fault.NotFound) {
			r.routes.drop(from)
		}
	}
	return from, err
}

// settleMove is move for a proposal of our own (a poll's, a look's): when the
// row has moved or the store is away, the next look proposes again.
func (r *Registry) settleMove(ctx context.Context, from, to Claim, why string) (Claim, bool) {
	moved, err := r.move(ctx, from, to)
	switch {
	case err == nil:
		r.log.LogAttrs(ctx, slog.LevelInfo, "claim moved",
			slog.Int64("claim", from.ID), slog.Int64("tenant_id", from.TenantID), slog.Int64("server_id", from.ServerID),
			slog.String("from", string(from.State)), slog.String("to", string(to.State)), slog.String("why", why))
		return moved, true
	case fault.Is(err, fault.Conflict), fault.Is(err, fault.NotFound):
	default:
		r.log.LogAttrs(ctx, slog.LevelWarn, "claim not moved",
			slog.Int64("claim", from.ID), slog.String("to", string(to.State)), slog.String("error", err.Error()))
	}
	return from, false
}

func (r *Registry) keepUnsaved(c Claim) {
	r.unsavedMu.Lock()
	defer r.unsavedMu.Unlock()
	r.unsaved[c.ID] = c
}

func (r *Registry) dropUnsaved(id int64) {
	r.unsavedMu.Lock()
	defer r.unsavedMu.Unlock()
	delete(r.unsaved, id)
}

// saveUnsaved writes what servers confirmed while the store was away.
func (r *Registry) saveUnsaved(ctx context.Context) {
	r.unsavedMu.Lock()
	pending := make([]Claim, 0, len(r.unsaved))
	for _, c := range r.unsaved {
		pending = append(pending, c)
	}
	r.unsavedMu.Unlock()
	for _, c := range pending {
		row, err := r.store.Room(ctx, c.TenantID, c.ExternalID)
		if fault.Is(err, fault.Unavailable) {
			return
		}
		if err != nil || row.ID != c.ID || row.State != Claimed && row.State != Unknown {
			r.dropUnsaved(c.ID)
			continue
		}
		to := row
		to.State, to.InternalID, to.CreateTime, to.Answer = Running, c.InternalID, c.CreateTime, c.Answer
		to.AttendeePW, to.ModeratorPW = c.AttendeePW, c.ModeratorPW
		if _, ok := r.settleMove(ctx, row, to, "confirmed while the store was away"); !ok {
			continue
		}
		r.dropUnsaved(c.ID)
	}
}

// notSent reports whether a call had no effect: no connection was established.
func notSent(err error) bool {
	e, ok := errors.AsType[*bbb.CallError](err)
	return ok && !e.Sent
}
