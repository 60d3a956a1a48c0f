package tenant

import (
	"cmp"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/bluegate/bluegate/internal/bbb"
)

// dummySecret is what a call to a tenant that doesn't exist is verified
// against. A match with it counts as none.
var dummySecret = [40]byte{} //nolint:gochecknoglobals // a constant

// index is a listing made ready for look-ups. It is never changed.
type index struct {
	tenants []Tenant // by ID
	ids     map[int64]*entry
	slugs   map[string]*entry
	hosts   map[string]string // name -> slug
	// The shared secrets of all tenants end to end, for the scan: candidate i is
	// values[ends[i-1]:ends[i]] and belongs to owners[i].
	values []byte
	ends   []int
	owners []found
}

// entry is a tenant with its usable secrets, in the listing's order.
type entry struct {
	tenant  Tenant
	secrets []secret
}

type secret struct {
	id        int64
	value     []byte
	shared    bool
	expiresAt time.Time // zero = never
}

func (s *secret) expired(now time.Time) bool {
	return !s.expiresAt.IsZero() && !s.expiresAt.After(now)
}

// found is a tenant and the secret of its that matched; both nil when none did.
type found struct {
	entry  *entry
	secret *secret
}

func newIndex(l Listing, log *slog.Logger) *index {
	ix := &index{
		tenants: slices.Clone(l.Tenants),
		ids:     make(map[int64]*entry, len(l.Tenants)),
		slugs:   make(map[string]*entry, len(l.Tenants)),
		hosts:   make(map[string]string, len(l.Hosts)),
	}
	slices.SortFunc(ix.tenants, func(a, b Tenant) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range ix.tenants {
		e := &entry{tenant: t}
		ix.ids[t.ID], ix.slugs[t.Slug] = e, e
	}
	ix.addHosts(l.Hosts, log)
	for _, s := range l.Secrets {
		e := ix.ids[s.TenantID]
		// Anybody can sign with an empty secret.
		if e == nil || s.RevokedAt != nil || s.Value == "" {
			continue
		}
		u := secret{
			id: s.ID, value: []byte(s.Value),
			shared: s.Shared && utf8.RuneCountInString(s.Value) >= MinSharedSecret,
		}
		if s.ExpiresAt != nil {
			u.expiresAt = *s.ExpiresAt
		}
		e.secrets = append(e.secrets, u)
	}
	ix.unshareDoubles(log)
	ix.flatten()
	return ix
}

func (ix *index) addHosts(hosts []Host, log *slog.Logger) {
	for _, h := range hosts {
		e, name := ix.ids[h.TenantID], hostName(h.Name)
		if e == nil || name == "" {
			continue
		}
		if other, ok := ix.hosts[name]; ok && other != e.tenant.Slug {
			// Names that the database took for two may be one here. Which tenant
			// is meant can't be known, so it is neither.
			log.Error("a host name stands for more than one tenant and is ignored", "host", name)
			ix.hosts[name] = ""
			continue
		}
		ix.hosts[name] = e.tenant.Slug
	}
	for name, slug := range ix.hosts {
		if slug == "" {
			delete(ix.hosts, name)
		}
	}
}

// unshareDoubles takes secrets that more than one tenant has off the shared URL.
// The listing should have done so; one tenant must never be taken for another.
func (ix *index) unshareDoubles(log *slog.Logger) {
	holders := make(map[string]int64) // value -> tenant; 0 = several
	each := func(visit func(e *entry, s *secret)) {
		for _, t := range ix.tenants {
			e := ix.ids[t.ID]
			for i := range e.secrets {
				if e.secrets[i].shared {
					visit(e, &e.secrets[i])
				}
			}
		}
	}
	each(func(e *entry, s *secret) {
		if id, ok := holders[string(s.value)]; ok && id != e.tenant.ID {
			holders[string(s.value)] = 0
			return
		}
		holders[string(s.value)] = e.tenant.ID
	})
	each(func(e *entry, s *secret) {
		if holders[string(s.value)] != e.tenant.ID {
			s.shared = false
			log.Error("a secret of several tenants is marked as shared and works by path and host only",
				"tenant", e.tenant.Slug, "secret_id", s.id)
		}
	})
}

func (ix *index) flatten() {
	for _, t := range ix.tenants {
		e := ix.ids[t.ID]
		for i := range e.secrets {
			s := &e.secrets[i]
			if !s.shared {
				continue
			}
			ix.values = append(ix.values, s.value...)
			ix.ends = append(ix.ends, len(ix.values))
			ix.owners = append(ix.owners, found{e, s})
		}
	}
}

func (ix *index) byID(id int64) *entry {
	if ix == nil {
		return nil
	}
	return ix.ids[id]
}

func (ix *index) bySlug(slug string) *entry {
	if ix == nil {
		return nil
	}
	return ix.slugs[slug]
}

// secret returns a usable secret by ID; nil when there is none.
func (ix *index) secret(tenantID, secretID int64) *secret {
	e := ix.byID(tenantID)
	if e == nil {
		return nil
	}
	for i := range e.secrets {
		if e.secrets[i].id == secretID {
			return &e.secrets[i]
		}
	}
	return nil
}

// lostSecrets reports whether a usable secret of ix is none in next.
func (ix *index) lostSecrets(next *index) bool {
	for id, e := range ix.ids {
		for i := range e.secrets {
			if next.secret(id, e.secrets[i].id) == nil {
				return true
			}
		}
	}
	return false
}

// match returns the tenant's secret that the call was signed with; on the shared
// URL only of those that are shared. nil when there is none.
func (e *entry) match(v *bbb.Verifier, sharedOnly bool) *secret {
	if e == nil {
		return nil
	}
	for i := range e.secrets {
		s := &e.secrets[i]
		if (s.shared || !sharedOnly) && v.Match(s.value) {
			return s
		}
	}
	return nil
}

func (e *entry) tenantOrNone() (Tenant, bool) {
	if e == nil {
		return Tenant{}, false
	}
	return e.tenant, true
}
