package bbb

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// meetingXML is the inside of a <meeting>, API reference 4.5, as getMeetings
// writes it.
func meetingXML(id string, people int, extra string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
<meetingName>Spanish &amp; more</meetingName>
<meetingID>%s</meetingID>
<internalMeetingID>%040x-1700000000000</internalMeetingID>
<createTime>1700000000000</createTime>
<createDate>Tue Nov 14 22:13:20 UTC 2023</createDate>
<voiceBridge>70757</voiceBridge>
<dialNumber>613-555-1234</dialNumber>
<attendeePW>ap</attendeePW>
<moderatorPW>mp</moderatorPW>
<running>true</running>
<duration>0</duration>
<hasUserJoined>true</hasUserJoined>
<recording>false</recording>
<hasBeenForciblyEnded>false</hasBeenForciblyEnded>
<startTime>1700000000028</startTime>
<endTime>0</endTime>
<participantCount>%d</participantCount>
<listenerCount>2</listenerCount>
<voiceParticipantCount>3</voiceParticipantCount>
<videoCount>4</videoCount>
<maxUsers>0</maxUsers>
<moderatorCount>1</moderatorCount>
<attendees>
`, id, len(id), people)
	for i := range people {
		fmt.Fprintf(&b, `<attendee>
<userID>u%d</userID>
<fullName>J. Doe %d</fullName>
<role>VIEWER</role>
<isPresenter>false</isPresenter>
<isListeningOnly>false</isListeningOnly>
<hasJoinedVoice>true</hasJoinedVoice>
<hasVideo>false</hasVideo>
<clientType>HTML5</clientType>
<customdata>
<bbb_x>1</bbb_x>
</customdata>
</attendee>
`, i, i)
	}
	b.WriteString("</attendees>\n<metadata>\n<bbb-origin>greenlight</bbb-origin>\n<empty></empty>\n</metadata>\n<isBreakout>false</isBreakout>\n" + extra)
	return b.String()
}

func listing(meetings ...string) []byte {
	var b strings.Builder
	b.WriteString("<response>\n<returncode>SUCCESS</returncode>\n<meetings>\n")
	for _, m := range meetings {
		b.WriteString("<meeting>" + m + "</meeting>\n")
	}
	b.WriteString("</meetings>\n</response>")
	return []byte(b.String())
}

func TestParseMeetings(t *testing.T) {
	first := meetingXML("g7k2-a &lt;b&gt;", 2, "")
	second := strings.NewReplacer("<participantCount>0<", "<participantCount>1,234<", "<maxUsers>0<", "<maxUsers>2,000,000<",
		"<isBreakout>false<", "<isBreakout>true<").Replace(meetingXML("room-1", 0, "<parentMeetingID>int-1</parentMeetingID>\n<sequence>1</sequence>\n<freeJoin>false</freeJoin>\n"))
	body := listing(first, second)
	got, err := ParseMeetings(body)
	require.NoError(t, err)
	require.Len(t, got, 2)

	require.Equal(t, first, string(got[0].Bytes()))
	require.Equal(t, "g7k2-a <b>", got[0].MeetingID)
	require.Equal(t, fmt.Sprintf("%040x-1700000000000", len("g7k2-a &lt;b&gt;")), got[0].InternalID)
	require.Empty(t, got[0].ParentID)
	require.Equal(t, int64(1700000000000), got[0].CreateTime)
	require.Equal(t, [4]int{2, 2, 3, 4}, [4]int{got[0].Participants, got[0].Listeners, got[0].Voice, got[0].Videos})
	require.False(t, got[0].Breakout)
	require.Equal(t, "greenlight", got[0].Metadata("bbb-origin"))
	require.Empty(t, got[0].Metadata("empty"))
	require.Empty(t, got[0].Metadata("nothing"))
	require.Equal(t, first, string(got[0].Info().Bytes()), "nothing to change")

	require.Equal(t, "int-1", got[1].ParentID)
	require.True(t, got[1].Breakout)
	require.Equal(t, 1234, got[1].Participants)
	plain := strings.NewReplacer("1,234", "1234", "2,000,000", "2000000").Replace(second)
	require.Equal(t, plain, string(got[1].Info().Bytes()), "getMeetingInfo writes counts without grouping")
	require.Equal(t, second, string(got[1].Bytes()))
	require.Equal(t, body, Meetings([]Fields{got[0].Fields, got[1].Fields}))
}

func TestParseMeetingsForms(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"none":                {string(NoMeetings()), nil},
		"none, long form":     {"<response><returncode>SUCCESS</returncode><meetings></meetings></response>", nil},
		"no list":             {"<response><returncode>SUCCESS</returncode></response>", nil},
		"declaration":         {"\xef\xbb\xbf<?xml version='1.0'?>\n<response><returncode>SUCCESS</returncode><meetings><meeting><meetingID>a</meetingID></meeting></meetings></response>\n", []string{"a"}},
		"returncode at last":  {"<response><meetings><meeting><meetingID>a</meetingID></meeting></meetings><returncode>SUCCESS</returncode></response>", []string{"a"}},
		"unknown elements":    {"<response><x><meetings><meeting><meetingID>no</meetingID></meeting></meetings></x><returncode>SUCCESS</returncode><meetings><y/><y><meetingID>no</meetingID></y><meeting/><meeting z='1'><x><meetingID>no</meetingID></x><meetingID>a</meetingID></meeting><!-- <meeting> --></meetings></response>", []string{"a"}},
		"CDATA":               {"<response><returncode><![CDATA[SUCCESS]]></returncode><meetings><meeting><meetingID><![CDATA[a</meetingID>]]></meetingID></meeting></meetings></response>", []string{"a</meetingID>"}},
		"without an ID":       {"<response><returncode>SUCCESS</returncode><meetings><meeting></meeting></meetings></response>", []string{""}},
		"two lists":           {"<response><returncode>SUCCESS</returncode><meetings><meeting><meetingID>a</meetingID></meeting></meetings><meetings><meeting><meetingID>b</meetingID></meeting></meetings></response>", []string{"a", "b"}},
		"another root's name": {"<r><returncode>SUCCESS</returncode></r>", nil},
	} {
		got, err := ParseMeetings([]byte(tc.body))
		require.NoError(t, err, name)
		require.Len(t, got, len(tc.want), name)
		for i, m := range got {
			require.Equal(t, tc.want[i], m.MeetingID, name)
		}
	}
	for name, body := range map[string]string{
		"FAILED":           string(Failed("checksumError", "Checksums do not match")),
		"no returncode":    "<response><meetings/></response>",
		"nested code":      "<response><x><returncode>SUCCESS</returncode></x></response>",
		"empty root":       "<response/>",
		"cut":              string(listing(meetingXML("a", 1, "")))[:900],
		"cut list":         "<response><returncode>SUCCESS</returncode><meetings>",
		"crossed":          "<response><returncode>SUCCESS</returncode><meetings><meeting></meetings></meeting></response>",
		"two documents":    string(NoMeetings()) + string(NoMeetings()),
		"text before":      "x" + string(NoMeetings()),
		"text behind":      string(NoMeetings()) + "x",
		"broken user data": string(listing(strings.Replace(meetingXML("a", 1, ""), "<bbb_x>1</bbb_x>", "<a<b>1</a<b>", 1))),
	} {
		_, err := ParseMeetings([]byte(body))
		require.Error(t, err, name)
		require.Less(t, len(err.Error()), 100, name)
	}
}

// A getMeetings answer and the getMeetings answer made of its meetings are the same.
func TestMeetingsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []string
		for i := range rapid.IntRange(1, 5).Draw(t, "meetings") {
			in = append(in, meetingXML(fmt.Sprint("m", i), rapid.IntRange(0, 3).Draw(t, "people"),
				rapid.SampledFrom([]string{"", "<future a='1'/>\n", "<breakoutRooms>\n<breakout>x</breakout>\n</breakoutRooms>\n"}).Draw(t, "extra")))
		}
		body := listing(in...)
		got, err := ParseMeetings(body)
		require.NoError(t, err)
		var fields []Fields
		for i, m := range got {
			require.Equal(t, in[i], string(m.Bytes()))
			require.Equal(t, in[i], string(m.Info().Bytes()))
			fields = append(fields, m.Fields)
		}
		require.Equal(t, string(body), string(Meetings(fields)))
	})
}

// FuzzMeetings reads getMeetings answers of hostile servers.
func FuzzMeetings(f *testing.F) {
	f.Add(listing(meetingXML("a", 1, ""), meetingXML("b", 0, "<x/>")))
	f.Add(NoMeetings())
	f.Add([]byte("<r><returncode>SUCCESS</returncode><meetings><meeting/><x></x></meetings></r>"))
	f.Add([]byte(odd))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseMeetings(body)
		a, answerErr := ParseAnswer(body)
		if err != nil {
			return
		}
		if answerErr != nil {
			t.Fatalf("ParseMeetings reads what ParseAnswer refuses: %v", answerErr)
		}
		if list, err := a.Sub("meetings"); err != nil || len(got) > 0 && list.Bytes() == nil {
			t.Fatalf("meetings from nowhere: %v", err)
		}
		var fields []Fields
		for _, m := range got {
			again, err := ParseFields(m.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			sameFields(t, again, m.Fields)
			_ = m.Metadata("bluegate-ref")
			if m.Info().Int("participantCount") != int64(m.Participants) {
				t.Fatal("a count changed")
			}
			fields = append(fields, m.Info())
		}
		again, err := ParseMeetings(Meetings(fields))
		if err != nil || len(again) != len(got) {
			t.Fatalf("%d meetings are read back as %d: %v", len(got), len(again), err)
		}
		for i := range got {
			if again[i].MeetingID != got[i].MeetingID || again[i].Participants != got[i].Participants || again[i].InternalID != got[i].InternalID {
				t.Fatal("a meeting changed")
			}
		}
	})
}

func BenchmarkParseMeetings(b *testing.B) {
	var in []string
	for i := range 10 {
		in = append(in, meetingXML(fmt.Sprint("g7k2-room-", i), 20, ""))
	}
	body := listing(in...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := ParseMeetings(body)
		if err != nil || len(got) != 10 {
			b.Fatal(err)
		}
	}
}
