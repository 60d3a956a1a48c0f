package pool

import (
	"bytes"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
)

// Snapshot is what a server listed in one successful poll. It is never changed
// once it is published; its meetings' bytes are those of the answer.
type Snapshot struct {
	ServerID int64
	// Number is the poll's number. It grows with every poll of the process, so of
	// two snapshots of a server the one with the greater number began later.
	Number uint64
	// Moment numbers what the registry knew before the poll was sent. The snapshot
	// says nothing about claims that became known later.
	Moment int64
	// At is when the poll was sent.
	At       time.Time
	Meetings []bbb.Meeting
	// Totals are sums over Meetings.
	Totals Totals

	index map[string]int // internal ID -> place in Meetings
}

// Totals are sums over the meetings of one snapshot, as the server counts them.
type Totals struct {
	Meetings  int // without breakouts
	Breakouts int
	// Participants leaves out users of a breakout whose parent is listed: they
	// are users of the parent too.
	Participants int
	Listeners    int
	Voice        int
	Videos       int
	Largest      int // participants of the largest meeting
}

// NewSnapshot returns the snapshot of a poll that was sent at the given time and
// answered with meetings.
func NewSnapshot(serverID int64, number uint64, moment int64, at time.Time, meetings []bbb.Meeting) *Snapshot {
	s := &Snapshot{
		ServerID: serverID, Number: number, Moment: moment, At: at, Meetings: meetings,
		index: make(map[string]int, len(meetings)),
	}
	for i := range meetings {
		s.index[meetings[i].InternalID] = i
	}
	for i := range meetings {
		m := &meetings[i]
		if m.Breakout {
			s.Totals.Breakouts++
		} else {
			s.Totals.Meetings++
		}
		s.Totals.Participants += s.people(m)
		s.Totals.Listeners += m.Listeners
		s.Totals.Voice += m.Voice
		s.Totals.Videos += m.Videos
		s.Totals.Largest = max(s.Totals.Largest, m.Participants)
	}
	return s
}

// ByInternalID returns the listed meeting with BBB's internal ID; false when it
// is not listed or s is nil.
func (s *Snapshot) ByInternalID(id string) (bbb.Meeting, bool) {
	m, ok := s.find(id)
	if !ok {
		return bbb.Meeting{}, false
	}
	return *m, true
}

func (s *Snapshot) find(internalID string) (*bbb.Meeting, bool) {
	if s == nil || internalID == "" {
		return nil, false
	}
	i, ok := s.index[internalID]
	if !ok {
		return nil, false
	}
	return &s.Meetings[i], true
}

// people returns how many participants a meeting of s adds to its server: those
// of a breakout are in the parent's count already when the parent is listed.
func (s *Snapshot) people(m *bbb.Meeting) int {
	if m.Breakout && m.ParentID != "" && m.ParentID != m.InternalID {
		if _, ok := s.index[m.ParentID]; ok {
			return 0
		}
	}
	return m.Participants
}

// fit returns the body in memory that is not much larger than it: a chunked
// answer is read into a buffer that may be twice its size, and a snapshot keeps
// it until the next poll.
func fit(body []byte) []byte {
	if cap(body)-len(body) > len(body)/4 {
		return bytes.Clone(body)
	}
	return body
}
