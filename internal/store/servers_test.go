package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

func TestServers(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, ctx := fresh(t, url), t.Context()
		plain, err := s.AddServer(ctx, pool.Server{Name: "one", APIURL: "https://one.test/bigbluebutton/", Secret: "s1"})
		require.NoError(t, err)
		require.Equal(t, plain.APIURL, plain.PublicURL)
		require.Equal(t, "sha256", plain.Algorithm)
		require.Equal(t, "default", plain.Pool)
		require.Equal(t, pool.Enabled, plain.AdminState)
		full, err := s.AddServer(ctx, pool.Server{
			Name: "two", APIURL: "http://two.internal/bigbluebutton/", PublicURL: "https://two.test/bigbluebutton/", Secret: "s2",
			Algorithm: "sha1", CapacitySeats: 250, Pool: "gold", AdminState: pool.Disabled,
		})
		require.NoError(t, err)

		for _, c := range []struct {
			change func(v *pool.Server)
			kind   fault.Kind
			key    string
		}{
			{func(v *pool.Server) { v.Name = "one" }, fault.Conflict, "serverNameTaken"},
			{func(v *pool.Server) { v.APIURL = plain.APIURL }, fault.Conflict, "serverURLTaken"},
			{func(v *pool.Server) { v.Name = "" }, fault.Invalid, "invalidServer"},
			{func(v *pool.Server) { v.Name = "\x00" }, fault.Invalid, "invalidText"},
			{func(v *pool.Server) { v.Secret = "" }, fault.Invalid, "invalidServer"},
			{func(v *pool.Server) { v.CapacitySeats = -1 }, fault.Invalid, "invalidServer"},
			{func(v *pool.Server) { v.Algorithm = "md5" }, fault.Invalid, "invalidAlgorithm"},
			{func(v *pool.Server) { v.AdminState = "odd" }, fault.Invalid, "invalidState"},
		} {
			v := pool.Server{Name: "three", APIURL: "https://three.test/bigbluebutton/", Secret: "s3"}
			c.change(&v)
			_, err := s.AddServer(ctx, v)
			requireFault(t, err, c.kind, c.key)
		}

		require.NoError(t, s.SetServerAdminState(ctx, plain.ID, pool.Draining))
		plain.AdminState = pool.Draining
		requireFault(t, s.SetServerAdminState(ctx, plain.ID, "odd"), fault.Invalid, "invalidState")
		requireFault(t, s.SetServerAdminState(ctx, 4711, pool.Enabled), fault.NotFound, "serverNotFound")

		require.NoError(t, s.SetServerSecret(ctx, full.ID, "changed", "sha1"))
		full.Secret, full.Algorithm = "changed", "sha1"
		requireFault(t, s.SetServerSecret(ctx, full.ID, "", "sha1"), fault.Invalid, "invalidServer")
		requireFault(t, s.SetServerSecret(ctx, full.ID, "x", "md5"), fault.Invalid, "invalidAlgorithm")
		requireFault(t, s.SetServerSecret(ctx, 4711, "x", "sha1"), fault.NotFound, "serverNotFound")

		all, err := s.Servers(ctx)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]pool.Server{plain, full}, all))
	})
}
