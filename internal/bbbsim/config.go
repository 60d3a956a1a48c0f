package bbbsim

import (
	"fmt"
	"time"
)

// Profile is the generation of BBB that is simulated.
type Profile string

// The simulated generations. They differ as the BBB API's table of versions
// says: checksum algorithms, POST rules, passwords, guests, counts, client URL.
const (
	Profile24 Profile = "2.4"
	Profile30 Profile = "3.0"
)

// ParseProfile reads "2.4" or "3.0"; "" is 3.0.
func ParseProfile(text string) (Profile, error) {
	switch Profile(text) {
	case "", Profile30:
		return Profile30, nil
	case Profile24:
		return Profile24, nil
	}
	return "", fmt.Errorf("unknown profile %q: want %q or %q", text, Profile24, Profile30)
}

// Defaults of [Config].
const (
	DefaultJoinDelay   = time.Second
	DefaultLinger      = time.Minute
	DefaultEndDelay    = 300 * time.Millisecond
	DefaultMaxRequests = 10_000
	DefaultAlgorithms  = "sha1,sha256,sha384,sha512"
)

// Config describes a simulated server. The zero value is usable.
type Config struct {
	// Name is free; it shows on the client page and seeds the randomness, so
	// that two servers with the same Seed still draw different passwords.
	Name string
	// Secret is the server's shared secret (securitySalt). With an empty one
	// any non-empty checksum passes, as on a real server.
	Secret string
	// Profile defaults to Profile30.
	Profile Profile
	// Clock defaults to the wall clock. All expiry and all delays of meetings
	// and users use it; only Faults.Latency is real time.
	Clock Clock
	// Speed is the time scale: 60 makes a minute pass in a second. It applies
	// to expiry, arrival, lingering and removal. 0 is 1.
	Speed float64
	// JoinDelay is the time from a join to being counted, Linger how long a
	// user that left stays listed, EndDelay the time from an end to the removal
	// of the meeting. All are scaled; 0 is the default, negative is none.
	JoinDelay time.Duration
	Linger    time.Duration
	EndDelay  time.Duration
	// Seed of the randomness (passwords, voice bridges, tokens); the same seed
	// and name give the same values. 0 is a seed like any other.
	Seed int64
	// PublicURL is the base of redirects and of the client page, without a
	// final slash. Empty: taken from the request's Host.
	PublicURL string
	// Algorithms is supportedChecksumAlgorithms of a 3.0 server; a 2.4 server
	// has no such setting. "sha256,sha512" refuses the others.
	Algorithms string
	// MaxRequests bounds the log of received requests: 0 is
	// DefaultMaxRequests, negative keeps none (they are still counted).
	MaxRequests int
}

func (c Config) withDefaults() Config {
	if c.Profile == "" {
		c.Profile = Profile30
	}
	if c.Clock == nil {
		c.Clock = wallClock{}
	}
	if c.Speed <= 0 {
		c.Speed = 1
	}
	c.JoinDelay = orDefault(c.JoinDelay, DefaultJoinDelay)
	c.Linger = orDefault(c.Linger, DefaultLinger)
	c.EndDelay = orDefault(c.EndDelay, DefaultEndDelay)
	if c.Algorithms == "" {
		c.Algorithms = DefaultAlgorithms
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = DefaultMaxRequests
	}
	return c
}

func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	}
	return d
}
