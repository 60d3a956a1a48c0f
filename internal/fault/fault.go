// Package fault holds the one error type of Bluegate. Every layer below the
// edges reports what went wrong as a Kind with a message that is fit for the
// public; the edges turn kinds into answers in one table each.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is.
type Kind uint8

// The kinds. Internal is the zero value: an error nobody classified.
const (
	// Internal is a defect of ours or an unclassified error.
	Internal Kind = iota
	// Invalid means that the caller's input breaks a rule it can fix.
	Invalid
	// NotFound means that we looked and there is no such thing (for this tenant).
	NotFound
	// Conflict means that the row moved or exists already.
	Conflict
	// Denied means that a rule of the provider refuses the request.
	Denied
	// Unavailable means that we cannot know or cannot do it now.
	Unavailable
)

// String returns the kind's name for logs.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case NotFound:
		return "not_found"
	case Conflict:
		return "conflict"
	case Denied:
		return "denied"
	case Unavailable:
		return "unavailable"
	case Internal:
		return "internal"
	}
	return "internal"
}

// Error is a classified failure. Key is a stable identifier (BBB's messageKey
// at the tenants' edge), Message a sentence for people that never holds a
// secret, and Err the wrapped cause, which is for logs only.
type Error struct {
	Kind    Kind
	Key     string
	Message string
	Err     error
}

// New returns an error without a cause.
func New(kind Kind, key, message string) *Error {
	return &Error{Kind: kind, Key: key, Message: message}
}

// Newf is New with a formatted message.
func Newf(kind Kind, key, format string, args ...any) *Error {
	return &Error{Kind: kind, Key: key, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error with a cause.
func Wrap(kind Kind, key, message string, cause error) *Error {
	return &Error{Kind: kind, Key: key, Message: message, Err: cause}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Key + ": " + e.Message + ": " + e.Err.Error()
	}
	return e.Key + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As returns the first classified error in err's chain, or an Internal one
// around it; nil for nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Key: "internalError", Message: "Something went wrong on our side.", Err: err}
}

// Is reports whether err is classified as kind.
func Is(err error, kind Kind) bool {
	return err != nil && As(err).Kind == kind
}
