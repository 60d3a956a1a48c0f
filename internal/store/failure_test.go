package store

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
)

// TestUniqueRules violates every rule that callers are told about, but for those
// of claims, which TestSchemaGuards does.
func TestUniqueRules(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.claimRoom("r")
		require.NoError(t, w.AddHost(t.Context(), w.tenant.ID, "x.test"))
		for rule, statement := range map[uniqueRule]string{
			ruleSlug:     "INSERT INTO tenants (slug, name, scope_key, state, created_at) SELECT slug, name, 'zzzz', state, created_at FROM tenants",
			ruleScopeKey: "INSERT INTO tenants (slug, name, scope_key, state, created_at) SELECT 'b', name, scope_key, state, created_at FROM tenants",
			ruleSecretValue: `INSERT INTO tenant_secrets (tenant_id, label, key_id, sealed_secret, fingerprint, shared, created_at)
				SELECT tenant_id, label, key_id, sealed_secret, fingerprint, shared, created_at FROM tenant_secrets`,
			ruleHost: "INSERT INTO tenant_hosts (host, tenant_id, created_at) SELECT host, tenant_id, created_at FROM tenant_hosts",
			ruleServerName: `INSERT INTO servers (name, api_url, public_url, key_id, sealed_secret, algorithm, capacity_seats, pool, admin_state, created_at)
				SELECT name, 'u', public_url, key_id, sealed_secret, algorithm, capacity_seats, pool, admin_state, created_at FROM servers`,
			ruleServerURL: `INSERT INTO servers (name, api_url, public_url, key_id, sealed_secret, algorithm, capacity_seats, pool, admin_state, created_at)
				SELECT 'n', api_url, public_url, key_id, sealed_secret, algorithm, capacity_seats, pool, admin_state, created_at FROM servers`,
		} {
			_, err := w.pools.writeSQL.ExecContext(t.Context(), "INSERT INTO scope_keys (scope_key, created_at) VALUES ('zzzz', 1) ON CONFLICT DO NOTHING")
			require.NoError(t, err)
			_, err = w.pools.writeSQL.ExecContext(t.Context(), statement)
			require.Error(t, err, rule)
			found, ok := w.engine.unique(err)
			require.True(t, ok, "%s: %v", rule, err)
			require.Equal(t, rule, found)
		}
		_, ok := w.engine.unique(context.Canceled)
		require.False(t, ok)
	})
}

// TestErrorsHoldNoValues provokes errors that databases and drivers describe
// with the value that they disliked.
func TestErrorsHoldNoValues(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, ctx := fresh(t, url), t.Context()
		const marker = "hunter2"
		for name, provoke := range map[string]func(db *gorm.DB) error{
			"scan": func(db *gorm.DB) error {
				var n int
				return db.Raw("SELECT '" + marker + "'").Scan(&n).Error
			},
			"cast": func(db *gorm.DB) error { return db.Exec("SELECT CAST(? AS INTEGER) / 0 FROM nowhere", marker).Error },
			"type": func(db *gorm.DB) error {
				return db.Exec("INSERT INTO counters (name, value) VALUES (?, ?)", marker, marker).Error
			},
			"check": func(db *gorm.DB) error { return db.Exec("INSERT INTO scope_keys VALUES (?, 1)", "!"+marker).Error },
			"unique": func(db *gorm.DB) error {
				db.Exec("INSERT INTO meta VALUES (?, ?)", marker, marker)
				return db.Exec("INSERT INTO meta VALUES (?, ?)", marker, marker).Error
			},
			"syntax": func(db *gorm.DB) error { return db.Exec("SELEKT '" + marker + "'").Error },
			"nul":    func(db *gorm.DB) error { return db.Exec("INSERT INTO meta VALUES (?)", marker+"\x00").Error },
		} {
			err := s.update(ctx, opPing, provoke)
			require.Error(t, err, name)
			requireFault(t, err, fault.Unavailable, "storeUnavailable")
			require.NotContains(t, err.Error(), marker, name)
		}
		require.NoError(t, s.Ping(ctx), "the store lives on")
	})
}

// TestCanceledCaller holds that a caller who gives up gets Unavailable, without
// the database being called down.
func TestCanceledCaller(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		c := w.claimRoom("r")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, call := range []func() error{
			func() error { _, err := w.Room(ctx, w.tenant.ID, "r"); return err },
			func() error { _, err := w.Claim(ctx, w.tenant.ID, w.draft("s")); return err },
			func() error { _, err := w.Move(ctx, w.tenant.ID, c, c); return err },
			func() error { return w.Ping(ctx) },
		} {
			err := call()
			requireFault(t, err, fault.Unavailable, "storeUnavailable")
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Equal(t, healthUp, w.health.state.Load())
	})
}

// TestAskedAgain holds what is repeated and what is not.
func TestAskedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, NewKey())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range []struct {
			name  string
			ctx   context.Context
			begun bool
			err   error
			tries int
		}{
			{"another's context", t.Context(), false, context.Canceled, 2},
			{"another's context, begun", t.Context(), true, context.Canceled, 1},
			{"own context", ended, false, context.Canceled, 1},
			{"an answer", t.Context(), false, errNoClaim(), 1},
			{"no error", t.Context(), false, nil, 1},
		} {
			tries := 0
			_ = s.pastBroken(c.ctx, func() (bool, error) {
				if tries++; tries == 2 {
					return c.begun, nil
				}
				return c.begun, c.err
			})
			require.Equal(t, c.tries, tries, c.name)
		}
		tries := 0
		require.Error(t, s.pastBroken(t.Context(), func() (bool, error) { tries++; return false, context.Canceled }))
		require.Equal(t, pgMaxOpen+1, tries, "not forever")
	})
}
