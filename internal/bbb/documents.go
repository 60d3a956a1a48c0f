package bbb

import (
	"strconv"
	"time"
)

// Documents that we write ourselves, byte for byte as bbb-web renders them: no
// declaration, one element a line, no final newline.

// ContentType is what bbb-web sends its XML as.
const ContentType = "text/xml;charset=utf-8"

// Success returns a successful answer with the fields, in order, as name and
// text by turns.
func Success(fields ...string) []byte {
	return document("SUCCESS", fields)
}

// Failed returns a FAILED answer.
func Failed(key, message string) []byte {
	return document("FAILED", []string{"messageKey", key, "message", message})
}

func document(code string, fields []string) []byte {
	b := append(make([]byte, 0, 256), "<response>\n<returncode>"...)
	b = append(b, code...)
	b = append(b, "</returncode>\n"...)
	for i := 0; i+1 < len(fields); i += 2 {
		b = appendElement(b, fields[i], fields[i+1])
	}
	return append(b, "</response>"...)
}

func appendElement(b []byte, name, text string) []byte {
	b = append(append(append(b, '<'), name...), '>')
	b = AppendEscaped(b, text)
	b = append(append(append(b, "</"...), name...), '>')
	return append(b, '\n')
}

// Version returns the version document of "/bigbluebutton/api".
func Version() []byte {
	return Success("version", "2.0", "apiVersion", "2.0", "bbbVersion", "")
}

// IsRunning returns the answer of isMeetingRunning.
func IsRunning(running bool) []byte {
	return Success("running", strconv.FormatBool(running))
}

// EndSent returns the answer of a successful end.
func EndSent() []byte {
	return Success("messageKey", "sentEndMeetingRequest", "message",
		"A request to end the meeting was sent. Please wait a few seconds, and then use the getMeetingInfo "+
			"or isMeetingRunning API calls to verify that it was ended.")
}

// DuplicateWarning is the messageKey and message of a create that found its meeting.
func DuplicateWarning() (key, message string) {
	return "duplicateWarning", "This conference was already in existence and may currently be in progress."
}

// NoMeetings returns the answer of getMeetings without meetings.
func NoMeetings() []byte {
	return []byte("<response>\n<returncode>SUCCESS</returncode>\n<meetings/>\n<messageKey>noMeetings</messageKey>\n" +
		"<message>no meetings were found on this server</message>\n</response>")
}

// Meetings returns the answer of getMeetings over meetings' fields, or NoMeetings.
func Meetings(meetings []Fields) []byte {
	if len(meetings) == 0 {
		return NoMeetings()
	}
	size := 128
	for _, m := range meetings {
		size += len(m.raw) + 32
	}
	b := append(make([]byte, 0, size), "<response>\n<returncode>SUCCESS</returncode>\n<meetings>\n"...)
	for _, m := range meetings {
		b = append(b, "<meeting>"...)
		b = append(b, m.raw...)
		b = append(b, "</meeting>\n"...)
	}
	return append(b, "</meetings>\n</response>"...)
}

// MeetingInfo returns a getMeetingInfo answer with a meeting's fields, which are
// as Meeting.Info or Life.Info give them.
func MeetingInfo(f Fields) []byte {
	b := append(make([]byte, 0, len(f.raw)+64), "<response>\n<returncode>SUCCESS</returncode>"...)
	b = append(b, f.raw...)
	return append(b, "</response>"...)
}

// Life is what is known of a meeting without asking its server: enough for
// every element a client reads.
type Life struct {
	Name, MeetingID, InternalID string
	ParentID                    string // "" for none
	AttendeePW, ModeratorPW     string
	VoiceBridge, DialNumber     string
	CreateTime                  int64 // milliseconds; 0 when the server never told
	Duration, MaxUsers          int64
	Recording                   bool
	// Metadata is name and value by turns, names in BBB's lower case.
	Metadata []string
}

// createDate renders a time as java.util.Date.toString does.
func (l Life) createDate() string {
	return time.UnixMilli(l.CreateTime).UTC().Format("Mon Jan 02 15:04:05 UTC 2006")
}

// Info returns the meeting as the fields of a getMeetingInfo answer, nobody in it.
func (l Life) Info() Fields {
	b := append(make([]byte, 0, 1024), '\n')
	for _, f := range [...][2]string{
		{"meetingName", l.Name},
		{"meetingID", l.MeetingID},
		{"internalMeetingID", l.InternalID},
		{"createTime", strconv.FormatInt(l.CreateTime, 10)},
		{"createDate", l.createDate()},
		{"voiceBridge", l.VoiceBridge},
		{"dialNumber", l.DialNumber},
		{"attendeePW", l.AttendeePW},
		{"moderatorPW", l.ModeratorPW},
		{"running", "false"},
		{"duration", strconv.FormatInt(l.Duration, 10)},
		{"hasUserJoined", "false"},
		{"recording", strconv.FormatBool(l.Recording)},
		{"hasBeenForciblyEnded", "false"},
		{"startTime", strconv.FormatInt(l.CreateTime, 10)},
		{"endTime", "0"},
		{"participantCount", "0"},
		{"listenerCount", "0"},
		{"voiceParticipantCount", "0"},
		{"videoCount", "0"},
		{"maxUsers", strconv.FormatInt(l.MaxUsers, 10)},
		{"moderatorCount", "0"},
	} {
		b = appendElement(b, f[0], f[1])
	}
	b = append(b, "<attendees>\n</attendees>\n<metadata>\n"...)
	for i := 0; i+1 < len(l.Metadata); i += 2 {
		b = appendElement(b, l.Metadata[i], l.Metadata[i+1])
	}
	b = append(b, "</metadata>\n<isBreakout>"...)
	b = strconv.AppendBool(b, l.ParentID != "")
	b = append(b, "</isBreakout>\n"...)
	if l.ParentID != "" {
		b = appendElement(b, "parentMeetingID", l.ParentID)
	}
	f, err := ParseFields(b)
	if err != nil { // we wrote it: names are ours, texts are escaped
		return Fields{raw: b}
	}
	return f
}

// Created returns the create answer of the meeting.
func (l Life) Created(hasUserJoined bool, key, message string) []byte {
	parent := l.ParentID
	if parent == "" {
		parent = "bbb-none"
	}
	return Success(
		"meetingID", l.MeetingID,
		"internalMeetingID", l.InternalID,
		"parentMeetingID", parent,
		"attendeePW", l.AttendeePW,
		"moderatorPW", l.ModeratorPW,
		"createTime", strconv.FormatInt(l.CreateTime, 10),
		"voiceBridge", l.VoiceBridge,
		"dialNumber", l.DialNumber,
		"createDate", l.createDate(),
		"hasUserJoined", strconv.FormatBool(hasUserJoined),
		"duration", strconv.FormatInt(l.Duration, 10),
		"hasBeenForciblyEnded", "false",
		"messageKey", key,
		"message", message,
	)
}
