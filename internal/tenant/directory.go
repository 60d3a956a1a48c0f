package tenant

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// Options are what a directory needs; the zero value of each has a default.
type Options struct {
	Logger     *slog.Logger          // nil = silent
	Registerer prometheus.Registerer // nil = metrics that nobody reads
	Now        func() time.Time      // nil = time.Now

	// Owners returns the tenants that own a live meeting of that external or
	// internal ID; at most 8 are tried. It is asked on every call on the shared
	// URL, so it must answer from memory. nil = nobody owns anything.
	Owners func(meetingID string) []int64

	ScanQueue   time.Duration // longest wait for the scan; 0 = 50 ms
	ScanWaiters int           // callers that may wait for it at once; 0 = 64
	ScanRate    float64       // scans a second and address that may find nothing; 0 = 1
	ScanBurst   int           // as many at once; 0 = 20

	RecentCalls     int // verified calls that are remembered; 0 = 65,536
	RecentAddresses int // client addresses that are remembered; 0 = 16,384
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Owners == nil {
		o.Owners = func(string) []int64 { return nil }
	}
	if o.ScanQueue <= 0 {
		o.ScanQueue = 50 * time.Millisecond
	}
	if o.ScanWaiters <= 0 {
		o.ScanWaiters = 64
	}
	if o.ScanRate <= 0 {
		o.ScanRate = 1
	}
	if o.ScanBurst <= 0 {
		o.ScanBurst = 20
	}
	if o.RecentCalls <= 0 {
		o.RecentCalls = 1 << 16
	}
	if o.RecentAddresses <= 0 {
		o.RecentAddresses = 1 << 14
	}
	return o
}

const (
	// maxOwners bounds how many owners of a meeting ID are tried: external IDs
	// such as "1" may be in use by very many tenants.
	maxOwners = 8
	// slugTries is how many checksums a refusal by slug costs at least, so that
	// a tenant with an old and a new secret takes as long as one that doesn't exist.
	slugTries = 2
)

// Directory knows every tenant and tells which of them is calling. It is safe
// for concurrent use; Set swaps what it knows as a whole.
type Directory struct {
	o       Options
	index   atomic.Pointer[index]
	recent  *memory
	scans   *scans
	metrics *metrics
	// verifiers holds *bbb.Verifier that were used before: making one costs as
	// much as the checksum.
	verifiers sync.Pool
}

// NewDirectory returns a directory that is empty until the first Set.
func NewDirectory(o Options) *Directory {
	o = o.withDefaults()
	return &Directory{
		o:         o,
		recent:    newMemory(o.RecentCalls, o.RecentAddresses),
		scans:     newScans(o),
		metrics:   newMetrics(o.Registerer),
		verifiers: sync.Pool{New: func() any { return new(bbb.Verifier) }},
	}
}

// Set replaces everything the directory knows. Calls that began before may
// still be judged by the old listing. What is remembered of recent callers
// stays valid, but for secrets and tenants that are gone.
func (d *Directory) Set(l Listing) {
	ix := newIndex(l, d.o.Logger)
	old := d.index.Swap(ix)
	if old != nil && old.lostSecrets(ix) {
		d.recent.forget(func(tenantID, secretID int64) bool { return ix.secret(tenantID, secretID) == nil })
	}
}

// Loaded reports whether there was a Set.
func (d *Directory) Loaded() bool { return d.index.Load() != nil }

// Tenant returns a tenant by ID.
func (d *Directory) Tenant(id int64) (Tenant, bool) {
	return d.index.Load().byID(id).tenantOrNone()
}

// Tenants returns every tenant, by ID.
func (d *Directory) Tenants() []Tenant {
	ix := d.index.Load()
	if ix == nil {
		return nil
	}
	return slices.Clone(ix.tenants)
}

// HostTenant returns the slug of the tenant that a Host header stands for: its
// port and a trailing dot are ignored, as is case.
func (d *Directory) HostTenant(host string) (slug string, ok bool) {
	ix := d.index.Load()
	if ix == nil {
		return "", false
	}
	slug, ok = ix.hosts[hostName(host)]
	return slug, ok
}

// hostName returns a Host header's name in the form that hosts are compared in.
func hostName(host string) string {
	if end := strings.IndexByte(host, ']'); strings.HasPrefix(host, "[") && end > 0 {
		host = host[1:end] // an IPv6 address
	} else if strings.Count(host, ":") == 1 {
		host = host[:strings.IndexByte(host, ':')]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Where says through which door a call came.
type Where struct {
	Slug string     // of the path or the host name; "" = the shared URL
	Addr netip.Addr // the client's address; invalid when unknown
}

// Caller is who made a call.
type Caller struct {
	Tenant    Tenant
	SecretID  int64
	Expired   bool // the secret's time is over: only rooms made with it are served
	Algorithm bbb.Algorithm
}

// Identify returns the tenant whose secret the call was signed with. A suspended
// tenant and an expired secret verify too: the caller says so.
//
// Errors are of kind Denied, alike whatever is wrong ("checksumError"), and
// Unavailable when it could not be found out: "overloaded" when the scan on the
// shared URL is out of budget, "starting" before the first Set. Their cause is
// a *Refusal, which is for the log only.
func (d *Directory) Identify(ctx context.Context, w Where, call bbb.Call) (Caller, error) {
	ix := d.index.Load()
	if ix == nil {
		return Caller{}, fault.New(fault.Unavailable, "starting", "The service is starting. Please try again in a moment.")
	}
	v := d.verifiers.Get().(*bbb.Verifier)
	defer d.verifiers.Put(v)
	v.Reset(call)
	now := d.o.Now()
	var (
		who    found
		by     = bySlug
		reason Reason
	)
	if w.Slug != "" {
		who, reason = ix.identifyBySlug(w.Slug, v)
	} else {
		who, by, reason = d.identifyShared(ctx, ix, now, addressKey(w.Addr), call, v)
	}
	if who.secret == nil {
		if reason == BadChecksum {
			reason = reasonOfChecksum(call, v)
		}
		return Caller{}, d.refuse(ctx, reason)
	}
	d.metrics.identified[by].Inc()
	return Caller{
		Tenant:    who.entry.tenant,
		SecretID:  who.secret.id,
		Expired:   who.secret.expired(now),
		Algorithm: v.Algorithm(),
	}, nil
}

// identifyBySlug tries the secrets of one tenant. A tenant that doesn't exist
// costs as much as one that does.
func (ix *index) identifyBySlug(slug string, v *bbb.Verifier) (found, Reason) {
	e, reason := ix.bySlug(slug), BadChecksum
	if e == nil {
		reason = UnknownTenant
	} else if s := e.match(v, false); s != nil {
		return found{e, s}, ""
	}
	tries := 0
	if e != nil {
		tries = len(e.secrets)
	}
	for ; tries < slugTries; tries++ {
		v.Match(dummySecret[:]) // for the time it takes
	}
	return found{}, reason
}

// identifyShared finds the tenant on the shared URL, the likeliest first. Only
// the last step has a cost that grows with the number of tenants, and a budget.
func (d *Directory) identifyShared(
	ctx context.Context, ix *index, now time.Time, addr netip.Addr, call bbb.Call, v *bbb.Verifier,
) (found, step, Reason) {
	if !v.Possible() {
		// Nothing could match, which is no secret to a caller that sent no checksum.
		return found{}, byScan, BadChecksum
	}
	if who := d.ownerOf(ix, call, v); who.secret != nil {
		d.recent.noteAddress(addr, who.entry.tenant.ID, now)
		return who, byMeeting, ""
	}
	fp := v.Fingerprint()
	if who, by := d.recall(ix, fp, addr, v, now); who.secret != nil {
		return who, by, ""
	}
	return d.scan(ctx, ix, fp, addr, v)
}

// ownerOf tries the tenants that own the meeting the call is about.
func (d *Directory) ownerOf(ix *index, call bbb.Call, v *bbb.Verifier) found {
	var tried [maxOwners]int64
	n := 0
	for _, name := range [...]string{"meetingID", "recordID"} {
		if name == "recordID" && !strings.Contains(call.Name, "Recording") {
			break // no other call has one
		}
		id, _, _ := strings.Cut(call.Value(name), ",") // both may be lists; no ID holds a comma
		id = bbb.Sanitize(id)
		if id == "" {
			continue
		}
		for _, tenantID := range d.o.Owners(id) {
			if slices.Contains(tried[:n], tenantID) {
				continue
			}
			if n == maxOwners {
				return found{}
			}
			tried[n] = tenantID
			n++
			e := ix.byID(tenantID)
			if s := e.match(v, true); s != nil {
				return found{e, s}
			}
		}
	}
	return found{}
}

// recall tries what is remembered of the call and of the address. Nothing
// remembered is believed: the checksum is verified against the secret as it is
// now.
func (d *Directory) recall(
	ix *index, fp fingerprint, addr netip.Addr, v *bbb.Verifier, now time.Time,
) (found, step) {
	if h, ok := d.recent.call(fp); ok {
		if s := ix.secret(h.tenantID, h.secretID); s != nil && s.shared && v.Match(s.value) {
			return found{ix.byID(h.tenantID), s}, byCall
		}
	}
	last := d.recent.visits(addr, now)
	for i, id := range last.tenants {
		e := ix.byID(id)
		s := e.match(v, true)
		if s == nil {
			continue
		}
		switch {
		case i > 0:
			d.recent.note(fp, holder{id, s.id}, addr, now)
		case now.Sub(last.seen) > time.Minute:
			d.recent.noteAddress(addr, id, now)
		default:
			// Nothing new: the call would be found the same way next time.
		}
		return found{e, s}, byAddress
	}
	return found{}, byCall
}

func (d *Directory) refuse(ctx context.Context, reason Reason) error {
	d.metrics.failures[reason].Inc()
	if reason == Busy {
		return fault.Wrap(fault.Unavailable, "overloaded", "The service is busy. Please try again in a moment.",
			&Refusal{Reason: reason, Err: context.Cause(ctx)})
	}
	return fault.Wrap(fault.Denied, "checksumError", "Checksums do not match", &Refusal{Reason: reason})
}

// reasonOfChecksum says what is wrong with a checksum that didn't match.
func reasonOfChecksum(call bbb.Call, v *bbb.Verifier) Reason {
	switch {
	case v.Algorithm() != bbb.NoAlgorithm:
		return BadChecksum
	case call.Checksum() == "":
		return Missing
	default:
		return Algorithm
	}
}

// Reason says why a caller was refused. It is for the log and a metric, never
// for the caller.
type Reason string

// The reasons.
const (
	UnknownTenant Reason = "unknown_tenant" // no tenant has the slug
	BadChecksum   Reason = "bad_checksum"   // no secret matches
	Missing       Reason = "missing"        // there is no checksum
	Algorithm     Reason = "algorithm"      // no algorithm makes checksums of that length
	Busy          Reason = "busy"           // the scan had no budget left
)

// Refusal is the cause of an error of Identify.
type Refusal struct {
	Reason Reason
	Err    error // why waiting for the scan ended, if the caller's context did
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Err != nil {
		return "caller not identified (" + string(r.Reason) + "): " + r.Err.Error()
	}
	return "caller not identified (" + string(r.Reason) + ")"
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// ReasonOf returns why Identify refused; "" when err is no refusal.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	return ""
}
