package store

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/store/pgtest"
)

const (
	outageTimeout = time.Second
	// outageSlack is for a busy machine.
	outageSlack = 4 * time.Second
)

// TestOutages stops and freezes PostgreSQL under a working store.
func TestOutages(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.URL()
	registry := prometheus.NewRegistry()
	key, ctx := NewKey(), t.Context()
	w := newWorldOn(t, func() *Store {
		s, err := Open(ctx, Options{
			URL: url, Key: key, QueryTimeout: outageTimeout, Registerer: registry, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		return s
	}())
	c := w.claimRoom("r")
	calls := map[string]func() error{
		"ping":    func() error { return w.Ping(ctx) },
		"room":    func() error { _, err := w.Room(ctx, w.tenant.ID, "r"); return err },
		"miss":    func() error { _, err := w.Room(ctx, w.tenant.ID, "no such room"); return err },
		"claim":   func() error { _, err := w.Claim(ctx, w.tenant.ID, w.draft("s")); return err },
		"move":    func() error { _, err := w.Move(ctx, w.tenant.ID, c, c); return err },
		"live":    func() error { _, _, err := w.Live(ctx); return err },
		"changes": func() error { _, err := w.Changes(ctx, 0, nil); return err },
		"listing": func() error { _, err := w.Listing(ctx); return err },
		"host":    func() error { return w.AddHost(ctx, w.tenant.ID, "x.test") },
		"schema":  func() error { return w.CheckSchema(ctx) },
	}
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"stopped", server.Stop, server.Resume},
		{"frozen", server.Freeze, server.Thaw},
	} {
		// Many connections, so that many are broken afterwards.
		var warm sync.WaitGroup
		for range pgMaxOpen {
			warm.Go(func() { _ = w.Ping(ctx) })
		}
		warm.Wait()

		outage.begin()
		var wg sync.WaitGroup
		for name, call := range calls {
			wg.Go(func() {
				start := time.Now()
				err := call()
				if !fault.Is(err, fault.Unavailable) || fault.As(err).Key != "storeUnavailable" {
					t.Errorf("%s, %s: got %v", outage.name, name, err)
				}
				if took := time.Since(start); took > outageTimeout+outageSlack {
					t.Errorf("%s, %s: took %v", outage.name, name, took)
				}
			})
		}
		wg.Wait()
		require.InDelta(t, 0, gather(t, registry)["bluegate_store_up"], 0)
		require.Positive(t, gather(t, registry)["bluegate_store_errors_total room"])

		// A nearer deadline of the caller wins.
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		_, err := w.Room(short, w.tenant.ID, "r")
		cancel()
		requireFault(t, err, fault.Unavailable, "storeUnavailable")

		_, err = Open(ctx, Options{URL: url, Key: key, QueryTimeout: outageTimeout})
		requireFault(t, err, fault.Unavailable, "storeUnavailable")

		outage.end()
		require.Eventually(t, func() bool {
			found, err := w.Room(ctx, w.tenant.ID, "r")
			return err == nil && found.ID == c.ID
		}, 15*time.Second, 10*time.Millisecond, outage.name)
		require.InDelta(t, 1, gather(t, registry)["bluegate_store_up"], 0)
		c = w.moveTo(c, "running")
		require.NoError(t, w.CheckSchema(ctx))
	}
}

// TestDroppedConnections drops the pool's connections on the server: the next
// calls, reads and writes, must not notice.
func TestDroppedConnections(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	w := newWorld(t, url)
	c := w.claimRoom("r")
	other := open(t, url, NewKey())
	drop := func() {
		var wg sync.WaitGroup
		for range pgMaxOpen {
			wg.Go(func() {
				if err := w.view(t.Context(), opPing, func(db *gorm.DB) error { return db.Exec("SELECT pg_sleep(0.05)").Error }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		const theirs = " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		var dropped int
		require.NoError(t, other.pools.readSQL.QueryRowContext(t.Context(), "SELECT count(pg_terminate_backend(pid))"+theirs).Scan(&dropped))
		require.Greater(t, dropped, pgMaxOpen/2)
		for left := dropped; left > 0; {
			require.NoError(t, other.pools.readSQL.QueryRowContext(t.Context(), "SELECT count(*)"+theirs).Scan(&left))
		}
	}
	drop()
	_, err := w.Room(t.Context(), w.tenant.ID, "r")
	require.NoError(t, err)
	drop()
	w.moveTo(c, "running")
}

// TestServerLimits holds what FeedWindow rests on.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.URL(t), NewKey())
	for name, want := range map[string]string{
		"statement_timeout": "5s", "idle_in_transaction_session_timeout": "5s",
		"default_transaction_isolation": "read committed", "application_name": "bluegate",
	} {
		var got string
		require.NoError(t, s.pools.readSQL.QueryRowContext(t.Context(), "SELECT current_setting($1)", name).Scan(&got))
		require.Equal(t, want, got, name)
	}
	require.GreaterOrEqual(t, FeedWindow, 3*5*time.Second, "a statement, a pause, a commit")
}
