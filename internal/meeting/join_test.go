package meeting

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
)

func TestForServer(t *testing.T) {
	for query, want := range map[string]string{
		"meetingID=a&fullName=A+%2b%20b&&x":                        "meetingID=a&fullName=A+%2b%20b&&x",
		"a=1&clientURL=http://gw/x&redirectClient=true&b=2":        "a=1&b=2",
		"userdata-bbb_x=1&userdata-A.b-1=2":                        "userdata-bbb_x=1&userdata-A.b-1=2",
		"a=1&userdata-%3Cx=1&userdata-a%3Eb=2&userdata-a+b=3&b=2":  "a=1&b=2",
		"userdata-=1&userdata-1x=2&userdata-%C3%BC=3&userdata_x=4": "userdata_x=4",
	} {
		require.Equal(t, want, forServer(bbb.Call{Name: "join", Query: query}).Query, query)
	}
}

// TestJoinThatHealsGoesIn lets an LMS say which life of the room it means, as
// Moodle does: the healed one has another createTime and is meant as well.
func TestJoinThatHealsGoesIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		old := w.mustCreate("r")
		w.poll(1)
		join := bbb.Call{Name: "join"}.With("meetingID", "r").With("fullName", "Ada").With("createTime", strconv.FormatInt(old.CreateTime, 10))
		earlier := join.With("createTime", "77")
		w.on(1, func(v *fakeServer) { v.down = time.Now() })
		time.Sleep(2 * time.Minute)
		w.poll(1)
		_, call, err := w.r.Join(t.Context(), acme, join)
		require.NoError(t, err)
		require.NotContains(t, call.Query, "createTime")
		require.NotEqual(t, old.CreateTime, w.claim("r").CreateTime)
		_, call, err = w.r.Join(t.Context(), acme, earlier)
		require.NoError(t, err)
		require.Equal(t, "77", call.Value("createTime"), "another life's is for the server to refuse")
	})
}
