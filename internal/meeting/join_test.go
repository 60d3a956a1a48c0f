package meeting

import (
	"testing"

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
