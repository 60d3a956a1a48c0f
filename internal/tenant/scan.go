package tenant

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/bluegate/bluegate/internal/bbb"
)

// cancelEvery is after how many candidates the scan looks whether the caller is
// still there: a few hundred microseconds.
const cancelEvery = 512

// scans is the budget of the scan over all shared secrets: one at a time in the
// process, a short bounded queue, and per address a bucket of scans that may
// find nothing.
type scans struct {
	slot       chan struct{}
	queue      time.Duration
	waiting    atomic.Int64
	maxWaiting int64

	rate    rate.Limit
	burst   int
	mu      sync.Mutex
	buckets *simplelru.LRU[netip.Addr, *rate.Limiter]
}

func newScans(o Options) *scans {
	return &scans{
		slot:       make(chan struct{}, 1),
		queue:      o.ScanQueue,
		maxWaiting: int64(o.ScanWaiters),
		rate:       rate.Limit(o.ScanRate),
		burst:      o.ScanBurst,
		buckets:    newLRU[netip.Addr, *rate.Limiter](o.RecentAddresses),
	}
}

// acquire waits for the scan's slot; false when there is none to be had.
func (s *scans) acquire(ctx context.Context) bool {
	select {
	case s.slot <- struct{}{}:
		return true
	default:
	}
	if s.waiting.Add(1) > s.maxWaiting {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	timeout := time.NewTimer(s.queue)
	defer timeout.Stop()
	select {
	case s.slot <- struct{}{}:
		return true
	case <-timeout.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (s *scans) release() { <-s.slot }

// allowed reports whether the address has a fruitless scan left.
func (s *scans) allowed(addr netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, ok := s.buckets.Get(addr)
	return !ok || bucket.TokensAt(now) >= 1
}

// fruitless charges the address with a scan that found nothing.
func (s *scans) fruitless(addr netip.Addr, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, ok := s.buckets.Get(addr)
	if !ok {
		bucket = rate.NewLimiter(s.rate, s.burst)
		s.buckets.Add(addr, bucket)
	}
	bucket.AllowN(now, 1)
	for { // a bucket that is full again says nothing
		oldest, b, ok := s.buckets.GetOldest()
		if !ok || b.TokensAt(now) < float64(s.burst) {
			return
		}
		s.buckets.Remove(oldest)
	}
}

// scan tries every shared secret, within the budget.
func (d *Directory) scan(
	ctx context.Context, ix *index, fp fingerprint, addr netip.Addr, v *bbb.Verifier,
) (found, step, Reason) {
	if !d.scans.allowed(addr, d.o.Now()) || !d.scans.acquire(ctx) {
		return found{}, byScan, Busy
	}
	defer d.scans.release()
	now := d.o.Now()
	// The scan before may have been for the same LMS: after a start, its calls
	// come in dozens.
	if who, by := d.recall(ix, fp, addr, v, now); who.secret != nil {
		return who, by, ""
	}
	if !d.scans.allowed(addr, now) { // those before in the queue used it up
		return found{}, byScan, Busy
	}
	who, err := ix.scan(ctx, v)
	switch {
	case err != nil:
		return found{}, byScan, Busy
	case who.secret == nil:
		d.scans.fruitless(addr, now)
		return found{}, byScan, BadChecksum
	}
	d.recent.note(fp, holder{who.entry.tenant.ID, who.secret.id}, addr, now)
	return who, byScan, ""
}

// scan returns the tenant and shared secret that the call was signed with. The
// error is the context's.
func (ix *index) scan(ctx context.Context, v *bbb.Verifier) (found, error) {
	start := 0
	for i, end := range ix.ends {
		if i%cancelEvery == 0 && ctx.Err() != nil {
			return found{}, ctx.Err()
		}
		if v.Match(ix.values[start:end]) {
			return ix.owners[i], nil
		}
		start = end
	}
	return found{}, nil
}
