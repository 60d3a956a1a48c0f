package meeting

import (
	"io"
	"strconv"
	"strings"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// Body is a create's request body: the <modules> document with the slides. It
// can be read again for another server.
type Body struct {
	Open        func() (io.Reader, error)
	Size        int64
	ContentType string
}

// Create is a create call that is valid by BBB's rules and fit to be sent to a
// server but for what belongs to one claim (password defaults, our reference).
type Create struct {
	ExternalID string
	ScopedID   string
	// Call is the tenant's call, unsigned, with the scoped ID and without what
	// must not reach a server.
	Call bbb.Call
	// AttendeePW and ModeratorPW are what the tenant gave; "" for none.
	AttendeePW  string
	ModeratorPW string
	// Seats is how many participants are expected.
	Seats int
	Body  *Body
}

// defaultSeats is how many participants a meeting is expected to have about
// which nothing is known.
const defaultSeats = 20

// NewCreate checks a create call by BBB's rules (BBB API, create: constraints
// and their precedence) on the external ID and makes it fit for a server.
// Errors are fault.Invalid with BBB's messageKey.
func NewCreate(scopeKey string, call bbb.Call, body *Body) (Create, error) {
	call = call.Unsigned()
	if err := CheckCall(call, "meetingID", "name", "attendeePW", "moderatorPW", "voiceBridge", "record"); err != nil {
		return Create{}, err
	}
	externalID, hasID := call.Param("meetingID")
	if err := checkCreate(call, externalID, hasID); err != nil {
		return Create{}, err
	}
	c := Create{
		ExternalID:  externalID,
		ScopedID:    Scope(scopeKey, externalID),
		AttendeePW:  bbb.Sanitize(call.Value("attendeePW")),
		ModeratorPW: bbb.Sanitize(call.Value("moderatorPW")),
		Seats:       expectedSeats(call),
		Body:        body,
	}
	call = call.WithoutFunc(func(name string) bool {
		switch name {
		case "isBreakout", "parentMeetingID", "parentIdMeetingId", "sequence", "freeJoin":
			return true // isBreakout=false breaks BBB 2.6; true was refused above
		case "voiceBridge":
			return !goodVoiceBridge(call.Value("voiceBridge"))
		}
		meta, ok := strings.CutPrefix(strings.ToLower(bbb.Sanitize(name)), "meta_")
		return ok && strings.HasPrefix(meta, reservedMeta)
	})
	c.Call = call.With("meetingID", c.ScopedID)
	return c, nil
}

// CheckCall refuses what no call may have: bytes that are no UTF-8, and control
// parameters given more than once (bbb-web's validators and controllers do not
// agree on which one counts). Errors are fault.Invalid.
func CheckCall(call bbb.Call, control ...string) error {
	if !call.ValidUTF8() {
		return fault.New(fault.Invalid, "validationError", "The parameters must be valid UTF-8")
	}
	for _, name := range control {
		if call.Count(name) > 1 {
			return errTwice(name)
		}
	}
	if call.Count("checksum") > 1 {
		return errTwice("checksum")
	}
	return nil
}

func errTwice(name string) error {
	return fault.Newf(fault.Invalid, "validationError", "The parameter %s must be given once", name)
}

// checkCreate reports the violation that bbb-web would report, by its order of
// keys: emptyError, invalidPassword, sizeError, validationError or nullError.
// One character is enough for an ID: our prefix makes it long enough for BBB.
func checkCreate(call bbb.Call, externalID string, hasID bool) error {
	name, hasName := call.Param("name")
	name = bbb.Sanitize(name)
	invalid := func(key, message string) error { return fault.New(fault.Invalid, key, message) }
	switch {
	case hasName && name == "":
		return invalid("emptyError", "You must provide a meeting name")
	case !goodPassword(call.Value("attendeePW")), !goodPassword(call.Value("moderatorPW")):
		return invalid("invalidPassword", "Invalid password")
	case hasID && (bbb.Sanitize(externalID) == "" || bbb.UTF16Len(externalID) > maxMeetingID):
		return invalid("sizeError", "Meeting ID must be between 2 and 256 characters")
	case hasName && (bbb.UTF16Len(name) < 2 || bbb.UTF16Len(name) > 256):
		return invalid("sizeError", "Meeting name must be between 2 and 256 characters")
	case strings.Contains(externalID, ","):
		return invalid("validationError", "Meeting ID cannot contain ','")
	case !goodBool(call.Value("record")):
		return invalid("validationError", "Record must be a boolean value (true or false)")
	case !goodBool(call.Value("isBreakoutRoom")):
		return invalid("validationError", "You must provide a boolean value (true or false) for the breakout room")
	case !hasName:
		return invalid("nullError", "You must provide a meeting name")
	case !hasID || bbb.Sanitize(externalID) != externalID:
		return invalid("validationError", "Invalid meeting ID")
	case strings.EqualFold(bbb.Sanitize(call.Value("isBreakout")), "true"):
		return invalid("unsupportedRequest", "Breakout rooms are created from inside a meeting")
	}
	return nil
}

func goodPassword(raw string) bool {
	n := bbb.UTF16Len(bbb.Sanitize(raw))
	return n == 0 || n >= 2 && n <= 64
}

func goodBool(raw string) bool {
	switch strings.ToLower(bbb.Sanitize(raw)) {
	case "", "true", "false", "0", "1":
		return true
	}
	return false
}

// goodVoiceBridge keeps 5 to 9 digits; LMSs send the same constants to everybody.
func goodVoiceBridge(v string) bool {
	if len(v) < 5 || len(v) > 9 || v == "12345" || v == "99999" || strings.Trim(v, "0") == "" {
		return false
	}
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return true
}

func expectedSeats(call bbb.Call) int {
	seats := defaultSeats
	for name, value := range call.Params() {
		if strings.EqualFold(name, "meta_bbb-meeting-size-hint") {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n > 0 {
				seats = n
			}
		}
	}
	if limit, err := strconv.Atoi(call.Value("maxParticipants")); err == nil && limit > 0 {
		seats = min(seats, limit)
	}
	return min(seats, 10000)
}

// forClaim completes the call with what belongs to one claim: passwords where
// the tenant gave none, so that every repetition finds the same meeting, and our
// signed reference.
func (c Create) forClaim(attendeePW, moderatorPW, signedRef string) bbb.Call {
	call := c.Call
	if c.AttendeePW == "" {
		call = call.With("attendeePW", attendeePW)
	}
	if c.ModeratorPW == "" {
		call = call.With("moderatorPW", moderatorPW)
	}
	return call.With("meta_"+refMeta, signedRef)
}
