package bbbsim

import (
	"slices"
	"strconv"
	"strings"
)

// failure is an error of the API.
type failure struct{ key, message string }

func (f failure) failed() bool { return f.key != "" }

// Keys of errors.
const (
	keyChecksum       = "checksumError"
	keyContentType    = "unsupportedContentType"
	keyEmpty          = "emptyError"
	keyFullName       = "missingParamFullName"
	keyForciblyEnded  = "meetingForciblyEnded"
	keyPassword       = "invalidPassword"
	keyUnknownMeeting = "invalidMeetingIdentifier"
	keyNotFound       = "notFound"
	keySize           = "sizeError"
	keyValidation     = "validationError"
	keyNull           = "nullError"
	keyMeetingID      = "missingParamMeetingID"
)

// keyOrder is the order in which a server finds the keys of several violations in
// its hash map: the first one is reported (BBB API, general rules of validation).
var keyOrder = [...]string{
	keyContentType, keyChecksum, "guestDeny", keyEmpty, keyFullName, keyForciblyEnded, keyPassword,
	keyUnknownMeeting, keyNotFound, keySize, keyValidation, keyNull, keyMeetingID, "missingToken", "missingSession",
}

// checks collects violations and keeps the one that would be reported.
type checks struct {
	failure
	rank int
}

func (c *checks) fail(key, message string) {
	rank := slices.Index(keyOrder[:], key)
	// Of two violations with the same key the last one put into the map wins.
	if !c.failed() || rank <= c.rank {
		c.failure, c.rank = failure{key, message}, rank
	}
}

// field returns the sanitised value, as constraints see it; false when absent.
func field(p params, name string) (string, bool) {
	value, ok := p.lookup(name)
	return sanitize(value), ok
}

// meetingID is the format every call asks of a meeting ID.
func (c *checks) meetingID(p params) {
	id, ok := field(p, "meetingID")
	if !ok {
		return
	}
	if id == "" {
		c.fail(keyMeetingID, "You must provide a meeting ID")
	}
	if n := utf16Len(id); n < 2 || n > 256 {
		c.fail(keySize, "Meeting ID must be between 2 and 256 characters")
	}
	if id == "" || strings.Contains(id, ",") {
		c.fail(keyValidation, "Meeting ID cannot contain ','")
	}
}

// password asks for 2 to 64 characters, unless the value is empty.
func (c *checks) password(p params, name string) {
	value, _ := field(p, name)
	if n := utf16Len(value); n == 1 || n > 64 {
		c.fail(keyPassword, "Invalid password")
	}
}

func (c *checks) boolean(p params, name, message string) {
	value, _ := field(p, name)
	switch strings.ToLower(value) {
	case "", "true", "false", "0", "1":
	default:
		c.fail(keyValidation, message)
	}
}

func (c *checks) integral(p params, name, message string) {
	value, ok := field(p, name)
	if _, err := strconv.ParseInt(value, 10, 64); ok && err != nil {
		c.fail(keyValidation, message)
	}
}

// isTrue is Boolean.parseBoolean: "1" and "yes" are false.
func isTrue(value string) bool { return strings.EqualFold(value, "true") }

// flag reads a boolean parameter: empty is not given.
func flag(p params, name string, byDefault bool) bool {
	if value := p.get(name); value != "" {
		return isTrue(value)
	}
	return byDefault
}

// integer reads a parameter that falls back to its default when it can't be read
// (Integer.parseInt: 32 bits).
func integer(p params, name string, byDefault int) int {
	n, err := strconv.ParseInt(p.get(name), 10, 32)
	if err != nil {
		return byDefault
	}
	return int(n)
}
