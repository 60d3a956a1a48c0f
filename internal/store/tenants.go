package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

const (
	secretLength    = 40
	secretAlphabet  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	maxSecretLength = 512

	scopeKeyLength = 6
	scopeKeyFirst  = "ghijklmnopqrstuvwxyz"
	scopeKeyRest   = "abcdefghijklmnopqrstuvwxyz0123456789"
	// scopeKeyTries is far beyond what chance needs with 1.2 billion keys.
	scopeKeyTries = 20
)

var (
	scopeKeyPattern = regexp.MustCompile(`^[g-z][a-z0-9]{3,7}$`)
	hostPattern     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

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

type secretRow struct {
	ID           int64
	TenantID     int64
	Label        string
	KeyID        string
	SealedSecret []byte
	Shared       bool
	CreatedAt    int64
	ExpiresAt    *int64
	RevokedAt    *int64
}

func (s *Store) secret(r secretRow) (tenant.Secret, error) {
	value, err := s.sealer.open(sealTenantSecret, r.TenantID, r.KeyID, r.SealedSecret)
	if err != nil {
		return tenant.Secret{}, err
	}
	return tenant.Secret{
		ID: r.ID, TenantID: r.TenantID, Value: string(value), Label: r.Label, Shared: r.Shared,
		CreatedAt: fromMicros(r.CreatedAt), ExpiresAt: fromMicrosPtr(r.ExpiresAt), RevokedAt: fromMicrosPtr(r.RevokedAt),
	}, nil
}

type hostRow struct {
	Host     string
	TenantID int64
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

// AddSecret gives a tenant one more secret (generated if value is empty), which
// expires at the given time, if any. Errors: fault.Invalid; fault.Conflict
// "secretExists" when the tenant has the same one already, not revoked;
// fault.NotFound "tenantNotFound"; fault.Unavailable.
func (s *Store) AddSecret(ctx context.Context, tenantID int64, value, label string, expires *time.Time) (tenant.Secret, error) {
	if value == "" {
		value = randomText(secretLength, secretAlphabet)
	}
	if err := checkSecret(value); err != nil {
		return tenant.Secret{}, err
	}
	if err := checkText("label", label); err != nil {
		return tenant.Secret{}, err
	}
	var added tenant.Secret
	err := s.configure(ctx, opAddSecret, func(tx *gorm.DB) (err error) {
		if err := tenantExists(tx, tenantID); err != nil {
			return err
		}
		added, err = s.insertSecret(tx, tenantID, value, label, expires)
		return err
	})
	return added, err
}

// insertSecret adds a secret. A value that another tenant has, not revoked,
// leaves the shared URL for both: it does not tell who is calling. There it
// stays away when the other one is revoked later, for the other's LMS may go on
// signing with it and must not be taken for this tenant's.
func (s *Store) insertSecret(tx *gorm.DB, tenantID int64, value, label string, expires *time.Time) (tenant.Secret, error) {
	fingerprint := s.sealer.fingerprintOf(value)
	doubles := tx.Exec("UPDATE tenant_secrets SET shared = FALSE WHERE fingerprint = ? AND tenant_id <> ? AND revoked_at IS NULL",
		fingerprint, tenantID)
	if doubles.Error != nil {
		return tenant.Secret{}, doubles.Error
	}
	added := tenant.Secret{
		TenantID: tenantID, Value: value, Label: label, CreatedAt: s.stamp(),
		Shared: doubles.RowsAffected == 0 && utf8.RuneCountInString(value) >= tenant.MinSharedSecret,
	}
	if expires != nil {
		at := expires.UTC().Truncate(time.Microsecond)
		added.ExpiresAt = &at
	}
	err := tx.Raw(`INSERT INTO tenant_secrets
		(tenant_id, label, key_id, sealed_secret, fingerprint, shared, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		tenantID, label, s.sealer.keyID, s.sealer.seal(sealTenantSecret, tenantID, []byte(value)), fingerprint,
		added.Shared, toMicros(added.CreatedAt), toMicrosPtr(added.ExpiresAt)).Scan(&added.ID).Error
	if err != nil {
		return tenant.Secret{}, s.conflicts(err, map[uniqueRule]*fault.Error{
			ruleSecretValue: fault.New(fault.Conflict, "secretExists", "The tenant has this secret already."),
		})
	}
	return added, nil
}

// ExpireSecret sets when a secret ends to be used for new rooms; nil takes the
// expiry away. Errors: fault.NotFound "secretNotFound" when it isn't this
// tenant's or is revoked; fault.Unavailable.
func (s *Store) ExpireSecret(ctx context.Context, tenantID, secretID int64, at *time.Time) error {
	return s.configure(ctx, opExpireSecret, func(tx *gorm.DB) error {
		return oneRow(tx.Exec("UPDATE tenant_secrets SET expires_at = ? WHERE id = ? AND tenant_id = ? AND revoked_at IS NULL",
			toMicrosPtr(at), secretID, tenantID), errNoSecret())
	})
}

// RevokeSecret ends every use of a secret now. Revoking it again changes
// nothing. Errors: fault.NotFound "secretNotFound" when it isn't this tenant's;
// fault.Unavailable.
func (s *Store) RevokeSecret(ctx context.Context, tenantID, secretID int64) error {
	return s.configure(ctx, opRevokeSecret, func(tx *gorm.DB) error {
		return oneRow(tx.Exec("UPDATE tenant_secrets SET revoked_at = COALESCE(revoked_at, ?), shared = FALSE WHERE id = ? AND tenant_id = ?",
			toMicros(s.stamp()), secretID, tenantID), errNoSecret())
	})
}

// AddHost makes a host name stand for a tenant. Errors: fault.Invalid;
// fault.Conflict "hostTaken", also when it is this tenant's already;
// fault.NotFound "tenantNotFound"; fault.Unavailable.
func (s *Store) AddHost(ctx context.Context, tenantID int64, host string) error {
	name, err := normalHost(host)
	if err != nil {
		return err
	}
	return s.configure(ctx, opAddHost, func(tx *gorm.DB) error {
		if err := tenantExists(tx, tenantID); err != nil {
			return err
		}
		return s.insertHost(tx, tenantID, name)
	})
}

func (s *Store) insertHost(tx *gorm.DB, tenantID int64, name string) error {
	err := tx.Exec("INSERT INTO tenant_hosts (host, tenant_id, created_at) VALUES (?, ?, ?)",
		name, tenantID, toMicros(s.stamp())).Error
	return s.conflicts(err, map[uniqueRule]*fault.Error{
		ruleHost: fault.Newf(fault.Conflict, "hostTaken", "The host name %q stands for a tenant already.", name),
	})
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

func (s *Store) readSecrets(db *gorm.DB) ([]tenant.Secret, error) {
	var rows []secretRow
	err := db.Raw(`SELECT id, tenant_id, label, key_id, sealed_secret, shared, created_at, expires_at, revoked_at
		FROM tenant_secrets WHERE revoked_at IS NULL ORDER BY id`).Scan(&rows).Error
	if err != nil {
		return nil, err
	}
	all := make([]tenant.Secret, len(rows))
	for i, r := range rows {
		if all[i], err = s.secret(r); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readHosts(db *gorm.DB) ([]tenant.Host, error) {
	var rows []hostRow
	if err := db.Raw("SELECT host, tenant_id FROM tenant_hosts ORDER BY host").Scan(&rows).Error; err != nil {
		return nil, err
	}
	all := make([]tenant.Host, len(rows))
	for i, r := range rows {
		all[i] = tenant.Host{Name: r.Host, TenantID: r.TenantID}
	}
	return all, nil
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

func errNoSecret() *fault.Error {
	return fault.New(fault.NotFound, "secretNotFound", "The tenant has no such secret.")
}

func checkTenantState(st tenant.State) error {
	switch st {
	case tenant.Active, tenant.Suspended:
		return nil
	}
	return fault.New(fault.Invalid, "invalidState", "A tenant is active or suspended.")
}

// checkSecret refuses what can't be a secret; the error doesn't repeat it.
func checkSecret(value string) error {
	broken := !storable(value) || len(value) > maxSecretLength || strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	})
	if broken {
		return fault.Newf(fault.Invalid, "invalidSecret", "A secret has at most %d bytes of UTF-8 and no blanks.", maxSecretLength)
	}
	return nil
}

// normalHost returns a host name as it is stored: in small letters, without the
// dot at the end.
func normalHost(host string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if !hostPattern.MatchString(name) || strings.Contains(name, "..") {
		return "", fault.Newf(fault.Invalid, "invalidHost", "%q is no valid host name; write it without scheme, port and path.", host)
	}
	return name, nil
}

// checkText refuses text that PostgreSQL can't store.
func checkText(what, value string) error {
	if !storable(value) {
		return fault.Newf(fault.Invalid, "invalidText", "The %s must be UTF-8 without NUL.", what)
	}
	return nil
}

// storable reports whether both databases can hold the text.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// randomText returns random characters of an alphabet, each equally likely.
func randomText(n int, alphabet string) string {
	out := make([]byte, 0, n)
	// Bytes from the last, incomplete round of the alphabet would favour its
	// first characters.
	limit := 256 - 256%len(alphabet)
	var buf [64]byte
	for {
		_, _ = rand.Read(buf[:]) // never fails: it ends the process instead
		for _, b := range buf {
			if int(b) >= limit {
				continue
			}
			if out = append(out, alphabet[int(b)%len(alphabet)]); len(out) == n {
				return string(out)
			}
		}
	}
}
