package store

import (
	"crypto/rand"
	"strings"
	"unicode/utf8"

	"github.com/bluegate/bluegate/internal/fault"
)

// checkText refuses text that PostgreSQL can't store.
func checkText(what, value string) error {
	if !storable(value) {
		return fault.Newf(fault.Invalid, "invalidText", "The %s must be UTF-8 without NUL.", what)
	}
	return nil
}

// storable reports whether both databases can hold the text.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// randomText returns random characters of an alphabet, each equally likely.
func randomText(n int, alphabet string) string {
	out := make([]byte, 0, n)
	// Bytes from the last, incomplete round of the alphabet would favour its
	// first characters.
	limit := 256 - 256%len(alphabet)
	var buf [64]byte
	for {
		_, _ = rand.Read(buf[:]) // never fails: it ends the process instead
		for _, b := range buf {
			if int(b) >= limit {
				continue
			}
			if out = append(out, alphabet[int(b)%len(alphabet)]); len(out) == n {
				return string(out)
			}
		}
	}
}
