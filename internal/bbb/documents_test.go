package bbb

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The documents here are those of the API reference, chapter 4, byte for byte.

func TestDocuments(t *testing.T) {
	for name, tc := range map[string]struct {
		got  []byte
		want string
	}{
		"4.1 error": {Failed("checksumError", "Checksums do not match"), `<response>
<returncode>FAILED</returncode>
<messageKey>checksumError</messageKey>
<message>Checksums do not match</message>
</response>`},
		"4.1 error, escaped": {Failed("x", `a & b <c> "d" 'e'`), `<response>
<returncode>FAILED</returncode>
<messageKey>x</messageKey>
<message>a &amp; b &lt;c&gt; &quot;d&quot; &apos;e&apos;</message>
</response>`},
		"4.3 running": {IsRunning(true), `<response>
<returncode>SUCCESS</returncode>
<running>true</running>
</response>`},
		"4.3 not running": {IsRunning(false), `<response>
<returncode>SUCCESS</returncode>
<running>false</running>
</response>`},
		"4.4 end": {EndSent(), `<response>
<returncode>SUCCESS</returncode>
<messageKey>sentEndMeetingRequest</messageKey>
<message>A request to end the meeting was sent. Please wait a few seconds, and then use the getMeetingInfo or isMeetingRunning API calls to verify that it was ended.</message>
</response>`},
		"4.6 no meetings": {NoMeetings(), `<response>
<returncode>SUCCESS</returncode>
<meetings/>
<messageKey>noMeetings</messageKey>
<message>no meetings were found on this server</message>
</response>`},
		"4.6 no meetings in a list": {Meetings(nil), string(NoMeetings())},
		"4.9 document": {Success("message", "Presentation is being uploaded"), `<response>
<returncode>SUCCESS</returncode>
<message>Presentation is being uploaded</message>
</response>`},
		"4.10 chat": {Success("messageKey", "", "message", ""), `<response>
<returncode>SUCCESS</returncode>
<messageKey></messageKey>
<message></message>
</response>`},
		"4.13 version": {Version(), `<response>
<returncode>SUCCESS</returncode>
<version>2.0</version>
<apiVersion>2.0</apiVersion>
<bbbVersion></bbbVersion>
</response>`},
	} {
		require.Equal(t, tc.want, string(tc.got), name)
		parsed(t, string(tc.got))
	}
	require.Equal(t, "text/xml;charset=utf-8", ContentType)
}

func aLife() Life {
	return Life{
		Name: "Name", MeetingID: "ext-1", InternalID: "SHA1HEX-1700000000000", AttendeePW: "ap", ModeratorPW: "mp",
		VoiceBridge: "70757", DialNumber: "613-555-1234", CreateTime: 1700000000000,
	}
}

const created = `<response>
<returncode>SUCCESS</returncode>
<meetingID>ext-1</meetingID>
<internalMeetingID>SHA1HEX-1700000000000</internalMeetingID>
<parentMeetingID>bbb-none</parentMeetingID>
<attendeePW>ap</attendeePW>
<moderatorPW>mp</moderatorPW>
<createTime>1700000000000</createTime>
<voiceBridge>70757</voiceBridge>
<dialNumber>613-555-1234</dialNumber>
<createDate>Tue Nov 14 22:13:20 UTC 2023</createDate>
<hasUserJoined>false</hasUserJoined>
<duration>0</duration>
<hasBeenForciblyEnded>false</hasBeenForciblyEnded>
<messageKey></messageKey>
<message></message>
</response>`

func TestCreated(t *testing.T) {
	require.Equal(t, created, string(aLife().Created(false, "", "")))

	l := aLife()
	l.ParentID, l.Duration = "int-1", 300
	key, message := DuplicateWarning()
	a := parsed(t, string(l.Created(true, key, message)))
	require.Equal(t, "int-1", a.Text("parentMeetingID"))
	require.Equal(t, int64(300), a.Int("duration"))
	require.True(t, a.Bool("hasUserJoined"))
	require.Equal(t, "duplicateWarning", a.Key())
	require.Equal(t, "This conference was already in existence and may currently be in progress.", a.Text("message"))
	require.Equal(t, parsed(t, created).names(), a.names(), "the same elements in the same order")
}

const info = `<response>
<returncode>SUCCESS</returncode>
<meetingName>Name</meetingName>
<meetingID>ext-1</meetingID>
<internalMeetingID>SHA1HEX-1700000000000</internalMeetingID>
<createTime>1700000000000</createTime>
<createDate>Tue Nov 14 22:13:20 UTC 2023</createDate>
<voiceBridge>70757</voiceBridge>
<dialNumber>613-555-1234</dialNumber>
<attendeePW>ap</attendeePW>
<moderatorPW>mp</moderatorPW>
<running>false</running>
<duration>0</duration>
<hasUserJoined>false</hasUserJoined>
<recording>false</recording>
<hasBeenForciblyEnded>false</hasBeenForciblyEnded>
<startTime>1700000000000</startTime>
<endTime>0</endTime>
<participantCount>0</participantCount>
<listenerCount>0</listenerCount>
<voiceParticipantCount>0</voiceParticipantCount>
<videoCount>0</videoCount>
<maxUsers>0</maxUsers>
<moderatorCount>0</moderatorCount>
<attendees>
</attendees>
<metadata>
</metadata>
<isBreakout>false</isBreakout>
</response>`

func TestMeetingInfo(t *testing.T) {
	require.Equal(t, info, string(MeetingInfo(aLife().Info())))

	l := aLife()
	l.Name, l.ParentID, l.Recording, l.MaxUsers, l.Duration = `A & "B" <ü>`, "int-1", true, 25, 90
	l.Metadata = []string{"bbb-origin", "x & y", "empty", ""}
	a := parsed(t, string(MeetingInfo(l.Info())))
	require.Equal(t, `A & "B" <ü>`, a.Text("meetingName"))
	require.True(t, a.Bool("recording"))
	require.True(t, a.Bool("isBreakout"))
	require.Equal(t, "int-1", a.Text("parentMeetingID"))
	require.Equal(t, int64(25), a.Int("maxUsers"))
	require.Equal(t, int64(90), a.Int("duration"))
	meta, err := a.Sub("metadata")
	require.NoError(t, err)
	require.Equal(t, "\n<bbb-origin>x &amp; y</bbb-origin>\n<empty></empty>\n", string(meta.Bytes()))

	// What getMeetings and getMeetingInfo say of the same meeting is the same.
	m, err := ParseMeetings(Meetings([]Fields{l.Info()}))
	require.NoError(t, err)
	require.Len(t, m, 1)
	require.Equal(t, "ext-1", m[0].MeetingID)
	require.Equal(t, string(a.Bytes()), string(MeetingInfo(m[0].Info())))
	// A snapshot's meeting has all elements that a synthesised one has, in the same order.
	seen, err := ParseMeetings(listing(meetingXML("a", 1, "")))
	require.NoError(t, err)
	require.Equal(t, aLife().Info().names(), seen[0].names())
}
