package meeting

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bluegate/bluegate/internal/bbb"
)

var anyKey = rapid.StringMatching(`[g-z][a-z0-9]{3,7}`)

// TestScopedIDs holds what the servers rely on: a scoped ID is legal, is never
// the beginning of an internal ID or of a hash (BBB finds meetings by such), and
// two rooms never share one.
func TestScopedIDs(t *testing.T) {
	hexStart := regexp.MustCompile(`^[0-9a-f]`)
	rapid.Check(t, func(t *rapid.T) {
		key := anyKey.Draw(t, "key")
		id := rapid.StringN(1, 300, -1).Draw(t, "id")
		scoped := Scope(key, id)
		require.NotRegexp(t, hexStart, scoped)
		require.True(t, strings.HasPrefix(scoped, key+"-"))
		require.LessOrEqual(t, bbb.UTF16Len(scoped), maxMeetingID)
		require.GreaterOrEqual(t, bbb.UTF16Len(scoped), 2, "BBB wants two characters")
		require.Equal(t, scoped, Scope(key, id))
		if bbb.UTF16Len(key+"-"+id) <= maxMeetingID {
			require.Equal(t, key+"-"+id, scoped, "what fits is readable")
		} else {
			require.Regexp(t, `^`+key+`-~[0-9a-f]{40}$`, scoped)
		}
		other, otherID := anyKey.Draw(t, "other key"), rapid.StringN(1, 300, -1).Draw(t, "other id")
		if other != key || otherID != id {
			require.NotEqual(t, scoped, Scope(other, otherID))
		}
	})
}

func TestScopeOfLongIDs(t *testing.T) {
	key := "kacme"
	fits := strings.Repeat("x", maxMeetingID-len(key)-1)
	require.Equal(t, key+"-"+fits, Scope(key, fits))
	long := fits + "x"
	require.Equal(t, key+"-~", Scope(key, long)[:len(key)+2])
	require.Len(t, Scope(key, long), len(key)+2+40)
	require.NotEqual(t, Scope(key, long), Scope(key, long+"x"))
	// Characters outside the BMP count twice, as in BBB.
	require.Equal(t, key+"-"+strings.Repeat("😀", 125), Scope(key, strings.Repeat("😀", 125)))
	require.Contains(t, Scope(key, strings.Repeat("😀", 126)), "-~")
}

func TestReferences(t *testing.T) {
	key := []byte("k")
	signed := signRef(key, "kacme", "r")
	require.True(t, strings.HasPrefix(signed, "r"))
	require.Len(t, signed, 1+32)
	require.NotEqual(t, signed, signRef(key, "kglobx", "r"), "it belongs to one tenant")
	require.NotEqual(t, signed, signRef([]byte("l"), "kacme", "r"), "and to one installation")
	require.NotEqual(t, signRef(key, "ka", "\x00b"), signRef(key, "ka\x00", "b"))
	require.NotEqual(t, newRef(), newRef())
	require.Len(t, newRef(), 32)
	seen := map[string]bool{}
	for range 100 {
		pw := newPassword()
		require.Regexp(t, `^[A-Za-z0-9]{12}$`, pw)
		require.False(t, seen[pw])
		seen[pw] = true
	}
}

// TestAdoptionNeedsOurReference puts meetings under a claim's scoped ID on its
// server that are not the claim's: none is adopted.
func TestAdoptionNeedsOurReference(t *testing.T) {
	for name, meta := range map[string]func(w *world, c Claim) []string{
		"none":             func(*world, Claim) []string { return nil },
		"plain reference":  func(_ *world, c Claim) []string { return []string{refMeta, c.Ref} },
		"of another claim": func(w *world, _ Claim) []string { return []string{refMeta, signRef(w.key, acme.ScopeKey, "other")} },
		"of a foreign tenant": func(w *world, c Claim) []string {
			return []string{refMeta, signRef(w.key, globex.ScopeKey, c.Ref)}
		},
		"with another key": func(_ *world, c Claim) []string {
			return []string{refMeta, signRef([]byte("stolen"), acme.ScopeKey, c.Ref)}
		},
		"under another name": func(w *world, c Claim) []string {
			return []string{"ref", signRef(w.key, acme.ScopeKey, c.Ref)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				c := w.placed(t, "r", Unknown)
				w.on(1, func(v *fakeServer) {
					m := w.start(v, bbb.Call{Name: "create", Query: c.Params})
					m.life.Metadata = meta(w, c)
					v.meetings[c.ScopedID] = m
				})
				w.poll(1)
				require.Equal(t, Unknown, w.claim("r").State)

				w.on(1, func(v *fakeServer) {
					m := v.meetings[c.ScopedID]
					m.life.Metadata = []string{refMeta, signRef(w.key, acme.ScopeKey, c.Ref)}
					v.meetings[c.ScopedID] = m
				})
				w.poll(1)
				require.Equal(t, Running, w.claim("r").State, "with the right one it is")
			})
		})
	}
}
