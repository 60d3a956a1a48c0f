package meeting

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
)

// stateTable is every pair of states: what a claim of the row's state may become.
var stateTable = map[State]map[State]bool{
	Claimed:    {Claimed: true, Unknown: true, Running: true, Released: true},
	Unknown:    {Unknown: true, Running: true, Released: true},
	Running:    {Running: true, Ending: true, Lost: true, Ended: true},
	Ending:     {Ending: true, Ended: true, Lost: true},
	Lost:       {Lost: true, Running: true, Superseded: true, Ended: true},
	Ended:      {},
	Released:   {},
	Superseded: {},
}

func TestStateTable(t *testing.T) {
	require.Len(t, States(), len(stateTable))
	for _, from := range States() {
		for _, to := range States() {
			require.Equal(t, stateTable[from][to], from.CanBecome(to), "%s to %s", from, to)
		}
		require.Equal(t, len(stateTable[from]) == 0, from.Final(), from)
		require.False(t, from.Live() && from.Final(), from)
	}
	require.False(t, State("").CanBecome(Running))
	require.False(t, Claimed.CanBecome("other"))
}

// TestMoveTable moves a claim of every state to every other one through the registry.
func TestMoveTable(t *testing.T) {
	for _, from := range States() {
		for _, to := range States() {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				w := newWorld(t, 1)
				c := w.placed(t, "r", from)
				next := c
				next.State = to
				moved, err := w.r.move(t.Context(), c, next)
				if !stateTable[from][to] {
					requireFault(t, err, fault.Internal, "claimTransition")
					require.Equal(t, c, moved)
					require.Equal(t, c, w.claim("r"), "the row is as it was")
					return
				}
				require.NoError(t, err)
				require.Equal(t, to, w.claim("r").State)
				require.Equal(t, w.claim("r"), moved)
				_, known := w.r.routes.byClaim(c.ID)
				require.Equal(t, !to.Final(), known, "routes hold what is live or lost")

				// Who believes the old row gets a conflict, and learns what it is now.
				_, err = w.r.move(t.Context(), c, next)
				require.True(t, fault.Is(err, fault.Conflict), err)
				_, known = w.r.routes.byClaim(c.ID)
				require.Equal(t, !to.Final(), known)
			})
		}
	}
}

// placed puts a claim of a state into the store and the routes, on server 1.
func (w *world) placed(t testing.TB, externalID string, state State) Claim {
	t.Helper()
	c, err := w.store.Claim(t.Context(), acmeID, Claim{
		ExternalID: externalID, ServerID: 1, ScopedID: Scope(acme.ScopeKey, externalID), Ref: "ref of " + externalID,
		AttendeePW: "ap", ModeratorPW: "mp", Seats: 20,
		Params: "name=A+class&meetingID=" + Scope(acme.ScopeKey, externalID) + "&attendeePW=ap&moderatorPW=mp&meta_bluegate-ref=" +
			signRef(w.key, acme.ScopeKey, "ref of "+externalID),
	})
	require.NoError(t, err)
	if state == Claimed {
		w.r.routes.apply(c, w.r.now())
		return c
	}
	to := c
	to.State = state
	if state != Unknown && state != Released {
		to.InternalID = "0123456789abcdef0123456789abcdef01234567-" + externalID
		to.CreateTime = 1
	}
	c, err = w.store.Move(t.Context(), acmeID, c, to)
	require.NoError(t, err)
	w.r.routes.apply(c, w.r.now())
	return c
}
