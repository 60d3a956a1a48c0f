package bbbsim

import (
	"crypto/sha1" // #nosec G505 -- the protocol's own choice
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

// checksumGiven tells whether the request has a non-empty checksum at all.
func (req *apiRequest) checksumGiven() bool {
	return sanitize(req.params.get("checksum")) != ""
}

// verify checks a request's checksum by bbb-web's textual rule (BBB API,
// checksum): the checksum's own text is taken out of the raw query, and the hash
// of call name, what is left and the secret must be the checksum. `recording`
// selects the variant of the recording calls, which leaves the query as it is.
func (s *Server) verify(req *apiRequest, recording bool) bool {
	given := req.params.get("checksum")
	query := req.query
	if !recording {
		given = sanitize(given)
		if query == "" && s.cfg.Profile == Profile24 {
			query = rebuildQuery(req.form)
		}
		query = sanitize(query)
	}
	if given == "" {
		return false
	}
	if s.cfg.Secret == "" {
		return true // "security disabled"
	}
	sum := s.hashFor(given)
	if sum == nil {
		return false
	}
	sum.Write([]byte(req.call + withoutChecksum(query, given) + s.cfg.Secret))
	expected := hex.EncodeToString(sum.Sum(nil))
	if s.cfg.Profile == Profile24 {
		return expected == given
	}
	return strings.EqualFold(expected, given)
}

// withoutChecksum removes every literal occurrence, in bbb-web's order.
func withoutChecksum(query, checksum string) string {
	query = strings.ReplaceAll(query, "&checksum="+checksum, "")
	query = strings.ReplaceAll(query, "checksum="+checksum+"&", "")
	return strings.ReplaceAll(query, "checksum="+checksum, "")
}

// hashFor chooses the algorithm by the checksum's length; nil when there is none
// or the server doesn't support it.
func (s *Server) hashFor(checksum string) hash.Hash {
	supported := s.cfg.Algorithms
	if s.cfg.Profile == Profile24 {
		supported = "sha1,sha256"
	}
	var name string
	var sum hash.Hash
	switch utf16Len(checksum) {
	case 2 * sha1.Size:
		name, sum = "sha1", sha1.New() // #nosec G401 -- the protocol's own choice
	case 2 * sha256.Size:
		name, sum = "sha256", sha256.New()
	case 2 * sha512.Size384:
		name, sum = "sha384", sha512.New384()
	case 2 * sha512.Size:
		name, sum = "sha512", sha512.New()
	}
	if sum == nil || !strings.Contains(supported, name) {
		return nil
	}
	return sum
}

// rebuildQuery is what servers before the content-type change hash when the URL
// has no query (BBB API, POST bodies): all parameters but the checksum, sorted,
// values encoded, names as they are.
func rebuildQuery(form params) string {
	var b strings.Builder
	for _, name := range form.sortedNames() {
		if name == "checksum" {
			continue
		}
		for _, p := range form {
			if p.name != name {
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(name)
			b.WriteByte('=')
			javaEncode(&b, sanitize(p.value))
		}
	}
	return b.String()
}

// javaEncode is java.net.URLEncoder: letters, digits and *-._ stay, a blank
// becomes +, the bytes of everything else are escaped.
func javaEncode(b *strings.Builder, s string) {
	const upper = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case isAlphanumeric(c) || strings.IndexByte("*-._", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.WriteByte('%')
			b.WriteByte(upper[c>>4])
			b.WriteByte(upper[c&15])
		}
	}
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// sha1Hex is the hash that internal IDs are made of (BBB API, IDs).
func sha1Hex(s string) string {
	sum := sha1.Sum([]byte(s)) // #nosec G401 -- the protocol's own choice
	return hex.EncodeToString(sum[:])
}
