package meeting

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/bluegate/bluegate/internal/bbb"
)

// maxMeetingID is BBB's limit for a meetingID, in UTF-16 units.
const maxMeetingID = 256

// Scope returns the meetingID that a server gets for a tenant's external ID:
// "<key>-<external ID>", or "<key>-~<40 hex of its SHA-256>" when that is too
// long for BBB. The key begins with g-z, so that a scoped ID is never a prefix
// of an internal ID, which BBB would also find.
func Scope(key, externalID string) string {
	scoped := key + "-" + externalID
	if bbb.UTF16Len(scoped) <= maxMeetingID {
		return scoped
	}
	sum := sha256.Sum256([]byte(externalID))
	return key + "-~" + hex.EncodeToString(sum[:])[:40]
}

// refMeta is the metadata name under which a meeting carries our reference.
const refMeta = "bluegate-ref"

// reservedMeta is the beginning of metadata names that are ours alone.
const reservedMeta = "bluegate-"

// newRef returns a claim's unguessable reference.
func newRef() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// signRef returns what is planted in the metadata: the reference and a MAC that
// ties it to the tenant.
func signRef(key []byte, tenantKey, ref string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(tenantKey + "\x00" + ref))
	return ref + hex.EncodeToString(mac.Sum(nil))[:32]
}

// passwordAlphabet is what BBB makes its own random passwords of.
const passwordAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// newPassword returns a random meeting password.
func newPassword() string {
	var b strings.Builder
	var raw [16]byte
	for b.Len() < 12 {
		_, _ = rand.Read(raw[:]) // never fails
		for _, c := range raw {
			if int(c) < 4*len(passwordAlphabet) && b.Len() < 12 { // no modulo bias
				b.WriteByte(passwordAlphabet[int(c)%len(passwordAlphabet)])
			}
		}
	}
	return b.String()
}

// collapse does to an ID what BBB's renderer does to every value: white space
// runs become one blank (or line break) and the ends are trimmed.
func collapse(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
