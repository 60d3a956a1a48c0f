package bbb

import (
	"bytes"
	"errors"
	"fmt"
)

// Meeting is one <meeting> of a getMeetings answer. Its fields stand in the
// same order and form as in a getMeetingInfo answer, but for counts, which
// getMeetings writes with grouping.
type Meeting struct {
	Fields
	MeetingID    string // as the server knows it: our scoped ID
	InternalID   string
	ParentID     string // the parent's internal ID, of a breakout
	CreateTime   int64  // milliseconds
	Participants int
	Listeners    int
	Voice        int
	Videos       int
	Breakout     bool
}

// counts are the elements that getMeetings may write as "1,234".
var counts = [...]string{ //nolint:gochecknoglobals // a constant table
	"participantCount", "listenerCount", "voiceParticipantCount", "videoCount", "maxUsers", "moderatorCount",
}

// ParseMeetings scans a getMeetings answer in one pass. The meetings' bytes are
// those of body, not copies. An answer that isn't SUCCESS is an error.
func ParseMeetings(body []byte) ([]Meeting, error) {
	s := scanner{b: body}
	meetings, err := s.answer()
	if err != nil {
		return nil, fmt.Errorf("scan getMeetings: %w", err)
	}
	return meetings, nil
}

var errNoSuccess = errors.New("the returncode is not SUCCESS")

// answer reads a whole getMeetings answer.
func (s *scanner) answer() ([]Meeting, error) {
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	var meetings []Meeting
	success := false
	for !root.selfClosing {
		t, ok, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case !ok, t.closing && !bytes.Equal(t.name, root.name):
			return nil, errNotXML
		}
		if t.closing {
			break
		}
		if string(t.name) == "meetings" && !t.selfClosing {
			meetings, err = s.meetings(meetings)
			if err != nil {
				return nil, err
			}
			continue
		}
		el, err := s.whole(t)
		if err != nil {
			return nil, err
		}
		if string(t.name) == "returncode" {
			success = unescapeXML(s.b[el.innerStart:el.innerEnd]) == "SUCCESS"
		}
	}
	if err := s.finish(); err != nil {
		return nil, err
	}
	if !success {
		return nil, errNoSuccess
	}
	return meetings, nil
}

// meetings reads the inside of <meetings> up to behind its end tag.
func (s *scanner) meetings(into []Meeting) ([]Meeting, error) {
	for {
		t, ok, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case !ok, t.closing && string(t.name) != "meetings":
			return nil, errNotXML
		case t.closing:
			return into, nil
		case t.selfClosing:
			continue
		}
		f, err := s.fields(t)
		if err != nil {
			return nil, err
		}
		if string(t.name) == "meeting" {
			into = append(into, newMeeting(f))
		}
	}
}

func newMeeting(f Fields) Meeting {
	return Meeting{
		Fields:       f,
		MeetingID:    f.Text("meetingID"),
		InternalID:   f.Text("internalMeetingID"),
		ParentID:     f.Text("parentMeetingID"),
		CreateTime:   f.Int("createTime"),
		Participants: int(f.Int("participantCount")),
		Listeners:    int(f.Int("listenerCount")),
		Voice:        int(f.Int("voiceParticipantCount")),
		Videos:       int(f.Int("videoCount")),
		Breakout:     f.Bool("isBreakout"),
	}
}

// Metadata returns a value of the meeting's metadata.
func (m Meeting) Metadata(name string) string {
	sub, err := m.Sub("metadata")
	if err != nil {
		return ""
	}
	return sub.Text(name)
}

// Info returns the meeting as the fields of a getMeetingInfo answer: counts
// without grouping.
func (m Meeting) Info() Fields {
	f := m.Fields
	for _, name := range counts {
		el, ok := f.find(name)
		if ok && bytes.IndexByte(f.raw[el.innerStart:el.innerEnd], ',') >= 0 {
			f = f.With(name, fmt.Sprint(f.Int(name)))
		}
	}
	return f
}
