package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
)

func TestMigrate(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		key, ctx := NewKey(), t.Context()
		s := open(t, url, key)
		current, want, err := s.SchemaVersion(ctx)
		require.NoError(t, err)
		require.Zero(t, current)
		require.Positive(t, want)
		requireFault(t, s.CheckSchema(ctx), fault.Conflict, "schemaTooOld")
		require.ErrorContains(t, s.CheckSchema(ctx), "bluegate migrate")
		current, _, err = s.SchemaVersion(ctx)
		require.NoError(t, err)
		require.Zero(t, current, "looking changes nothing")

		require.NoError(t, s.Migrate(ctx))
		require.NoError(t, s.CheckSchema(ctx))
		require.NoError(t, s.Migrate(ctx), "again, with nothing to do")
		current, want, err = s.SchemaVersion(ctx)
		require.NoError(t, err)
		require.Equal(t, want, current)

		// The other key is noticed, and does not take the first one's place.
		stranger := open(t, url, NewKey())
		requireFault(t, stranger.CheckSchema(ctx), fault.Conflict, "wrongKey")
		requireFault(t, stranger.Migrate(ctx), fault.Conflict, "wrongKey")
		require.NoError(t, s.CheckSchema(ctx))

		// A migration that was cut before the key was noted.
		_, err = s.pools.writeSQL.ExecContext(ctx, "DELETE FROM meta")
		require.NoError(t, err)
		requireFault(t, s.CheckSchema(ctx), fault.Conflict, "schemaTooOld")
		require.NoError(t, s.Migrate(ctx))
		require.NoError(t, s.CheckSchema(ctx))

		_, err = s.pools.writeSQL.ExecContext(ctx, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)")
		require.NoError(t, err)
		requireFault(t, s.CheckSchema(ctx), fault.Conflict, "schemaTooNew")
		requireFault(t, s.Migrate(ctx), fault.Conflict, "schemaTooNew")
	})
}

// TestWrongKeyAtWork is about a process that skipped CheckSchema.
func TestWrongKeyAtWork(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		w.claimRoom("r")
		stranger := open(t, url, NewKey())
		for name, call := range map[string]func() error{
			"listing": func() error { _, err := stranger.Listing(ctx); return err },
			"servers": func() error { _, err := stranger.Servers(ctx); return err },
			"room":    func() error { _, err := stranger.Room(ctx, w.tenant.ID, "r"); return err },
			"live":    func() error { _, _, err := stranger.Live(ctx); return err },
			"changes": func() error { _, err := stranger.Changes(ctx, 0, nil); return err },
		} {
			err := call()
			require.Error(t, err, name)
			requireFault(t, err, fault.Unavailable, "wrongKey")
		}
	})
}

func TestManyMigrateAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		const processes = 4
		key := NewKey()
		stores := make([]*Store, processes)
		for i := range stores {
			stores[i] = open(t, url, key)
		}
		var wg sync.WaitGroup
		errs := make([]error, processes)
		for i, s := range stores {
			wg.Go(func() { errs[i] = s.Migrate(t.Context()) })
		}
		wg.Wait()
		for i, err := range errs {
			require.NoError(t, err)
			require.NoError(t, stores[i].CheckSchema(t.Context()))
		}
	})
}

func TestMigrateWaitsForTheLock(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		key := NewKey()
		holder, waiter := open(t, url, key), open(t, url, key)
		_, release, err := holder.engine.lockMigrations(t.Context(), holder.pools)
		require.NoError(t, err)
		ctx, cancelWait := context.WithCancel(t.Context())
		if holder.Dialect() == "sqlite" {
			// Long enough to migrate, if nothing kept it from that.
			ctx, cancelWait = context.WithTimeout(t.Context(), 200*time.Millisecond)
		}
		defer cancelWait()
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- waiter.Migrate(ctx) }()
		if holder.Dialect() == "postgres" {
			bound, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			untilBlocked(bound, t, holder)
			cancelWait()
		}
		requireFault(t, <-gaveUp, fault.Unavailable, "storeUnavailable")
		current, _, err := holder.SchemaVersion(t.Context())
		require.NoError(t, err)
		require.Zero(t, current)
		release()
		require.NoError(t, waiter.Migrate(t.Context()))
	})
}
