package bbb

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var escapePattern = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// decoded is form decoding in another way than the code's.
func decoded(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	return escapePattern.ReplaceAllStringFunc(s, func(esc string) string {
		text, err := url.PathUnescape(esc)
		if err != nil {
			panic(err)
		}
		return text
	})
}

func nameOf(piece string) string {
	name, _, _ := strings.Cut(piece, "=")
	return decoded(name)
}

// rawQueries generates queries as a hostile client writes them.
func rawQueries() *rapid.Generator[string] {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "", "a", "a=", "=", "=a", "a=1", "a=2", "%61=3", "%61", "A=4", "a+=5", "a%20=6", "b=x=y", "b=a;c=d", "b=%", "b=%4", "b=%zz",
			"b=%C3%BC", "b=\xc3\xbc", "b=\xff\xfe", "b=%ff", "+", "b=a+b%20c", "b=\u0085", "meta_x=<y>", "b=a/b:c?d#e", "checksum=00", "xchecksum=00",
			"checksum", "checksum=", "%63hecksum=00", "b=checksum=00", "b=\x00", "b=\x7f", " b= ",
		}),
		rapid.StringMatching(`[a-c%+=;&\x00-\x20é]{0,8}`),
	)
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), "&")
	})
}

func names() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "a ", "b", "c", "checksum", "", " ", "ü", "meta_x", "%61"})
}

func TestParams(t *testing.T) {
	c := Call{Name: "create", Query: "&a=1&&b&c=&a=2&d=x=y&%65%66=g+h%20i&f=a;b&g=%zz%4&=h&i=%2B%26%3D&"}
	var got []string
	for name, value := range c.Params() {
		got = append(got, name+"|"+value)
	}
	require.Equal(t, []string{
		"a|1", "b|", "c|", "a|2", "d|x=y", "ef|g h i", "f|a;b", "g|%zz%4", "|h", "i|+&=",
	}, got)
	for name, want := range map[string]string{"a": "1", "b": "", "d": "x=y", "ef": "g h i", "f": "a;b", "": "h"} {
		v, ok := c.Param(name)
		require.True(t, ok, name)
		require.Equal(t, want, v, name)
		require.Equal(t, want, c.Value(name))
	}
	for _, name := range []string{"x", "%65%66", "A", "a "} {
		v, ok := c.Param(name)
		require.False(t, ok, name)
		require.Empty(t, v)
	}
	require.Equal(t, 2, c.Count("a"))
	require.Equal(t, 1, c.Count("ef"))
	require.Zero(t, c.Count("x"))
	for range c.Params() {
		break // stopping early is allowed
	}
}

func TestParamsEqualAnotherReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		query := rawQueries().Draw(t, "query")
		var want, got [][2]string
		for piece := range strings.SplitSeq(query, "&") {
			if piece != "" {
				name, value, _ := strings.Cut(piece, "=")
				want = append(want, [2]string{decoded(name), decoded(value)})
			}
		}
		c := Call{Query: query}
		for name, value := range c.Params() {
			got = append(got, [2]string{name, value})
		}
		require.Equal(t, want, got)

		name := names().Draw(t, "name")
		first, count := "", 0
		for _, p := range want {
			if p[0] == name {
				if count == 0 {
					first = p[1]
				}
				count++
			}
		}
		v, ok := c.Param(name)
		require.Equal(t, count > 0, ok)
		require.Equal(t, first, v)
		require.Equal(t, count, c.Count(name))
	})
}

func TestWithAndWithout(t *testing.T) {
	for _, tc := range []struct{ query, with, without string }{
		{"", "m=new+%26", ""},
		{"m=1", "m=new+%26", ""},
		{"m", "m=new+%26", ""},
		{"%6D=1", "%6D=new+%26", ""},
		{"m=1&m=2", "m=new+%26", ""},
		{"m=1&a=b", "m=new+%26&a=b", "a=b"},
		{"a=b&m=1", "a=b&m=new+%26", "a=b"},
		{"a=b&m=1&c=d", "a=b&m=new+%26&c=d", "a=b&c=d"},
		{"a=b&m=1&c=d&m=2&e=f&m=3", "a=b&m=new+%26&c=d&e=f", "a=b&c=d&e=f"},
		{"a=b", "a=b&m=new+%26", "a=b"},
		// Stray &s and everything odd stay.
		{"a=b&", "a=b&m=new+%26", "a=b&"},
		{"m=1&a=b&", "m=new+%26&a=b&", "a=b&"},
		{"&m=1&", "&m=new+%26&", "&"},
		{"a=%zz;x&&m=1&b=\xff+%2b", "a=%zz;x&&m=new+%26&b=\xff+%2b", "a=%zz;x&&b=\xff+%2b"},
		{"mm=1&xm=2&M=3", "mm=1&xm=2&M=3&m=new+%26", "mm=1&xm=2&M=3"},
	} {
		c := Call{Name: "join", Query: tc.query}
		require.Equal(t, Call{"join", tc.with}, c.With("m", "new &"), tc.query)
		require.Equal(t, Call{"join", tc.without}, c.Without("m"), tc.query)
	}
	require.Equal(t, "c=3", Call{Query: "a=1&b=2&c=3"}.Without("a", "b").Query)
	require.Equal(t, "&&a", Call{Query: "&=1&&a"}.Without("").Query, "a stray & is no parameter without a name")
	require.Equal(t, "a=1", Call{Query: "a=1&meta_x=2&meta%5fy"}.WithoutFunc(func(name string) bool {
		return strings.HasPrefix(name, "meta_")
	}).Query)
}

// Only the bytes of the touched parameters change.
func TestEditsTouchNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		query, name, value := rawQueries().Draw(t, "query"), names().Draw(t, "name"), rapid.String().Draw(t, "value")
		var others []string
		for piece := range strings.SplitSeq(query, "&") {
			if piece == "" || nameOf(piece) != name {
				others = append(others, piece)
			}
		}
		c := Call{Name: "create", Query: query}
		without := c.Without(name)
		require.Equal(t, Call{"create", strings.Join(others, "&")}, without)

		with := c.With(name, value)
		v, ok := with.Param(name)
		require.True(t, ok)
		require.Equal(t, value, v)
		require.Equal(t, 1, with.Count(name))
		if _, had := c.Param(name); had {
			require.Equal(t, without, with.Without(name))
		} else {
			require.True(t, strings.HasPrefix(with.Query, query))
		}
		require.Equal(t, with, with.With(name, value))
	})
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "+": " ", "%2B": "+", "%2b+%20": "+  ", "%": "%", "%4": "%4", "%4x": "%4x", "%%41": "%A", "%41%": "A%",
		"a%00b": "a\x00b", "%C3%BC": "ü", "%c3": "\xc3", "ü": "ü", "%zz%41": "%zzA", "a%e2%80%": "a\xe2\x80%",
	} {
		require.Equal(t, want, Unescape(in), in)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a%+0-9C-F\x00é]{0,12}`).Draw(t, "s")
		require.Equal(t, decoded(s), Unescape(s))
	})
}

func TestSanitize(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a b": "a b", "  a  ": "a", "a\tb": "ab", "\n a": "a", "a\x7f": "a", "a\u0085b": "ab", "a\u009f ": "a", "\u00a0a": "\u00a0a",
		"Zoë": "Zoë", "\x00": "", "日本": "日本", "\xffa": "\xffa", "\xff\x00a": "\xffa", "\xc2": "\xc2", "\xc2\x00\x85": "\xc2\x85", "a\u200b": "a\u200b",
	} {
		require.Equal(t, want, Sanitize(in), "%q", in)
	}
	for at := range 24 { // at every place of a long text
		for _, c := range []string{"\x00", "\x1f", "\x7f", "\u0080", "\u009f"} {
			text := strings.Repeat("a", 24)
			require.Equal(t, text, Sanitize(text[:at]+c+text[at:]), "%q at %d", c, at)
		}
		for _, c := range []string{" ", "!", "~", "\u00a0", "\xff", "\xc2"} {
			text := "a" + strings.Repeat("a", at) + c + strings.Repeat("a", 24-at)
			require.Equal(t, text, Sanitize(text))
		}
	}
	control := regexp.MustCompile(`\p{Cc}`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s") + rapid.SampledFrom([]string{"", " ", "\x01 ", "\xff", "\xc2", "\u0080"}).Draw(t, "tail")
		require.Equal(t, strings.Trim(control.ReplaceAllString(s, ""), " "), Sanitize(s))
	})
}

func TestUTF16Len(t *testing.T) {
	for in, want := range map[string]int{"": 0, "abc": 3, "ü": 1, "日": 1, "😀": 2, "a😀b": 4, "\xff": 1} {
		require.Equal(t, want, UTF16Len(in), in)
	}
}

func TestValidUTF8(t *testing.T) {
	for query, want := range map[string]bool{
		"": true, "a=b": true, "a=%C3%BC": true, "a=ü": true, "%C3%BC=a": true, "a=%C3": false, "%ff=a": false, "a=\xff": false, "a=1&b=%80": false,
	} {
		require.Equal(t, want, Call{Query: query}.ValidUTF8(), query)
	}
}

// FuzzCall takes a query through everything that happens to a call: reading,
// editing, signing, verifying.
func FuzzCall(f *testing.F) {
	for _, q := range []string{
		"", "&", "checksum=", "a=b&checksum=0123", "checksum=ab&checksum=cd&x", "a=%zz&b=;&c=\xff&%63hecksum=1", "a=\x00 &b=\u0085", " =&+", "name=A+B&name=C",
	} {
		f.Add("create", q, "name", "secret", uint8(1))
	}
	f.Fuzz(func(t *testing.T, name, query, param, secret string, alg uint8) {
		c := Call{Name: name, Query: query}
		algorithm := Algorithms()[int(alg)%4]
		edited := c.With(param, secret)
		if edited.Value(param) != secret || edited.Count(param) != 1 {
			t.Fatalf("With(%q) is not read back from %q", param, edited.Query)
		}
		if c.Without(param).Count(param) != 0 {
			t.Fatalf("Without(%q) leaves some in %q", param, query)
		}
		for _, unsigned := range []Call{c, c.Unsigned(), edited, c.Without("checksum")} {
			again := Call{Name: name, Query: unsigned.Sign(algorithm, secret)}
			if !again.Verify(secret) || !referenceAccepts(again.Name, again.Query, secret) {
				t.Fatalf("%q does not verify when signed as %q", unsigned.Query, again.Query)
			}
			if again.Verify(secret + "x") {
				t.Fatal("another secret verifies")
			}
			// What was verified can be sent on under another secret.
			onward := Call{Name: name, Query: again.Unsigned().Sign(algorithm, "another")}
			if !referenceAccepts(name, onward.Query, "another") {
				t.Fatalf("%q does not verify when signed again as %q", again.Query, onward.Query)
			}
		}
		if c.Verify(secret) != referenceAccepts(name, query, secret) {
			t.Fatalf("%q: not what bbb-web says", query)
		}
	})
}
