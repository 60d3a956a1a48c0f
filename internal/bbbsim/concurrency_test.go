package bbbsim

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything at once, for the race detector; and of parallel creates of one
// meeting one is new.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	const workers = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh, duplicates := 0, 0
	for worker := range workers {
		wg.Go(func() {
			own := fmt.Sprintf("own-%d", worker)
			for range 20 {
				body := s.get("create", "name=Name&meetingID=shared&attendeePW=ap&moderatorPW=mp").Body.String()
				mu.Lock()
				if strings.Contains(body, "duplicateWarning") {
					duplicates++
				} else if strings.Contains(body, "SUCCESS") {
					fresh++
				}
				mu.Unlock()
				s.get("create", "name=Name&meetingID="+own+"&attendeePW=ap&moderatorPW=mp")
				s.get("join", "meetingID=shared&fullName=Jo&role=moderator")
				s.get("getMeetings", "")
				s.get("getMeetingInfo", "meetingID="+own)
				_ = s.AddUsers(own, 2)
				_ = s.RemoveUsers(own, 1)
				s.clock.move(10 * time.Millisecond)
				s.get("end", "meetingID="+own)
				s.SetFaults(Faults{Calls: []string{"x"}})
				_ = s.Meetings()
				_ = s.Requests()
				_ = s.Count("create")
			}
		})
	}
	wg.Wait()
	if fresh != 1 || duplicates != workers*20-1 {
		t.Errorf("%d new and %d repeated creates", fresh, duplicates)
	}
	if s.meeting("shared").Participants == 0 {
		t.Error("nobody arrived")
	}
}

// Servers come and go while they are used.
func TestCloseUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if _, _, err := s.call(t.Context(), "getMeetings", ""); err != nil {
					return
				}
			}
		})
	}
	s.waitFor("getMeetings", 50)
	s.Close()
	wg.Wait()
}

func TestManyServers(t *testing.T) {
	t.Parallel()
	for range 100 {
		s := New(Config{Secret: testSecret})
		if _, err := s.Start(); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
}

func BenchmarkGetMeetings(b *testing.B) {
	s := New(Config{Secret: testSecret, MaxRequests: -1})
	defer s.Close()
	s.Fill(10, 20)
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(s.getMeetings().body)))
	}
}

func BenchmarkIsMeetingRunning(b *testing.B) {
	s := New(Config{Secret: testSecret, MaxRequests: -1})
	defer s.Close()
	s.Fill(1000, 1)
	req := &apiRequest{params: params{{"meetingID", "fill-999"}}}
	b.ReportAllocs()
	for b.Loop() {
		s.isMeetingRunning(req)
	}
}
