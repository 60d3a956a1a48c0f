package bbbsim

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// maxBody bounds a request body; nginx in front of BBB has a bound as well.
const maxBody = 64 << 20

var errBodyTooLarge = errors.New("request body too large")

// Media types that mean something to the API.
const (
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
	typeXML       = "application/xml"
	typeTextXML   = "text/xml"
)

// pair is one request parameter, metadata item or custom data item.
type pair struct{ name, value string }

// params are request parameters in the order of the request: the query first,
// then the form (BBB API, POST bodies: the query's value wins).
type params []pair

// lookup returns the first value of a parameter; false when it is absent, which
// the API treats differently from empty.
func (p params) lookup(name string) (string, bool) {
	for i := range p {
		if p[i].name == name {
			return p[i].value, true
		}
	}
	return "", false
}

func (p params) get(name string) string {
	value, _ := p.lookup(name)
	return value
}

// parsePairs decodes "a=b&c=d" as a servlet container does: only & separates, a
// pair that can't be decoded is ignored, and broken UTF-8 becomes U+FFFD.
func parsePairs(raw string) params {
	if raw == "" {
		return nil
	}
	out := make(params, 0, strings.Count(raw, "&")+1)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, errName := decode(name)
		value, errValue := decode(value)
		if errName != nil || errValue != nil || name == "" {
			continue
		}
		out = append(out, pair{name, value})
	}
	return out
}

func decode(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return strings.ToValidUTF8(s, "\uFFFD"), nil
	}
	s, err := url.QueryUnescape(s)
	return strings.ToValidUTF8(s, "\uFFFD"), err
}

// apiRequest is a request as the API's controllers see it.
type apiRequest struct {
	call     string
	http     *http.Request
	query    string // raw
	params   params // query and form
	form     params // form alone
	mimeType string
	xml      []byte // the body, unless it is a form
	base     string // scheme and host of the server, for links
}

// readRequest reads the body and the parameters. A body that is not a form is
// left to the call, as the servlet container does.
func (s *Server) readRequest(r *http.Request, call string) (*apiRequest, []byte, error) {
	req := &apiRequest{call: call, http: r, query: r.URL.RawQuery, base: s.base(r)}
	req.params = parsePairs(req.query)
	if r.Body == nil || r.Body == http.NoBody {
		return req, nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return req, nil, err
	}
	if len(body) > maxBody {
		return req, nil, errBodyTooLarge
	}
	mimeType, attrs, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		mimeType = ""
	}
	req.mimeType = mimeType
	switch mimeType {
	case typeForm:
		req.form = parsePairs(string(body))
	case typeMultipart:
		req.form = parseMultipart(body, attrs["boundary"])
	default:
		req.xml = body
	}
	req.params = append(req.params, req.form...)
	return req, body, nil
}

// parseMultipart returns the fields of a multipart form and leaves files out.
func parseMultipart(body []byte, boundary string) params {
	var out params
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if err != nil {
			return out
		}
		if part.FileName() != "" || part.FormName() == "" {
			continue
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return out
		}
		out = append(out, pair{part.FormName(), strings.ToValidUTF8(string(value), "\uFFFD")})
	}
}

// base returns scheme and host of this server as a browser sees them.
func (s *Server) base(r *http.Request) string {
	if s.cfg.PublicURL != "" {
		return strings.TrimRight(s.cfg.PublicURL, "/")
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// wantsJSON tells whether an error is to be told in JSON (BBB API, common
// rendering rules): the client asks for nothing but JSON.
func (req *apiRequest) wantsJSON() bool {
	if req.params.get("format") == "json" {
		return true
	}
	accept, _, _ := strings.Cut(req.http.Header.Get("Accept"), ",")
	mimeType, _, err := mime.ParseMediaType(accept)
	return err == nil && mimeType == "application/json"
}

// sanitize trims a value and removes its control characters, which is what the
// API validates (it goes on to use the value as it came).
func sanitize(s string) string {
	return javaTrim(stripControl(s))
}

func stripControl(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// javaTrim is String.trim: it removes what is not above a blank.
func javaTrim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

// utf16Len is the length Java gives a string, which the API's limits mean.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// sortedNames returns the different names in the order of a Java TreeSet (by
// UTF-16 code units).
func (p params) sortedNames() []string {
	names := make([]string, 0, len(p))
	for i := range p {
		names = append(names, p[i].name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	return slices.Compact(names)
}
