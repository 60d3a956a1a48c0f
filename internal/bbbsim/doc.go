// Package bbbsim is a simulated BigBlueButton server for tests, demos and load
// runs.
//
// It answers the calls of the BBB API with the bytes a real server sends, keeps
// meetings and users with the life cycle of a real one (arrival, lingering,
// expiry, removal), and misbehaves on demand (see [Faults]). What it knows of the
// protocol is written next to the code that does it, as "BBB API, <topic>".
//
// A server is an [http.Handler]; [Server.Start] also gives it a port of its own.
// Nothing runs in the background beside the listener: everything that happens
// with time (a user arriving, a meeting expiring) is worked out from the clock on
// the next access, in the order in which it would have happened. Hundreds of
// servers therefore fit in one process, and a test with its own [Clock] never
// has to sleep.
//
// The package shares no code with the gateway's own implementation of the
// protocol, so that a mistake there is not repeated, and hidden, here.
//
// Everything under /_sim/ is control (see [Server.ControlURL]) and needs no
// checksum: a simulated server is not to be exposed to anybody.
package bbbsim
