package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
	"github.com/bluegate/bluegate/internal/tenant"
)

// join sends the browser to the meeting's server with a freshly signed URL: the
// session's cookie must be that host's. With redirect=false the LMS gets the
// server's XML and cookie.
func (g *Gateway) join(ctx context.Context, r *request) (answer, error) {
	if err := checkJoin(r.call); err != nil {
		return answer{}, err
	}
	claim, call, err := g.meetings.Join(ctx, r.caller.Tenant, r.call)
	if err != nil {
		if fault.Is(err, fault.NotFound) && r.caller.Tenant.State == tenant.Suspended {
			err = meeting.ErrSuspended
		}
		return answer{}, err
	}
	if !redirects(r.call) {
		resp, err := g.meetings.JoinForward(ctx, claim, call)
		if err != nil {
			return answer{}, err
		}
		a := xmlAnswer(resp.Body)
		a.serverID, a.cookies, a.key = claim.ServerID, resp.Header.Values("Set-Cookie"), resp.Answer.Key()
		if resp.Answer.Failed() {
			a.result = "failed"
		}
		return a, nil
	}
	location, err := g.meetings.JoinURL(claim, call)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusFound, location: location, result: "ok", serverID: claim.ServerID}, nil
}

func checkJoin(call bbb.Call) error {
	if err := meeting.CheckCall(call, "meetingID", "fullName", "password", "role", "redirect", "createTime"); err != nil {
		return err
	}
	if bbb.Sanitize(call.Value("fullName")) == "" {
		return errNoName // bbb-web answers a missing one with HTTP 500
	}
	if id, given := call.Param("meetingID"); given && id == "" {
		return errNoID
	}
	return nil // a join without meetingID is one of a meeting that there is not
}

// redirects reports whether the caller wants a redirect, as everybody does who
// doesn't say otherwise.
func redirects(call bbb.Call) bool {
	v := strings.TrimSpace(call.Value("redirect"))
	return v == "" || strings.EqualFold(v, "true")
}

// joinFailed shows why a join does not work: to the LMS if it asked for errors
// at a URL of its own (and its signature is good), as XML to API clients, else
// as a page for the person who followed the link. req is nil while the caller is
// not known.
func (g *Gateway) joinFailed(r *http.Request, req *request, err error) answer {
	f := fault.As(err)
	a := failed("join", err)
	if req != nil && redirects(req.call) {
		if location, ok := errorRedirect(req.call, f); ok {
			a.status, a.location, a.contentType, a.body = http.StatusFound, location, "", nil
			return a
		}
	}
	query := bbb.Call{Query: r.URL.RawQuery}
	if !redirects(query) || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return a
	}
	a.contentType = "text/html; charset=utf-8"
	a.body = g.pages.joinFailed(f, r.Header.Get("Accept-Language"))
	switch f.Kind {
	case fault.NotFound:
		a.status = http.StatusNotFound
	case fault.Unavailable, fault.Internal:
		a.status, a.retry = http.StatusServiceUnavailable, true
	case fault.Denied:
		a.status = http.StatusForbidden
	case fault.Invalid, fault.Conflict:
		a.status = http.StatusBadRequest
	}
	return a
}

// errorRedirect is BBB's way of telling an LMS of a failed join: its
// errorRedirectUrl, else the call's logoutURL, with a JSON array in the
// parameter errors.
func errorRedirect(call bbb.Call, f *fault.Error) (string, bool) {
	for _, name := range []string{"errorRedirectUrl", "logoutURL"} {
		target, err := url.Parse(call.Value(name))
		if err != nil || target.Host == "" || target.Scheme != "https" && target.Scheme != "http" {
			continue
		}
		list, err := json.Marshal([]struct {
			Message string `json:"message"`
			Key     string `json:"key"`
		}{{f.Message, f.Key}})
		if err != nil {
			return "", false
		}
		if target.RawQuery != "" {
			target.RawQuery += "&"
		}
		target.RawQuery += "errors=" + quoteErrors(string(list))
		return target.String(), true
	}
	return "", false
}

// quoteErrors escapes like bbb-web: brackets, colons, commas and apostrophes
// stay as they are.
func quoteErrors(s string) string {
	return strings.NewReplacer("+", "%20", "%5B", "[", "%5D", "]", "%3A", ":", "%2C", ",", "%27", "'").Replace(url.QueryEscape(s))
}
