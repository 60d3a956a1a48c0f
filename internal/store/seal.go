package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/bluegate/bluegate/internal/fault"
)

// purpose says what a sealed value is. It is bound into the ciphertext, so that
// one column's can't be put into another.
type purpose string

const (
	sealTenantSecret purpose = "tenant_secrets.secret"
	sealServerSecret purpose = "servers.secret"
	sealClaimParams  purpose = "claims.params"
	sealClaimAnswer  purpose = "claims.answer"
)

// sealVersion is the first byte of every sealed value.
const sealVersion = 1

// sealer seals and opens values with one key.
type sealer struct {
	keyID       string
	aead        cipher.AEAD
	fingerprint []byte
	check       []byte
}

func newSealer(k Key) (*sealer, error) {
	block, err := aes.NewCipher(k.Derive("store/seal"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{
		keyID:       k.ID(),
		aead:        aead,
		fingerprint: k.Derive("store/fingerprint"),
		check:       k.Derive("store/check"),
	}, nil
}

// seal encrypts a value for one purpose and one owner (the tenant's ID, or 0).
func (s *sealer) seal(p purpose, owner int64, plain []byte) []byte {
	out := make([]byte, 1, 1+len(plain)+s.aead.Overhead())
	out[0] = sealVersion
	//nolint:gosec // G407: this AEAD makes a random nonce by itself and refuses one
	return s.aead.Seal(out, nil, plain, additional(p, owner))
}

// open decrypts what seal returned. Error: fault.Unavailable "wrongKey" for
// another key's, "sealedDamaged" for what was changed or belongs elsewhere.
func (s *sealer) open(p purpose, owner int64, keyID string, sealed []byte) ([]byte, error) {
	if keyID != s.keyID {
		return nil, fault.Newf(fault.Unavailable, "wrongKey",
			"A stored value (%s) was sealed with the encryption key %s, not with %s.", p, keyID, s.keyID)
	}
	if len(sealed) > 0 && sealed[0] == sealVersion {
		if plain, err := s.aead.Open(nil, nil, sealed[1:], additional(p, owner)); err == nil {
			return plain, nil
		}
	}
	return nil, fault.Newf(fault.Unavailable, "sealedDamaged",
		"A stored value (%s of tenant %d) can't be opened: it was changed or misplaced.", p, owner)
}

func additional(p purpose, owner int64) []byte {
	return strconv.AppendInt(append([]byte(p), ':'), owner, 10)
}

// fingerprintOf makes equal secrets visible without telling them.
func (s *sealer) fingerprintOf(secret string) []byte {
	mac := hmac.New(sha256.New, s.fingerprint)
	_, _ = mac.Write([]byte(secret))
	return mac.Sum(nil)
}

// checkValue is what the database keeps to recognise the key.
func (s *sealer) checkValue() string {
	mac := hmac.New(sha256.New, s.check)
	_, _ = mac.Write([]byte("bluegate"))
	return hex.EncodeToString(mac.Sum(nil))
}

var errPacked = errors.New("store: a packed value is damaged")

// pack joins byte strings, whatever is in them, with their lengths.
func pack(parts ...[]byte) []byte {
	size := 0
	for _, p := range parts {
		size += binary.MaxVarintLen32 + len(p)
	}
	out := make([]byte, 0, size)
	for _, p := range parts {
		out = binary.AppendUvarint(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

// unpack splits what pack joined into exactly n parts.
func unpack(packed []byte, n int) ([][]byte, error) {
	parts := make([][]byte, n)
	for i := range parts {
		size, used := binary.Uvarint(packed)
		if used <= 0 || size > uint64(len(packed)-used) {
			return nil, errPacked
		}
		parts[i], packed = packed[used:used+int(size)], packed[used+int(size):]
	}
	if len(packed) != 0 {
		return nil, errPacked
	}
	return parts, nil
}
