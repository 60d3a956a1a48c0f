package gateway

import (
	"hash/maphash"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// The loop brake. Chamilo 1.10 to 1.11.32 repeats a refused create byte for
// byte, hundreds of times a second, until SUCCESS or a body that isn't XML.
const (
	brakeAfter  = 3 // the third identical refusal is no XML any more
	brakeWindow = time.Minute
	brakeSize   = 16384 // requests remembered
)

// brake counts refusals of identical requests, of this replica, in bounded memory.
type brake struct {
	now  func() time.Time
	seed maphash.Seed
	mu   sync.Mutex
	m    *lru.Cache[uint64, refusals]
}

type refusals struct {
	first time.Time
	count int
}

func newBrake(now func() time.Time) *brake {
	m, err := lru.New[uint64, refusals](brakeSize)
	if err != nil { // only for a size that is not positive
		panic(err)
	}
	return &brake{now: now, seed: maphash.MakeSeed(), m: m}
}

func (b *brake) key(host, path, query string) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	for _, s := range [...]string{host, "\x00", path, "?", query} {
		_, _ = h.WriteString(s)
	}
	return h.Sum64()
}

// on reports whether the request was refused too often a moment ago.
func (b *brake) on(key uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.m.Peek(key)
	return ok && r.count >= brakeAfter && b.now().Sub(r.first) < brakeWindow
}

// refused counts a refusal and reports whether it is one too many.
func (b *brake) refused(key uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.m.Get(key)
	if !ok || b.now().Sub(r.first) >= brakeWindow {
		r = refusals{first: b.now()}
	}
	r.count++
	b.m.Add(key, r)
	return r.count >= brakeAfter
}

// succeeded forgets a request's refusals.
func (b *brake) succeeded(key uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m.Remove(key)
}
