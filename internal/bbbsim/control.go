package bbbsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// controlPrefix is the path of the control API.
const controlPrefix = "/_sim/"

const (
	maxControlBody  = 1 << 20
	maxControlUsers = 10_000
	maxLatency      = time.Hour
)

var errTooMuch = errors.New("value out of range")

// control is one operation of the control API.
type control struct {
	method string
	do     func(s *Server, body io.Reader) (any, error)
}

// controls are the operations of the control API.
var controls = map[string]control{
	"faults":   {http.MethodPost, (*Server).controlFaults},
	"users":    {http.MethodPost, (*Server).controlUsers},
	"end":      {http.MethodPost, (*Server).controlEnd},
	"restart":  {http.MethodPost, func(s *Server, _ io.Reader) (any, error) { s.Restart(); return done, nil }},
	"reset":    {http.MethodPost, func(s *Server, _ io.Reader) (any, error) { s.Reset(); return done, nil }},
	"requests": {http.MethodGet, func(s *Server, _ io.Reader) (any, error) { return s.Requests(), nil }},
	"meetings": {http.MethodGet, func(s *Server, _ io.Reader) (any, error) { return s.Meetings(), nil }},
}

type controlStatus struct {
	Status string `json:"status"`
}

type controlError struct {
	Error string `json:"error"`
}

var done = controlStatus{Status: "ok"}

// serveControl serves the control API: JSON in and out, errors as
// {"error":"..."}.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request, name string) {
	op, known := controls[name]
	switch {
	case !known:
		writeJSON(w, http.StatusNotFound, controlError{fmt.Sprintf("unknown control %q", name)})
		return
	case r.Method != op.method:
		w.Header().Set("Allow", op.method)
		writeJSON(w, http.StatusMethodNotAllowed, controlError{fmt.Sprintf("%s wants %s", name, op.method)})
		return
	}
	result, err := op.do(s, http.MaxBytesReader(w, r.Body, maxControlBody))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, result)
	case errors.Is(err, errNoMeeting):
		writeJSON(w, http.StatusNotFound, controlError{err.Error()})
	case errors.As(err, &tooLarge):
		writeJSON(w, http.StatusRequestEntityTooLarge, controlError{err.Error()})
	default:
		writeJSON(w, http.StatusBadRequest, controlError{err.Error()})
	}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may have gone
}

// readJSON reads one JSON object and refuses what it doesn't know, so that a
// mistyped field is no silent default.
func readJSON(body io.Reader, into any) error {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("body: more than one JSON value")
	}
	return nil
}

func (s *Server) controlFaults(body io.Reader) (any, error) {
	var in struct {
		Mode    string   `json:"mode"`
		Latency int64    `json:"latency_ms"`
		Calls   []string `json:"calls"`
	}
	if err := readJSON(body, &in); err != nil {
		return nil, err
	}
	mode, err := ParseMode(in.Mode)
	if err != nil {
		return nil, err
	}
	if mode == ModeDown {
		return nil, fmt.Errorf("%w: %q would close this port too; use %q", errUnknownMode, mode, ModeRefuse)
	}
	if in.Latency < 0 || in.Latency > maxLatency.Milliseconds() {
		return nil, fmt.Errorf("latency_ms: %w", errTooMuch)
	}
	s.SetFaults(Faults{Mode: mode, Latency: time.Duration(in.Latency) * time.Millisecond, Calls: in.Calls})
	return done, nil
}

// controlUsers adds users; a negative count makes that many leave.
func (s *Server) controlUsers(body io.Reader) (any, error) {
	var in struct {
		MeetingID string `json:"meetingID"`
		Count     int    `json:"count"`
	}
	if err := readJSON(body, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Count > maxControlUsers || in.Count < -maxControlUsers:
		return nil, fmt.Errorf("count: %w", errTooMuch)
	case in.Count < 0:
		return done, s.RemoveUsers(in.MeetingID, -in.Count)
	}
	return done, s.AddUsers(in.MeetingID, in.Count)
}

func (s *Server) controlEnd(body io.Reader) (any, error) {
	var in struct {
		MeetingID string `json:"meetingID"`
	}
	if err := readJSON(body, &in); err != nil {
		return nil, err
	}
	return done, s.EndFromInside(in.MeetingID)
}
