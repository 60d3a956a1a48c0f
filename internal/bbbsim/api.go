package bbbsim

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Paths of a BBB host.
const (
	apiRoot    = "/bigbluebutton"
	clientRoot = "/html5client"
)

// callIndex is the name under which the version document is logged.
const callIndex = "index"

// apiCall describes a call as the routing of 3.0 does (BBB API, endpoints).
type apiCall struct {
	methods   []string
	types     []string // content types of a body; nil: not checked
	recording bool     // served by the controller of recordings
}

var (
	getOnly    = []string{http.MethodGet}
	getAndPost = []string{http.MethodGet, http.MethodPost}
	formTypes  = []string{typeForm, typeMultipart}

	apiCalls = map[string]apiCall{
		"create":            {methods: getAndPost, types: []string{typeForm, typeMultipart, typeXML, typeTextXML}},
		"join":              {methods: getOnly},
		"isMeetingRunning":  {methods: getAndPost, types: formTypes},
		"end":               {methods: getAndPost, types: formTypes},
		"getMeetingInfo":    {methods: getAndPost, types: formTypes},
		"getMeetings":       {methods: getAndPost, types: formTypes},
		"getRecordings":     {methods: getAndPost, recording: true},
		"publishRecordings": {methods: getOnly, recording: true},
		"deleteRecordings":  {methods: getOnly, recording: true},
		"updateRecordings":  {methods: getAndPost, recording: true},
	}
)

// callOf returns the call a path names; "index" is the version document. A
// suffix such as .xml is part of Grails' generic routing and not of the name.
func callOf(path string) string {
	rest := strings.Trim(strings.TrimPrefix(path, apiRoot), "/")
	if rest == "" || rest == "api" {
		return callIndex
	}
	call, ok := strings.CutPrefix(rest, "api/")
	if !ok {
		return ""
	}
	if bare, _, found := strings.Cut(call, "."); found {
		if _, known := apiCalls[bare]; known {
			return bare
		}
	}
	return call
}

// serveAPI receives a call, lets the faults have their way and answers it.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, path string) {
	call := callOf(path)
	if f, _ := s.faultsFor(call); f.Mode == ModeRefuse {
		resetConnection(w)
		return
	}
	if call == "" {
		notFoundPage(path).write(w, r)
		return
	}
	req, body, err := s.readRequest(r, call)
	switch {
	case errors.Is(err, errBodyTooLarge):
		page(http.StatusRequestEntityTooLarge, "413 Request Entity Too Large", "<h1>413 Request Entity Too Large</h1>").write(w, r)
		return
	case err != nil:
		resetConnection(w) // the client broke off
		return
	}
	kind := apiCalls[call]
	verified := s.verify(req, kind.recording)
	s.log.add(Request{
		Time: s.cfg.Clock.Now(), Method: r.Method, Call: call, Query: req.query, Header: fewHeaders(r.Header),
		Host: r.Host, Body: body, Verified: verified,
	})

	f, ok := s.hangWhileTold(r, call)
	if !ok || f.Mode == ModeRefuse || f.Mode == ModeDown {
		resetConnection(w)
		return
	}
	out := errorPage()
	if f.Mode != ModeError {
		out = s.answer(req, path, kind, verified)
	}
	if !s.wait(r, f.Latency) {
		resetConnection(w)
		return
	}
	if f.Mode == ModeCut {
		out.cut(w)
		return
	}
	out.write(w, r)
}

// answer performs a call.
func (s *Server) answer(req *apiRequest, path string, kind apiCall, verified bool) answer {
	if req.call == callIndex {
		return s.version(req)
	}
	if kind.methods == nil {
		return notFoundPage(path)
	}
	if s.cfg.Profile != Profile24 || kind.recording {
		method := req.http.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if !slices.Contains(kind.methods, method) {
			out := page(http.StatusMethodNotAllowed, "Method Not Allowed", "<h1>Error 405: Method Not Allowed</h1>")
			out.allow = strings.Join(kind.methods, ", ")
			return out
		}
	}
	if kind.recording {
		return s.recordingCall(req, verified)
	}
	if f := s.checkRequest(req, kind, verified); f.failed() {
		if req.call == "join" {
			return s.errorRedirect(req, f)
		}
		return failureAnswer(req, f)
	}
	switch req.call {
	case "create":
		return s.create(req)
	case "join":
		return s.join(req)
	case "isMeetingRunning":
		return s.isMeetingRunning(req)
	case "end":
		return s.end(req)
	case "getMeetingInfo":
		return s.getMeetingInfo(req)
	}
	return s.getMeetings()
}

// checkRequest validates what comes before all parameters: the checksum, then the
// content type of a body (BBB API, checksum failures; since the content-type
// change).
func (s *Server) checkRequest(req *apiRequest, kind apiCall, verified bool) failure {
	if !req.checksumGiven() {
		return failure{keyChecksum, "You must provide the checksum"}
	}
	if !verified {
		return failure{keyChecksum, "Checksums do not match"}
	}
	if s.cfg.Profile != Profile24 && kind.types != nil && req.http.ContentLength > 0 &&
		!slices.Contains(kind.types, req.mimeType) {
		return failure{keyContentType, "POST request Content-Type is missing or unsupported"}
	}
	return failure{}
}

// version serves the version document (BBB API), which needs no checksum.
func (s *Server) version(req *apiRequest) answer {
	fields := params{{"returncode", "SUCCESS"}, {"version", "2.0"}, {"apiVersion", "2.0"}, {"bbbVersion", ""}}
	if s.cfg.Profile != Profile24 {
		_, host, _ := strings.Cut(req.base, "://")
		fields = append(fields, pair{"graphqlWebsocketUrl", "wss://" + host + "/graphql"},
			pair{"graphqlApiUrl", "https://" + host + "/api/rest"})
		if mimeType, _, _ := strings.Cut(req.http.Header.Get("Content-Type"), ";"); mimeType == "application/json" {
			return jsonFields(fields)
		}
	}
	var x xmlWriter
	x.open("response")
	for _, f := range fields {
		x.element(f.name, f.value)
	}
	return xmlAnswer(x.close(), true)
}

// jsonFields is Groovy's pretty form of one flat object.
func jsonFields(fields params) answer {
	var b strings.Builder
	b.WriteString("{\n    \"response\": {\n")
	for i, f := range fields {
		b.WriteString("        " + jsonString(f.name) + ": " + jsonString(f.value))
		if i < len(fields)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("    }\n}")
	return answer{status: http.StatusOK, contentType: jsonType, noCache: true, body: []byte(b.String())}
}
