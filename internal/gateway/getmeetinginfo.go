package gateway

import (
	"context"

	"github.com/bluegate/bluegate/internal/meeting"
)

// getMeetingInfo is the LMSs' heartbeat: a FAILED closes rooms (law 4). The
// password parameter is not looked at, as on BBB.
func (g *Gateway) getMeetingInfo(ctx context.Context, r *request) (answer, error) {
	if err := meeting.CheckCall(r.call, "meetingID"); err != nil {
		return answer{}, err
	}
	id := r.call.Value("meetingID")
	if id == "" {
		return answer{}, meeting.ErrNotFound
	}
	return readAnswer(g.meetings.Info(ctx, r.caller.Tenant.ID, id))
}

func readAnswer(read meeting.Read, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	a := xmlAnswer(read.Answer)
	a.serverID, a.stale = read.ServerID, read.Stale
	return a, nil
}
