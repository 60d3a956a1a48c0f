package bbb

import (
	"crypto/sha1" //nolint:gosec // SHA-1 is one of the API's four checksum algorithms.
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"unicode"
)

// Algorithm is a hash function that a checksum can be made with.
type Algorithm uint8

// The algorithms. bbb-web tells them apart by the checksum's length.
const (
	NoAlgorithm Algorithm = iota
	SHA1
	SHA256
	SHA384
	SHA512
)

// Algorithms is every algorithm, the strongest first.
func Algorithms() []Algorithm { return []Algorithm{SHA512, SHA384, SHA256, SHA1} }

// String returns the name as BBB's configuration spells it, such as "sha256".
func (a Algorithm) String() string {
	switch a {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
	case NoAlgorithm:
	}
	return "none"
}

// ParseAlgorithm is String's inverse.
func ParseAlgorithm(name string) (Algorithm, error) {
	for _, a := range Algorithms() {
		if a.String() == name {
			return a, nil
		}
	}
	return NoAlgorithm, fmt.Errorf("%q is no checksum algorithm: use sha1, sha256, sha384 or sha512", name)
}

// AlgorithmOf returns the algorithm that a checksum of that many hex digits was
// made with; NoAlgorithm when there is none.
func AlgorithmOf(digits int) Algorithm {
	switch digits {
	case 2 * sha1.Size:
		return SHA1
	case 2 * sha256.Size:
		return SHA256
	case 2 * sha512.Size384:
		return SHA384
	case 2 * sha512.Size:
		return SHA512
	}
	return NoAlgorithm
}

func (a Algorithm) hash() hash.Hash {
	switch a {
	case SHA256:
		return sha256.New()
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	case SHA1, NoAlgorithm:
	}
	return sha1.New() //nolint:gosec // See the import.
}

// Checksum returns the value of the call's checksum parameter; "" when there is none.
func (c Call) Checksum() string {
	return Sanitize(c.Value("checksum"))
}

// Unsigned returns the call without its checksum, removed as bbb-web does it:
// textually and everywhere, first "&checksum=V", then "checksum=V&", then
// "checksum=V". A second checksum parameter with another value stays and is
// signed like any other.
func (c Call) Unsigned() Call {
	query := c.Query
	if hasControl(query) {
		query = Sanitize(query)
	}
	v := c.Checksum()
	if !strings.Contains(query, "checksum="+v) {
		return Call{Name: c.Name, Query: query}
	}
	tail := "&checksum=" + v
	if rest, ok := strings.CutSuffix(query, tail); ok && !strings.Contains(rest, tail[1:]) {
		return Call{Name: c.Name, Query: rest}
	}
	query = strings.ReplaceAll(query, tail, "")
	query = strings.ReplaceAll(query, tail[1:]+"&", "")
	query = strings.ReplaceAll(query, tail[1:], "")
	return Call{Name: c.Name, Query: query}
}

// hasControl is a quick test for what Sanitize would take out of a raw query.
func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == 0xc2 {
			return strings.IndexFunc(s, unicode.IsControl) >= 0
		}
	}
	return false
}

// Sign returns the raw query with a checksum for the secret appended. The call
// must be unsigned.
func (c Call) Sign(alg Algorithm, secret string) string {
	h := alg.hash()
	h.Write([]byte(c.Name))
	h.Write([]byte(c.Query))
	h.Write([]byte(secret))
	sum := hex.EncodeToString(h.Sum(nil))
	if c.Query == "" {
		return "checksum=" + sum
	}
	return c.Query + "&checksum=" + sum
}

// Verifier checks the checksum of one call against any number of secrets: the
// signed bytes are hashed once and the state is cloned per candidate. It is for
// one goroutine.
type Verifier struct {
	algorithm Algorithm
	state     []byte // of the hash after name and query
	scratch   hash.Hash
	want      [sha512.Size]byte
	sum       [sha512.Size]byte
	possible  bool
}

// Verifier returns a verifier of the call's checksum. A missing or malformed
// checksum gives one that does the same work and never matches.
func (c Call) Verifier() *Verifier {
	given := c.Checksum()
	v := &Verifier{algorithm: AlgorithmOf(len(given))}
	v.possible = v.algorithm != NoAlgorithm
	if v.possible {
		_, err := hex.Decode(v.want[:], []byte(given))
		v.possible = err == nil
	}
	v.scratch = v.algorithm.hash()
	unsigned := c.Unsigned()
	v.scratch.Write([]byte(unsigned.Name))
	v.scratch.Write([]byte(unsigned.Query))
	state, err := v.scratch.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil { // the standard library's hashes never fail to
		v.possible = false
	}
	v.state = state
	return v
}

// Algorithm returns what the checksum claims to be made with.
func (v *Verifier) Algorithm() Algorithm { return v.algorithm }

// Possible reports whether the checksum is well-formed: only then can a secret match.
func (v *Verifier) Possible() bool { return v.possible }

// Fingerprint identifies the signed bytes together with the checksum: two
// verifiers with the same one match the same secrets.
func (v *Verifier) Fingerprint() [sha256.Size]byte {
	return sha256.Sum256(append(v.want[:], v.state...))
}

// Match reports in constant time whether the checksum was made with the secret.
func (v *Verifier) Match(secret []byte) bool {
	if len(v.state) == 0 || v.scratch.(encoding.BinaryUnmarshaler).UnmarshalBinary(v.state) != nil {
		return false
	}
	v.scratch.Write(secret)
	sum := v.scratch.Sum(v.sum[:0])
	return subtle.ConstantTimeCompare(sum, v.want[:len(sum)]) == 1 && v.possible
}

// Verify reports whether the call's checksum was made with the secret.
func (c Call) Verify(secret string) bool {
	return c.Verifier().Match([]byte(secret))
}
