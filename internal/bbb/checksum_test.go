package bbb

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The rule of bbb-web, written down a second time from the API reference, 2.1
// and 2.2: as slow and plain as it can be.

func referenceHash(text string, digits int) string {
	switch digits {
	case 40:
		return fmt.Sprintf("%x", sha1.Sum([]byte(text)))
	case 64:
		return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	case 96:
		return fmt.Sprintf("%x", sha512.Sum384([]byte(text)))
	case 128:
		return fmt.Sprintf("%x", sha512.Sum512([]byte(text)))
	}
	return ""
}

var controlPattern = regexp.MustCompile(`\p{Cc}`)

func referenceClean(s string) string {
	return strings.Trim(controlPattern.ReplaceAllString(s, ""), " ")
}

// referenceRest returns V and what is hashed between the call's name and the secret.
func referenceRest(query string) (v, rest string) {
	for piece := range strings.SplitSeq(query, "&") {
		if piece != "" && nameOf(piece) == "checksum" {
			_, value, _ := strings.Cut(piece, "=")
			v = referenceClean(decoded(value))
			break
		}
	}
	rest = referenceClean(query)
	for _, text := range []string{"&checksum=" + v, "checksum=" + v + "&", "checksum=" + v} {
		rest = strings.ReplaceAll(rest, text, "")
	}
	return v, rest
}

func referenceAccepts(call, query, secret string) bool {
	v, rest := referenceRest(query)
	expected := referenceHash(call+rest+secret, len(v))
	return expected != "" && strings.EqualFold(expected, v)
}

func digits(alg Algorithm) int {
	return map[Algorithm]int{SHA1: 40, SHA256: 64, SHA384: 96, SHA512: 128}[alg]
}

// The vector of BBB's documentation.
func TestChecksumVector(t *testing.T) {
	const secret = "639259d4-9dd8-4b25-bf01-95f9567eaf4b"
	c := Call{Name: "create", Query: "name=Test+Meeting&meetingID=abc123&attendeePW=111222&moderatorPW=333444"}
	const sum = "1fcbb0c4fc1f039f73aa6d697d2db9ba7f803f17"
	require.Equal(t, c.Query+"&checksum="+sum, c.Sign(SHA1, secret))
	signed := Call{Name: "create", Query: c.Query + "&checksum=" + sum}
	require.True(t, signed.Verify(secret))
	require.Equal(t, sum, signed.Checksum())
	require.Equal(t, SHA1, signed.Verifier().Algorithm())
	require.Equal(t, c, signed.Unsigned())
}

// T34: raw queries as clients of every language write them. {V} is the
// checksum, signed what the client hashed.
func TestT34_RawQueries(t *testing.T) {
	for _, tc := range []struct{ client, call, raw, signed string }{
		{"PHP", "create", "name=Test+Meeting&meetingID=abc123&attendeePW=&record=&checksum={V}", "name=Test+Meeting&meetingID=abc123&attendeePW=&record="},
		{"PHP, nothing to sign", "getMeetings", "&checksum={V}", ""},
		{"PHP with %20", "create", "name=Test%20Meeting&welcome=a%2Bb%20%2b&checksum={V}", "name=Test%20Meeting&welcome=a%2Bb%20%2b"},
		{"Moodle", "create", "meetingID=29133b-4-119%5B0%5D&name=%7Etilde&meta_empty=&checksum={V}", "meetingID=29133b-4-119%5B0%5D&name=%7Etilde&meta_empty="},
		{"WordPress, escaped twice", "create", "name=Anna%E2%80%99s+Room&meetingID=wp%252068246e43%252Fx&attendeePW=v%252Fp&checksum={V}", "name=Anna%E2%80%99s+Room&meetingID=wp%252068246e43%252Fx&attendeePW=v%252Fp"},
		{"Chamilo, clientURL not escaped", "create", "meetingID=1&clientURL=https://x.example/y?a=b;c&checksum={V}", "meetingID=1&clientURL=https://x.example/y?a=b;c"},
		{"Ruby, sorted", "join", "fullName=Zo%C3%AB&meetingID=php+o%2Bf%2F%3Crun%3E+%C3%BC&password=&role=Moderator&checksum={V}", "fullName=Zo%C3%AB&meetingID=php+o%2Bf%2F%3Crun%3E+%C3%BC&password=&role=Moderator"},
		{"Java, IDs not escaped", "create", "meetingID=java-28fffdcde2c:x;y(z)'!*~&name=a+b*&checksum={V}", "meetingID=java-28fffdcde2c:x;y(z)'!*~&name=a+b*"},
		{"JS, bare ! ' ( ) *", "join", "fullName=Zoe%20O'Neil%20(x)*!&meetingID=js%206b%2F%C3%BC%20%26%20x&userdata-bbb_x=a%20b&checksum={V}", "fullName=Zoe%20O'Neil%20(x)*!&meetingID=js%206b%2F%C3%BC%20%26%20x&userdata-bbb_x=a%20b"},
		{"JS, repeated key", "create", "disabledFeatures=chat&disabledFeatures=polls&name=Arr&checksum={V}", "disabledFeatures=chat&disabledFeatures=polls&name=Arr"},
		{"JS, alone", "getMeetings", "checksum={V}", ""},
		{"exporter, first", "create", "checksum={V}&meetingID=expfd6118a0&name=exp&attendeePW=a&moderatorPW=m&record=true", "meetingID=expfd6118a0&name=exp&attendeePW=a&moderatorPW=m&record=true"},
		{"Go, sorted with the others", "create", "allowStartStopRecording=true&attendeePW=a+p&checksum={V}&lockSettingsDisableCam=false&welcome=", "allowStartStopRecording=true&attendeePW=a+p&lockSettingsDisableCam=false&welcome="},
		{"Mattermost, ID not escaped", "isMeetingRunning", "meetingID=mm-c9399f2f:a/bc;d'e(f)!&checksum={V}", "meetingID=mm-c9399f2f:a/bc;d'e(f)!"},
		{"node, nothing escaped", "create", "name=a&logoutURL=//127.0.0.1/x?a=b:c/d@e,f;g$h&welcome=50%25+[y]+(z)!*'~&meta_k=a,b:c/d;e&checksum={V}", "name=a&logoutURL=//127.0.0.1/x?a=b:c/d@e,f;g$h&welcome=50%25+[y]+(z)!*'~&meta_k=a,b:c/d;e"},
		{"hooks", "hooks/create", "callbackURL=https%3A%2F%2Fx.example&checksum={V}", "callbackURL=https%3A%2F%2Fx.example"},
		{"list with a comma at the end", "getRecordings", "meetingID=id1%2Cid2%2C&checksum={V}", "meetingID=id1%2Cid2%2C"},

		{"hex of both cases", "create", "name=%c3%BC%C3%bc&checksum={V}", "name=%c3%BC%C3%bc"},
		{"non-ASCII bytes", "create", "name=\xc3\xbc\xe6\x97\xa5&checksum={V}", "name=\xc3\xbc\xe6\x97\xa5"},
		{"bytes that aren't UTF-8", "create", "name=\xfc\xff&checksum={V}", "name=\xfc\xff"},
		{"malformed escapes", "create", "name=50%&x=%zz&y=%4&checksum={V}", "name=50%&x=%zz&y=%4"},
		{"parameters without =", "create", "a&name&checksum={V}", "a&name"},
		{"stray &s", "create", "&&a=b&&c=d&&checksum={V}", "&&a=b&&c=d&"},
		{"& behind", "create", "a=b&checksum={V}&", "a=b&"},
		{"& behind, alone", "create", "checksum={V}&", ""},
		{"the same one twice", "create", "a=b&checksum={V}&c=d&checksum={V}", "a=b&c=d"},
		{"twice, first and last", "create", "checksum={V}&a=b&checksum={V}", "a=b"},
		{"twice, alone", "create", "checksum={V}&checksum={V}", ""},
		{"another one behind it", "create", "a=b&checksum={V}&checksum=other", "a=b&checksum=other"},
		{"a name that ends like it", "create", "xchecksum={V}&checksum={V}", "x"},
		{"a value that holds it", "create", "a=checksum=1&checksum={V}", "a=checksum=1"},
		{"blanks around the value", "create", "a=b&checksum=+{V}%20", "a=b&checksum=+{V}%20"}, // not removed, so only a fixed point would do
		{"control characters", "create", "a=\x01b\u0085c\x7f&checksum={V}", "a=bc"},
		{"control characters in the checksum", "create", "a=b&checksum=\x02{V}", "a=b"},
		{"blanks around all", "create", " a=b&checksum={V} ", "a=b"},
		{"a blank before it", "create", "checksum={V}& a=b", " a=b"},
	} {
		for _, alg := range Algorithms() {
			t.Run(tc.client+"/"+alg.String(), func(t *testing.T) {
				const secret = "s3cr3t Salt/+ü"
				v := referenceHash(tc.call+tc.signed+secret, digits(alg))
				for _, v := range []string{v, strings.ToUpper(v)} {
					c := Call{Name: tc.call, Query: strings.ReplaceAll(tc.raw, "{V}", v)}
					fixedPoint := strings.Contains(tc.signed, "{V}")
					require.Equal(t, !fixedPoint, referenceAccepts(c.Name, c.Query, secret), "the test itself")
					require.Equal(t, !fixedPoint, c.Verify(secret))
					require.False(t, c.Verify(secret+" "))
					require.False(t, c.Verify(""))
					require.Equal(t, v, c.Checksum())
					require.Equal(t, alg, c.Verifier().Algorithm())
					require.Equal(t, Call{tc.call, strings.ReplaceAll(tc.signed, "{V}", v)}, c.Unsigned())
					require.False(t, Call{Name: tc.call + "x", Query: c.Query}.Verify(secret))
				}
			})
		}
	}
}

func TestChecksumsThatNeverVerify(t *testing.T) {
	const secret = "s3cr3tSalt"
	sum := referenceHash("createa=b"+secret, 40)
	require.True(t, Call{"create", "a=b&checksum=" + sum}.Verify(secret))
	for name, query := range map[string]string{
		"none":                        "a=b",
		"empty":                       "a=b&checksum=",
		"no value":                    "a=b&checksum",
		"nothing":                     "",
		"cut":                         "a=b&checksum=" + sum[:39],
		"longer":                      "a=b&checksum=" + sum + "0",
		"no hex":                      "a=b&checksum=" + sum[:39] + "g",
		"other case of the name":      "a=b&Checksum=" + sum,
		"escaped name":                "a=b&checksu%6d=" + sum,
		"escaped value":               "a=b&checksum=%" + fmt.Sprintf("%x", sum[0]) + sum[1:],
		"+ made %20":                  "a=b+&checksum=" + referenceHash("createa=b%20"+secret, 40),
		"order changed":               "b=1&a=b&checksum=" + referenceHash("createa=b&b=1"+secret, 40),
		"a wrong one first":           "checksum=" + strings.Repeat("0", 40) + "&a=b&checksum=" + sum,
		"of the empty secret":         "a=b&checksum=" + referenceHash("createa=b", 40),
		"the zero digest":             "a=b&checksum=" + strings.Repeat("0", 40),
		"another algorithm's prefix":  "a=b&checksum=" + referenceHash("createa=b"+secret, 64)[:40],
		"SHA-512 cut to the next one": "a=b&checksum=" + referenceHash("createa=b"+secret, 128)[:96],
	} {
		c := Call{Name: "create", Query: query}
		require.False(t, c.Verify(secret), name)
		require.False(t, referenceAccepts(c.Name, c.Query, secret), name)
	}
	v := Call{"create", "a=b"}.Verifier()
	require.Equal(t, NoAlgorithm, v.Algorithm())
	require.False(t, v.Possible())
}

// Every recorded request of a real client verifies.
func TestRecordedRequestsVerify(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	calls := map[string]int{}
	for _, file := range files {
		wrong := 0
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(text) {
			var r struct{ Method, Target, Body string }
			require.NoError(t, json.Unmarshal(line, &r))
			path, query, _ := strings.Cut(r.Target, "?")
			name, ok := strings.CutPrefix(path, "/bigbluebutton/api/")
			if !ok {
				continue // the browser went to the server
			}
			c := Call{Name: name, Query: query}
			require.Equal(t, referenceAccepts(name, query, "s3cr3tSalt"), c.Verify("s3cr3tSalt"), r.Target)
			if !c.Verify("s3cr3tSalt") {
				wrong++
				continue
			}
			require.False(t, c.Verify("s3cr3tSalx"), r.Target)
			require.True(t, c.ValidUTF8())
			// Signed on for a server as the client wrote it.
			onward := Call{Name: name, Query: c.Unsigned().Sign(SHA256, "server")}
			require.True(t, referenceAccepts(name, onward.Query, "server"), r.Target)
			calls[name]++
		}
		require.Equal(t, 1, wrong, "every client was also run once with a wrong secret")
	}
	for _, name := range []string{"create", "join", "end", "getMeetingInfo", "isMeetingRunning", "getMeetings", "getRecordings", "hooks/create"} {
		require.NotZero(t, calls[name], name)
	}
}

func TestVerifyEqualsReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SampledFrom([]string{"s", "s3cr3tSalt", "ü &", ""}).Draw(t, "secret")
		alg := rapid.SampledFrom(Algorithms()).Draw(t, "algorithm")
		before, after := rawQueries().Draw(t, "before"), rawQueries().Draw(t, "after")
		signed := rapid.SampledFrom([]string{before + after, before, before + "&" + after, referenceClean(before), ""}).Draw(t, "signed")
		v := referenceHash("create"+signed+secret, digits(alg))
		query := before + rapid.SampledFrom([]string{
			"&checksum=" + v, "checksum=" + v + "&", "checksum=" + v, "&checksum=" + v + "&", "&CHECKSUM=" + v, "&checksum=" + strings.ToUpper(v),
			"&xchecksum=" + v + "&checksum=" + v, "&checksum=" + v + "&checksum=00", "",
		}).Draw(t, "put") + after
		c := Call{Name: "create", Query: query}
		require.Equal(t, referenceAccepts("create", query, secret), c.Verify(secret))
		if v, rest := referenceRest(query); v != "" {
			require.Equal(t, v, c.Checksum())
			require.Equal(t, rest, c.Unsigned().Query)
		}
	})
}

// Signing gives a call that bbb-web accepts, whatever stands in the query: even
// a checksum that was left over, which bbb-web would take for the real one.
func TestSign(t *testing.T) {
	require.Equal(t, "checksum="+referenceHash("getMeetings"+"s", 40), Call{Name: "getMeetings"}.Sign(SHA1, "s"))
	require.Equal(t, "a&checksum="+referenceHash("xa"+"s", 64), Call{"x", "a"}.Sign(SHA256, "s"))
	require.Equal(t, "a=b&c=d&checksum="+referenceHash("xa=b&c=d"+"s", 40), Call{"x", "a=b&checksum=00&c=d"}.Sign(SHA1, "s"))
	rapid.Check(t, func(t *rapid.T) {
		c := Call{Name: "create", Query: rawQueries().Draw(t, "query")}
		alg := rapid.SampledFrom(Algorithms()).Draw(t, "algorithm")
		signed := Call{Name: "create", Query: c.Sign(alg, "secret")}
		require.True(t, referenceAccepts("create", signed.Query, "secret"))
		require.True(t, signed.Verify("secret"))
		require.Equal(t, alg, signed.Verifier().Algorithm())
		if c.Without("checksum") == c && referenceClean(c.Query) == c.Query {
			require.Equal(t, c, signed.Unsigned(), "the rest is not touched")
		}
	})
}

func TestVerifier(t *testing.T) {
	a := Call{"create", Call{"create", "a=b"}.Sign(SHA512, "one")}
	b := Call{"end", Call{"end", ""}.Sign(SHA1, "two")}
	bad := Call{"create", "a=b&checksum=" + strings.Repeat("ax", 20)}
	none := Call{"create", "a=b"}

	used := new(Verifier)
	prints := map[[32]byte]int{}
	calls := []Call{a, b, bad, none, {"creat", "e" + a.Query}, {"create", "a=c" + a.Query[3:]}, {"create", a.Query[:len(a.Query)-1] + "0"}}
	for i, c := range calls {
		fresh := c.Verifier()
		used.Reset(c)
		require.Equal(t, fresh.Fingerprint(), c.Verifier().Fingerprint())
		require.Equal(t, fresh.Fingerprint(), used.Fingerprint())
		require.Equal(t, fresh.Possible(), used.Possible())
		require.Equal(t, fresh.Algorithm(), used.Algorithm())
		prints[fresh.Fingerprint()] = i
		for _, secret := range []string{"one", "two", "", "onetwo", strings.Repeat("long", 100)} {
			require.Equal(t, c.Verify(secret), used.Match([]byte(secret)))
			require.Equal(t, referenceAccepts(c.Name, c.Query, secret), fresh.Match([]byte(secret)))
		}
		require.Equal(t, fresh.Fingerprint(), used.Fingerprint(), "matching changes nothing")
	}
	// {"creat", "e..."} is hashed as a is, so the same secrets match; none
	// matches bad and none.
	require.Len(t, prints, len(calls)-2)
	require.False(t, bad.Verifier().Possible())
	require.True(t, b.Verifier().Possible())
}

// BenchmarkVerify shows none at all; the race detector costs one.
func TestVerifierHardlyAllocates(t *testing.T) {
	v := new(Verifier)
	secret := []byte("secret")
	for _, alg := range Algorithms() {
		c := Call{"create", Call{"create", "name=a+b&meetingID=c"}.Sign(alg, "secret")}
		v.Reset(c)
		v.Fingerprint()
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
			v.Reset(c)
			v.Fingerprint()
			if !v.Match(secret) {
				panic("no match")
			}
		}), 1.0, alg)
	}
}

func TestAlgorithms(t *testing.T) {
	for _, a := range Algorithms() {
		got, err := ParseAlgorithm(a.String())
		require.NoError(t, err)
		require.Equal(t, a, got)
		require.Equal(t, a, AlgorithmOf(digits(a)))
		require.Equal(t, digits(a), hex.EncodedLen(a.hash().Size()))
	}
	for _, name := range []string{"", "none", "md5", "SHA1", "sha-256"} {
		_, err := ParseAlgorithm(name)
		require.Error(t, err, name)
	}
	for _, n := range []int{0, 1, 39, 41, 63, 65, 127, 129} {
		require.Equal(t, NoAlgorithm, AlgorithmOf(n))
	}
	require.Equal(t, "none", NoAlgorithm.String())
}

func BenchmarkVerify(b *testing.B) {
	unsigned := Call{"join", "fullName=Anna+B%C3%A4cker&meetingID=16b02f62c073e53.99820884&password=CURSO992mod&userID=4711&createTime=1700000000000" +
		"&userdata-bbb_custom_style_url=https%3A%2F%2Fportal.example.org%2Fplugin%2Fbbb%2Fstyle.css&webVoiceConf="}
	for _, alg := range Algorithms() {
		c := Call{"join", unsigned.Sign(alg, "8cd8ef52e8e101574e400365b55e11a6")}
		b.Run(alg.String(), func(b *testing.B) {
			b.ReportAllocs()
			v, secret := new(Verifier), []byte("8cd8ef52e8e101574e400365b55e11a6")
			for b.Loop() {
				v.Reset(c)
				if !v.Match(secret) {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	c := Call{"join", "fullName=Anna+B%C3%A4cker&meetingID=16b02f62c073e53.99820884&password=CURSO992mod&userID=4711&createTime=1700000000000"}
	b.ReportAllocs()
	for b.Loop() {
		c.With("meetingID", "g7k2-16b02f62c073e53.99820884").Sign(SHA256, "8cd8ef52e8e101574e400365b55e11a6")
	}
}
