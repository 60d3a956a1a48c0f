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
	for query := c.Query; ; n++ {
		p, ok := findPair(query, name)
		if !ok {
			return n
		}
		query = query[p.end:]
	}
}

// Names yields every parameter's decoded name, in order.
func (c Call) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := range pairs(c.Query) {
			if !yield(Unescape(p.name)) {
				return
			}
		}
	}
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
	value = url.QueryEscape(value)
	if p, ok := findPair(c.Query, name); ok {
		rest := Call{Query: c.Query[p.end:]}.Without(name)
		return Call{Name: c.Name, Query: c.Query[:p.start] + p.name + "=" + value + rest.Query}
	}
	separator := ""
	if c.Query != "" && !strings.HasSuffix(c.Query, "&") {
		separator = "&"
	}
	return Call{Name: c.Name, Query: c.Query + separator + url.QueryEscape(name) + "=" + value}
}

// Without returns the call with every occurrence of the named parameters removed.
func (c Call) Without(names ...string) Call {
	present := func(name string) bool {
		_, ok := findPair(c.Query, name)
		return ok
	}
	if !slices.ContainsFunc(names, present) {
		return c // as with most calls: nothing to write anew
	}
	return c.WithoutFunc(func(name string) bool { return slices.Contains(names, name) })
}

// WithoutFunc returns the call without the parameters whose decoded name drop
// reports, and with one & fewer for each. Stray &s stay.
func (c Call) WithoutFunc(drop func(name string) bool) Call {
	b := make([]byte, 0, len(c.Query))
	first := true
	for p := range pieces(c.Query) {
		if p.end > p.start && drop(Unescape(p.name)) {
			continue
		}
		if !first {
			b = append(b, '&')
		}
		b = append(b, c.Query[p.start:p.end]...)
		first = false
	}
	return Call{Name: c.Name, Query: string(b)}
}

func isName(raw, name string) bool { return Unescape(raw) == name }

// Unescape decodes a form-encoded text leniently: + is a blank, %XX a byte, and
// a malformed escape stays as it is.
func Unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	return string(appendUnescaped(make([]byte, 0, len(s)), s))
}

func appendUnescaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
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
	return b
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
	for i := range len(s) {
		if controlAt(s, i) > 0 {
			s = withoutControls(s)
			break
		}
	}
	return strings.Trim(s, " ")
}

func withoutControls(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if n := controlAt(s, i); n > 0 {
			i += n
			continue
		}
		b = append(b, s[i])
		i++
	}
	return string(b)
}

// controlAt returns how many bytes the control character at s[i] has, 0 when
// there is none. It looks at bytes, so that what isn't UTF-8 stays what it is:
// category Cc is below 0x20, 0x7f, and 0x80 to 0x9f, which UTF-8 writes with
// 0xc2 in front.
func controlAt(s string, i int) int {
	switch {
	case s[i] < ' ', s[i] == 0x7f:
		return 1
	case s[i] == 0xc2 && i+1 < len(s) && 0x80 <= s[i+1] && s[i+1] <= 0x9f:
		return 2
	}
	return 0
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
	var scratch [256]byte
	b := scratch[:0]
	for p := range pairs(c.Query) {
		// A = is ASCII: it neither mends nor breaks what stands beside it.
		b = appendUnescaped(b[:0], c.Query[p.start:p.end])
		if !utf8.Valid(b) {
			return false
		}
	}
	return true
}
