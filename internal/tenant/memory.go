package tenant

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// recentTenants is how many tenants are remembered of an address: an LMS
	// host may serve several.
	recentTenants = 4
	// addressMemory is how long an address that doesn't come back is remembered.
	addressMemory = 12 * time.Hour
)

// fingerprint identifies a call with its checksum, see bbb.Verifier.
type fingerprint = [32]byte

// holder names the secret a call was signed with. Names, not values: what is
// remembered is looked up in the index of the moment and verified again.
type holder struct {
	tenantID, secretID int64
}

// visits is which tenants called from an address, the last one first.
type visits struct {
	tenants [recentTenants]int64 // 0 = none
	seen    time.Time
}

// memory holds who called a moment ago, bounded in size: calls, because LMSs
// repeat identical URLs, and addresses, because one LMS has one tenant.
type memory struct {
	mu        sync.Mutex
	calls     *simplelru.LRU[fingerprint, holder]
	addresses *simplelru.LRU[netip.Addr, *visits]
}

func newMemory(calls, addresses int) *memory {
	return &memory{
		calls:     newLRU[fingerprint, holder](calls),
		addresses: newLRU[netip.Addr, *visits](addresses),
	}
}

func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	lru, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil { // the size isn't positive, which Options rules out
		panic(err)
	}
	return lru
}

// addressKey returns what an address is remembered as: of IPv6 the network,
// because a host has any number of addresses in it.
func addressKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// call returns who made the very same call before.
func (m *memory) call(fp fingerprint) (holder, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls.Get(fp)
}

// visits returns which tenants called from an address.
func (m *memory) visits(addr netip.Addr, now time.Time) visits {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.addresses.Get(addr)
	if !ok || now.Sub(v.seen) > addressMemory {
		return visits{}
	}
	return *v
}

// note remembers a verified call and its address.
func (m *memory) note(call fingerprint, h holder, addr netip.Addr, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls.Add(call, h)
	m.visit(addr, h.tenantID, now)
}

// noteAddress remembers that a tenant called from an address.
func (m *memory) noteAddress(addr netip.Addr, tenantID int64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.visit(addr, tenantID, now)
}

func (m *memory) visit(addr netip.Addr, tenantID int64, now time.Time) {
	if !addr.IsValid() {
		return
	}
	v, ok := m.addresses.Get(addr)
	if !ok {
		v = &visits{}
		m.addresses.Add(addr, v)
	}
	at := slices.Index(v.tenants[:], tenantID)
	if at < 0 {
		at = recentTenants - 1
	}
	copy(v.tenants[1:at+1], v.tenants[:at])
	v.tenants[0], v.seen = tenantID, now
	for {
		oldest, v, ok := m.addresses.GetOldest()
		if !ok || now.Sub(v.seen) <= addressMemory {
			return
		}
		m.addresses.Remove(oldest)
	}
}

// forget drops everything about secrets that gone reports.
func (m *memory) forget(gone func(tenantID, secretID int64) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, call := range m.calls.Keys() {
		if h, ok := m.calls.Peek(call); ok && gone(h.tenantID, h.secretID) {
			m.calls.Remove(call)
		}
	}
}
