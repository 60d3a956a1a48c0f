package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
)

func TestParseKey(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{0xfb, 0xff, 0x01, 0x7e}, 8)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), " " + hex.EncodeToString(raw) + "\n",
	} {
		k, err := ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, base64.StdEncoding.EncodeToString(raw), k.Encode())
	}
	k := NewKey()
	again, err := ParseKey(k.Encode())
	require.NoError(t, err)
	require.Equal(t, k.Encode(), again.Encode())
	require.NotEqual(t, k.Encode(), NewKey().Encode())

	for _, bad := range []string{
		"", "hunter2", base64.StdEncoding.EncodeToString(raw[:31]), hex.EncodeToString(append(raw, 1)),
		strings.Repeat("0", 64), strings.Repeat("!", 44),
	} {
		_, err := ParseKey(bad)
		requireFault(t, err, fault.Invalid, "invalidKey")
		if bad != "" {
			require.NotContains(t, err.Error(), bad)
		}
	}
}

// TestKeyNeverShows prints a key in every way that could leak it.
func TestKeyNeverShows(t *testing.T) {
	t.Parallel()
	k := NewKey()
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "key", k, "options", Options{Key: k}, "pointer", &k)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "options", Options{Key: k}, "any", struct{ K Key }{k}, "hidden", struct{ k Key }{k})
	asJSON, err := json.Marshal(map[string]any{"key": k, "in": struct{ K Key }{k}})
	require.NoError(t, err)
	all := log.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%p"} {
		all += fmt.Sprintf(verb+" "+verb+" "+verb+" "+verb+"\n", k, &k, struct{ K Key }{k}, struct{ k Key }{k})
	}
	for _, form := range []string{
		k.Encode(), hex.EncodeToString(k.secret()), strings.ToUpper(hex.EncodeToString(k.secret())),
		fmt.Sprint(k.secret()), strings.Trim(fmt.Sprint(k.secret()[:8]), "[]"), hex.EncodeToString(k.secret()[:4]),
		strings.Trim(fmt.Sprintf("%b", k.secret()[:4]), "[]"),
	} {
		require.NotContains(t, all, form)
	}
	require.Contains(t, all, "key:"+k.ID())
}

func TestDerive(t *testing.T) {
	t.Parallel()
	k := NewKey()
	a, b := k.Derive("a"), k.Derive("b")
	require.Len(t, a, 32)
	require.Equal(t, a, k.Derive("a"))
	require.NotEqual(t, a, b)
	require.NotEqual(t, a, NewKey().Derive("a"))
	require.NotEqual(t, a, k.secret())
	require.True(t, Key{}.IsZero())
	require.Equal(t, "key:none", fmt.Sprint(Key{}))
}
