package bbbsim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var errNoMeeting = errors.New("no such meeting")

// Expiry rules of a meeting that says nothing else (BBB API, create parameters).
const (
	expireIfNobodyJoined = 5 // minutes
	expireAfterLastLeft  = 1 // minutes
	endAfterNoModerator  = 1 // minutes
)

// startDelay is the time until the meeting's start is known: a getMeetingInfo
// before has startTime 0.
const startDelay = 28 * time.Millisecond

// meeting is one life of a room in the server's memory.
type meeting struct {
	externalID string
	internalID string
	name       string
	createTime int64     // milliseconds
	created    time.Time // by the server's clock

	attendeePW  string
	moderatorPW string
	voiceBridge string
	webVoice    string
	dialNumber  string
	logoutURL   string
	record      bool
	duration    int // minutes
	maxUsers    int
	guestPolicy string
	metadata    params
	modules     []Module

	expireIfNobodyJoined int // minutes, as the three below
	expireAfterLastLeft  int
	endWhenNoModerator   bool
	endAfterNoModerator  int

	parent   *meeting
	rooms    []*meeting
	sequence int
	freeJoin bool

	users       []*user           // registered, present, and left a moment ago
	customdata  map[string]params // by external user ID
	joined      bool              // somebody was present once
	lastLeft    time.Time
	lastModLeft time.Time

	endsAt time.Time // removal that an end asked for
	dies   time.Time // removal by the rules; zero: none
	next   time.Time // the next thing that happens; zero: nothing
	gone   bool
}

// Meeting is a meeting as the server holds it.
type Meeting struct {
	MeetingID    string            `json:"meetingID"` // external, as the server knows it
	InternalID   string            `json:"internalID"`
	Name         string            `json:"name"`
	CreateTime   int64             `json:"createTime"`
	Participants int               `json:"participants"` // present now
	Users        []User            `json:"users"`        // also those registered and those that left a moment ago
	AttendeePW   string            `json:"attendeePW"`
	ModeratorPW  string            `json:"moderatorPW"`
	VoiceBridge  string            `json:"voiceBridge"`
	Record       bool              `json:"record"`
	Duration     int               `json:"duration"`
	MaxUsers     int               `json:"maxUsers"`
	ParentID     string            `json:"parentID,omitempty"` // internal ID of a breakout room's parent
	Metadata     map[string]string `json:"metadata"`
	Modules      []Module          `json:"modules,omitempty"`
	// Ended says that the end was asked for and the removal is near.
	Ended bool `json:"ended"`
}

// Meetings returns the meetings in memory in the order of their creation.
func (s *Server) Meetings() []Meeting {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	out := make([]Meeting, len(s.meetings))
	for i, m := range s.meetings {
		out[i] = m.export()
	}
	return out
}

func (m *meeting) export() Meeting {
	out := Meeting{
		MeetingID: m.externalID, InternalID: m.internalID, Name: m.name, CreateTime: m.createTime,
		Participants: m.count().online, Users: make([]User, len(m.users)),
		AttendeePW: m.attendeePW, ModeratorPW: m.moderatorPW, VoiceBridge: m.voiceBridge,
		Record: m.record, Duration: m.duration, MaxUsers: m.maxUsers,
		Metadata: make(map[string]string, len(m.metadata)), Modules: slices.Clone(m.modules),
		Ended: !m.endsAt.IsZero(),
	}
	if m.parent != nil {
		out.ParentID = m.parent.internalID
	}
	for i, u := range m.users {
		out.Users[i] = u.export()
	}
	for _, item := range m.metadata {
		out.Metadata[item.name] = item.value
	}
	return out
}

// exists is the look-up of the constraints: by prefix of the internal ID, of the
// text itself or of its hash (BBB API, look-up by prefix).
func (s *Server) exists(id string) *meeting {
	if m := s.byPrefix(id); m != nil {
		return m
	}
	return s.byPrefix(sha1Hex(id))
}

// find is the look-up of the calls. On 2.4 they hash the ID first, so that an
// internal ID is no meeting ID there.
func (s *Server) find(id string) *meeting {
	if s.cfg.Profile == Profile24 {
		return s.byPrefix(sha1Hex(id))
	}
	return s.exists(id)
}

func (s *Server) byPrefix(prefix string) *meeting {
	if m := s.byID[prefix]; m != nil {
		return m
	}
	for _, m := range s.meetings {
		if strings.HasPrefix(m.internalID, prefix) {
			return m
		}
	}
	return nil
}

// named finds a meeting for a test's or an operator's request: by its exact
// external or internal ID.
func (s *Server) named(id string) (*meeting, error) {
	if m := s.byID[id]; m != nil {
		return m, nil
	}
	for _, m := range s.meetings {
		if m.externalID == id {
			return m, nil
		}
	}
	return nil, fmt.Errorf("meeting %q: %w", id, errNoMeeting)
}

// newCreateTime is now in milliseconds, but never that of a meeting that is gone:
// two lives of one room would have the same internal ID, which can't happen on a
// real server and could with a clock that stands still.
func (s *Server) newCreateTime(now time.Time) int64 {
	return max(now.UnixMilli(), s.floor)
}

// insert puts a meeting into memory.
func (s *Server) insert(m *meeting) {
	s.meetings = append(s.meetings, m)
	s.byID[m.internalID] = m
	s.voices[m.voiceBridge] = m
	s.voices[m.webVoice] = m
	if m.parent != nil {
		m.parent.rooms = append(m.parent.rooms, m)
	}
	s.plan(m)
}

// remove takes a meeting out of memory, and its breakout rooms with it. The
// caller takes it out of the list.
func (s *Server) remove(m *meeting) {
	if m.gone {
		return
	}
	m.gone = true
	s.floor = max(s.floor, m.createTime+1)
	delete(s.byID, m.internalID)
	for _, voice := range []string{m.voiceBridge, m.webVoice} {
		if s.voices[voice] == m {
			delete(s.voices, voice)
		}
	}
	for _, u := range m.users {
		s.dropSession(u)
	}
	if m.parent != nil {
		m.parent.rooms = slices.DeleteFunc(m.parent.rooms, func(room *meeting) bool { return room == m })
	}
	for _, room := range slices.Clone(m.rooms) {
		s.remove(room)
	}
}

// advance lets happen what has happened since the last access, and returns the
// time now. Every entry into the server's state begins with it.
func (s *Server) advance() time.Time {
	now := s.cfg.Clock.Now()
	if s.next.IsZero() || now.Before(s.next) {
		return now
	}
	for _, m := range s.meetings {
		s.live(m, now)
	}
	s.meetings = slices.DeleteFunc(s.meetings, func(m *meeting) bool { return m.gone })
	s.next = time.Time{}
	for _, m := range s.meetings {
		s.next = earlier(s.next, m.next)
	}
	return now
}

// live lets one meeting live until now, one event after another, because one may
// prevent another: a user that arrives just before the meeting would expire.
func (s *Server) live(m *meeting, now time.Time) {
	for !m.gone && !m.next.IsZero() && !m.next.After(now) {
		at := m.next
		s.arrive(m, at)
		s.purge(m, at)
		s.plan(m)
		if !m.dies.IsZero() && !m.dies.After(at) {
			s.remove(m)
		}
	}
}

// plan works out what happens next to a meeting. To be called after every change.
func (s *Server) plan(m *meeting) {
	m.dies = s.deadline(m)
	m.next = m.dies
	for _, u := range m.users {
		switch {
		case !u.left.IsZero():
			m.next = earlier(m.next, u.left.Add(s.scaled(s.cfg.Linger)))
		case !u.present && !u.arrives.IsZero():
			m.next = earlier(m.next, u.arrives)
		}
	}
	s.next = earlier(s.next, m.next)
}

// deadline applies the expiry rules (BBB API, life cycle) to what is known now.
func (s *Server) deadline(m *meeting) time.Time {
	after := func(since time.Time, minutes int) time.Time {
		return s.audit(m.created, since.Add(s.scaled(time.Duration(minutes)*time.Minute)))
	}
	dies := m.endsAt
	if m.duration > 0 {
		dies = earlier(dies, after(m.created, m.duration))
	}
	if m.parent != nil {
		return dies // a breakout room knows no other rule
	}
	n := m.count()
	if m.endWhenNoModerator && n.onlineModerators == 0 && !m.lastModLeft.IsZero() {
		dies = earlier(dies, after(m.lastModLeft, m.endAfterNoModerator))
	}
	switch {
	case n.online > 0:
	case !m.joined:
		dies = earlier(dies, after(m.created, m.expireIfNobodyJoined))
	case m.expireAfterLastLeft == 0:
		dies = earlier(dies, m.lastLeft) // ends at once, whatever the documentation says
	default:
		dies = earlier(dies, after(m.lastLeft, m.expireAfterLastLeft))
	}
	return dies
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
