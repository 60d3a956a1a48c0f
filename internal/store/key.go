package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/bluegate/bluegate/internal/fault"
)

const keySize = 32

// Key is the secret that everything sensitive is sealed with. However it is
// printed, only its public ID shows. The zero value is no key.
//
// The bytes are in a closure because fmt prints a Key that lies in an
// unexported field without asking its methods, and sees through a pointer.
type Key struct{ secret func() []byte }

func keyOf(raw []byte) Key { return Key{secret: func() []byte { return raw }} }

// NewKey returns a random key.
func NewKey() Key {
	raw := make([]byte, keySize)
	// crypto/rand.Read never fails: it ends the process instead.
	_, _ = rand.Read(raw)
	return keyOf(raw)
}

// ParseKey reads a key of 32 bytes in base64 (either alphabet, padded or not)
// or in hexadecimal; blanks around it don't matter. Error: fault.Invalid
// "invalidKey", which doesn't repeat the text.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	raw, err := hex.DecodeString(text)
	if err != nil {
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		raw, err = base64.RawStdEncoding.DecodeString(plain)
	}
	if err != nil || len(raw) != keySize || bytes.Equal(raw, make([]byte, keySize)) {
		return Key{}, fault.New(fault.Invalid, "invalidKey",
			"The encryption key must be 32 random bytes, in base64 or hexadecimal.")
	}
	return keyOf(raw), nil
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.secret == nil }

// Encode returns the key itself in base64, for the one place where it is kept.
func (k Key) Encode() string { return base64.StdEncoding.EncodeToString(k.secret()) }

// ID returns a short public name of the key, which says nothing about its value.
func (k Key) ID() string { return hex.EncodeToString(k.Derive("key-id")[:6]) }

// Derive returns a key of 32 bytes for one purpose. Those of different labels
// say nothing about each other or about the key. Only a real key derives any.
func (k Key) Derive(label string) []byte {
	out, err := hkdf.Key(sha256.New, k.secret(), nil, "bluegate/"+label, keySize)
	if err != nil {
		// Only a length beyond 255 hashes is refused.
		panic("store: HKDF refused a fixed length: " + err.Error())
	}
	return out
}

// String returns the key's public ID.
func (k Key) String() string {
	if k.IsZero() {
		return "key:none"
	}
	return "key:" + k.ID()
}

// Format implements fmt.Formatter, so that no verb prints the bytes.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps encoders from finding anything but the public ID.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
