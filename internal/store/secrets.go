package store

import (
	"context"
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
)

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

func errNoSecret() *fault.Error {
	return fault.New(fault.NotFound, "secretNotFound", "The tenant has no such secret.")
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
