package bbbsim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

var (
	errBadCount   = errors.New("count must not be negative")
	errFewerUsers = errors.New("fewer users are present")
)

// maxSessionsOfUser is maxUserConcurrentAccesses: one more session of the same
// user ejects the oldest one.
const maxSessionsOfUser = 3

// Guest states.
const (
	guestAllow = "ALLOW"
	guestWait  = "WAIT"
	guestDeny  = "DENY"
)

// Roles.
const (
	roleModerator = "MODERATOR"
	roleViewer    = "VIEWER"
)

// user is one session of one person.
type user struct {
	meeting    *meeting
	internalID string
	externalID string
	name       string
	moderator  bool
	presenter  bool
	listening  bool
	voice      bool
	videos     int
	guest      string // guest state
	token      string // session token; "" for users that never called join
	cookie     string
	arrives    time.Time // zero: waits for ever
	present    bool      // has arrived (and may have left since)
	left       time.Time
}

// User is a user as the server holds it.
type User struct {
	UserID      string `json:"userID"` // external
	InternalID  string `json:"internalID"`
	FullName    string `json:"fullName"`
	Role        string `json:"role"`
	GuestStatus string `json:"guestStatus"`
	Presenter   bool   `json:"presenter"`
	Present     bool   `json:"present"` // counted now: has arrived and not left
	Left        bool   `json:"left"`    // listed for a while still
}

func (u *user) role() string {
	if u.moderator {
		return roleModerator
	}
	return roleViewer
}

func (u *user) online() bool { return u.present && u.left.IsZero() }

func (u *user) export() User {
	return User{
		UserID: u.externalID, InternalID: u.internalID, FullName: u.name, Role: u.role(), GuestStatus: u.guest,
		Presenter: u.presenter, Present: u.online(), Left: !u.left.IsZero(),
	}
}

// counts are the numbers of a meeting. Only online and onlineModerators leave out
// users that left and are not purged yet.
type counts struct {
	listed, online, onlineModerators            int
	moderators, listeners, voices, videoStreams int
}

func (m *meeting) count() counts {
	var n counts
	for _, u := range m.users {
		if !u.present {
			continue
		}
		n.listed++
		n.videoStreams += u.videos
		n.moderators += btoi(u.moderator)
		n.listeners += btoi(u.listening)
		n.voices += btoi(u.voice)
		if u.left.IsZero() {
			n.online++
			n.onlineModerators += btoi(u.moderator)
		}
	}
	return n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// AddUsers makes n more users present in a meeting at once, without a join. The
// first one is a moderator unless one is present.
func (s *Server) AddUsers(meetingID string, n int) error {
	if n < 0 {
		return fmt.Errorf("add users: %w", errBadCount)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	m, err := s.named(meetingID)
	if err != nil {
		return fmt.Errorf("add users: %w", err)
	}
	s.addUsers(m, n, now)
	return nil
}

func (s *Server) addUsers(m *meeting, n int, now time.Time) {
	moderated := m.count().onlineModerators > 0
	m.users = slices.Grow(m.users, n)
	for range n {
		id := "w_" + s.randomLower(12)
		m.users = append(m.users, &user{
			meeting: m, internalID: id, externalID: id, name: "User " + strconv.Itoa(len(m.users)+1),
			moderator: !moderated, guest: guestAllow, arrives: now,
		})
		moderated = true
	}
	s.arrive(m, now)
	s.plan(m)
}

// RemoveUsers makes n of the present users leave, the newest ones first; they
// stay listed for Config.Linger. It is an error to name more than are present.
func (s *Server) RemoveUsers(meetingID string, n int) error {
	if n < 0 {
		return fmt.Errorf("remove users: %w", errBadCount)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	m, err := s.named(meetingID)
	if err != nil {
		return fmt.Errorf("remove users: %w", err)
	}
	if online := m.count().online; online < n {
		return fmt.Errorf("remove %d users of %q: %w: %d", n, meetingID, errFewerUsers, online)
	}
	for i := len(m.users) - 1; i >= 0 && n > 0; i-- {
		if u := m.users[i]; u.online() {
			s.leave(u, now)
			n--
		}
	}
	s.plan(m)
	return nil
}

// SetMedia gives the first present users of a meeting microphones and cameras:
// `voices` of them talk, the next `listeners` only listen, and the first `videos`
// share one camera each.
func (s *Server) SetMedia(meetingID string, voices, listeners, videos int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	m, err := s.named(meetingID)
	if err != nil {
		return fmt.Errorf("set media: %w", err)
	}
	i := 0
	for _, u := range m.users {
		if !u.online() {
			continue
		}
		u.voice = i < voices
		u.listening = !u.voice && i < voices+listeners
		u.videos = btoi(i < videos)
		i++
	}
	return nil
}

// arrive makes the users present whose time has come. The first moderator becomes
// presenter, as in the client.
func (s *Server) arrive(m *meeting, now time.Time) {
	presenter := slices.ContainsFunc(m.users, func(u *user) bool { return u.presenter && u.online() })
	for _, u := range m.users {
		if u.present || u.arrives.IsZero() || u.arrives.After(now) || !u.left.IsZero() {
			continue
		}
		u.present = true
		m.joined = true
		if u.moderator && !presenter {
			u.presenter, presenter = true, true
		}
	}
}

// leave makes a user leave the meeting; it stays listed until it is purged.
func (s *Server) leave(u *user, now time.Time) {
	m := u.meeting
	s.dropSession(u)
	if !u.present {
		// Never seen by anybody: nothing lingers.
		m.users = slices.DeleteFunc(m.users, func(other *user) bool { return other == u })
		return
	}
	u.left = now
	m.lastLeft = now
	if u.moderator && m.count().onlineModerators == 0 {
		m.lastModLeft = now
	}
	if u.presenter {
		u.presenter = false
		for _, other := range m.users {
			if other.moderator && other.online() {
				other.presenter = true
				break
			}
		}
	}
}

// purge forgets the users that left long enough ago.
func (s *Server) purge(m *meeting, now time.Time) {
	linger := s.scaled(s.cfg.Linger)
	m.users = slices.DeleteFunc(m.users, func(u *user) bool {
		return !u.left.IsZero() && !u.left.Add(linger).After(now)
	})
}

// dropSession forgets the session of a user, and the cookie with its last user.
func (s *Server) dropSession(u *user) {
	if u.token == "" {
		return
	}
	delete(s.sessions, u.token)
	if s.cookies[u.cookie]--; s.cookies[u.cookie] <= 0 {
		delete(s.cookies, u.cookie)
	}
	u.token = ""
}

// Alphabets of what the server makes up (BBB API, IDs).
const (
	lowerAlphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
	mixedAlphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + lowerAlphanumeric
	upperHex          = "0123456789ABCDEF"
	digits            = "0123456789"
)

func (s *Server) randomLower(n int) string { return s.random(lowerAlphanumeric, n) }

func (s *Server) random(alphabet string, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[s.rand.IntN(len(alphabet))]
	}
	return string(out)
}
