package bbbsim

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Texts of join's answers.
const (
	keyJoined          = "successfullyJoined"
	keyParams          = "Params required"
	textForciblyEnded  = "You can not join a meeting that has already been forcibly ended"
	textNeitherPW      = "The provided password is neither a moderator or attendee password"
	textCreateTime     = "The createTime parameter submitted mismatches with the current meeting."
	textWrongPassword  = "You must enter a valid password"
	textRoleOrPassword = "You must either send the valid role of the user, or the password, sould the meeting has one."
	textMaxReached     = "The number of participants allowed for this meeting has been reached."
	textGuestDenied    = "You have been denied access to this meeting based on the meeting's guest policy"
)

// sessionCookie is the servlet session's cookie.
const sessionCookie = "JSESSIONID"

// join serves the call join (BBB API, join): validation, createTime, role or
// password, participants, registration, guest policy, and the way in.
func (s *Server) join(req *apiRequest) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	p := req.params
	if f := s.checkJoin(p); f.failed() {
		return s.errorRedirect(req, f)
	}
	fullName, given := p.lookup("fullName")
	m := s.find(p.get("meetingID"))
	if !given || m == nil {
		return errorPage() // null is used unasked
	}
	if createTime := p.get("createTime"); createTime != "" {
		if n, err := strconv.ParseInt(sanitize(createTime), 10, 64); err != nil || n != m.createTime {
			return s.lateError(req, failure{"mismatchCreateTimeParam", textCreateTime})
		}
	}
	moderator, refusal := roleOf(m, p)
	if refusal.failed() {
		return failureAnswer(req, refusal) // never a redirect
	}
	if s.full(m, p.get("userID")) {
		return s.lateError(req, failure{"maxParticipantsReached", textMaxReached})
	}

	u := s.register(req, m, now, stripControl(fullName), moderator)
	if u.guest == guestDeny && s.cfg.Profile != Profile24 {
		return s.lateError(req, failure{"guestDeniedAccess", textGuestDenied})
	}
	out := s.entrance(req, u)
	if u.cookie != requestCookie(req.http) {
		out.cookie = &http.Cookie{
			Name: sessionCookie, Value: u.cookie, Path: "/bigbluebutton", Secure: true, HttpOnly: true,
		}
	}
	return out
}

func (s *Server) checkJoin(p params) failure {
	var c checks
	c.meetingID(p)
	id, given := field(p, "meetingID")
	var m *meeting
	if given {
		m = s.exists(id)
	}
	if given && id == "" {
		c.fail(keyEmpty, textNoMeetingID)
	}
	if m == nil {
		c.fail(keyUnknownMeeting, textUnknownMeeting)
		c.fail(keyForciblyEnded, textForciblyEnded)
		c.fail(keyPassword, textNeitherPW)
	}
	c.password(p, "password")
	if s.cfg.Profile == Profile24 && m != nil {
		// 2.4 wants a password that matches, even when a role is given.
		if password, _ := field(p, "password"); password != m.moderatorPW && password != m.attendeePW {
			c.fail(keyPassword, textNeitherPW)
		}
	}
	if name, given := field(p, "fullName"); given && name == "" {
		c.fail(keyFullName, "You must provide your name")
	}
	c.boolean(p, "guest", "Guest must be a boolean value (true or false)")
	c.boolean(p, "auth", "Auth must be a boolean value (true or false)")
	c.integral(p, "createTime", "Value must be an integral number")
	return c.failure
}

// roleOf takes the role from the parameter role or, when that says nothing, from
// the password; of two equal passwords the moderators' wins.
func roleOf(m *meeting, p params) (moderator bool, refusal failure) {
	switch strings.ToUpper(p.get("role")) {
	case roleModerator:
		return true, failure{}
	case roleViewer:
		return false, failure{}
	}
	switch p.get("password") {
	case "":
		return false, failure{keyParams, textRoleOrPassword}
	case m.moderatorPW:
		return true, failure{}
	case m.attendeePW:
		return false, failure{}
	}
	return false, failure{keyParams, textWrongPassword}
}

// full tells whether maxParticipants forbids one more. Only users that have
// appeared count, so that parallel joins pass (BBB API, join). Since 2.6 a person
// counts once, and one that is inside may come again.
func (s *Server) full(m *meeting, userID string) bool {
	if m.maxUsers <= 0 {
		return false
	}
	if s.cfg.Profile == Profile24 {
		return m.count().listed >= m.maxUsers
	}
	people := make(map[string]bool)
	for _, u := range m.users {
		if u.online() {
			people[u.externalID] = true
		}
	}
	return len(people) >= m.maxUsers && !people[userID]
}

// register puts the user into the meeting; it is present after Config.JoinDelay.
func (s *Server) register(req *apiRequest, m *meeting, now time.Time, name string, moderator bool) *user {
	p := req.params
	id := "w_" + s.randomLower(12)
	u := &user{
		meeting: m, internalID: id, externalID: orText(p.get("userID"), id), name: name, moderator: moderator,
		token: s.randomLower(16), cookie: requestCookie(req.http),
	}
	if s.cookies[u.cookie] == 0 {
		u.cookie = s.random(upperHex, 32)
	}
	u.guest = guestStatus(m.guestPolicy, moderator, p)
	if u.guest == guestAllow {
		u.arrives = now.Add(s.scaled(s.cfg.JoinDelay))
	}
	s.ejectOldest(m, u.externalID, now)
	m.users = append(m.users, u)
	s.sessions[u.token] = u
	s.cookies[u.cookie]++
	custom := customdata(p)
	if len(custom) > 0 {
		if m.customdata == nil {
			m.customdata = make(map[string]params)
		}
		m.customdata[u.externalID] = custom
	}
	s.plan(m)
	return u
}

// ejectOldest keeps a user's sessions within the limit.
func (s *Server) ejectOldest(m *meeting, externalID string, now time.Time) {
	var own []*user
	for _, u := range m.users {
		if u.externalID == externalID && u.left.IsZero() {
			own = append(own, u)
		}
	}
	if len(own) >= maxSessionsOfUser {
		s.leave(own[0], now)
	}
}

// guestStatus applies the guest policy (BBB API, guests) of a server with
// authenticatedGuest, which is the default: ordinary viewers wait as well.
func guestStatus(policy string, moderator bool, p params) string {
	guest := isTrue(p.get("guest"))
	authenticated := p.get("guest") == ""
	if auth := p.get("auth"); auth != "" {
		authenticated = isTrue(auth)
	}
	switch {
	case moderator, policy == "ALWAYS_ACCEPT":
		return guestAllow
	case policy == "ASK_MODERATOR":
		if guest || authenticated {
			return guestWait
		}
		return guestAllow
	case policy == "ALWAYS_ACCEPT_AUTH":
		if guest {
			return guestWait
		}
		return guestAllow
	}
	return guestDeny // ALWAYS_DENY, and what the server doesn't know
}

// customdata takes the userdata- parameters: names that split at - into exactly
// two parts, as Java splits (an empty part at the end doesn't count).
func customdata(p params) params {
	var out params
	for _, item := range p {
		parts := strings.Split(strings.TrimRight(item.name, "-"), "-")
		if len(parts) != 2 || parts[0] != "userdata" {
			continue
		}
		at := slices.IndexFunc(out, func(known pair) bool { return known.name == parts[1] })
		if at < 0 {
			out = append(out, pair{parts[1], item.value})
		}
	}
	return out
}

// entrance is the answer to a join that succeeded, or that has to wait: a
// redirect to the client, or the XML with its URL.
func (s *Server) entrance(req *apiRequest, u *user) answer {
	key, message := keyJoined, "You have joined successfully."
	target := s.clientURL(req, u)
	if s.cfg.Profile == Profile24 {
		switch u.guest {
		case guestWait:
			key, message = "guestWait", "Guest waiting for approval to join meeting."
			target = req.base + clientRoot + "/guestWait?sessionToken=" + u.token
		case guestDeny:
			key, message = "guestDeny", "Guest denied to join meeting."
			target = u.meeting.logoutURL
		}
	}
	if flag(req.params, "redirect", true) {
		return answer{status: http.StatusFound, noCache: true, location: target}
	}
	var x xmlWriter
	x.open("response")
	x.element("returncode", "SUCCESS")
	x.element("messageKey", key)
	x.element("message", message)
	x.element("meeting_id", u.meeting.internalID)
	x.element("user_id", u.internalID)
	x.element("auth_token", s.randomLower(12))
	x.element("session_token", u.token)
	x.element("guestStatus", u.guest)
	x.element("url", target)
	return xmlAnswer(x.close(), true)
}

func (s *Server) clientURL(req *apiRequest, u *user) string {
	if s.cfg.Profile == Profile24 {
		return req.base + clientRoot + "/join?sessionToken=" + u.token
	}
	target := req.base + clientRoot + "/?"
	if req.params.get("enforceLayout") != "" {
		target += "waitLayout=1&"
	}
	return target + "sessionToken=" + u.token
}

// lateError is an error found after validation: 3.0 honours redirect=false.
func (s *Server) lateError(req *apiRequest, f failure) answer {
	if s.cfg.Profile != Profile24 && !flag(req.params, "redirect", true) {
		return failureAnswer(req, f)
	}
	return s.errorRedirect(req, f)
}

// errorRedirect sends a browser away with the error in its URL: to
// errorRedirectUrl (3.0), to the request's logoutURL, or to the server itself.
func (s *Server) errorRedirect(req *apiRequest, f failure) answer {
	target, ok := javaURI{}, false
	if s.cfg.Profile != Profile24 {
		target, ok = parseJavaURI(req.params.get("errorRedirectUrl"))
	}
	if !ok {
		target, ok = parseJavaURI(req.params.get("logoutURL"))
	}
	if !ok {
		target, _ = parseJavaURI(req.base)
	}
	// The message comes first: the order of the hash map inside the JSON object.
	errors := `errors=[{"message":` + jsonString(f.message) + `,"key":` + jsonString(f.key) + `}]`
	return answer{status: http.StatusFound, noCache: true, location: target.withQuery(errors)}
}

func requestCookie(r *http.Request) string {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// sessionOf returns the user of a session token.
func (s *Server) sessionOf(query url.Values) *user {
	return s.sessions[query.Get("sessionToken")]
}
