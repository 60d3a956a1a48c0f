package meeting

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// TestNewCreateRefusals follows the order in which bbb-web's violations win
// (BBB API, chapters 3 and 3.1), on the external ID.
func TestNewCreateRefusals(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, c := range []struct{ name, query, key string }{
		{"name missing", "meetingID=r", "nullError"},
		{"name empty", "name=&meetingID=r", "emptyError"},
		{"name blank", "name=+&meetingID=r", "emptyError"},
		{"name of control characters", "name=%00%07&meetingID=r", "emptyError"},
		{"name of one character", "name=x&meetingID=r", "sizeError"},
		{"name of one and a control character", "name=x%07&meetingID=r", "sizeError"},
		{"name too long", "name=" + long + "&meetingID=r", "sizeError"},
		{"ID missing", "name=class", "validationError"},
		{"ID empty", "name=class&meetingID=", "sizeError"},
		{"ID without =", "name=class&meetingID", "sizeError"},
		{"ID too long", "name=class&meetingID=" + long, "sizeError"},
		{"ID of 129 surrogate pairs", "name=class&meetingID=" + strings.Repeat("%F0%9F%98%80", 129), "sizeError"},
		{"ID with a comma", "name=class&meetingID=a,b", "validationError"},
		{"ID with an escaped comma", "name=class&meetingID=a%2Cb", "validationError"},
		{"ID with blanks around", "name=class&meetingID=+r", "validationError"},
		{"ID with a control character", "name=class&meetingID=r%07", "validationError"},
		{"attendee password of one", "name=class&meetingID=r&attendeePW=x", "invalidPassword"},
		{"moderator password too long", "name=class&meetingID=r&moderatorPW=" + strings.Repeat("x", 65), "invalidPassword"},
		{"record", "name=class&meetingID=r&record=yes", "validationError"},
		{"isBreakoutRoom", "name=class&meetingID=r&isBreakoutRoom=maybe", "validationError"},
		{"breakout", "name=class&meetingID=r&isBreakout=true&parentMeetingID=p&sequence=1", "unsupportedRequest"},
		{"breakout in capitals", "name=class&meetingID=r&isBreakout=+TRUE", "unsupportedRequest"},
		{"ID twice", "name=class&meetingID=r&meetingID=s", "validationError"},
		{"ID twice, once escaped", "name=class&meetingID=r&meeting%49D=s", "validationError"},
		{"password twice", "name=class&meetingID=r&moderatorPW=aa&moderatorPW=bb", "validationError"},
		{"not UTF-8", "name=class&meetingID=%FF", "validationError"},

		{"empty name before password", "name=&meetingID=r&attendeePW=x", "emptyError"},
		{"empty name before size", "name=&meetingID=" + long, "emptyError"},
		{"password before size", "name=x&meetingID=" + long + "&attendeePW=x", "invalidPassword"},
		{"password before missing name", "meetingID=r&attendeePW=x", "invalidPassword"},
		{"size before comma", "name=x&meetingID=a,b", "sizeError"},
		{"size before missing name", "meetingID=", "sizeError"},
		{"size before record", "name=x&meetingID=r&record=yes", "sizeError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewCreate("kacme", bbb.Call{Name: "create", Query: c.query}, nil)
			requireFault(t, err, fault.Invalid, c.key)
			require.NotContains(t, err.Error(), "xxxx", "no value is repeated")
		})
	}
}

// TestNewCreateQueries holds what reaches the server: byte for byte what the
// tenant wrote, but for the ID and what is not the tenant's to say.
func TestNewCreateQueries(t *testing.T) {
	for _, c := range []struct{ name, query, want string }{
		{"plain", "name=class&meetingID=r", "name=class&meetingID=kacme-r"},
		{
			"bytes stay", "name=Curso+de%20Espa%c3%b1ol&meetingID=r&logoutURL=https://x/?a=b;c&welcome=%3cb%3E&empty=&flag",
			"name=Curso+de%20Espa%c3%b1ol&meetingID=kacme-r&logoutURL=https://x/?a=b;c&welcome=%3cb%3E&empty=&flag",
		},
		{"one character is enough", "name=class&meetingID=7", "name=class&meetingID=kacme-7"},
		{"the checksum goes", "name=class&meetingID=r&checksum=abc", "name=class&meetingID=kacme-r"},
		{"not a breakout", "name=class&meetingID=r&isBreakout=false&sequence=1&freeJoin=true&parentMeetingID=x&parentIdMeetingId=x", "name=class&meetingID=kacme-r"},
		{"voice bridge", "name=class&voiceBridge=71234&meetingID=r", "name=class&voiceBridge=71234&meetingID=kacme-r"},
		{"voice bridge of 9", "name=class&voiceBridge=012345678&meetingID=r", "name=class&voiceBridge=012345678&meetingID=kacme-r"},
		{"voice bridge 0", "name=class&voiceBridge=0&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge 00000", "name=class&voiceBridge=00000&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge 12345", "name=class&voiceBridge=12345&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge 99999", "name=class&voiceBridge=99999&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge of 4", "name=class&voiceBridge=1234&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge of 10", "name=class&voiceBridge=1234567890&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge of letters", "name=class&voiceBridge=7123x&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge negative", "name=class&voiceBridge=-71234&meetingID=r", "name=class&meetingID=kacme-r"},
		{"voice bridge empty", "name=class&voiceBridge=&meetingID=r", "name=class&meetingID=kacme-r"},
		{"our metadata", "name=class&meetingID=r&meta_bluegate-ref=x&meta_a=b", "name=class&meetingID=kacme-r&meta_a=b"},
		{"in capitals", "name=class&meetingID=r&meta_BlueGate-Ref=x", "name=class&meetingID=kacme-r"},
		{"escaped", "name=class&meetingID=r&%6d%65ta%5fblue%67ate%2dref=x", "name=class&meetingID=kacme-r"},
		{"with control characters", "name=class&meetingID=r&meta_blue%00gate-ref=x&+meta_bluegate-ref=y", "name=class&meetingID=kacme-r"},
		{"any of ours", "name=class&meetingID=r&meta_bluegate-x=1", "name=class&meetingID=kacme-r"},
		{"similar names stay", "name=class&meetingID=r&meta_bluegate=1&meta_x-bluegate-ref=2", "name=class&meetingID=kacme-r&meta_bluegate=1&meta_x-bluegate-ref=2"},
		{
			"old Chamilo",
			"name=cc&meetingID=5584&dialNumber=&voiceBridge=12345&webVoice=&maxParticipants=-1&record=true&meta_OriginURLhttps%3A%2F%2Fp%2F",
			"name=cc&meetingID=kacme-5584&dialNumber=&webVoice=&maxParticipants=-1&record=true&meta_OriginURLhttps%3A%2F%2Fp%2F",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := NewCreate("kacme", bbb.Call{Name: "create", Query: c.query}, nil)
			require.NoError(t, err)
			require.Equal(t, c.want, got.Call.Query)
			require.Equal(t, bbb.Call{Query: c.query}.Value("meetingID"), got.ExternalID)
			require.Equal(t, Scope("kacme", got.ExternalID), got.ScopedID)
		})
	}
}

func TestNewCreateSeats(t *testing.T) {
	for query, want := range map[string]int{
		"":                                                  defaultSeats,
		"&meta_bbb-meeting-size-hint=80":                    80,
		"&meta_BBB-Meeting-Size-Hint=+80":                   80,
		"&meta_bbb-meeting-size-hint=x":                     defaultSeats,
		"&meta_bbb-meeting-size-hint=-3":                    defaultSeats,
		"&meta_bbb-meeting-size-hint=99999":                 10000,
		"&maxParticipants=5":                                5,
		"&maxParticipants=-1":                               defaultSeats,
		"&maxParticipants=500":                              defaultSeats,
		"&maxParticipants=50&meta_bbb-meeting-size-hint=80": 50,
	} {
		got, err := NewCreate("kacme", bbb.Call{Name: "create", Query: "name=class&meetingID=r" + query}, nil)
		require.NoError(t, err)
		require.Equal(t, want, got.Seats, query)
	}
}

// TestForClaim holds what a claim's create carries beside the tenant's words.
func TestForClaim(t *testing.T) {
	given, err := NewCreate("kacme", createCall("r", "attendeePW", "ap", "moderatorPW", "mp"), nil)
	require.NoError(t, err)
	require.Equal(t, "name=A+class&meetingID=kacme-r&attendeePW=ap&moderatorPW=mp&meta_bluegate-ref=signed",
		given.forClaim("x", "y", "signed").Query)
	none, err := NewCreate("kacme", createCall("r", "attendeePW", ""), nil)
	require.NoError(t, err)
	require.Equal(t, "name=A+class&meetingID=kacme-r&attendeePW=gen1&moderatorPW=gen2&meta_bluegate-ref=signed",
		none.forClaim("gen1", "gen2", "signed").Query)
	// A healed room brings the reference of its lost claim along.
	again := Create{Call: bbb.Call{Query: "name=c&meta_bluegate-ref=old&meetingID=kacme-r"}, AttendeePW: "ap", ModeratorPW: "mp"}
	require.Equal(t, "name=c&meta_bluegate-ref=new&meetingID=kacme-r", again.forClaim("x", "y", "new").Query)
}
