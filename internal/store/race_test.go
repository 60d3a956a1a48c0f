package store

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/store/pgtest"
	"github.com/bluegate/bluegate/internal/tenant"
)

// These races exist on PostgreSQL only: SQLite has one writer at a time. Each
// holds one side open until the other waits for it.

// untilBlocked returns when a session of the database waits for a lock.
func untilBlocked(ctx context.Context, t *testing.T, s *Store) {
	t.Helper()
	for waiting := 0; waiting == 0; {
		require.NoError(t, s.pools.readSQL.QueryRowContext(ctx,
			"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting))
	}
}

// TestGenerationTakenInBetween claims a room whose next generation another
// replica takes and gives back at the same moment: no reason to be refused.
func TestGenerationTakenInBetween(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t, pgtest.URL(t)), t.Context()
	w.moveTo(w.claimRoom("r"), meeting.Released)
	tx, err := w.pools.writeSQL.BeginTx(ctx, nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(ctx, `INSERT INTO claims (tenant_id, external_id, generation, seq, state, server_id, scoped_id, internal_id,
		create_time, ref, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at)
		SELECT tenant_id, external_id, 2, nextval('claim_seq'), 'released', server_id, scoped_id, internal_id,
		create_time, ref, seats, end_requested, key_id, sealed_params, sealed_answer, created_at, updated_at FROM claims`)
	require.NoError(t, err)

	claimed := make(chan meeting.Claim, 1)
	go func() {
		c, err := w.Claim(ctx, w.tenant.ID, w.draft("r"))
		if err != nil {
			t.Error(err)
		}
		claimed <- c
	}()
	untilBlocked(ctx, t, w.Store)
	require.NoError(t, tx.Commit())
	require.Equal(t, 3, (<-claimed).Generation)
}

// TestSecretAddedInBetween adds a secret that another replica is adding for
// another tenant: both must leave the shared URL.
func TestSecretAddedInBetween(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t, pgtest.URL(t)), t.Context()
	other, _ := w.addTenant("other")
	const value = "added-twice-at-the-same-moment"
	tx := w.pools.write.WithContext(ctx).Begin()
	require.NoError(t, tx.Error)
	defer tx.Rollback()
	require.NoError(t, tx.Exec("UPDATE counters SET value = value + 1 WHERE name = 'config_version'").Error)
	_, err := w.insertSecret(tx, w.tenant.ID, value, "", nil)
	require.NoError(t, err)

	added := make(chan tenant.Secret, 1)
	go func() {
		secret, err := w.AddSecret(ctx, other.ID, value, "", nil)
		if err != nil {
			t.Error(err)
		}
		added <- secret
	}()
	untilBlocked(ctx, t, w.Store)
	require.NoError(t, tx.Commit().Error)
	require.False(t, (<-added).Shared)
	require.Equal(t, []bool{false, false}, shared(t, w.Store, value))
}
