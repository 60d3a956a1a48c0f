package meeting

import (
	"context"
	"strconv"
	"strings"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// errNoMeeting is what BBB says to a join of a meeting that does not exist.
var errNoMeeting = fault.New(fault.NotFound, "meetingForciblyEnded",
	"You can not join a meeting that has already been forcibly ended")

// Join finds where a join goes. It calls no server and, for a room that runs,
// touches neither SQL nor Redis. A lost room heals first.
func (r *Registry) Join(ctx context.Context, t tenant.Tenant, call bbb.Call) (Claim, bbb.Call, error) {
	id := call.Value("meetingID")
	c, err := r.find(ctx, t.ID, id)
	if fault.Is(err, fault.NotFound) {
		return Claim{}, bbb.Call{}, errNoMeeting
	}
	if err != nil {
		return Claim{}, bbb.Call{}, err
	}
	switch c.State {
	case Running:
	case Claimed, Unknown, Lost: // reopen looks closer
		if f := r.flights.under(room{t.ID, c.ExternalID}); f != nil {
			_, _ = f.wait(ctx) // whatever it came to, the claim tells
		}
		was := c
		c, err = r.reopen(ctx, t, c.ExternalID)
		if c.ID != was.ID && call.Value("createTime") == strconv.FormatInt(was.CreateTime, 10) {
			call = call.Without("createTime") // the healed life is meant as well
		}
		if fault.Is(err, fault.NotFound) {
			return Claim{}, bbb.Call{}, errNoMeeting
		}
		if err != nil {
			return Claim{}, bbb.Call{}, err
		}
	case Ending, Ended, Released, Superseded:
		return Claim{}, bbb.Call{}, errNoMeeting
	}
	return c, forServer(call.Unsigned()).With("meetingID", c.ScopedID), nil
}

// forServer takes out of a join what must not reach a server: clientURL and
// redirectClient point an old client at the gateway's host, and custom data whose
// name is no XML name would make the server's list of all meetings unreadable.
func forServer(call bbb.Call) bbb.Call {
	bad := false
	drop := func(name string) bool {
		if name == "clientURL" || name == "redirectClient" {
			return true
		}
		data, ok := strings.CutPrefix(name, "userdata-")
		return ok && !goodDataName(data)
	}
	for name := range call.Names() {
		bad = bad || drop(name)
	}
	if !bad {
		return call
	}
	return call.WithoutFunc(drop)
}

// goodDataName reports whether custom data of that name can be an XML element:
// a letter or _, then letters, digits, _, - and full stops.
func goodDataName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}

// JoinURL returns the signed URL on the server's public host that a browser is
// sent to.
func (r *Registry) JoinURL(c Claim, call bbb.Call) (string, error) {
	return r.servers.JoinURL(c.ServerID, call)
}

// JoinForward sends a join with redirect=false to the server; its answer and
// cookie are the LMS's. Unavailable when there is no answer.
func (r *Registry) JoinForward(ctx context.Context, c Claim, call bbb.Call) (bbb.Response, error) {
	resp, err := r.servers.Call(ctx, c.ServerID, pool.Call{Call: call})
	if err != nil || resp.Answer == nil {
		return resp, fault.Wrap(fault.Unavailable, "serverUnavailable",
			"The conference server does not answer at the moment. Please try again in a moment.", err)
	}
	return resp, nil
}
