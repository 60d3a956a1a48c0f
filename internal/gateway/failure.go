package gateway

import (
	"net/http"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// Every messageKey that the gateway answers with by itself, beside those of
// BBB's own rules (meeting.NewCreate) and those that meeting finds. This file decides how a failure of a call
// looks to its caller: the table "What we answer when we can't".

var (
	errUnsupported = fault.New(fault.Invalid, "unsupportedRequest", "This request is not supported.")
	errChecksum    = fault.New(fault.Denied, "checksumError", "Checksums do not match")
	errQueryLong   = fault.Newf(fault.Invalid, "queryTooLong", "The query is longer than %d KB.", maxQuery>>10)
	errBodyLarge   = fault.New(fault.Invalid, "bodyTooLarge", "The request's body is larger than this server takes.")
	errBodyCut     = fault.New(fault.Invalid, "bodyUnreadable", "The request's body could not be read.")
	errStarting    = fault.New(fault.Unavailable, "starting", "The service is starting. Please try again in a moment.")
	errUnsure      = fault.New(fault.Unavailable, "unsure", "The service is not sure yet. Please try again in a moment.")
	errNoName      = fault.New(fault.Invalid, "missingParamFullName", "You must provide your name")
	errNoID        = fault.New(fault.Invalid, "emptyError", "You must provide the meeting ID")
	errIDSize      = fault.New(fault.Invalid, "sizeError", "Meeting ID must be between 2 and 256 characters")
	errIDComma     = fault.New(fault.Invalid, "validationError", "Meeting ID cannot contain ','")
	errManyBodies  = fault.New(fault.Unavailable, "overloaded",
		"Too many documents are being uploaded at once. Please try again in a moment.")
)

// retryAfter is when, in seconds, trying again makes sense.
const retryAfter = "5"

// answer is what a call is answered with.
type answer struct {
	status      int
	contentType string
	body        []byte
	location    string // of a redirect
	retry       bool
	cookies     []string
	key         string // the messageKey, for the log
	result      string // ok, failed, denied, error: for metrics and the log
	stale       bool
	coalesced   bool
	serverID    int64
}

func xmlAnswer(body []byte) answer {
	return answer{status: http.StatusOK, contentType: bbb.ContentType, body: body, result: "ok"}
}

// cannotWait names the calls whose answer must be XML even when nothing can be
// known or done: Chamilo's page dies of anything else, and a false "no
// recordings" or a lost "end" is worse than an error.
func cannotWait(call string) bool {
	switch call {
	case "create", "getMeetingInfo", "isMeetingRunning", "getMeetings":
		return false
	}
	return true
}

// failed is the answer to a call, other than join, that came to err.
func failed(call string, err error) answer {
	f := fault.As(err)
	a := answer{key: f.Key, status: http.StatusOK, contentType: bbb.ContentType}
	switch f.Kind {
	case fault.Denied:
		a.result = "denied"
	case fault.Invalid, fault.NotFound, fault.Conflict:
		a.result = "failed"
	case fault.Unavailable, fault.Internal:
		a.result = "error"
		if !cannotWait(call) {
			a.status, a.contentType, a.retry = http.StatusServiceUnavailable, "text/plain; charset=utf-8", true
			a.body = []byte(f.Message + "\n")
			return a
		}
	}
	if f == errBodyLarge { // the one status that LMSs understand
		a.status = http.StatusRequestEntityTooLarge
	}
	a.body = bbb.Failed(f.Key, f.Message)
	return a
}

// loopBroken is the answer to a refused create that is repeated unchanged. It is
// not XML: that ends the loop of Chamilo 1.10 to 1.11.32.
func loopBroken() answer {
	return answer{
		status: http.StatusTooManyRequests, contentType: "text/plain; charset=utf-8", retry: true,
		body: []byte("This request was refused several times; please stop repeating it.\n"), result: "denied", key: "loopBrake",
	}
}
