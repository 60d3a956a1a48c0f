package store

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/store/pgtest"
	"github.com/bluegate/bluegate/internal/tenant"
)

// testTimeout is generous: the contract is about what happens, not how fast,
// and the machine may be busy. The tests of outages set their own.
const testTimeout = 30 * time.Second

// onEach runs a test of the contract on every database.
func onEach(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "bluegate.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.URL(t))
	})
}

// open opens a store, without migrating.
func open(t testing.TB, url string, key Key) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{URL: url, Key: key, QueryTimeout: testTimeout})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// fresh returns a store on a migrated database.
func fresh(t testing.TB, url string) *Store {
	t.Helper()
	s := open(t, url, NewKey())
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

func requireFault(t testing.TB, err error, kind fault.Kind, key string) {
	t.Helper()
	require.Error(t, err)
	e := fault.As(err)
	require.Equal(t, kind.String()+" "+key, e.Kind.String()+" "+e.Key, "%v", err)
}

// world is a tenant and a server for claims to live on.
type world struct {
	*Store
	t      testing.TB
	tenant tenant.Tenant
	secret tenant.Secret
	server pool.Server
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	return newWorldOn(t, fresh(t, url))
}

// newWorldOn fills a store, which it migrates if need be and closes in the end.
func newWorldOn(t testing.TB, s *Store) *world {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	w := &world{Store: s, t: t}
	w.tenant, w.secret = w.addTenant("acme")
	w.server = w.addServer("bbb1")
	return w
}

func (w *world) addTenant(slug string) (tenant.Tenant, tenant.Secret) {
	w.t.Helper()
	made, secret, err := w.CreateTenant(w.t.Context(), tenant.Tenant{Slug: slug}, "", nil)
	require.NoError(w.t, err)
	return made, secret
}

func (w *world) addServer(name string) pool.Server {
	w.t.Helper()
	v, err := w.AddServer(w.t.Context(), pool.Server{
		Name: name, APIURL: "https://" + name + ".test/bigbluebutton/", Secret: "server-secret-of-" + name, CapacitySeats: 100,
	})
	require.NoError(w.t, err)
	return v
}

// draft is a claim as the registry would fill it.
func (w *world) draft(externalID string) meeting.Claim {
	scoped := w.tenant.ScopeKey + "-" + externalID
	return meeting.Claim{
		ExternalID: externalID, ServerID: w.server.ID, ScopedID: scoped[:min(len(scoped), 256)],
		AttendeePW: "ap-" + externalID, ModeratorPW: "mp-" + externalID, Ref: "ref-" + externalID,
		SecretID: w.secret.ID, Seats: 25, Params: "name=x%20\xff;y&meetingID=" + externalID,
	}
}

func (w *world) claimRoom(externalID string) meeting.Claim {
	w.t.Helper()
	c, err := w.Claim(w.t.Context(), w.tenant.ID, w.draft(externalID))
	require.NoError(w.t, err)
	return c
}

// moveTo moves a claim to a state, with nothing else changed.
func (w *world) moveTo(c meeting.Claim, st meeting.State) meeting.Claim {
	w.t.Helper()
	to := c
	to.State = st
	moved, err := w.Move(w.t.Context(), c.TenantID, c, to)
	require.NoError(w.t, err)
	require.Equal(w.t, st, moved.State)
	require.Greater(w.t, moved.Seq, c.Seq)
	return moved
}

func TestOpen(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		r := prometheus.NewRegistry()
		s, err := Open(t.Context(), Options{URL: url, Key: NewKey(), Registerer: r, QueryTimeout: testTimeout})
		require.NoError(t, err)
		require.Contains(t, []string{"sqlite", "postgres"}, s.Dialect())
		require.NoError(t, s.Ping(t.Context()))
		require.NoError(t, s.Migrate(t.Context()))
		figures := gather(t, r)
		require.InDelta(t, 1, figures["bluegate_store_up"], 0)
		require.InDelta(t, 1, figures["bluegate_store_migration_version"], 0)
		require.InDelta(t, 2, figures["bluegate_store_operation_duration_seconds ping"], 0)

		// The same registry can't serve two stores at once, but one after another.
		_, err = Open(t.Context(), Options{URL: url, Key: NewKey(), Registerer: r})
		requireFault(t, err, fault.Internal, "metricsTaken")
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		again, err := Open(t.Context(), Options{URL: url, Key: NewKey(), Registerer: r})
		require.NoError(t, err)
		require.NoError(t, again.Close())

		requireFault(t, again.Ping(t.Context()), fault.Unavailable, "storeUnavailable")
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "mysql://x", "data.db", "sqlite:", "sqlite::memory:", "host=localhost password=hunter2",
		"postgres://u:hunter2@h:notaport/db", "postgres://u:hun%zzter2@h/db", "postgres://u:hunter2@h/db?sslmode=hunter2",
	} {
		_, err := Open(t.Context(), Options{URL: url, Key: NewKey()})
		requireFault(t, err, fault.Invalid, "invalidDatabaseURL")
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "x.db")})
	requireFault(t, err, fault.Invalid, "noKey")
	_, err = Open(t.Context(), Options{URL: "/nowhere/at/all.db", Key: NewKey()})
	requireFault(t, err, fault.Invalid, "storeUnavailable")
	require.ErrorContains(t, err, "/nowhere/at/all.db: no such file or directory", "waiting won't help: it is said at once")
}

func TestLockServe(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		key := NewKey()
		one, two := open(t, url, key), open(t, url, key)
		release, err := one.LockServe()
		require.NoError(t, err)
		second, err := two.LockServe()
		if one.Dialect() == "postgres" {
			require.NoError(t, err)
			second()
		} else {
			requireFault(t, err, fault.Conflict, "alreadyServing")
		}
		release()
		release, err = two.LockServe()
		require.NoError(t, err)
		release()
	})
}

// TestSQLitePath opens files whose names mean something in a URI.
func TestSQLitePath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b%20?c#d&e.db")
	s := fresh(t, "sqlite:"+path)
	_, _, err := s.CreateTenant(t.Context(), tenant.Tenant{Slug: "a"}, "", nil)
	require.NoError(t, err)
	require.FileExists(t, path)
	require.FileExists(t, path+"-wal")
}

// gather returns the figures of a registry by name and operation; of a
// histogram, how many it counted.
func gather(t testing.TB, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	figures := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			figures[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return figures
}

// numbered returns n strings with a prefix.
func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = prefix + strconv.Itoa(i)
	}
	return all
}
