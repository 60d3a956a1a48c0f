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

// hasher is what every hash of the standard library is: its state can be saved
// and restored without allocating.
type hasher interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

func (a Algorithm) hash() hasher {
	var h hash.Hash
	switch a {
	case SHA256:
		h = sha256.New()
	case SHA384:
		h = sha512.New384()
	case SHA512:
		h = sha512.New()
	case SHA1, NoAlgorithm:
		h = sha1.New() //nolint:gosec // See the import.
	}
	return h.(hasher)
}

// checksum writes the text's checksum in hex into digits and returns how many
// there are. Unlike hash it allocates nothing.
func (a Algorithm) checksum(digits, text []byte) int {
	switch a {
	case SHA256:
		sum := sha256.Sum256(text)
		return hex.Encode(digits, sum[:])
	case SHA384:
		sum := sha512.Sum384(text)
		return hex.Encode(digits, sum[:])
	case SHA512:
		sum := sha512.Sum512(text)
		return hex.Encode(digits, sum[:])
	case SHA1, NoAlgorithm:
	}
	sum := sha1.Sum(text) //nolint:gosec // See the import.
	return hex.Encode(digits, sum[:])
}

const checksumParam = "checksum"

// Checksum returns the value of the call's checksum parameter; "" when there is none.
func (c Call) Checksum() string {
	return Sanitize(c.Value(checksumParam))
}

// Unsigned returns the call without its checksum, removed as bbb-web does it:
// textually and everywhere, first "&checksum=V", then "checksum=V&", then
// "checksum=V". A second checksum parameter with another value stays and is
// signed like any other. Control characters and blanks around the query go too,
// as they are not signed.
func (c Call) Unsigned() Call {
	unsigned, _ := c.unsign()
	return unsigned
}

// unsign returns the call without its checksum, and the checksum.
func (c Call) unsign() (Call, string) {
	query := Sanitize(c.Query)
	p, ok := findPair(c.Query, checksumParam)
	if !ok {
		return Call{Name: c.Name, Query: query}, ""
	}
	v := Sanitize(Unescape(p.value))
	if len(query) == len(c.Query) && p.end == len(query) && p.start > 0 && v == p.value &&
		strings.HasPrefix(query[p.start:], checksumParam+"=") && !strings.Contains(query[:p.start], checksumParam) {
		// The usual place, at the end and nowhere else.
		return Call{Name: c.Name, Query: query[:p.start-1]}, v
	}
	text := checksumParam + "=" + v
	query = strings.ReplaceAll(query, "&"+text, "")
	query = strings.ReplaceAll(query, text+"&", "")
	query = strings.ReplaceAll(query, text, "")
	return Call{Name: c.Name, Query: query}, v
}

// Sign returns the raw query with a checksum for the secret appended. What the
// server would not hash as it stands is taken out first: control characters, and
// a checksum parameter that Unsigned left, which the server would take for ours.
func (c Call) Sign(alg Algorithm, secret string) string {
	query := signable(c.Query)
	var (
		scratch [1024]byte
		digits  [2 * sha512.Size]byte
	)
	text := append(append(append(scratch[:0], c.Name...), query...), secret...)
	n := alg.checksum(digits[:], text)
	separator := ""
	if query != "" {
		separator = "&"
	}
	return query + separator + checksumParam + "=" + string(digits[:n])
}

func signable(query string) string {
	for { // what goes may bring together what has to go as well
		next := Sanitize(query)
		if _, ok := findPair(next, checksumParam); ok {
			next = Call{Query: next}.Without(checksumParam).Query
		}
		if next == query {
			return query
		}
		query = next
	}
}

// Verifier checks the checksum of one call against any number of secrets: the
// signed bytes are hashed once and the state is restored per candidate. It is
// for one goroutine. The zero value is ready for Reset.
type Verifier struct {
	algorithm Algorithm
	possible  bool
	h         hasher
	state     []byte // of h after name and query
	text      []byte // scratch
	want, sum [sha512.Size]byte
	hashers   [SHA512 + 1]hasher // made so far, to be used again
}

// Verifier returns a verifier of the call's checksum. A missing or malformed
// checksum gives one that does the same work and never matches.
func (c Call) Verifier() *Verifier {
	v := new(Verifier)
	v.Reset(c)
	return v
}

// Reset makes the verifier one of another call, as Call.Verifier returns it, and
// uses its memory again.
func (v *Verifier) Reset(c Call) {
	unsigned, given := c.unsign()
	v.want = [sha512.Size]byte{}
	v.algorithm = AlgorithmOf(len(given))
	v.possible = false
	if v.algorithm != NoAlgorithm {
		v.text = append(v.text[:0], given...)
		_, err := hex.Decode(v.want[:], v.text)
		v.possible = err == nil
	}
	if v.hashers[v.algorithm] == nil {
		v.hashers[v.algorithm] = v.algorithm.hash()
	}
	v.h = v.hashers[v.algorithm]
	v.h.Reset()
	v.text = append(append(v.text[:0], unsigned.Name...), unsigned.Query...)
	v.h.Write(v.text)
	state, err := v.h.AppendBinary(v.state[:0])
	if err != nil { // the standard library's hashes never fail to
		v.possible = false
		return
	}
	v.state = state
}

// Algorithm returns what the checksum claims to be made with.
func (v *Verifier) Algorithm() Algorithm { return v.algorithm }

// Possible reports whether the checksum is well-formed: only then can a secret match.
func (v *Verifier) Possible() bool { return v.possible }

// Fingerprint identifies the signed bytes together with the checksum: two
// verifiers with the same one match the same secrets.
func (v *Verifier) Fingerprint() [sha256.Size]byte {
	v.text = append(append(v.text[:0], v.want[:v.h.Size()]...), v.state...)
	return sha256.Sum256(v.text)
}

// Match reports in constant time whether the checksum was made with the secret.
func (v *Verifier) Match(secret []byte) bool {
	if v.h.UnmarshalBinary(v.state) != nil {
		return false
	}
	v.h.Write(secret)
	sum := v.h.Sum(v.sum[:0])
	return subtle.ConstantTimeCompare(sum, v.want[:len(sum)]) == 1 && v.possible
}

// Verify reports whether the call's checksum was made with the secret.
func (c Call) Verify(secret string) bool {
	return c.Verifier().Match([]byte(secret))
}
