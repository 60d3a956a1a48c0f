package gateway

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestUnsureSinceTheStart has the service get ready between Chamilo's two questions.
func TestUnsureSinceTheStart(t *testing.T) {
	ready, f := newTestGateway(t)
	starting := New(Options{Now: f.now, Ready: func() bool { return false }})
	const target = "/t/acme/bigbluebutton/api/getMeetingInfo?checksum=good&meetingID="
	require.Equal(t, http.StatusServiceUnavailable, call(starting, target+"runs").Code)

	next := New(Options{
		Directory: &f.directory, Meetings: ready.meetings, Servers: &f.servers, Now: f.now, Ready: func() bool { return true },
		Before: starting,
	})
	require.Equal(t, http.StatusServiceUnavailable, call(next, target+"57").Code)
	require.Equal(t, http.StatusOK, call(next, target+"runs").Code)
}

func TestUnsure(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	u := newUnsure(func() time.Time { return now })
	cannot := answer{status: http.StatusServiceUnavailable}
	denied := answer{status: http.StatusOK, result: "failed"}
	at := func(addr string) func() string { return func() string { return addr } }

	require.False(t, u.check(denied, "acme", at("192.0.2.1")))
	require.False(t, u.check(cannot, "acme", at("192.0.2.1")))
	require.True(t, u.check(denied, "acme", at("192.0.2.9")), "right after not knowing nothing is denied")
	require.False(t, u.check(denied, "globex", at("192.0.2.1")), "another tenant's trouble is its own")
	require.False(t, u.check(answer{status: http.StatusOK}, "acme", at("192.0.2.1")))

	require.False(t, u.check(cannot, "", at("192.0.2.7")), "nobody knew who was calling")
	require.True(t, u.check(denied, "globex", at("192.0.2.7")), "the same LMS, identified now")
	require.False(t, u.check(denied, "globex", at("192.0.2.8")))

	now = now.Add(unsureFor)
	require.False(t, u.check(denied, "acme", at("192.0.2.1")), "the moment has passed")

	for i := range unsureSize + 10 {
		u.check(cannot, strconv.Itoa(i), at(""))
	}
	require.LessOrEqual(t, len(u.m), unsureSize)
	now = now.Add(unsureFor)
	u.check(cannot, "acme", at(""))
	require.Len(t, u.m, 1, "those whose moment has passed make room")
}
