package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

func TestTenants(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, ctx := fresh(t, url), t.Context()
		made, secret, err := s.CreateTenant(ctx, tenant.Tenant{Slug: "acme", Name: "Acme Ltd"}, "", []string{"Acme.Example.ORG.", "b.test"})
		require.NoError(t, err)
		require.NotZero(t, made.ID)
		require.Equal(t, tenant.Active, made.State)
		require.Regexp(t, `^[g-z][a-z0-9]{3,7}$`, made.ScopeKey)
		require.Regexp(t, `^[A-Za-z0-9]{40}$`, secret.Value)
		require.True(t, secret.Shared)

		_, _, err = s.CreateTenant(ctx, tenant.Tenant{Slug: "acme"}, "", nil)
		requireFault(t, err, fault.Conflict, "slugTaken")
		_, _, err = s.CreateTenant(ctx, tenant.Tenant{Slug: "other"}, "", []string{"free.test", "ACME.example.org"})
		requireFault(t, err, fault.Conflict, "hostTaken")
		_, _, err = s.CreateTenant(ctx, tenant.Tenant{Slug: "other", ScopeKey: made.ScopeKey}, "", nil)
		requireFault(t, err, fault.Conflict, "scopeKeyTaken")
		for _, bad := range []tenant.Tenant{{Slug: "No"}, {Slug: "a", ScopeKey: "abcd"}, {Slug: "a", State: "gone"}, {Slug: "a", Name: "\xff"}} {
			_, _, err = s.CreateTenant(ctx, bad, "", nil)
			require.True(t, fault.Is(err, fault.Invalid), "%+v: %v", bad, err)
		}
		for _, bad := range []string{"has blank", "tab\t", "nul\x00", "\xff", strings.Repeat("x", 600)} {
			_, _, err = s.CreateTenant(ctx, tenant.Tenant{Slug: "other"}, bad, nil)
			requireFault(t, err, fault.Invalid, "invalidSecret")
			require.NotContains(t, err.Error(), bad)
		}

		// What was refused left nothing behind.
		other, _, err := s.CreateTenant(ctx, tenant.Tenant{Slug: "other", ScopeKey: "zz99"}, "", []string{"free.test"})
		require.NoError(t, err)
		require.Equal(t, "zz99", other.ScopeKey)

		require.NoError(t, s.AddHost(ctx, made.ID, "C.test"))
		requireFault(t, s.AddHost(ctx, other.ID, "c.TEST"), fault.Conflict, "hostTaken")
		requireFault(t, s.AddHost(ctx, other.ID, "https://x.test/"), fault.Invalid, "invalidHost")
		requireFault(t, s.AddHost(ctx, 4711, "d.test"), fault.NotFound, "tenantNotFound")

		require.NoError(t, s.SetTenantState(ctx, made.ID, tenant.Suspended))
		requireFault(t, s.SetTenantState(ctx, made.ID, "gone"), fault.Invalid, "invalidState")
		requireFault(t, s.SetTenantState(ctx, 4711, tenant.Active), fault.NotFound, "tenantNotFound")

		found, err := s.TenantBySlug(ctx, "acme")
		require.NoError(t, err)
		made.State = tenant.Suspended
		require.Empty(t, cmp.Diff(made, found))
		for _, slug := range []string{"nobody", "ACME", "\x00", "\xff"} {
			_, err = s.TenantBySlug(ctx, slug)
			requireFault(t, err, fault.NotFound, "tenantNotFound")
		}
		all, err := s.Tenants(ctx)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]tenant.Tenant{made, other}, all))

		list, err := s.Listing(ctx)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(all, list.Tenants))
		require.Empty(t, cmp.Diff([]tenant.Host{
			{Name: "acme.example.org", TenantID: made.ID},
			{Name: "b.test", TenantID: made.ID},
			{Name: "c.test", TenantID: made.ID},
			{Name: "free.test", TenantID: other.ID},
		}, list.Hosts))
		require.Len(t, list.Secrets, 2)
		require.Empty(t, cmp.Diff(secret, list.Secrets[0]))
	})
}

// TestScopeKeysComeNeverBack deletes a tenant behind the store's back.
func TestScopeKeysComeNeverBack(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, ctx := fresh(t, url), t.Context()
		_, _, err := s.CreateTenant(ctx, tenant.Tenant{Slug: "a", ScopeKey: "gone1"}, "", nil)
		require.NoError(t, err)
		_, err = s.pools.writeSQL.ExecContext(ctx, "DELETE FROM tenant_secrets")
		require.NoError(t, err)
		_, err = s.pools.writeSQL.ExecContext(ctx, "DELETE FROM tenants")
		require.NoError(t, err)
		_, _, err = s.CreateTenant(ctx, tenant.Tenant{Slug: "a", ScopeKey: "gone1"}, "", nil)
		requireFault(t, err, fault.Conflict, "scopeKeyTaken")
	})
}

func TestSecrets(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		other, _ := w.addTenant("other")

		expires := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
		second, err := w.AddSecret(ctx, w.tenant.ID, "another-secret-of-acme", "Moodle", &expires)
		require.NoError(t, err)
		require.True(t, second.Shared)
		generated, err := w.AddSecret(ctx, w.tenant.ID, "", "", nil)
		require.NoError(t, err)
		require.Len(t, generated.Value, 40)
		_, err = w.AddSecret(ctx, 4711, "", "", nil)
		requireFault(t, err, fault.NotFound, "tenantNotFound")
		_, err = w.AddSecret(ctx, w.tenant.ID, "another-secret-of-acme", "", nil)
		requireFault(t, err, fault.Conflict, "secretExists")

		short, err := w.AddSecret(ctx, w.tenant.ID, strings.Repeat("é", tenant.MinSharedSecret-1), "short", nil)
		require.NoError(t, err)
		require.False(t, short.Shared)
		exact, err := w.AddSecret(ctx, w.tenant.ID, strings.Repeat("é", tenant.MinSharedSecret), "just long enough", nil)
		require.NoError(t, err)
		require.True(t, exact.Shared)

		list := listed(t, w.Store)
		require.Empty(t, cmp.Diff(map[int64]tenant.Secret{
			second.ID: second, generated.ID: generated, short.ID: short, exact.ID: exact, w.secret.ID: w.secret,
		}, list))

		// Only the owner can touch a secret.
		for _, id := range []int64{second.ID, 4711} {
			requireFault(t, w.ExpireSecret(ctx, other.ID, id, nil), fault.NotFound, "secretNotFound")
			requireFault(t, w.RevokeSecret(ctx, other.ID, id), fault.NotFound, "secretNotFound")
		}
		require.NoError(t, w.ExpireSecret(ctx, w.tenant.ID, second.ID, nil))
		require.Nil(t, listed(t, w.Store)[second.ID].ExpiresAt)
		require.NoError(t, w.ExpireSecret(ctx, w.tenant.ID, second.ID, &expires))
		require.Equal(t, expires, *listed(t, w.Store)[second.ID].ExpiresAt)

		require.NoError(t, w.RevokeSecret(ctx, w.tenant.ID, second.ID))
		require.NoError(t, w.RevokeSecret(ctx, w.tenant.ID, second.ID))
		require.NotContains(t, listed(t, w.Store), second.ID)
		requireFault(t, w.ExpireSecret(ctx, w.tenant.ID, second.ID, nil), fault.NotFound, "secretNotFound")
		// The same value may come again after it was revoked.
		_, err = w.AddSecret(ctx, w.tenant.ID, "another-secret-of-acme", "", nil)
		require.NoError(t, err)
	})
}

// listed returns the listed secrets of the tenant "acme" by ID.
func listed(t *testing.T, s *Store) map[int64]tenant.Secret {
	t.Helper()
	list, err := s.Listing(t.Context())
	require.NoError(t, err)
	owner, err := s.TenantBySlug(t.Context(), "acme")
	require.NoError(t, err)
	all := map[int64]tenant.Secret{}
	for _, secret := range list.Secrets {
		if secret.TenantID == owner.ID {
			all[secret.ID] = secret
		}
	}
	return all
}

// TestDuplicateSecrets holds that a secret of two tenants tells neither's on
// the shared URL, even when both add it at the same moment.
func TestDuplicateSecrets(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, ctx := fresh(t, url), t.Context()
		const value = "one-secret-for-two-tenants"
		a, first, err := s.CreateTenant(ctx, tenant.Tenant{Slug: "a"}, value, nil)
		require.NoError(t, err)
		require.True(t, first.Shared)
		_, second, err := s.CreateTenant(ctx, tenant.Tenant{Slug: "b"}, value, nil)
		require.NoError(t, err)
		require.False(t, second.Shared)
		require.Equal(t, []bool{false, false}, shared(t, s, value))

		// It doesn't come back by itself when one of them revokes it: that LMS
		// may go on signing with it.
		require.NoError(t, s.RevokeSecret(ctx, a.ID, first.ID))
		require.Equal(t, []bool{false}, shared(t, s, value))

		const tenants, common = 8, "added-by-all-at-the-same-moment"
		var wg sync.WaitGroup
		errs := make([]error, tenants)
		for i := range tenants {
			wg.Go(func() {
				_, _, errs[i] = s.CreateTenant(ctx, tenant.Tenant{Slug: fmt.Sprintf("t%d", i)}, common, nil)
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Equal(t, make([]bool, tenants), shared(t, s, common))
	})
}

// shared returns whether the listed secrets of a value are shared.
func shared(t *testing.T, s *Store, value string) []bool {
	t.Helper()
	list, err := s.Listing(t.Context())
	require.NoError(t, err)
	var all []bool
	for _, secret := range list.Secrets {
		if secret.Value == value {
			all = append(all, secret.Shared)
		}
	}
	return all
}

// TestConfigVersion holds that every change raises the version and that
// nothing else does.
func TestConfigVersion(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		version := func() int64 {
			v, err := w.ConfigVersion(ctx)
			require.NoError(t, err)
			return v
		}
		extra, err := w.AddSecret(ctx, w.tenant.ID, "", "", nil)
		require.NoError(t, err)
		at := time.Now()
		for name, change := range map[string]func() error{
			"tenant": func() error {
				_, _, err := w.CreateTenant(ctx, tenant.Tenant{Slug: "b"}, "", nil)
				return err
			},
			"state":  func() error { return w.SetTenantState(ctx, w.tenant.ID, tenant.Suspended) },
			"host":   func() error { return w.AddHost(ctx, w.tenant.ID, "x.test") },
			"secret": func() error { _, err := w.AddSecret(ctx, w.tenant.ID, "", "", nil); return err },
			"expire": func() error { return w.ExpireSecret(ctx, w.tenant.ID, w.secret.ID, &at) },
			"revoke": func() error { return w.RevokeSecret(ctx, w.tenant.ID, extra.ID) },
			"server": func() error { w.addServer("bbb2"); return nil },
			"key":    func() error { return w.SetServerSecret(ctx, w.server.ID, "changed", "sha1") },
			"admin":  func() error { return w.SetServerAdminState(ctx, w.server.ID, "draining") },
		} {
			before := version()
			require.NoError(t, change(), name)
			require.Greater(t, version(), before, name)
		}
		before := version()
		w.moveTo(w.claimRoom("r"), "running")
		_, _, err = w.CreateTenant(ctx, tenant.Tenant{Slug: "b"}, "", nil)
		requireFault(t, err, fault.Conflict, "slugTaken")
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		requireFault(t, w.AddHost(canceled, w.tenant.ID, "y.test"), fault.Unavailable, "storeUnavailable")
		require.Equal(t, before, version())
	})
}
