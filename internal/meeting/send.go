package meeting

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

// outcome is what sending a create came to.
type outcome int

const (
	created     outcome = iota // the server has the meeting
	tenantFault                // refused for what the tenant asked for
	serverFault                // definitely not created, the server's fault: try another
	unknown                    // may or may not have been created
)

// tenantFaults are the messageKeys with which BBB refuses what the tenant asked
// for: another server would say the same. idNotUnique is none of them: the room
// is claimed by us, so the server means a copy that was left behind there.
var tenantFaults = map[string]bool{ //nolint:gochecknoglobals // a constant table
	"sizeError": true, "validationError": true, "emptyError": true, "nullError": true, "invalidPassword": true,
	"missingParamMeetingID": true, "missingParamName": true, "nonUniqueVoiceBridge": true,
	"unsupportedContentType": true, "parentMeetingIDMissing": true, "parentMeetingIdMissing": true,
	"parentMeetingDoesNotExist": true,
}

// sendCreate sends a claim's create to its server and says what became of it.
// It outlives the request: an LMS that hangs up does not make the outcome unknown.
func (r *Registry) sendCreate(ctx context.Context, c Claim, body *Body) (bbb.Answer, outcome) {
	ctx = context.WithoutCancel(ctx)
	call := bbb.Call{Name: "create", Query: c.Params}
	open := false // an earlier sending may have made the meeting
	for {
		answer, result, choked := r.sendOnce(ctx, c, call, body)
		if result == tenantFault && answer.Key() == "nonUniqueVoiceBridge" && call.Count("voiceBridge") > 0 {
			call = call.Without("voiceBridge", "webVoice")
			continue
		}
		if choked {
			// Slides that a server chokes on (a client's wrong Content-Length cuts
			// the XML) must not cost the class: the same create without them finds
			// the meeting if it exists, and makes it if not.
			body, open = nil, true
			continue
		}
		if open && result == serverFault {
			result = unknown
		}
		return answer, result
	}
}

// sendOnce sends a create. choked tells that the outcome is unknown because the
// server failed over a request with a body.
func (r *Registry) sendOnce(ctx context.Context, c Claim, call bbb.Call, body *Body) (a bbb.Answer, result outcome, choked bool) {
	req := pool.Call{Call: call, Timeout: r.limits.CreateTimeout}
	if body != nil {
		req.Body, req.BodySize, req.ContentType = body.Open, body.Size, body.ContentType
	}
	resp, err := r.servers.Call(ctx, c.ServerID, req)
	log := func(what string) {
		attrs := []slog.Attr{slog.Int64("claim", c.ID), slog.Int64("server_id", c.ServerID), slog.String("outcome", what)}
		switch {
		case err != nil:
			attrs = append(attrs, slog.String("error", err.Error()))
		case resp.Answer != nil:
			attrs = append(attrs, slog.String("key", resp.Answer.Key()))
		default:
			attrs = append(attrs, slog.Int("status", resp.Status))
		}
		r.log.LogAttrs(ctx, slog.LevelWarn, "create did not succeed", attrs...)
	}
	switch {
	case notSent(err):
		log("not sent")
		return bbb.Answer{}, serverFault, false
	case err == nil && resp.Status == http.StatusInternalServerError && body != nil:
		log("failed with a body")
		return bbb.Answer{}, unknown, true
	case err != nil, resp.Answer == nil:
		log("unknown")
		return bbb.Answer{}, unknown, false
	case resp.Answer.Success() && resp.Answer.Text("internalMeetingID") != "":
		return *resp.Answer, created, false
	case resp.Answer.Success():
		log("unknown")
		return bbb.Answer{}, unknown, false
	case tenantFaults[resp.Answer.Key()]:
		return *resp.Answer, tenantFault, false
	}
	log("refused by the server")
	return *resp.Answer, serverFault, false
}

// look is what asking a server about one meeting came to.
type look int

const (
	lookFound   look = iota
	lookGone         // the server answered that it has no such meeting
	lookUnknown      // no answer, or none that says either
)

// lookAt asks the claim's server for the meeting now.
func (r *Registry) lookAt(ctx context.Context, c Claim) (bbb.Answer, look) {
	resp, err := r.servers.Call(context.WithoutCancel(ctx), c.ServerID, pool.Call{Call: infoCall(c)})
	return readLook(resp, err)
}

func infoCall(c Claim) bbb.Call {
	return bbb.Call{Name: "getMeetingInfo"}.With("meetingID", c.ScopedID)
}

func readLook(resp bbb.Response, err error) (bbb.Answer, look) {
	switch {
	case err != nil, resp.Answer == nil:
		return bbb.Answer{}, lookUnknown
	case resp.Answer.Success():
		return *resp.Answer, lookFound
	case resp.Answer.Key() == "notFound":
		return *resp.Answer, lookGone
	}
	return *resp.Answer, lookUnknown
}

// refused turns a server's FAILED answer into an error for the tenant.
func refused(a bbb.Answer) error {
	message := a.Text("message")
	if message == "" && a.Key() == "nonUniqueVoiceBridge" {
		message = "The selected voice bridge is already in use."
	}
	return fault.New(fault.Invalid, a.Key(), message)
}
