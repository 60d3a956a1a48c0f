package bbbsim

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func hashes(text string) map[string]string {
	s1, s256, s384, s512 := sha1.Sum([]byte(text)), sha256.Sum256([]byte(text)), sha512.Sum384([]byte(text)), sha512.Sum512([]byte(text))
	return map[string]string{
		"sha1": hex.EncodeToString(s1[:]), "sha256": hex.EncodeToString(s256[:]),
		"sha384": hex.EncodeToString(s384[:]), "sha512": hex.EncodeToString(s512[:]),
	}
}

// verified sends a request and returns what the server thought of its checksum.
func (s *sim) verified(r *http.Request) bool {
	s.t.Helper()
	s.log.reset()
	w := s.do(r)
	requests := s.Requests()
	if len(requests) != 1 {
		s.t.Fatalf("%d requests logged", len(requests))
	}
	if failed := strings.Contains(w.Body.String(), "checksumError"); failed == requests[0].Verified {
		s.t.Errorf("answer and log disagree: %s", w.Body)
	}
	return requests[0].Verified
}

func TestChecksumTestVector(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	query := "name=Test+Meeting&meetingID=abc123&attendeePW=111222&moderatorPW=333444&checksum=1fcbb0c4fc1f039f73aa6d697d2db9ba7f803f17"
	if w := s.raw("create", query); !strings.Contains(w.Body.String(), "<returncode>SUCCESS") {
		t.Errorf("create: %s", w.Body)
	}
}

func TestChecksumPlaces(t *testing.T) {
	t.Parallel()
	v := func(query string) string { return sign("getMeetings", query) }
	for name, test := range map[string]struct {
		query string
		want  bool
	}{
		"last":                {"a=b&checksum=" + v("a=b"), true},
		"first":               {"checksum=" + v("a=b") + "&a=b", true},
		"middle":              {"a=b&checksum=" + v("a=b&c=d") + "&c=d", true},
		"alone":               {"checksum=" + v(""), true},
		"after &":             {"&checksum=" + v(""), true},
		"after ?&a":           {"&a=b&checksum=" + v("&a=b"), true},
		"before trailing &":   {"a=b&checksum=" + v("a=b&") + "&", true},
		"twice":               {"checksum=" + v("a=b") + "&a=b&checksum=" + v("a=b"), true},
		"twice, each after &": {"a=b&checksum=" + v("a=b&c=d") + "&c=d&checksum=" + v("a=b&c=d"), true},
		"other second":        {"a=b&checksum=" + v("a=b&checksum=x") + "&checksum=x", true},
		"suffix of a name":    {"xchecksum=" + v("xa=b") + "&a=b&checksum=" + v("xa=b"), true},
		"+ and %20 differ":    {"a=%20&checksum=" + v("a=+"), false},
		"case of escapes":     {"a=%c3%bc&checksum=" + v("a=%C3%BC"), false},
		"order":               {"a=b&c=d&checksum=" + v("c=d&a=b"), false},
		"empty parameter":     {"a=b&&checksum=" + v("a=b"), false},
		"broken escape":       {"a=%zz&checksum=" + v("a=%zz"), true},
		"raw UTF-8":           {"a=%C3%BC;x&checksum=" + v("a=%C3%BC;x"), true},
		"other call":          {"a=b&checksum=" + sign("create", "a=b"), false},
		"escaped checksum":    {"a=b&checksum=%" + hex.EncodeToString([]byte(v("a=b")[:1])) + v("a=b")[1:], false},
		"blank around value":  {"a=b&checksum=" + v("a=b") + "+", false},
		"39 digits":           {"a=b&checksum=" + v("a=b")[1:], false},
		"uppercase name":      {"a=b&CHECKSUM=" + v("a=b"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSim(t, Config{})
			r := httptest.NewRequest(http.MethodGet, "/bigbluebutton/api/getMeetings?"+test.query, http.NoBody)
			if got := s.verified(r); got != test.want {
				t.Errorf("verified %v, want %v", got, test.want)
			}
		})
	}
}

func TestChecksumAlgorithms(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  Config
		want []string
	}{
		"2.4":            {Config{Profile: Profile24}, []string{"sha1", "sha256"}},
		"2.4 no setting": {Config{Profile: Profile24, Algorithms: "sha512"}, []string{"sha1", "sha256"}},
		"3.0":            {Config{}, []string{"sha1", "sha256", "sha384", "sha512"}},
		"3.0 no sha1":    {Config{Algorithms: "sha256,sha512"}, []string{"sha256", "sha512"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSim(t, test.cfg)
			for algorithm, sum := range hashes("getMeetingsa=b" + testSecret) {
				r := httptest.NewRequest(http.MethodGet, "/bigbluebutton/api/getMeetings?a=b&checksum="+sum, http.NoBody)
				want := strings.Contains(" "+strings.Join(test.want, " ")+" ", " "+algorithm+" ")
				if got := s.verified(r); got != want {
					t.Errorf("%s: verified %v, want %v", algorithm, got, want)
				}
			}
		})
	}
}

func TestChecksumHexCase(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		for _, call := range []string{"getMeetings", "getRecordings"} {
			query := "checksum=" + strings.ToUpper(sign(call, ""))
			r := httptest.NewRequest(http.MethodGet, "/bigbluebutton/api/"+call+"?"+query, http.NoBody)
			if got, want := s.verified(r), profile == Profile30; got != want {
				t.Errorf("%s: verified %v, want %v", call, got, want)
			}
		}
	})
}

func TestChecksumOfForms(t *testing.T) {
	t.Parallel()
	// Sorted by name, values sanitised and encoded again, names left alone.
	rebuilt := "B=%7E*-._&a=x+y&a=%2B&m%C3%BC=%C3%BC"
	rebuilt = strings.Replace(rebuilt, "m%C3%BC", "mü", 1)
	form := "a=x%20y&m%C3%BC=%C3%BC&B=+~*-._%01&a=%2B"
	for name, test := range map[string]struct {
		query, body string
		on24, on30  bool
	}{
		"rebuilt":                {"", form + "&checksum=" + sign("getMeetings", rebuilt), true, false},
		"nothing":                {"", form + "&checksum=" + sign("getMeetings", ""), false, true},
		"query alone is hashed":  {"q=1", form + "&checksum=" + sign("getMeetings", "q=1"), true, true},
		"checksum in the query":  {"q=1&checksum=" + sign("getMeetings", "q=1"), form, true, true},
		"query's checksum first": {"q=1&checksum=" + sign("getMeetings", "q=1"), "checksum=x", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothProfiles(t, func(t *testing.T, profile Profile) {
				t.Helper()
				s := newSim(t, Config{Profile: profile})
				r := httptest.NewRequest(http.MethodPost, target("getMeetings", test.query), strings.NewReader(test.body))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
				want := test.on30
				if profile == Profile24 {
					want = test.on24
				}
				if got := s.verified(r); got != want {
					t.Errorf("verified %v, want %v", got, want)
				}
			})
		})
	}
}

// Recording calls never rebuild a query.
func TestChecksumOfRecordingForms(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Profile: Profile24})
	w := s.post("getRecordings", "", "application/x-www-form-urlencoded", "meetingID=abc&checksum="+sign("getRecordings", ""))
	if !strings.Contains(w.Body.String(), "noRecordings") {
		t.Errorf("body %s", w.Body)
	}
}

func TestChecksumFailures(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	wantFailure(t, s.raw("getMeetings", "checksum="+strings.Repeat("0", 40)), "checksumError", "Checksums do not match")
	wantFailure(t, s.raw("getMeetings", "checksum=abc"), "checksumError", "Checksums do not match")
	wantFailure(t, s.raw("getMeetings", ""), "checksumError", "You must provide the checksum")
	wantFailure(t, s.raw("create", "name=x&checksum="), "checksumError", "You must provide the checksum")
	wantFailure(t, s.raw("getRecordings", "checksum=abc"), "checksumError", "You did not pass the checksum security check")
	wantFailure(t, s.raw("getRecordings", ""), "checksumError", "You did not pass the checksum security check")
	wantErrorRedirect(t, s.raw("join", "checksum=abc"), "https://bbb.example.com?", "checksumError", "Checksums do not match")
	if s.alive("x") {
		t.Error("an unverified create took effect")
	}
}

func TestChecksumDisabled(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.cfg.Secret = ""
	if w := s.raw("getMeetings", "checksum=whatever"); !strings.Contains(w.Body.String(), "noMeetings") {
		t.Errorf("body %s", w.Body)
	}
	wantFailure(t, s.raw("getMeetings", ""), "checksumError", "You must provide the checksum")
}

func TestErrorsInJSON(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	want := "{\n    \"response\": {\n        \"returncode\": \"FAILED\",\n        \"messageKey\": \"checksumError\",\n" +
		"        \"message\": \"Checksums do not match\"\n    }\n}"
	r := httptest.NewRequest(http.MethodGet, "/bigbluebutton/api/getMeetings?checksum=x", http.NoBody)
	r.Header.Set("Accept", "application/json")
	for name, w := range map[string]*httptest.ResponseRecorder{
		"accept": s.do(r),
		"format": s.raw("getMeetings", "checksum=x&format=json"),
	} {
		if got := w.Body.String(); got != want {
			t.Errorf("%s: %s", name, got)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json;charset=utf-8" {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
}
