package store

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

func TestSealer(t *testing.T) {
	t.Parallel()
	s, err := newSealer(NewKey())
	require.NoError(t, err)
	plain := []byte("a secret")
	sealed := s.seal(sealTenantSecret, 7, plain)
	require.NotContains(t, string(sealed), "secret")
	require.NotEqual(t, sealed, s.seal(sealTenantSecret, 7, plain), "a nonce of its own each time")
	opened, err := s.open(sealTenantSecret, 7, s.keyID, sealed)
	require.NoError(t, err)
	require.Equal(t, plain, opened)

	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	version := bytes.Clone(sealed)
	version[0]++
	for name, open := range map[string]func() ([]byte, error){
		"other purpose": func() ([]byte, error) { return s.open(sealServerSecret, 7, s.keyID, sealed) },
		"other tenant":  func() ([]byte, error) { return s.open(sealTenantSecret, 8, s.keyID, sealed) },
		"damaged":       func() ([]byte, error) { return s.open(sealTenantSecret, 7, s.keyID, damaged) },
		"version":       func() ([]byte, error) { return s.open(sealTenantSecret, 7, s.keyID, version) },
		"cut":           func() ([]byte, error) { return s.open(sealTenantSecret, 7, s.keyID, sealed[:5]) },
		"empty":         func() ([]byte, error) { return s.open(sealTenantSecret, 7, s.keyID, nil) },
	} {
		_, err := open()
		require.Error(t, err, name)
		requireFault(t, err, fault.Unavailable, "sealedDamaged")
	}
	other, err := newSealer(NewKey())
	require.NoError(t, err)
	_, err = other.open(sealTenantSecret, 7, s.keyID, sealed)
	requireFault(t, err, fault.Unavailable, "wrongKey")
	require.Equal(t, s.fingerprintOf("x"), s.fingerprintOf("x"))
	require.NotEqual(t, s.fingerprintOf("x"), s.fingerprintOf("y"))
	require.NotEqual(t, s.fingerprintOf("x"), other.fingerprintOf("x"))
	require.NotEqual(t, s.checkValue(), other.checkValue())
}

func TestPack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 5).Draw(t, "parts")
		packed := pack(parts...)
		got, err := unpack(packed, len(parts))
		require.NoError(t, err)
		for i := range parts {
			require.True(t, bytes.Equal(parts[i], got[i]))
		}
		_, err = unpack(append(packed, 0), len(parts))
		require.Error(t, err)
		// Whatever else is read, it doesn't panic.
		_, _ = unpack(rapid.SliceOf(rapid.Byte()).Draw(t, "junk"), 3)
	})
}

// TestNothingSensitiveInPlain dumps the whole database and looks for what was
// put into it.
func TestNothingSensitiveInPlain(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, ctx := fresh(t, url), t.Context()
		const marker = "S3ns1tive"
		owner, secret, err := s.CreateTenant(ctx, tenant.Tenant{Slug: "acme"}, marker+"-tenant-secret-0123456789", nil)
		require.NoError(t, err)
		extra, err := s.AddSecret(ctx, owner.ID, marker+"-second-secret-0123456789", "label", nil)
		require.NoError(t, err)
		server, err := s.AddServer(ctx, pool.Server{Name: "bbb1", APIURL: "https://bbb1.test/bigbluebutton/", Secret: marker + "-server"})
		require.NoError(t, err)
		c, err := s.Claim(ctx, owner.ID, meeting.Claim{
			ExternalID: "visible-room", ScopedID: "x", ServerID: server.ID, AttendeePW: marker + "-ap", ModeratorPW: marker + "-mp",
			Params: "name=" + marker, Answer: []byte("<response>" + marker + "</response>"),
		})
		require.NoError(t, err)
		to := c
		to.State, to.AttendeePW, to.Answer = meeting.Running, marker+"-ap2", []byte("<a>"+marker+"</a>")
		_, err = s.Move(ctx, owner.ID, c, to)
		require.NoError(t, err)

		dump := dumpAll(t, s)
		require.Contains(t, dump, "visible-room", "the dump sees the rows")
		for _, form := range []string{
			marker, hex.EncodeToString([]byte(marker)), base64.StdEncoding.EncodeToString([]byte(marker))[:11],
			secret.Value, extra.Value, server.Secret,
		} {
			require.NotContains(t, dump, form)
		}
	})
}

// dumpAll returns every column of every row of every table as text.
func dumpAll(t *testing.T, s *Store) string {
	t.Helper()
	var out bytes.Buffer
	for _, table := range []string{"meta", "counters", "scope_keys", "tenants", "tenant_secrets", "tenant_hosts", "servers", "claims"} {
		rows, err := s.pools.readSQL.QueryContext(t.Context(), "SELECT * FROM "+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(sql.RawBytes)
			}
			require.NoError(t, rows.Scan(values...))
			for i, v := range values {
				fmt.Fprintf(&out, "%s.%s=%s\n", table, columns[i], *v.(*sql.RawBytes))
			}
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	return out.String()
}

// TestDamagedClaim: a row that can't be unsealed costs its own room, nobody
// else's.
func TestDamagedClaim(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		good, bad := w.claimRoom("good"), w.claimRoom("bad")
		_, err := w.pools.writeSQL.ExecContext(ctx, "UPDATE claims SET sealed_params = sealed_answer WHERE id = $1", bad.ID)
		require.NoError(t, err)
		live, _, err := w.Live(ctx)
		require.NoError(t, err)
		require.Len(t, live, 1)
		require.Equal(t, good.ID, live[0].ID)
		changes, err := w.Changes(ctx, 0, nil)
		require.NoError(t, err)
		require.Len(t, changes, 1)
		_, err = w.Room(ctx, w.tenant.ID, "bad")
		requireFault(t, err, fault.Unavailable, "sealedDamaged")
	})
}

// TestSwappedCiphertexts holds that what is sealed for one place opens nowhere
// else.
func TestSwappedCiphertexts(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w, ctx := newWorld(t, url), t.Context()
		w.addTenant("other")
		w.claimRoom("r")
		_, err := w.pools.writeSQL.ExecContext(ctx, "UPDATE claims SET sealed_answer = sealed_params")
		require.NoError(t, err)
		_, err = w.Room(ctx, w.tenant.ID, "r")
		requireFault(t, err, fault.Unavailable, "sealedDamaged")
		_, err = w.pools.writeSQL.ExecContext(ctx, "UPDATE tenant_secrets SET sealed_secret = (SELECT sealed_secret FROM tenant_secrets WHERE tenant_id = $1)", w.tenant.ID)
		require.NoError(t, err)
		_, err = w.Listing(ctx)
		requireFault(t, err, fault.Unavailable, "sealedDamaged")
	})
}
