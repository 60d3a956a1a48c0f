package meeting

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestUnansweredRoomIsGivenUpWhileAskedFor lets people wait for a room whose
// server never answers its create: the page they see tries again every few
// seconds. That must not keep the room on that server for ever.
func TestUnansweredRoomIsGivenUpWhileAskedFor(t *testing.T) {
	for name, fails := range map[string]func(v *fakeServer){
		"creates hang":    func(v *fakeServer) { v.answer = failsOnly("create", errHangs) },
		"creates refused": func(v *fakeServer) { v.answer = failsOnly("create", errRefuses) },
		"server down":     func(v *fakeServer) { v.down = time.Now() },
	} {
		for _, call := range []string{"join", "create"} {
			t.Run(name+", "+call, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					w.poll(1)
					w.on(1, func(v *fakeServer) { v.answer = failsOnly("create", errHangs) })
					_, err := w.create("r")
					require.ErrorIs(t, err, errUnsettled)
					w.on(1, func(v *fakeServer) { v.answer = nil; fails(v) })
					began := time.Now()
					for w.claim("r").State != Released && time.Since(began) < 5*time.Minute {
						for range 2 {
							if call == "join" {
								_, err = w.join("r")
							} else {
								_, err = w.create("r")
							}
							require.ErrorIs(t, err, errUnsettled)
							time.Sleep(5 * time.Second)
						}
						w.poll(1)
					}
					require.Equal(t, []State{Released}, w.store.states("r"))
				})
			})
		}
	}
}
