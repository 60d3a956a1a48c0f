// Package bbb speaks the BigBlueButton HTTP API: calls whose raw query is kept
// byte for byte, checksums, answers that are scanned and spliced but never
// decoded and re-encoded, and a client. It knows nothing of tenants.
package bbb

import (
	"iter"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Call is one API request: the call's name ("create") and the raw query as it
// was on the wire. Editing a call returns a new one in which only the bytes of
// the touched parameters differ.
type Call struct {
	Name  string
	Query string
}

// pair is one "name=value" of a raw query; both parts still escaped.
type pair struct {
	start, end  int // in the query, without the & around it
	name, value string
}

// pieces yields what stands between the &s of a query, split at & alone: a raw
// semicolon is part of a value, as it is for bbb-web.
func pieces(query string) iter.Seq[pair] {
	return func(yield func(pair) bool) {
		for start := 0; start <= len(query); {
			end := strings.IndexByte(query[start:], '&')
			if end < 0 {
				end = len(query)
			} else {
				end += start
			}
			p := pair{start: start, end: end}
			p.name, p.value, _ = strings.Cut(query[start:end], "=")
			if !yield(p) {
				return
			}
			start = end + 1
		}
	}
}

// pairs yields the query's parameters in order: the pieces without the empty
// ones that stray &s make.
func pairs(query string) iter.Seq[pair] {
	return func(yield func(pair) bool) {
		for p := range pieces(query) {
			if p.end > p.start && !yield(p) {
				return
			}
		}
	}
}

// findPair returns the first parameter whose decoded name is name. It is what
// every call on the shared URL goes through, hence the loop of its own.
func findPair(query, name string) (pair, bool) {
	for start := 0; start < len(query); {
		end := strings.IndexByte(query[start:], '&')
		if end < 0 {
			end = len(query)
		} else {
			end += start
		}
		// Few names begin as this one does, or with an escape.
		if end > start && (name == "" || query[start] == name[0] || query[start] == '%' || query[start] == '+') {
			p := pair{start: start, end: end}
			p.name, p.value, _ = strings.Cut(query[start:end], "=")
			if isName(p.name, name) {
				return p, true
			}
		}
		start = end + 1
	}
	return pair{}, false
}

// Param returns the decoded value of the first parameter of that name; false
// when there is none. A parameter without "=" has the value "".
func (c Call) Param(name string) (string, bool) {
	p, ok := findPair(c.Query, name)
	if !ok {
		return "", false
	}
	return Unescape(p.value), true
}

// Value is Param without telling an absent parameter from an empty one.
func (c Call) Value(name string) string {
	v, _ := c.Param(name)
	return v
}

// Count returns how often a parameter occurs.
func (c Call) Count(name string) int {
	n := 0
	for p := range pairs(c.Query) {
		if isName(p.name, name) {
			n++
		}
	}
	return n
}

// Params yields every parameter decoded, in order.
func (c Call) Params() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for p := range pairs(c.Query) {
			if !yield(Unescape(p.name), Unescape(p.value)) {
				return
			}
		}
	}
}

// With returns the call with the parameter set to value: the value of its first
// occurrence is replaced in place, further ones are removed, and a parameter
// that is missing is appended.
func (c Call) With(name, value string) Call {
	done := false
	query := rewrite(c.Query, func(b []byte, p pair) ([]byte, bool) {
		switch {
		case !isName(p.name, name):
			return append(b, c.Query[p.start:p.end]...), true
		case done:
			return b, false
		}
		done = true
		b = append(append(b, p.name...), '=')
		return append(b, url.QueryEscape(value)...), true
	})
	if !done {
		if query != "" && !strings.HasSuffix(query, "&") {
			query += "&"
		}
		query += url.QueryEscape(name) + "=" + url.QueryEscape(value)
	}
	return Call{Name: c.Name, Query: query}
}

// Without returns the call with every occurrence of the named parameters removed.
func (c Call) Without(names ...string) Call {
	return c.WithoutFunc(func(name string) bool { return slices.Contains(names, name) })
}

// WithoutFunc returns the call without the parameters whose decoded name drop reports.
func (c Call) WithoutFunc(drop func(name string) bool) Call {
	return Call{Name: c.Name, Query: rewrite(c.Query, func(b []byte, p pair) ([]byte, bool) {
		if drop(Unescape(p.name)) {
			return b, false
		}
		return append(b, c.Query[p.start:p.end]...), true
	})}
}

// rewrite returns the query with each parameter as edit appends it, or taken
// out, with one & beside it, when edit reports false. Stray &s stay.
func rewrite(query string, edit func(b []byte, p pair) ([]byte, bool)) string {
	b := make([]byte, 0, len(query)+64)
	first := true
	for p := range pieces(query) {
		mark, keep := len(b), true
		if !first {
			b = append(b, '&')
		}
		if p.end > p.start {
			b, keep = edit(b, p)
		}
		if !keep {
			b = b[:mark]
			continue
		}
		first = false
	}
	return string(b)
}

func isName(raw, name string) bool { return Unescape(raw) == name }

// Unescape decodes a form-encoded text leniently: + is a blank, %XX a byte, and
// a malformed escape stays as it is.
func Unescape(s string) string {
	i := strings.IndexByte(s, '%')
	if plus := strings.IndexByte(s, '+'); plus >= 0 && (i < 0 || plus < i) {
		i = plus
	}
	if i < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	b = append(b, s[:i]...)
	for ; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

// Sanitize does to a parameter what bbb-web does before it validates it: control
// characters (Unicode category Cc) go, blanks around it too.
func Sanitize(s string) string {
	if !mayNeedSanitizing(s) {
		return s
	}
	// By bytes, so that what isn't UTF-8 stays what it is. Category Cc is below
	// 0x20, 0x7f, and 0x80 to 0x9f, which UTF-8 writes with 0xc2 in front.
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] < ' ', s[i] == 0x7f:
		case s[i] == 0xc2 && i+1 < len(s) && 0x80 <= s[i+1] && s[i+1] <= 0x9f:
			i++
		default:
			b = append(b, s[i])
		}
	}
	return strings.Trim(string(b), " ")
}

// mayNeedSanitizing is a quick test for what Sanitize could change. False alarms
// are bytes of non-ASCII characters.
func mayNeedSanitizing(s string) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		// The high bit of a byte is set by one below 0x21, and by 0x7f and up.
		if ((x-ones*0x21)|(x+ones)|x)&highs != 0 {
			return true
		}
	}
	for ; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return true
		}
	}
	return false
}

// UTF16Len counts UTF-16 units, which is what BBB's length limits are in.
func UTF16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// ValidUTF8 reports whether every name and value decodes to valid UTF-8.
func (c Call) ValidUTF8() bool {
	for name, value := range c.Params() {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return false
		}
	}
	return true
}
