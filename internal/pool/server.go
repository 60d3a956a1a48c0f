// Package pool knows the BBB servers: what they are, how they feel, what is on
// them, which one gets the next meeting, and how to call them.
package pool

import (
	"time"
)

// AdminState is what the operator wants of a server.
type AdminState string

// The admin states. A draining server gets no new meetings.
const (
	Enabled  AdminState = "enabled"
	Draining AdminState = "draining"
	Disabled AdminState = "disabled"
)

// Health is what polling says of a server.
type Health string

// The health states.
const (
	Unknown Health = "unknown" // not polled yet
	Up      Health = "up"
	Slow    Health = "slow"    // answers, but takes long
	Down    Health = "down"    // does not answer
	Refused Health = "refused" // answers, but not to our secret
)

// Server is one BBB server as the operator configured it.
type Server struct {
	ID   int64
	Name string // unique, for people and metrics
	// APIURL is where we call it: the base that ends in "/bigbluebutton/".
	APIURL string
	// PublicURL is where browsers reach it, of the same form.
	PublicURL string
	Secret    string
	// Algorithm is the checksum algorithm we sign with: "sha1", "sha256",
	// "sha384" or "sha512".
	Algorithm string
	// CapacitySeats is how many participants it is meant to carry.
	CapacitySeats int
	Pool          string
	AdminState    AdminState
	CreatedAt     time.Time
}
