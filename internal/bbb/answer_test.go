package bbb

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func parsed(t require.TestingT, body string) Answer {
	a, err := ParseAnswer([]byte(body))
	require.NoError(t, err, body)
	require.Equal(t, body, string(a.Bytes()), "nothing was touched")
	return a
}

// sameFields asserts that edited fields are what reading their bytes gives.
func sameFields(t require.TestingT, want, got Fields) {
	require.Equal(t, string(want.raw), string(got.raw))
	require.Len(t, got.els, len(want.els))
	for i := range want.els {
		require.Equal(t, want.els[i], got.els[i])
	}
}

// odd is an answer with everything in it that XML may hold and bbb-web has
// never sent.
const odd = "\xef\xbb\xbf<?xml version=\"1.0\" encoding='UTF-8'?>\n<!-- a <comment> --><?pi <x> ?>\n" +
	"<response version=\"3.0\" note='a>b'>\n\t<future a=\"<1>\" b='\"/>'><deep><deeper/></deep>tail</future>" +
	"<returncode >SUCCESS</returncode >text between<!-- <meetingID>no</meetingID> -->\r\n" +
	"<meetingID><![CDATA[a<b>&amp;]]]]><![CDATA[>c]]></meetingID><empty/><empty2 x='1' />\n" +
	"<name>A &amp; B &lt;&gt;&quot;&apos; &#65;&#x42;&#X43; &unknown; &amp;amp; ü 日 &</name>\n" +
	"<metadata kept=\"yes\">\n<a>1</a>\n<bluegate-ref>secret</bluegate-ref>\n<b>2</b>\n</metadata>\n" +
	"<name>second</name><nested><name>inner</name></nested>\n</response>\n<!-- end --> \n"

func TestOddAnswer(t *testing.T) {
	a := parsed(t, odd)
	require.True(t, a.Success())
	require.False(t, a.Failed())
	require.Equal(t, "a<b>&amp;]]>c", a.Text("meetingID"))
	require.Equal(t, `A & B <>"' ABC &unknown; &amp; ü 日 &`, a.Text("name"))
	require.True(t, a.Has("empty"))
	require.Empty(t, a.Text("empty"))
	require.False(t, a.Has("deep"), "only children count")
	require.False(t, a.Has("bluegate-ref"))
	nested, err := a.Sub("nested")
	require.NoError(t, err)
	require.Equal(t, "inner", nested.Text("name"))
	none, err := a.Sub("nothing")
	require.NoError(t, err)
	require.Empty(t, none.Bytes())
	require.Empty(t, a.Key())

	for _, tc := range []struct {
		what string
		edit func(Fields) Fields
		old  string
		with string
	}{
		{
			"text", func(f Fields) Fields { return f.With("meetingID", "x & <y>") },
			"<![CDATA[a<b>&amp;]]]]><![CDATA[>c]]>", "x &amp; &lt;y&gt;",
		},
		{"in an empty one", func(f Fields) Fields { return f.With("empty", "v") }, "<empty/>", "<empty>v</empty>"},
		{"attributes stay", func(f Fields) Fields { return f.With("empty2", "v") }, "<empty2 x='1' />", "<empty2 x='1'>v</empty2>"},
		{"end tag stays", func(f Fields) Fields { return f.With("returncode", "FAILED") }, ">SUCCESS</returncode >", ">FAILED</returncode >"},
		{"missing", func(f Fields) Fields { return f.With("nothing", "v") }, "", ""},
		{"without missing", func(f Fields) Fields { return f.Without("deep") }, "", ""},
		{"without", func(f Fields) Fields { return f.Without("future") }, "\n\t<future a=\"<1>\" b='\"/>'><deep><deeper/></deep>tail</future>", ""},
		{"in a part", func(f Fields) Fields { return f.WithoutIn("metadata", "bluegate-ref") }, "\n<bluegate-ref>secret</bluegate-ref>", ""},
		{"in a part without it", func(f Fields) Fields { return f.WithoutIn("metadata", "c") }, "", ""},
		{"in a missing part", func(f Fields) Fields { return f.WithoutIn("nothing", "a") }, "", ""},
		{"in an empty part", func(f Fields) Fields { return f.WithoutIn("empty", "a") }, "", ""},
	} {
		edited := a.Edit(tc.edit)
		require.Equal(t, strings.Replace(odd, tc.old, tc.with, 1), string(edited.Bytes()), tc.what)
		again := parsed(t, string(edited.Bytes()))
		sameFields(t, again.Fields, edited.Fields)
		require.Equal(t, odd, string(a.Bytes()), "%s: the original stays", tc.what)
	}
	twice := a.Edit(func(f Fields) Fields {
		return f.Without("name").With("empty", "1").With("meetingID", "2").Without("empty2")
	})
	require.False(t, twice.Has("name"))
	sameFields(t, parsed(t, string(twice.Bytes())).Fields, twice.Fields)
	require.Equal(t, "1", twice.Text("empty"))
	require.Equal(t, "2", twice.Text("meetingID"))
}

func TestEscapedText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		a := parsed(t, "<response><name>old</name></response>").Edit(func(f Fields) Fields { return f.With("name", text) })
		want := strings.Map(func(r rune) rune {
			if r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == 0xFFFE || r == 0xFFFF {
				return -1
			}
			return r
		}, text)
		require.Equal(t, want, a.Text("name"))
		// Another parser agrees, but for line ends.
		var doc struct {
			Name string `xml:"name"`
		}
		require.NoError(t, xml.Unmarshal(a.Bytes(), &doc))
		require.Equal(t, strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(want), doc.Name)
	})
	require.Equal(t, "a\uFFFDb", string(AppendEscaped(nil, "a\xffb")))
	require.Equal(t, "a\t\n\rb\uFFFD", string(AppendEscaped(nil, "a\x00\x01\x08\t\n\v\f\r\x1f\uFFFE\uFFFFb\uFFFD")))
}

func TestText(t *testing.T) {
	for inner, want := range map[string]string{
		"":                             "",
		" a ":                          " a ",
		"&lt;b&gt;":                    "<b>",
		"&amp;lt;":                     "&lt;",
		"a<!-- b > c -->d":             "ad",
		"a<?b > c ?>d":                 "ad",
		"<![CDATA[]]>":                 "",
		"<![CDATA[<!-- x -->]]>":       "<!-- x -->",
		"a<b x='>'>c</b>d":             "acd",
		"&#0;&#x110000;&#;&#x;&;&a b;": "&#0;&#x110000;&#;&#x;&;&a b;",
		"&#x1F600;&#128512;":           "😀😀",
		"&lt":                          "&lt",
		"a&b;c&d":                      "a&b;c&d",
		"&#+65;&#6_5;":                 "&#+65;&#6_5;",
	} {
		require.Equal(t, want, parsed(t, "<r><x>"+inner+"</x></r>").Text("x"), inner)
	}
}

func TestNumbersAndBooleans(t *testing.T) {
	for inner, want := range map[string]int64{
		"0": 0, "17": 17, "1,234": 1234, "1,234,567": 1234567, " 5\n": 5, "1700000000000": 1700000000000,
		"": 0, "x": 0, "1x": 0, "1.5": 0, "-1": 0, ",": 0, "99999999999999999999999": 0, "<![CDATA[42]]>": 42, "&#52;2": 42, "4<!-- -->2": 42,
	} {
		require.Equal(t, want, parsed(t, "<r><n>"+inner+"</n></r>").Int("n"), inner)
	}
	require.Zero(t, parsed(t, "<r/>").Int("n"))
	for inner, want := range map[string]bool{
		"true": true, " true\n": true, "<![CDATA[true]]>": true, "false": false, "TRUE": false, "1": false, "": false, "true!": false,
	} {
		require.Equal(t, want, parsed(t, "<r><b>"+inner+"</b></r>").Bool("b"), inner)
	}
	require.False(t, parsed(t, "<r/>").Bool("b"))
}

func TestReturncode(t *testing.T) {
	for inner, want := range map[string][2]bool{
		"SUCCESS": {true, false}, "FAILED": {false, true}, "<![CDATA[SUCCESS]]>": {true, false}, "FA&#73;LED": {false, true}, "": {}, "success": {}, "SUCCESSFUL": {},
	} {
		a := parsed(t, "<response><returncode>"+inner+"</returncode></response>")
		require.Equal(t, want, [2]bool{a.Success(), a.Failed()}, inner)
	}
}

func TestKey(t *testing.T) {
	require.Equal(t, "idNotUnique", parsed(t, string(Failed("idNotUnique", "x"))).Key())
	require.Equal(t, "nonUniqueVoiceBridge", parsed(t, "<response>\n<returncode>FAILED</returncode>\n<errors>\n<error>\n"+
		"<key>nonUniqueVoiceBridge</key>\n<message>The selected voice bridge is already in use.</message>\n</error>\n</errors>\n</response>").Key())
	require.Empty(t, parsed(t, "<response><errors/></response>").Key())
	require.Empty(t, parsed(t, "<response><messageKey></messageKey></response>").Key())
}

func TestSelfClosingRoot(t *testing.T) {
	a := parsed(t, "<?xml version='1.0'?><response a='b'/>\n")
	require.False(t, a.Success())
	require.False(t, a.Failed())
	require.False(t, a.Has("x"))
}

// What is no XML, or not one document, or an attack, is an error, never a panic
// and never half an answer.
func TestRefusedXML(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	parsed(t, "<r>"+deep(60)+"</r>")
	for name, body := range map[string]string{
		"empty":                    "",
		"blank":                    " \n",
		"text":                     "Service Unavailable",
		"JSON":                     `{"response":{"returncode":"FAILED"}}`,
		"text before":              "oops<response></response>",
		"text behind":              "<response></response>oops",
		"CDATA before":             "<![CDATA[x]]><response></response>",
		"two documents":            string(Failed("apiNotEnabled", "x")) + string(Success("running", "true")), // API reference 2.7
		"one and a half":           "<response></response><response>",
		"an end too many":          "<response></response></response>",
		"behind a short one":       "<response/><response/>",
		"only a declaration":       "<?xml version='1.0'?>",
		"end tag first":            "</response>",
		"not closed":               "<response><a>1</a>",
		"child not closed":         "<response><a>1</response>",
		"crossed":                  "<response><a><b></a></b></response>",
		"other root closed":        "<response></answer>",
		"other case":               "<response></Response>",
		"cut in a tag":             "<response><a",
		"cut in an attribute":      "<response><a x='",
		"cut in an end tag":        "<response><a></a",
		"cut in a comment":         "<response><!-- ",
		"cut in CDATA":             "<response><a><![CDATA[ </a></response>",
		"cut in an instruction":    "<response><?x ",
		"cut behind <":             "<response><",
		"bare <":                   "<response><a>1 < 2</a></response>",
		"< in a tag":               "<response><a <b></a></response>",
		"nameless":                 "<response><></></response>",
		"nameless end":             "<response><a></></response>",
		"two slashes":              "<response><a//></response>",
		"a slash too early":        "<response><a/ ></response>",
		"closed twice":             "<response><a></a/></response>",
		"DOCTYPE":                  "<!DOCTYPE html><response></response>",
		"doctype in lower case":    "<!doctype html><html></html>",
		"entity bomb":              `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><response>&lol2;</response>`,
		"external entity":          `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>`,
		"entity inside":            `<response><!ENTITY x "y"></response>`,
		"deep":                     "<r>" + deep(1000) + "</r>",
		"endlessly deep":           strings.Repeat("<a>", 1_000_000),
		"UTF-16":                   "\xff\xfe<\x00r\x00/\x00>\x00",
		"byte order mark too late": "<?xml version='1.0'?>\xef\xbb\xbf<response/>",
	} {
		_, err := ParseAnswer([]byte(body))
		require.Error(t, err, name)
		require.Less(t, len(err.Error()), 100, "%s: the answer is not repeated in the error", name)
		_, err = ParseMeetings([]byte(body))
		require.Error(t, err, name)
	}
	for cut := range len(odd) - len("</response>\n<!-- end --> \n") + len("</response>") {
		_, err := ParseAnswer([]byte(odd[:cut]))
		require.Error(t, err, odd[:cut])
	}
	for _, run := range []string{"</a>", "<a>", "<a></b>", "<!DOCTYPE x>", "<a", "<"} {
		_, err := ParseFields([]byte(run))
		require.Error(t, err, run)
	}
	f, err := ParseFields([]byte("no elements at all"))
	require.NoError(t, err)
	require.False(t, f.Has("x"))
}

// Reading takes time in proportion to the size, whatever stands in it.
func TestHostileAnswersAreReadQuickly(t *testing.T) {
	const size = 4 << 20
	for name, unit := range map[string]string{
		"ampersands": "&", "entities": "&#", "opened CDATA": "<![CDATA[]]>", "quotes": "<a b=''/>", "comments": "<!---->", "short elements": "<a/>",
		"half entities": "&amp", "blanks": " ",
	} {
		body := []byte("<r><x>" + strings.Repeat(unit, size/len(unit)) + "</x></r>")
		began := time.Now()
		a, err := ParseAnswer(body)
		require.NoError(t, err, name)
		_ = a.Text("x")
		_ = a.Int("x")
		require.Less(t, time.Since(began), 10*time.Second, name)
	}
}

// documents generates well-formed answers of known and unknown elements.
func documents() *rapid.Generator[string] {
	name := rapid.SampledFrom([]string{"meetingID", "metadata", "a", "b", "bluegate-ref", "x:y", "ü"})
	gap := rapid.SampledFrom([]string{"", "", "\n", "  ", "\r\n\t", "<!-- <a> -->", "<?x <b> ?>", "text", "<![CDATA[<a>]]>", "&amp;", "&"})
	var element func(t *rapid.T, depth int) string
	element = func(t *rapid.T, depth int) string {
		n := name.Draw(t, "name")
		attrs := rapid.SampledFrom([]string{"", "", " ", ` a="1"`, ` a='>' b="/>" `, "\n"}).Draw(t, "attributes")
		if rapid.IntRange(0, 3).Draw(t, "form") == 0 {
			return "<" + n + attrs + "/>"
		}
		inner := gap.Draw(t, "gap")
		for range rapid.IntRange(0, 2-depth).Draw(t, "children") {
			inner += element(t, depth+1) + gap.Draw(t, "gap")
		}
		return "<" + n + attrs + ">" + inner + "</" + n + rapid.SampledFrom([]string{"", " "}).Draw(t, "end") + ">"
	}
	return rapid.Custom(func(t *rapid.T) string {
		body := rapid.SampledFrom([]string{"", "\n", "<?xml version='1.0'?>\n", "\xef\xbb\xbf", "<!-- x -->"}).Draw(t, "prolog") + "<response>"
		for range rapid.IntRange(0, 6).Draw(t, "elements") {
			body += gap.Draw(t, "gap") + element(t, 0)
		}
		return body + gap.Draw(t, "gap") + "</response>" + rapid.SampledFrom([]string{"", "\n", "<!-- x -->"}).Draw(t, "epilog")
	})
}

// rootChildren returns the names of the root's children as encoding/xml reads them.
func rootChildren(t require.TestingT, body []byte) []string {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false
	var out []string
	depth := 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 1 {
				n := token.Name.Local
				if token.Name.Space != "" {
					n = token.Name.Space + ":" + n
				}
				out = append(out, n)
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

func (f Fields) names() []string {
	var out []string
	for _, el := range f.els {
		out = append(out, string(el.name))
	}
	return out
}

// Every edit leaves all other elements byte for byte where they were.
func TestSplicing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := documents().Draw(t, "body")
		a := parsed(t, body)
		require.Equal(t, rootChildren(t, []byte(strings.TrimPrefix(body, "\xef\xbb\xbf"))), a.names())
		name := rapid.SampledFrom([]string{"meetingID", "metadata", "a", "none"}).Draw(t, "edited")
		text := rapid.SampledFrom([]string{"", "x", "<&>", "</response>", "]]>"}).Draw(t, "text")

		with := a.Edit(func(f Fields) Fields { return f.With(name, text) })
		again := parsed(t, string(with.Bytes()))
		sameFields(t, again.Fields, with.Fields)
		require.Equal(t, a.names(), with.names())
		done := false
		for i, el := range a.els {
			was, is := a.raw[el.start:el.end], with.raw[with.els[i].start:with.els[i].end]
			if string(el.name) == name && !done {
				done = true
				require.Equal(t, text, with.Text(name))
				continue
			}
			require.Equal(t, string(was), string(is))
		}

		without := a.Edit(func(f Fields) Fields { return f.Without(name) })
		again = parsed(t, string(without.Bytes()))
		sameFields(t, again.Fields, without.Fields)
		require.False(t, without.Has(name))
		rest := without.els
		for _, el := range a.els {
			if string(el.name) != name {
				require.Equal(t, string(a.raw[el.start:el.end]), string(without.raw[rest[0].start:rest[0].end]))
				rest = rest[1:]
			}
		}
		require.Empty(t, rest)

		in := a.Edit(func(f Fields) Fields { return f.WithoutIn("metadata", name) })
		sameFields(t, parsed(t, string(in.Bytes())).Fields, in.Fields)
		require.Equal(t, a.names(), in.names())
		sub, err := in.Sub("metadata")
		require.NoError(t, err)
		require.False(t, sub.Has(name))
	})
}

// FuzzAnswer scans and splices what a hostile server may send.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(odd), "meetingID", "x")
	f.Add(Failed("idNotUnique", "A meeting <exists>"), "message", "")
	f.Add([]byte("<r><a/><a>&#x41;<![CDATA[]]></a></r>"), "a", "]]>")
	f.Add([]byte("<r a='>'><b c=\"/\"/></r>"), "b", "<")
	f.Add([]byte("\xef\xbb\xbf<?xml?><!-- --><r></r>"), "r", "&")
	f.Fuzz(func(t *testing.T, body []byte, name, text string) {
		a, err := ParseAnswer(body)
		if err != nil {
			return
		}
		if !bytes.Equal(a.Bytes(), body) {
			t.Fatal("the answer changed by being read")
		}
		_, _, _, _ = a.Text(name), a.Int(name), a.Bool(name), a.Key()
		if sub, err := a.Sub(name); err != nil {
			t.Fatalf("an element's inside doesn't scan although the whole did: %v", err)
		} else {
			_ = sub.Text(name)
		}
		for what, edited := range map[string]Answer{
			"With":      a.Edit(func(f Fields) Fields { return f.With(name, text) }),
			"Without":   a.Edit(func(f Fields) Fields { return f.Without(name) }),
			"WithoutIn": a.Edit(func(f Fields) Fields { return f.WithoutIn(name, name) }),
		} {
			again, err := ParseAnswer(edited.Bytes())
			if err != nil {
				t.Fatalf("%s: the result doesn't scan: %v\n%s", what, err, edited.Bytes())
			}
			sameFields(t, again.Fields, edited.Fields)
			want := a.names()
			if what == "Without" {
				want = nil
				for _, n := range a.names() {
					if n != name {
						want = append(want, n)
					}
				}
			}
			require.Equal(t, want, edited.names(), what)
		}
		if a.Has(name) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r >= 0xFFFD }) {
			if got := a.With(name, text).Text(name); got != text {
				t.Fatalf("%q is read back as %q", text, got)
			}
		}
	})
}
