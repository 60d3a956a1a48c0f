package bbbsim

import (
	"strings"
	"unicode"
)

// javaURI is what java.net.URI makes of a redirect target: its parts, decoded.
type javaURI struct {
	scheme, authority, path, query, fragment string
	hasAuthority, hasQuery, hasFragment      bool
}

// Characters that java.net.URI leaves alone when it is built from parts.
const (
	uriUnreserved = "-_.!~*'()"
	uriPath       = uriUnreserved + ":@&=+$,;/"
	uriQuery      = uriUnreserved + ";/?:@&=+$,[]"
)

// parseJavaURI splits a URI; false where java.net.URI would throw.
func parseJavaURI(s string) (javaURI, bool) {
	if s == "" || !legalURI(s) {
		return javaURI{}, false
	}
	var u javaURI
	rest := s
	rest, u.fragment, u.hasFragment = strings.Cut(rest, "#")
	if strings.Contains(u.fragment, "#") {
		return javaURI{}, false
	}
	if i := strings.IndexAny(rest, ":/?"); i >= 0 && rest[i] == ':' {
		u.scheme, rest = rest[:i], rest[i+1:]
		if !legalScheme(u.scheme) || rest == "" {
			return javaURI{}, false
		}
	}
	rest, u.query, u.hasQuery = strings.Cut(rest, "?")
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		u.hasAuthority = true
		u.authority, u.path = after, ""
		if i := strings.IndexByte(after, '/'); i >= 0 {
			u.authority, u.path = after[:i], after[i:]
		}
		if u.authority == "" {
			return javaURI{}, false
		}
	} else {
		u.path = rest
	}
	if strings.ContainsAny(u.path, "[]") {
		return javaURI{}, false
	}
	u.path, u.query, u.fragment = unescapeURI(u.path), unescapeURI(u.query), unescapeURI(u.fragment)
	return u, true
}

// legalURI looks for characters that have no place anywhere in a URI, and for
// broken escapes.
func legalURI(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			continue
		}
		if c <= ' ' || c == 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 && !otherURI(r) })
}

// otherURI are the characters beyond ASCII that need no escape.
func otherURI(r rune) bool {
	return r >= 0x80 && !unicode.IsControl(r) && !unicode.In(r, unicode.Z)
}

func legalScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !isAlphanumeric(c) && strings.IndexByte("+-.", c) < 0) {
			return false
		}
	}
	return s != ""
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// withQuery adds to the query and writes the URI as java.net.URI does when it is
// built from its parts: every part is quoted anew, % included.
func (u javaURI) withQuery(extra string) string {
	query := extra
	if u.hasQuery {
		query = u.query + "&" + extra
	}
	var b strings.Builder
	if u.scheme != "" {
		b.WriteString(u.scheme + ":")
	}
	if u.hasAuthority {
		b.WriteString("//" + u.authority)
	}
	quoteURI(&b, u.path, uriPath)
	b.WriteByte('?')
	quoteURI(&b, query, uriQuery)
	if u.hasFragment {
		b.WriteByte('#')
		quoteURI(&b, u.fragment, uriQuery)
	}
	return b.String()
}

func quoteURI(b *strings.Builder, s, legal string) {
	for _, r := range s {
		switch {
		case r < 0x80 && (isAlphanumeric(byte(r)) || strings.ContainsRune(legal, r)), otherURI(r):
			b.WriteRune(r)
		default:
			for _, c := range []byte(string(r)) {
				b.WriteByte('%')
				b.WriteByte(upperHex[c>>4])
				b.WriteByte(upperHex[c&15])
			}
		}
	}
}

// unescapeURI decodes the escapes of a legal URI; + stays.
func unescapeURI(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
