package meeting

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

// Read is an answer about meetings and where it comes from.
type Read struct {
	Answer   []byte
	ServerID int64
	// Stale tells that the server could not be asked: the answer is from the
	// last snapshot or from the claim.
	Stale bool
}

// ErrNotFound is what BBB says of a meeting that does not exist.
var ErrNotFound = fault.New(fault.NotFound, "notFound", "A meeting with that ID does not exist")

// Info answers getMeetingInfo. For a live claim it is always SUCCESS: from the
// server, else from the last snapshot, else made from the claim (law 4).
// NotFound means that there is no such meeting, Unavailable that nothing is known.
func (r *Registry) Info(ctx context.Context, tenantID int64, id string) (Read, error) {
	var c Claim
	for range maxTurns {
		var err error
		c, err = r.find(ctx, tenantID, id)
		if fault.Is(err, fault.NotFound) {
			return Read{}, ErrNotFound
		}
		if err != nil {
			return Read{}, err
		}
		if c.State != Running && c.State != Ending {
			return Read{Answer: r.lastKnown(c), ServerID: c.ServerID}, nil
		}
		answer, seen := r.ask(ctx, c, infoCall(c))
		if seen == lookFound && isLife(answer, c) {
			return Read{Answer: r.present(c, answer), ServerID: c.ServerID}, nil
		}
		if seen == lookUnknown || !r.gone(ctx, c) {
			break
		}
	}
	r.metrics.stale.WithLabelValues("getMeetingInfo").Inc()
	return Read{Answer: r.lastKnown(c), ServerID: c.ServerID, Stale: true}, nil
}

// ask is lookAt with sharing and caching.
func (r *Registry) ask(ctx context.Context, c Claim, call bbb.Call) (bbb.Answer, look) {
	return readLook(r.answers.ask(ctx, question{c.ID, c.Seq, call.Name}, func() (bbb.Response, error) {
		return r.servers.Call(context.WithoutCancel(ctx), c.ServerID, pool.Call{Call: call})
	}))
}

// gone settles a claim whose server says that it has no such meeting: the row
// may have moved, the meeting may have ended, the server may have lost
// everything. It reports whether anything was settled.
func (r *Registry) gone(ctx context.Context, c Claim) bool {
	now, err := r.read(ctx, c.TenantID, c.ExternalID)
	switch {
	case fault.Is(err, fault.NotFound):
		r.routes.drop(c)
		return true
	case err != nil:
		return false
	case now.ID != c.ID || now.Seq != c.Seq:
		return true
	}
	if c.State == Ending {
		r.to(context.WithoutCancel(ctx), c, Ended, "ended as asked")
	} else if !r.judge(ctx, c) {
		return false
	}
	after, ok := r.routes.byClaim(c.ID)
	return !ok || after.Seq != c.Seq
}

// present turns a server's getMeetingInfo answer into the tenant's.
func (r *Registry) present(c Claim, answer bbb.Answer) []byte {
	return answer.Edit(func(f bbb.Fields) bbb.Fields { return forTenant(c, f) }).Bytes()
}

func forTenant(c Claim, f bbb.Fields) bbb.Fields {
	return f.With("meetingID", c.ExternalID).WithoutIn("metadata", refMeta)
}

// lastKnown is a getMeetingInfo answer without asking the server.
func (r *Registry) lastKnown(c Claim) []byte {
	return bbb.MeetingInfo(r.lastFields(c))
}

func (r *Registry) lastFields(c Claim) bbb.Fields {
	if m, ok := r.lastSeen(c); ok {
		return forTenant(c, m.Info())
	}
	return r.life(c).Info()
}

// lastSeen returns the meeting as the last snapshot of its server lists it,
// unless that is too old.
func (r *Registry) lastSeen(c Claim) (bbb.Meeting, bool) {
	s := r.servers.Snapshot(c.ServerID)
	if s == nil || c.InternalID == "" || r.now().Sub(s.At) > r.limits.StaleAfter {
		return bbb.Meeting{}, false
	}
	return s.ByInternalID(c.InternalID)
}

// life is what the claim itself tells of its meeting.
func (r *Registry) life(c Claim) bbb.Life {
	call := bbb.Call{Query: c.Params}
	l := bbb.Life{
		Name: collapse(call.Value("name")), MeetingID: c.ExternalID, InternalID: c.InternalID,
		AttendeePW: c.AttendeePW, ModeratorPW: c.ModeratorPW,
		VoiceBridge: call.Value("voiceBridge"), DialNumber: call.Value("dialNumber"),
		CreateTime: c.CreateTime, Duration: positive(call.Value("duration")), MaxUsers: positive(call.Value("maxParticipants")),
		Recording: strings.EqualFold(call.Value("record"), "true"),
	}
	if answer, err := bbb.ParseAnswer(c.Answer); err == nil {
		l.VoiceBridge, l.DialNumber = answer.Text("voiceBridge"), answer.Text("dialNumber")
	}
	if l.CreateTime == 0 {
		l.CreateTime = c.CreatedAt.UnixMilli()
	}
	for name, value := range call.Params() {
		meta, ok := strings.CutPrefix(name, "meta_")
		meta = strings.ToLower(meta)
		if ok && goodMetaName(meta) && !strings.HasPrefix(meta, reservedMeta) {
			l.Metadata = append(l.Metadata, meta, collapse(value))
		}
	}
	return l
}

// goodMetaName reports whether BBB keeps metadata of that (lower-case) name.
func goodMetaName(name string) bool {
	for i := range len(name) {
		letter := 'a' <= name[i] && name[i] <= 'z'
		if !letter && (i == 0 || name[i] != '-' && (name[i] < '0' || name[i] > '9')) {
			return false
		}
	}
	return name != ""
}

func positive(s string) int64 {
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > 1<<31 {
			return 0
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n
}

// IsRunning answers isMeetingRunning: from the server, else what is known.
// Unavailable means that nothing is.
func (r *Registry) IsRunning(ctx context.Context, tenantID int64, id string) (Read, error) {
	c, err := r.find(ctx, tenantID, id)
	if fault.Is(err, fault.NotFound) {
		return Read{Answer: bbb.IsRunning(false)}, nil
	}
	if err != nil {
		return Read{}, err
	}
	out := Read{ServerID: c.ServerID}
	switch c.State {
	case Running, Ending:
		answer, seen := r.ask(ctx, c, bbb.Call{Name: "isMeetingRunning"}.With("meetingID", c.ScopedID))
		if seen == lookFound {
			out.Answer = answer.Bytes()
			return out, nil
		}
		r.metrics.stale.WithLabelValues("isMeetingRunning").Inc()
		out.Stale = true
		m, ok := r.lastSeen(c)
		if !ok {
			return Read{}, fault.New(fault.Unavailable, "serverUnavailable",
				"The conference server does not answer at the moment. Please try again in a moment.")
		}
		out.Answer = bbb.IsRunning(m.Bool("running"))
	case Lost:
		m, _ := r.lastSeen(c)
		out.Answer = bbb.IsRunning(m.Bool("running"))
	case Claimed, Unknown, Ended, Released, Superseded:
		out.Answer = bbb.IsRunning(false) // nobody was told that it exists
	}
	return out, nil
}

// List answers getMeetings from snapshots, and from the claims that no snapshot
// can tell of: never a call to a server. Unavailable means that nothing is known.
func (r *Registry) List(ctx context.Context, tenantID int64) (Read, error) {
	list := r.routes.ofTenant(tenantID)
	if len(list) == 0 && !r.Known() {
		if err := r.Tail(context.WithoutCancel(ctx)); err != nil { // a client that hangs up is no failure of the store
			return Read{}, err
		}
		list = r.routes.ofTenant(tenantID)
	}
	slices.SortFunc(list, func(a, b route) int { return cmp.Compare(a.ID, b.ID) })
	meetings := make([]bbb.Fields, 0, len(list))
	for _, e := range list {
		if e.State != Running && (e.State != Lost || e.EndRequested || r.routes.overtaken(e.Claim)) {
			continue
		}
		if m, ok := r.lastSeen(e.Claim); ok {
			meetings = append(meetings, forTenant(e.Claim, m.Fields))
			continue
		}
		meetings = append(meetings, r.life(e.Claim).Info())
	}
	return Read{Answer: bbb.Meetings(meetings)}, nil
}

// CreatedWith returns which of the tenant's secrets created the meeting: an
// expired secret serves only those. Errors: fault.NotFound, fault.Unavailable.
func (r *Registry) CreatedWith(ctx context.Context, tenantID int64, id string) (int64, error) {
	c, err := r.find(ctx, tenantID, id)
	return c.SecretID, err
}
