// Package meeting holds the registry of meetings: which room lives on which
// server, how a meeting is created, found, joined and ended, and how what the
// servers list is reconciled with what we know.
package meeting

import (
	"context"
	"time"
)

// State is a claim's place in the state machine.
type State string

// The claim states (docs/claims.md draws them).
const (
	// Claimed: the row is committed, the server has not answered the create.
	Claimed State = "claimed"
	// Unknown: the server may or may not have created it.
	Unknown State = "unknown"
	// Running: the server has the meeting.
	Running State = "running"
	// Ending: the tenant wants it ended and the server may not have done so yet.
	Ending State = "ending"
	// Lost: the server lost it, or is lost itself; the room heals elsewhere.
	Lost State = "lost"
	// Ended, Released and Superseded are final: the meeting was over; it never
	// came to be; a newer generation took its place.
	Ended      State = "ended"
	Released   State = "released"
	Superseded State = "superseded"
)

// Claim is the durable row "this room's meeting lives on that server".
type Claim struct {
	ID         int64
	TenantID   int64
	ExternalID string // the meetingID as the tenant wrote it
	// Generation numbers the claims of one room, from 1.
	Generation int
	// Seq is the change sequence of the row's last change; it grows with every
	// change of any claim and is the expectation of conditional updates.
	Seq      int64
	State    State
	ServerID int64
	// ScopedID is the meetingID as the server gets it, InternalID BBB's own
	// (empty until the create was answered), CreateTime BBB's, in milliseconds.
	ScopedID   string
	InternalID string
	CreateTime int64
	// AttendeePW and ModeratorPW are the passwords the server was given.
	AttendeePW  string
	ModeratorPW string
	// Ref is our own unguessable reference; it is planted in the meeting's
	// metadata, with a MAC, and proves on adoption that a meeting is ours.
	Ref string
	// SecretID is the tenant's secret that signed the create.
	SecretID int64
	// Seats is how many participants were expected when the meeting was placed.
	Seats int
	// Params is the effective create query (scoped, unsigned), kept so that any
	// replica can repeat the create and get the same meeting.
	Params string
	// Answer is the create answer as the tenant got it.
	Answer []byte
	// EndRequested records an `end` that could not be carried out yet: it came
	// before the create's outcome was known, or the meeting is lost.
	EndRequested bool
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// over reports whether the meeting is over for the tenant, although its server
// has not heard so yet: it was lost, and is ended when the server comes back.
func (c Claim) over() bool { return c.State == Lost && c.EndRequested }

// Store keeps the claims. Claims are tenant-owned: what touches one tenant's
// takes its ID right after ctx. Errors are fault.NotFound, fault.Conflict (the
// row moved, or the room is claimed already) and fault.Unavailable.
type Store interface {
	// Room returns the newest claim of the room that is live or lost.
	Room(ctx context.Context, tenantID int64, externalID string) (Claim, error)
	// ByInternalID returns the live or lost claim with BBB's internal ID.
	ByInternalID(ctx context.Context, tenantID int64, internalID string) (Claim, error)
	// Claim inserts a claim in state Claimed, numbers its generation, and
	// returns it with ID, Generation, Seq and times set.
	Claim(ctx context.Context, tenantID int64, c Claim) (Claim, error)
	// Move writes to's mutable fields (State, InternalID, CreateTime, passwords,
	// Answer, EndRequested) over the row of from, if it is still as from says
	// (ID, State, Generation, Seq), and returns the row with its new Seq.
	Move(ctx context.Context, tenantID int64, from, to Claim) (Claim, error)
	// Live returns every tenant's live and lost claims and the highest Seq that
	// was given out before they were read.
	Live(ctx context.Context) ([]Claim, int64, error)
	// Changes returns every tenant's claims, in whatever state, whose Seq is
	// above floor, in order of Seq, without those that known reports as seen.
	Changes(ctx context.Context, floor int64, known func(id, seq int64) bool) ([]Claim, error)
}
