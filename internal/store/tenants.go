package store

import (
	"context"
	"database/sql"
	"regexp"

	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

const (
	scopeKeyLength = 6
	scopeKeyFirst  = "ghijklmnopqrstuvwxyz"
	scopeKeyRest   = "abcdefghijklmnopqrstuvwxyz0123456789"
	// scopeKeyTries is far beyond what chance needs with 1.2 billion keys.
	scopeKeyTries = 20
)

var scopeKeyPattern = regexp.MustCompile(`^[g-z][a-z0-9]{3,7}$`)

type tenantRow struct {
	ID        int64
	Slug      string
	Name      string
	ScopeKey  string
	State     string
	CreatedAt int64
}

func (r tenantRow) tenant() tenant.Tenant {
	return tenant.Tenant{
		ID: r.ID, Slug: r.Slug, Name: r.Name, ScopeKey: r.ScopeKey,
		State: tenant.State(r.State), CreatedAt: fromMicros(r.CreatedAt),
	}
}

// configure runs a change of what every replica's directory is built from. It
// raises the configuration version first: PostgreSQL then lets such changes
// through one at a time, which the rule on duplicate secrets rests on.
func (s *Store) configure(ctx context.Context, op operation, change func(tx *gorm.DB) error) error {
	return s.update(ctx, op, func(tx *gorm.DB) error {
		if err := tx.Exec("UPDATE counters SET value = value + 1 WHERE name = 'config_version'").Error; err != nil {
			return err
		}
		return change(tx)
	})
}

// CreateTenant makes a tenant with its first secret (generated if empty) and
// host names. Of t only Slug, Name (default: the slug), State (default: active)
// and ScopeKey (default: a new one) are read. Errors: fault.Invalid;
// fault.Conflict "slugTaken", "hostTaken" or "scopeKeyTaken" (also when an
// earlier tenant had that key); fault.Unavailable.
func (s *Store) CreateTenant(ctx context.Context, t tenant.Tenant, secret string, hosts []string) (tenant.Tenant, tenant.Secret, error) {
	if err := tenant.CheckSlug(t.Slug); err != nil {
		return tenant.Tenant{}, tenant.Secret{}, err
	}
	if t.Name == "" {
		t.Name = t.Slug
	}
	if t.State == "" {
		t.State = tenant.Active
	}
	if err := checkTenantState(t.State); err != nil {
		return tenant.Tenant{}, tenant.Secret{}, err
	}
	if t.ScopeKey != "" && !scopeKeyPattern.MatchString(t.ScopeKey) {
		return tenant.Tenant{}, tenant.Secret{}, fault.New(fault.Invalid, "invalidScopeKey",
			"A scope key has 4 to 8 of a-z and 0-9, the first one of g-z.")
	}
	if err := checkText("name", t.Name); err != nil {
		return tenant.Tenant{}, tenant.Secret{}, err
	}
	if secret == "" {
		secret = randomText(secretLength, secretAlphabet)
	}
	if err := checkSecret(secret); err != nil {
		return tenant.Tenant{}, tenant.Secret{}, err
	}
	names := make([]string, len(hosts))
	for i, host := range hosts {
		var err error
		if names[i], err = normalHost(host); err != nil {
			return tenant.Tenant{}, tenant.Secret{}, err
		}
	}
	t.CreatedAt = s.stamp()
	var first tenant.Secret
	err := s.configure(ctx, opCreateTenant, func(tx *gorm.DB) error {
		key, err := giveScopeKey(tx, t.ScopeKey, toMicros(t.CreatedAt))
		if err != nil {
			return err
		}
		t.ScopeKey = key
		err = tx.Raw("INSERT INTO tenants (slug, name, scope_key, state, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
			t.Slug, t.Name, t.ScopeKey, string(t.State), toMicros(t.CreatedAt)).Scan(&t.ID).Error
		if err != nil {
			return s.conflicts(err, map[uniqueRule]*fault.Error{
				ruleSlug: fault.Newf(fault.Conflict, "slugTaken", "The slug %q belongs to another tenant.", t.Slug),
			})
		}
		if first, err = s.insertSecret(tx, t.ID, secret, "", nil); err != nil {
			return err
		}
		for _, name := range names {
			if err := s.insertHost(tx, t.ID, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return tenant.Tenant{}, tenant.Secret{}, err
	}
	return t, first, nil
}

// Tenants returns all tenants in the order they were made.
func (s *Store) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	var all []tenant.Tenant
	err := s.view(ctx, opTenants, func(db *gorm.DB) (err error) {
		all, err = readTenants(db)
		return err
	})
	return all, err
}

func readTenants(db *gorm.DB) ([]tenant.Tenant, error) {
	var rows []tenantRow
	if err := db.Raw("SELECT id, slug, name, scope_key, state, created_at FROM tenants ORDER BY id").Scan(&rows).Error; err != nil {
		return nil, err
	}
	all := make([]tenant.Tenant, len(rows))
	for i, r := range rows {
		all[i] = r.tenant()
	}
	return all, nil
}

// TenantBySlug returns one tenant. Errors: fault.NotFound "tenantNotFound",
// fault.Unavailable.
func (s *Store) TenantBySlug(ctx context.Context, slug string) (tenant.Tenant, error) {
	if tenant.CheckSlug(slug) != nil {
		return tenant.Tenant{}, errNoTenant()
	}
	var row tenantRow
	err := s.view(ctx, opTenantBySlug, func(db *gorm.DB) error {
		return oneRow(db.Raw("SELECT id, slug, name, scope_key, state, created_at FROM tenants WHERE slug = ?", slug).Scan(&row),
			errNoTenant())
	})
	if err != nil {
		return tenant.Tenant{}, err
	}
	return row.tenant(), nil
}

// SetTenantState moves a tenant in its life. Errors: fault.Invalid,
// fault.NotFound "tenantNotFound", fault.Unavailable.
func (s *Store) SetTenantState(ctx context.Context, tenantID int64, st tenant.State) error {
	if err := checkTenantState(st); err != nil {
		return err
	}
	return s.configure(ctx, opSetTenantState, func(tx *gorm.DB) error {
		return oneRow(tx.Exec("UPDATE tenants SET state = ? WHERE id = ?", string(st), tenantID), errNoTenant())
	})
}

// Listing returns everything the directory is built from, as of one moment:
// all tenants and hosts, and the secrets that are not revoked. Read
// ConfigVersion before it, not after. Error: fault.Unavailable, with the key
// "wrongKey" when the secrets were sealed with another key.
func (s *Store) Listing(ctx context.Context) (tenant.Listing, error) {
	var list tenant.Listing
	err := s.view(ctx, opListing, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			list = tenant.Listing{}
			if list.Tenants, err = readTenants(tx); err != nil {
				return err
			}
			if list.Secrets, err = s.readSecrets(tx); err != nil {
				return err
			}
			list.Hosts, err = readHosts(tx)
			return err
		}, s.snapshot())
	})
	if err != nil {
		return tenant.Listing{}, err
	}
	return list, nil
}

// snapshot are the options of a transaction whose reads see one moment. SQLite
// knows no levels: every transaction of its readers is one.
func (s *Store) snapshot() *sql.TxOptions {
	if s.Dialect() == "sqlite" {
		return &sql.TxOptions{ReadOnly: true}
	}
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

// giveScopeKey notes a scope key as given, forever: the wanted one, or a new one.
func giveScopeKey(tx *gorm.DB, wanted string, at int64) (string, error) {
	for range scopeKeyTries {
		key := wanted
		if key == "" {
			key = randomText(1, scopeKeyFirst) + randomText(scopeKeyLength-1, scopeKeyRest)
		}
		given := tx.Exec("INSERT INTO scope_keys (scope_key, created_at) VALUES (?, ?) ON CONFLICT (scope_key) DO NOTHING", key, at)
		switch {
		case given.Error != nil:
			return "", given.Error
		case given.RowsAffected == 1:
			return key, nil
		case wanted != "":
			return "", fault.Newf(fault.Conflict, "scopeKeyTaken", "The scope key %q was given before; keys are never given twice.", wanted)
		}
	}
	return "", fault.New(fault.Internal, "noScopeKey", "No free scope key was found.")
}

func tenantExists(tx *gorm.DB, tenantID int64) error {
	var id int64
	return oneRow(tx.Raw("SELECT id FROM tenants WHERE id = ?", tenantID).Scan(&id), errNoTenant())
}

// oneRow returns missing when a statement met no row.
func oneRow(done *gorm.DB, missing *fault.Error) error {
	if done.Error != nil {
		return done.Error
	}
	if done.RowsAffected == 0 {
		return missing
	}
	return nil
}

func errNoTenant() *fault.Error {
	return fault.New(fault.NotFound, "tenantNotFound", "There is no such tenant.")
}

func checkTenantState(st tenant.State) error {
	switch st {
	case tenant.Active, tenant.Suspended:
		return nil
	}
	return fault.New(fault.Invalid, "invalidState", "A tenant is active or suspended.")
}
