package pool

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

const (
	// probeTimeout bounds each request of a probe.
	probeTimeout = 5 * time.Second
	// bbbPath is what every BBB server's API base ends in.
	bbbPath = "bigbluebutton/"
)

// ProbeResult is what a probe found out.
type ProbeResult struct {
	APIVersion string // "2.0"
	BBBVersion string // empty unless the server is configured to reveal it
	// Algorithm is the checksum algorithm to sign with.
	Algorithm string
	Meetings  int
	// WorksAt is set beside an error with the key "serverPathWrong" when the
	// server was found at another API URL.
	WorksAt string
}

// NormalizeURL returns an API URL as Server keeps it: http or https, a host, any
// path in front, a slash at the end and no "api/". The error is fault.Invalid.
func NormalizeURL(raw string) (string, error) {
	const key = "invalidServerURL"
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		// The parser's error repeats the URL, which may hold a password.
		return "", fault.New(fault.Invalid, key, "The server's URL is malformed. It looks like https://bbb.example.org/bigbluebutton/.")
	}
	scheme := strings.ToLower(u.Scheme)
	switch {
	case scheme != "http" && scheme != "https":
		return "", fault.New(fault.Invalid, key, "The server's URL must begin with https:// or http://.")
	case u.Hostname() == "":
		return "", fault.New(fault.Invalid, key, "The server's URL has no host name.")
	case u.User != nil:
		return "", fault.New(fault.Invalid, key, "The server's URL must not hold a user name or password.")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fault.New(fault.Invalid, key, "The server's URL must end with its path, without ? or #.")
	}
	path := strings.TrimRight(u.EscapedPath(), "/") + "/"
	if rest, ok := strings.CutSuffix(path, "/api/"); ok {
		path = strings.TrimRight(rest, "/") + "/"
	}
	return scheme + "://" + strings.ToLower(u.Host) + path, nil
}

// Probe looks whether a server can be used as it is configured: it reads the
// version document, then makes a signed getMeetings call with s.Algorithm and,
// while the server refuses the checksum, with the others: sha256, sha1, sha512,
// sha384. The error is a *fault.Error: fault.Invalid when the configuration must
// change, fault.Unavailable when the server can't be used now. Its message says
// what is wrong and what to do, and holds no secret and no signed URL.
func Probe(ctx context.Context, client *bbb.Client, s Server) (ProbeResult, error) {
	base, err := NormalizeURL(s.APIURL)
	if err != nil {
		return ProbeResult{}, err
	}
	version, failure := probeVersion(ctx, client, base)
	if failure != nil {
		if at, ok := elsewhere(ctx, client, base, failure); ok {
			return ProbeResult{WorksAt: at}, fault.Newf(fault.Invalid, "serverPathWrong",
				"There is no BigBlueButton at %s, but there is one at %s: use that URL.", base, at)
		}
		return ProbeResult{}, failure
	}
	out := ProbeResult{APIVersion: version.Text("apiVersion"), BBBVersion: version.Text("bbbVersion")}
	for _, alg := range probeAlgorithms(s.Algorithm) {
		answer, failure := ask(ctx, client, base, bbb.Call{Name: "getMeetings"}, alg, s.Secret)
		if failure != nil {
			return out, failure
		}
		if answer.Key() == "checksumError" {
			continue
		}
		if !answer.Success() {
			return out, fault.Newf(fault.Unavailable, "serverError",
				"The server %s refuses to list its meetings (%.60q).", host(base), answer.Key())
		}
		meetings, err := bbb.ParseMeetings(answer.Bytes())
		if err != nil {
			return out, fault.Wrap(fault.Unavailable, "serverNotBBB",
				"The server "+host(base)+" answers, but its list of meetings can't be read.", err)
		}
		out.Algorithm, out.Meetings = alg.String(), len(meetings)
		return out, nil
	}
	message := "The server " + host(base) + " is a BigBlueButton server, but the secret is not its own. " +
		"Run `bbb-conf --secret` there and copy the secret."
	if strings.TrimSpace(s.Secret) != s.Secret {
		message += " The one given has white space around it."
	}
	return out, fault.New(fault.Invalid, "serverSecretWrong", message)
}

// probeAlgorithms returns the algorithms to try, the configured one first.
func probeAlgorithms(configured string) []bbb.Algorithm {
	out := make([]bbb.Algorithm, 0, 5)
	first, err := bbb.ParseAlgorithm(configured)
	if err == nil {
		out = append(out, first)
	}
	for _, alg := range []bbb.Algorithm{bbb.SHA256, bbb.SHA1, bbb.SHA512, bbb.SHA384} {
		if err != nil || alg != first {
			out = append(out, alg)
		}
	}
	return out
}

// probeVersion reads the version document. It is sent without a secret: what is
// not a BBB server gets nothing that was made with it.
func probeVersion(ctx context.Context, client *bbb.Client, base string) (*bbb.Answer, *fault.Error) {
	answer, failure := ask(ctx, client, base, bbb.Call{}, bbb.SHA256, "")
	if failure != nil {
		return nil, failure
	}
	if !answer.Success() || !answer.Has("version") {
		return nil, fault.Newf(fault.Invalid, "serverNotBBB",
			"What answers at %s is not a BigBlueButton server: there is no version document at %sapi.", base, base)
	}
	return answer, nil
}

// elsewhere looks for the server at the path that is left out most often.
func elsewhere(ctx context.Context, client *bbb.Client, base string, failure *fault.Error) (string, bool) {
	switch failure.Key {
	case "serverPathWrong", "serverNotBBB", "serverRedirects":
	default:
		return "", false
	}
	if strings.HasSuffix(base, "/"+bbbPath) {
		return "", false
	}
	_, err := probeVersion(ctx, client, base+bbbPath)
	return base + bbbPath, err == nil
}

// ask makes one call and returns the answer, or what is wrong with the server.
func ask(ctx context.Context, client *bbb.Client, base string, call bbb.Call, alg bbb.Algorithm, secret string) (*bbb.Answer, *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, err := client.Do(ctx, bbb.Request{Base: base, Call: call, Algorithm: alg, Secret: secret})
	if err != nil {
		return nil, unreachable(base, err)
	}
	if failure := unusable(base, resp); failure != nil {
		return nil, failure
	}
	return resp.Answer, nil
}

// unreachable classifies a call without an answer.
func unreachable(base string, err error) *fault.Error {
	name := host(base)
	wrap := func(kind fault.Kind, key, format string, args ...any) *fault.Error {
		return fault.Wrap(kind, key, fmt.Sprintf(format, args...), err)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return wrap(fault.Invalid, "serverTLSName",
			"The certificate of %s is for another name (%s). Use the name it is for, or get a certificate for this one.", name, certificateNames(e.Certificate))
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return wrap(fault.Unavailable, "serverTLSExpired",
				"The certificate of %s has expired or is not valid yet. Renew it, or set the clock right.", name)
		}
		return wrap(fault.Invalid, "serverTLSInvalid", "The certificate of %s is not valid for a web server.", name)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return wrap(fault.Invalid, "serverTLSUntrusted",
			"The certificate of %s is signed by an authority that is not trusted here. Install the authority's certificate on this machine, "+
				"or have the server send its whole chain.", name)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		return wrap(fault.Invalid, "serverNotTLS", "%s does not speak TLS on that port. Try http:// or another port.", name)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return wrap(fault.Invalid, "serverNameUnknown", "There is no host of the name %s. Look for a typing error.", name)
		}
		return wrap(fault.Unavailable, "serverNameUnresolved", "The name %s can't be looked up now: the name service does not answer.", name)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return wrap(fault.Unavailable, "serverConnectionRefused",
			"%s refuses the connection. Is the port right, and does its web server run?", name)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return wrap(fault.Unavailable, "serverTimeout",
			"%s does not answer in time. Does a firewall let this machine reach it?", name)
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return wrap(fault.Unavailable, "serverTLSInvalid", "%s and this machine can't agree on how to speak TLS (1.2 is needed at least).", name)
	}
	return wrap(fault.Unavailable, "serverUnreachable", "%s can't be reached.", name)
}

// unusable classifies an answer that is not a BBB answer, or one that says that
// the API is off.
func unusable(base string, resp bbb.Response) *fault.Error {
	name := host(base)
	switch {
	case bytes.Contains(resp.Body, []byte("<messageKey>apiNotEnabled</messageKey>")):
		// bbb-web goes on after that answer: its body is two documents, no XML.
		return fault.Newf(fault.Unavailable, "serverAPIDisabled",
			"The API of %s is switched off. Set serviceEnabled=true in its bigbluebutton.properties and restart it.", name)
	case resp.Answer != nil:
		return nil
	case resp.Status/100 == 3:
		return redirected(base, resp)
	case resp.Status == http.StatusNotFound:
		hint := "."
		if !strings.HasSuffix(base, "/"+bbbPath) {
			hint = ": try " + base + bbbPath + "."
		}
		return fault.Newf(fault.Invalid, "serverPathWrong", "There is no BigBlueButton API at %s (HTTP 404)%s", base, hint)
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		return fault.Newf(fault.Unavailable, "serverForbidden",
			"%s does not let this machine use the API (HTTP %d). Look at the access rules of its web server.", name, resp.Status)
	case resp.Status == http.StatusBadRequest && strings.HasPrefix(base, "http://") && bytes.Contains(resp.Body, []byte("HTTPS")):
		return fault.Newf(fault.Invalid, "serverNeedsTLS", "%s speaks TLS on that port. Try https://.", name)
	case resp.Status >= 500:
		return fault.Newf(fault.Unavailable, "serverError",
			"%s answers HTTP %d: its web server runs, BigBlueButton behind it does not. Look at `bbb-conf --status` there.", name, resp.Status)
	}
	return fault.Newf(fault.Invalid, "serverNotBBB",
		"What answers at %s is not a BigBlueButton server (HTTP %d, %s).", base, resp.Status, sort(resp))
}

// sort names what an answer holds, for people.
func sort(resp bbb.Response) string {
	start := bytes.ToLower(bytes.TrimSpace(resp.Body[:min(len(resp.Body), 512)]))
	switch {
	case len(start) == 0:
		return "nothing in it"
	case bytes.Contains(start, []byte("<html")), bytes.HasPrefix(start, []byte("<!doctype html")):
		return "a web page"
	case start[0] == '<':
		return "other XML"
	case start[0] == '{', start[0] == '[':
		return "JSON"
	}
	return "something else"
}

// redirected says where a server sends us, without the query: that may be ours,
// signed.
func redirected(base string, resp bbb.Response) *fault.Error {
	const key = "serverRedirects"
	from, err := url.Parse(base + "api/")
	if err != nil {
		return fault.New(fault.Invalid, key, "The server redirects.")
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host == "" || resp.Header.Get("Location") == "" {
		return fault.Newf(fault.Invalid, key, "%s redirects, and does not say where to.", host(base))
	}
	path, _, _ := strings.Cut(to.EscapedPath(), "/api")
	target := to.Scheme + "://" + to.Host + strings.TrimRight(path, "/") + "/"
	if target == base {
		return fault.Newf(fault.Invalid, key, "%s redirects to itself.", host(base))
	}
	return fault.Newf(fault.Invalid, key, "%s redirects to %.200s: use that URL if it is the BigBlueButton server's.", host(base), target)
}

// certificateNames returns the names a certificate is for, not too many.
func certificateNames(c *x509.Certificate) string {
	if c == nil || len(c.DNSNames) == 0 {
		return "none"
	}
	names := c.DNSNames
	more := ""
	if len(names) > 3 {
		names, more = names[:3], ", ..."
	}
	return strings.Join(names, ", ") + more
}

// host returns the host and port of an API URL.
func host(base string) string {
	_, rest, _ := strings.Cut(base, "://")
	name, _, _ := strings.Cut(rest, "/")
	return name
}
