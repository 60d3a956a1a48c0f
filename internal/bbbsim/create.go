package bbbsim

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Texts of create's answers. The idNotUnique text has two blanks in BBB's
// source; the renderer collapses them.
const (
	keyDuplicate     = "duplicateWarning"
	textDuplicate    = "This conference was already in existence and may currently be in progress."
	textNotUnique    = "A meeting already exists with that meeting ID.  Please use a different meeting ID."
	textVoiceInUse   = "The selected voice bridge is already in use."
	textNoParent     = "No parent meeting ID was provided for the breakout room"
	textParentAbsent = "No parent meeting exists for the breakout room"
)

// What create makes up or falls back to.
const (
	defaultDialNumber = "613-555-1234"
	testVoiceBridge   = "99999" // makes the base of the internal ID empty
	voiceBridgeDigits = 5
	voiceBridgeTries  = 10
	passwordLength    = 8
)

var metaName = regexp.MustCompile(`^meta_[a-zA-Z][a-zA-Z0-9-]*$`)

// create serves the call create (BBB API, create): constraints, breakout checks,
// uniqueness, and a new meeting.
func (s *Server) create(req *apiRequest) answer {
	p := req.params
	if f := checkCreate(p); f.failed() {
		return failureAnswer(req, f)
	}
	id, given := p.lookup("meetingID")
	if s.cfg.Profile == Profile24 {
		if !given {
			return errorPage() // the hash of null
		}
	} else if !given || sanitize(id) != id {
		return failureAnswer(req, failure{keyValidation, "Invalid meeting ID"})
	}
	modules, badModules := parseModules(req.xml)

	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	breakout := isTrue(p.get("isBreakout"))
	var parent *meeting
	if breakout {
		var refusal *answer
		if parent, refusal = s.breakoutParent(req); refusal != nil {
			return *refusal
		}
	}
	if badModules != nil && s.cfg.Profile != Profile24 {
		return errorPage()
	}
	m, ok := s.newMeeting(req, now, parent)
	if !ok {
		return errorPage() // a number that doesn't parse
	}
	if existing := s.byPrefix(m.base); existing != nil {
		if !s.samePasswords(existing, p) {
			return failureAnswer(req, failure{"idNotUnique", textNotUnique})
		}
		return createAnswer(existing, failure{keyDuplicate, textDuplicate})
	}
	if s.voices[m.voiceBridge] != nil || s.voices[m.webVoice] != nil {
		return failureList(failure{"nonUniqueVoiceBridge", textVoiceInUse})
	}
	m.modules = modules
	s.insert(m.meeting)
	if badModules != nil {
		return errorPage() // 2.4 reads the body after the meeting has been created
	}
	return createAnswer(m.meeting, failure{})
}

func checkCreate(p params) failure {
	var c checks
	name, given := field(p, "name")
	switch n := utf16Len(name); {
	case !given:
		c.fail(keyNull, "You must provide a meeting name")
	case n == 0:
		c.fail(keyEmpty, "You must provide a meeting name")
	case n < 2 || n > 256:
		c.fail(keySize, "Meeting name must be between 2 and 256 characters")
	}
	c.meetingID(p)
	c.integral(p, "voiceBridge", "Voice bridge must be an integral value")
	c.password(p, "attendeePW")
	c.password(p, "moderatorPW")
	// The constraint reads this name; the meeting reads isBreakout.
	c.boolean(p, "isBreakoutRoom", "You must provide a boolean value (true or false) for the breakout room")
	c.boolean(p, "record", "Record must be a boolean value (true or false)")
	return c.failure
}

// breakoutParent finds the parent of a breakout room that is created from
// outside.
func (s *Server) breakoutParent(req *apiRequest) (*meeting, *answer) {
	id, given := req.params.lookup("parentMeetingID")
	if s.cfg.Profile == Profile24 {
		parent := s.find(id)
		if !given || parent == nil {
			page := errorPage()
			return nil, &page
		}
		return parent, nil
	}
	if id == "" {
		refusal := failureAnswer(req, failure{"parentMeetingIDMissing", textNoParent})
		return nil, &refusal
	}
	parent := s.find(id)
	if parent == nil {
		refusal := failureAnswer(req, failure{"parentMeetingDoesNotExist", textParentAbsent})
		return nil, &refusal
	}
	return parent, nil
}

// candidate is a meeting that is not in memory yet; base is the part of its
// internal ID that must not be in use.
type candidate struct {
	*meeting
	base string
}

// newMeeting reads the parameters; false when a number that must parse doesn't.
func (s *Server) newMeeting(req *apiRequest, now time.Time, parent *meeting) (candidate, bool) {
	p := req.params
	id := p.get("meetingID")
	m := &meeting{
		externalID:  id,
		name:        stripControl(p.get("name")),
		createTime:  s.newCreateTime(now),
		created:     now,
		voiceBridge: p.get("voiceBridge"),
		dialNumber:  orText(p.get("dialNumber"), defaultDialNumber),
		logoutURL:   orText(p.get("logoutURL"), req.base),
		record:      flag(p, "record", false),
		duration:    integer(p, "duration", 0),
		maxUsers:    integer(p, "maxParticipants", 0),
		guestPolicy: orText(p.get("guestPolicy"), "ALWAYS_ACCEPT"),
		metadata:    metadata(p),
		parent:      parent,

		expireIfNobodyJoined: expireIfNobodyJoined,
		expireAfterLastLeft:  expireAfterLastLeft,
		endWhenNoModerator:   flag(p, "endWhenNoModerator", false),
		endAfterNoModerator:  integer(p, "endWhenNoModeratorDelayInMinutes", endAfterNoModerator),
	}
	if s.cfg.Profile != Profile24 { // parameters since 2.5
		m.expireIfNobodyJoined = integer(p, "meetingExpireIfNoUserJoinedInMinutes", expireIfNobodyJoined)
		m.expireAfterLastLeft = integer(p, "meetingExpireWhenLastUserLeftInMinutes", expireAfterLastLeft)
	}
	if m.voiceBridge == "" {
		m.voiceBridge = s.freeVoiceBridge()
	} else if _, err := strconv.ParseInt(sanitize(m.voiceBridge), 10, 32); err != nil {
		return candidate{}, false
	}
	m.webVoice = orText(p.get("webVoice"), m.voiceBridge)
	m.attendeePW = orText(p.get("attendeePW"), s.random(mixedAlphanumeric, passwordLength))
	m.moderatorPW = orText(p.get("moderatorPW"), s.random(mixedAlphanumeric, passwordLength))

	out := candidate{meeting: m, base: sha1Hex(id)}
	if m.voiceBridge == testVoiceBridge {
		out.base = ""
	}
	m.internalID = out.base + "-" + strconv.FormatInt(m.createTime, 10)
	if parent != nil {
		sequence, err := strconv.ParseInt(p.get("sequence"), 10, 32)
		if err != nil {
			return candidate{}, false
		}
		m.sequence = int(sequence)
		m.freeJoin = flag(p, "freeJoin", false)
		m.internalID, out.base = id, id
	}
	return out, true
}

// freeVoiceBridge makes up a number, and tries a few more when it is taken.
func (s *Server) freeVoiceBridge() string {
	var number string
	for range voiceBridgeTries {
		number = s.random(digits, voiceBridgeDigits)
		if s.voices[number] == nil && number != testVoiceBridge {
			break
		}
	}
	return number
}

// samePasswords tells whether a repeated create is one of the same meeting: both
// passwords as stored or, since 2.6, none.
func (s *Server) samePasswords(m *meeting, p params) bool {
	attendee, moderator := p.get("attendeePW"), p.get("moderatorPW")
	if attendee == "" && moderator == "" && s.cfg.Profile != Profile24 {
		return true
	}
	return attendee == m.attendeePW && moderator == m.moderatorPW
}

// metadata takes the meta_ parameters (BBB API, metadata): names are lower-cased,
// and those with other characters than letters, digits and - are dropped.
func metadata(p params) params {
	var out params
next:
	for _, item := range p {
		if !metaName.MatchString(item.name) {
			continue
		}
		name := strings.ToLower(strings.TrimPrefix(item.name, "meta_"))
		for i := range out {
			if out[i].name == name {
				continue next // the first one wins, as everywhere
			}
		}
		out = append(out, pair{name, item.value})
	}
	return out
}

func createAnswer(m *meeting, note failure) answer {
	parent := "bbb-none"
	if m.parent != nil {
		parent = m.parent.internalID
	}
	var x xmlWriter
	x.open("response")
	x.element("returncode", "SUCCESS")
	x.element("meetingID", m.externalID)
	x.element("internalMeetingID", m.internalID)
	x.element("parentMeetingID", parent)
	x.element("attendeePW", m.attendeePW)
	x.element("moderatorPW", m.moderatorPW)
	x.number("createTime", m.createTime)
	x.element("voiceBridge", m.voiceBridge)
	x.element("dialNumber", m.dialNumber)
	x.element("createDate", m.createDate())
	x.boolean("hasUserJoined", m.joined)
	x.number("duration", int64(m.duration))
	x.boolean("hasBeenForciblyEnded", false)
	x.element("messageKey", note.key)
	x.element("message", note.message)
	return xmlAnswer(x.close(), true)
}

// createDate is java.util.Date.toString in a server's usual time zone.
func (m *meeting) createDate() string {
	return time.UnixMilli(m.createTime).UTC().Format("Mon Jan 02 15:04:05 UTC 2006")
}

func orText(text, byDefault string) string {
	if text == "" {
		return byDefault
	}
	return text
}
