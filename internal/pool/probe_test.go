package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/fault"
)

func TestNormalizeURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://bbb.example.org/bigbluebutton/":              "https://bbb.example.org/bigbluebutton/",
		"  https://bbb.example.org/bigbluebutton \n":          "https://bbb.example.org/bigbluebutton/",
		"https://bbb.example.org/bigbluebutton/api":           "https://bbb.example.org/bigbluebutton/",
		"https://bbb.example.org/bigbluebutton/api/":          "https://bbb.example.org/bigbluebutton/",
		"https://bbb.example.org/bigbluebutton//api//":        "https://bbb.example.org/bigbluebutton/",
		"HTTPS://BBB.Example.ORG/BigBlueButton":               "https://bbb.example.org/BigBlueButton/",
		"http://10.0.0.1:8090/front/bigbluebutton/":           "http://10.0.0.1:8090/front/bigbluebutton/",
		"https://bbb.example.org":                             "https://bbb.example.org/",
		"https://bbb.example.org/api":                         "https://bbb.example.org/",
		"https://[2001:db8::1]/bigbluebutton":                 "https://[2001:db8::1]/bigbluebutton/",
		"https://bbb.example.org/my%20path/bigbluebutton/api": "https://bbb.example.org/my%20path/bigbluebutton/",
	} {
		got, err := NormalizeURL(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		again, err := NormalizeURL(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, in := range []string{
		"", "bbb.example.org", "//bbb.example.org/", "ftp://bbb.example.org/", "https://", "https:///bigbluebutton/",
		"https://user:hunter2@bbb.example.org/", "https://bbb.example.org/?a=b", "https://bbb.example.org/?", "https://bbb.example.org/#a",
		"https://bbb example.org/", "https://hunter2@%zz/", "javascript:alert(1)", "https://:443/",
	} {
		_, err := NormalizeURL(in)
		require.True(t, fault.Is(err, fault.Invalid), in)
		require.Equal(t, "invalidServerURL", fault.As(err).Key)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// authority signs certificates of test servers.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{key: key, cert: cert, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// certificate returns one for 127.0.0.1, changed.
func (a *authority) certificate(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bbb"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve serves h until the test ends and returns its URL without a path; with a
// certificate, by TLS.
func serve(t *testing.T, h http.Handler, cert *tls.Certificate) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if cert == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s.URL
}

func page(status int, header, value, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set(header, value)
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	})
}

// trusted is the authority that this process trusts. Go reads the trusted ones
// once, on the first verification: however often a test is run, they are the same.
var trusted *authority

// Not parallel: the trusted authorities come from the environment.
func TestProbe(t *testing.T) {
	if trusted == nil {
		trusted = newAuthority(t)
	}
	ca := trusted
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, ca.pem, 0o600))
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", t.TempDir())

	sim := func(c bbbsim.Config) http.Handler {
		c.Secret = secret
		return bbbsim.New(c)
	}
	good := ca.certificate(t, func(*x509.Certificate) {})
	wrongName := ca.certificate(t, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"bbb.example.org", "b.example.org", "c.example.org", "d.example.org"}
	})
	expired := ca.certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	untrusted := newAuthority(t).certificate(t, func(*x509.Certificate) {})
	notForServers := ca.certificate(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	bbbServer := serve(t, sim(bbbsim.Config{}), nil)
	onlyAt := func(prefix string, h, otherwise http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, prefix) {
				h.ServeHTTP(w, r)
				return
			}
			otherwise.ServeHTTP(w, r)
		})
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	version := "<response><returncode>SUCCESS</returncode><version>2.0</version><apiVersion>2.0</apiVersion><bbbVersion>3.0.1</bbbVersion></response>"
	then := func(answer http.Handler) http.Handler { // a BBB server but for getMeetings
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "getMeetings") {
				answer.ServeHTTP(w, r)
				return
			}
			_, _ = fmt.Fprint(w, version)
		})
	}
	disabled := "<response><returncode>FAILED</returncode><messageKey>apiNotEnabled</messageKey><message>x</message></response>"
	html := "<!DOCTYPE html>\n<html><body>Welcome</body></html>"

	for _, tt := range []struct {
		name, url string
		change    func(*Server)
		algorithm string // when it works
		worksAt   string
		key       string
		kind      fault.Kind
		says      []string
	}{
		{name: "works", url: bbbServer + "/bigbluebutton/", algorithm: "sha256"},
		{name: "works by TLS", url: serve(t, sim(bbbsim.Config{}), &good) + "/bigbluebutton/api", algorithm: "sha256"},
		{name: "old and SHA-1 only", url: serve(t, sim(bbbsim.Config{Algorithms: "sha1"}), nil) + "/bigbluebutton/", algorithm: "sha1"},
		{name: "SHA-512 only", url: serve(t, sim(bbbsim.Config{Algorithms: "sha512"}), nil) + "/bigbluebutton/", algorithm: "sha512"},
		{name: "BBB 2.4", url: serve(t, sim(bbbsim.Config{Profile: bbbsim.Profile24}), nil) + "/bigbluebutton/", algorithm: "sha256"},
		{name: "the configured algorithm first", url: bbbServer + "/bigbluebutton/", change: func(s *Server) { s.Algorithm = "sha384" }, algorithm: "sha384"},
		{name: "malformed URL", url: "bbb.example.org", key: "invalidServerURL", kind: fault.Invalid},
		{
			name: "other secret", url: bbbServer + "/bigbluebutton/", change: func(s *Server) { s.Secret = "another-secret-of-twenty" },
			key: "serverSecretWrong", kind: fault.Invalid, says: []string{"bbb-conf --secret"},
		},
		{
			name: "secret with a line break", url: bbbServer + "/bigbluebutton/", change: func(s *Server) { s.Secret += "\n" },
			key: "serverSecretWrong", kind: fault.Invalid, says: []string{"white space"},
		},
		{
			name: "without /bigbluebutton, 404", url: serve(t, onlyAt("/bigbluebutton/", sim(bbbsim.Config{}), http.NotFoundHandler()), nil) + "/",
			worksAt: "/bigbluebutton/", key: "serverPathWrong", kind: fault.Invalid, says: []string{"/bigbluebutton/: use that URL"},
		},
		{
			name: "without /bigbluebutton, a page", url: serve(t, onlyAt("/bigbluebutton/", sim(bbbsim.Config{}), page(200, "", "", html)), nil),
			worksAt: "/bigbluebutton/", key: "serverPathWrong", kind: fault.Invalid,
		},
		{
			name: "without /bigbluebutton, redirected", url: serve(t, onlyAt("/bigbluebutton/", sim(bbbsim.Config{}), page(302, "Location", "/b", "")), nil),
			worksAt: "/bigbluebutton/", key: "serverPathWrong", kind: fault.Invalid,
		},
		{
			name: "wrong path", url: serve(t, http.NotFoundHandler(), nil) + "/x/", key: "serverPathWrong", kind: fault.Invalid,
			says: []string{"HTTP 404", "try", "/x/bigbluebutton/"},
		},
		{name: "nothing at the right path", url: serve(t, http.NotFoundHandler(), nil) + "/bigbluebutton/", key: "serverPathWrong", kind: fault.Invalid},
		{name: "a web page", url: serve(t, page(200, "", "", html), nil) + "/bigbluebutton/", key: "serverNotBBB", kind: fault.Invalid, says: []string{"a web page"}},
		{name: "JSON", url: serve(t, page(200, "", "", "{}"), nil) + "/bigbluebutton/", key: "serverNotBBB", kind: fault.Invalid, says: []string{"JSON"}},
		{name: "other XML", url: serve(t, page(200, "", "", "<rss></rss>"), nil) + "/bigbluebutton/", key: "serverNotBBB", kind: fault.Invalid, says: []string{"other XML"}},
		{name: "nothing", url: serve(t, page(200, "", "", ""), nil) + "/bigbluebutton/", key: "serverNotBBB", kind: fault.Invalid, says: []string{"nothing in it"}},
		{name: "no version document", url: serve(t, page(200, "", "", "<response><returncode>SUCCESS</returncode></response>"), nil) + "/bigbluebutton/", key: "serverNotBBB", kind: fault.Invalid},
		{
			name: "redirect to https", url: serve(t, page(301, "Location", "https://bbb.example.org/bigbluebutton/api/?checksum=abc", ""), nil) + "/bigbluebutton/",
			key: "serverRedirects", kind: fault.Invalid, says: []string{"https://bbb.example.org/bigbluebutton/:"},
		},
		{name: "redirect to itself", url: serve(t, page(301, "Location", "/bigbluebutton/api/x", ""), nil) + "/bigbluebutton/", key: "serverRedirects", kind: fault.Invalid, says: []string{"itself"}},
		{name: "redirect to nowhere", url: serve(t, page(301, "", "", ""), nil) + "/bigbluebutton/", key: "serverRedirects", kind: fault.Invalid},
		{name: "BBB is not running", url: serve(t, page(502, "", "", html), nil) + "/bigbluebutton/", key: "serverError", kind: fault.Unavailable, says: []string{"502"}},
		{name: "forbidden", url: serve(t, page(403, "", "", html), nil) + "/bigbluebutton/", key: "serverForbidden", kind: fault.Unavailable, says: []string{"403"}},
		{name: "API switched off", url: serve(t, page(200, "", "", disabled+version), nil) + "/bigbluebutton/", key: "serverAPIDisabled", kind: fault.Unavailable, says: []string{"serviceEnabled"}},
		{name: "API switched off for calls", url: serve(t, then(page(200, "", "", disabled)), nil) + "/bigbluebutton/", key: "serverAPIDisabled", kind: fault.Unavailable},
		{name: "another refusal", url: serve(t, then(page(200, "", "", strings.ReplaceAll(disabled, "apiNotEnabled", "odd"))), nil) + "/bigbluebutton/", key: "serverError", kind: fault.Unavailable, says: []string{"odd"}},
		{name: "calls fail", url: serve(t, then(page(500, "", "", html)), nil) + "/bigbluebutton/", key: "serverError", kind: fault.Unavailable},
		{name: "connection refused", url: closed.URL + "/bigbluebutton/", key: "serverConnectionRefused", kind: fault.Unavailable},
		{name: "silence", url: "http://" + silent.Addr().String() + "/bigbluebutton/", key: "serverTimeout", kind: fault.Unavailable},
		{name: "untrusted authority", url: serve(t, sim(bbbsim.Config{}), &untrusted) + "/bigbluebutton/", key: "serverTLSUntrusted", kind: fault.Invalid},
		{name: "wrong name", url: serve(t, sim(bbbsim.Config{}), &wrongName) + "/bigbluebutton/", key: "serverTLSName", kind: fault.Invalid, says: []string{"bbb.example.org", "..."}},
		{name: "expired", url: serve(t, sim(bbbsim.Config{}), &expired) + "/bigbluebutton/", key: "serverTLSExpired", kind: fault.Unavailable},
		{name: "not for servers", url: serve(t, sim(bbbsim.Config{}), &notForServers) + "/bigbluebutton/", key: "serverTLSInvalid", kind: fault.Invalid},
		{name: "https to http", url: strings.Replace(bbbServer, "http:", "https:", 1) + "/bigbluebutton/", key: "serverNotTLS", kind: fault.Invalid, says: []string{"http://"}},
		{name: "http to https", url: strings.Replace(serve(t, sim(bbbsim.Config{}), &good), "https:", "http:", 1) + "/bigbluebutton/", key: "serverNeedsTLS", kind: fault.Invalid, says: []string{"https://"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := bbb.NewClient(bbb.ClientOptions{})
			t.Cleanup(client.Close)
			s := Server{APIURL: tt.url, Secret: secret}
			if tt.change != nil {
				tt.change(&s)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if tt.key == "serverTimeout" {
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			got, err := Probe(ctx, client, s)
			if tt.key == "" {
				require.NoError(t, err)
				require.Equal(t, tt.algorithm, got.Algorithm)
				require.Equal(t, "2.0", got.APIVersion)
				return
			}
			e := fault.As(err)
			require.Equal(t, tt.key, e.Key, "%v", err)
			require.Equal(t, tt.kind, e.Kind)
			for _, says := range tt.says {
				require.Contains(t, e.Message, says)
			}
			for _, word := range []string{strings.TrimSpace(s.Secret), "checksum="} {
				require.NotContains(t, err.Error(), word)
			}
			require.Regexp(t, `[.?]$`, e.Message)
			require.Equal(t, tt.worksAt != "", got.WorksAt != "")
			if tt.worksAt != "" {
				require.True(t, strings.HasSuffix(got.WorksAt, tt.worksAt))
				s.APIURL = got.WorksAt
				_, err = Probe(ctx, client, s)
				require.NoError(t, err)
			}
		})
	}
}

func TestProbeCountsMeetings(t *testing.T) {
	t.Parallel()
	sim := bbbsim.New(bbbsim.Config{Secret: secret})
	sim.Fill(3, 2)
	client := bbb.NewClient(bbb.ClientOptions{})
	t.Cleanup(client.Close)
	got, err := Probe(t.Context(), client, Server{APIURL: serve(t, sim, nil) + "/bigbluebutton/", Secret: secret})
	require.NoError(t, err)
	require.Equal(t, 3, got.Meetings)
}

// What depends on the network's name service is not left to it.
func TestProbeNames(t *testing.T) {
	t.Parallel()
	const base = "https://bbb.example.org/bigbluebutton/"
	got := unreachable(base, &bbb.CallError{Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "bbb.example.org", IsNotFound: true}}})
	require.Equal(t, "serverNameUnknown", got.Key)
	require.Contains(t, got.Message, "bbb.example.org")
	got = unreachable(base, &bbb.CallError{Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}})
	require.Equal(t, "serverNameUnresolved", got.Key)
	require.Equal(t, fault.Unavailable, got.Kind)
	got = unreachable(base, &bbb.CallError{Err: io.ErrUnexpectedEOF})
	require.Equal(t, "serverUnreachable", got.Key)
}
