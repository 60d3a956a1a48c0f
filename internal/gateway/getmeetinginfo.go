package gateway

import (
	"context"
	"net/http"
	"time"

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
		return answer{}, errInfoNoID
	}
	return readAnswer(g.meetings.Info(ctx, r.caller.Tenant.ID, id))
}

// unsureFor is how long after an answer that we can't know no meeting is denied.
const unsureFor = 5 * time.Second

// sure keeps law 4 from one call to the next. After an answer that is no XML,
// Chamilo 1.10 to 1.11.32 at once asks again with a number of its own, which is
// no meeting, and ends the class when it is told so (T46). By then we may know
// again: for a moment that makes no difference.
func (g *Gateway) sure(a answer) answer {
	now := g.now().UnixNano()
	switch {
	case a.status == http.StatusServiceUnavailable:
		g.unsure.Store(now)
	case a.key == errInfoNoID.Key && now-g.unsure.Load() < int64(unsureFor):
		return failed("getMeetingInfo", errUnsure)
	}
	return a
}

func readAnswer(read meeting.Read, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	a := xmlAnswer(read.Answer)
	a.serverID, a.stale = read.ServerID, read.Stale
	return a, nil
}
