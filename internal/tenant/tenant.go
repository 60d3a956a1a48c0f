// Package tenant knows the customers: who they are, which secrets and host
// names are theirs, and which of them is calling.
package tenant

import (
	"regexp"
	"time"

	"github.com/bluegate/bluegate/internal/fault"
)

// State is where a tenant is in its life.
type State string

// The states. A suspended tenant's running rooms go on; new ones are refused.
const (
	Active    State = "active"
	Suspended State = "suspended"
)

// MinSharedSecret is the shortest secret, in characters, that is looked for on
// the shared URL; a shorter one works by path and host name only.
const MinSharedSecret = 20

// Tenant is a customer of the provider.
type Tenant struct {
	ID   int64
	Slug string // part of the tenant's URL, unique, immutable
	Name string // for people
	// ScopeKey prefixes every meeting ID of the tenant on the servers
	// (4-8 characters [a-z0-9], the first one g-z). Immutable, never
	// re-used, unique.
	ScopeKey  string
	State     State
	CreatedAt time.Time
}

// Secret is one of the shared keys a tenant's LMSs sign with.
type Secret struct {
	ID       int64
	TenantID int64
	Value    string
	Label    string
	// Shared reports whether the secret is looked for on the shared URL. False
	// when it is shorter than MinSharedSecret or another tenant has the same.
	Shared    bool
	CreatedAt time.Time
	// ExpiresAt, when set, ends new use of the secret: rooms created with it
	// are served until they end.
	ExpiresAt *time.Time
	// RevokedAt, when set, ends every use of the secret at once.
	RevokedAt *time.Time
}

// Host is a host name that stands for a tenant.
type Host struct {
	Name     string
	TenantID int64
}

// Listing is everything a directory is built from, read at one moment.
type Listing struct {
	Tenants []Tenant
	Secrets []Secret
	Hosts   []Host
}

var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckSlug reports whether a slug can stand in a URL and a host name.
func CheckSlug(slug string) error {
	if !slugPattern.MatchString(slug) {
		return fault.Newf(fault.Invalid, "invalidSlug",
			"%q is no valid slug: use 1 to 63 of a-z, 0-9 and -, neither first nor last a -.", slug)
	}
	return nil
}
