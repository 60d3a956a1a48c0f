package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Results: o success, s slow success, f failure, F failure while frozen,
// r refused. Healths: ? unknown, u up, s slow, d down, r refused.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, results, healths string }{
		{"first success", "o", "u"},
		{"first slow success", "s", "u"},
		{"never answered", "ffff", "??dd"},
		{"down after three in a row", "offf", "uuud"},
		{"failures that are not in a row", "offoffoff", "uuuuuuuuu"},
		{"up after two in a row", "offfofoo", "uuuddddu"},
		{"one slow answer", "osososo", "uuuuuuu"},
		{"slow after two, up after two", "ossosoo", "uussssu"},
		{"slow and then down", "ossfff", "uusssd"},
		{"down and then slow", "offfss", "uuudds"},
		{"a failure between slow ones", "osfs", "uuuu"},
		{"refused after two", "orro", "uuru"},
		{"one refusal", "ororo", "uuuuu"},
		{"refused at once", "rrr", "?rr"},
		{"refused, then down", "orrfff", "uurrrd"},
		{"refusals and failures in turn", "ofrfo", "uuudd"},
		{"down, then refused", "offfrr", "uuuddr"},
		{"frozen", "oFFFFFF", "uuuuuuu"},
		{"failures before a freeze are forgotten", "offFff", "uuuuuu"},
		{"failures after a freeze count", "oFFFfff", "uuuuuud"},
		{"frozen stays down", "offfFFFoo", "uuuddddd" + "u"},
		{"frozen and unknown", "FFFFo", "????u"},
		{"refused while frozen", "oFrr", "uuur"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr := newTracker()
			var got strings.Builder
			for i, c := range tt.results {
				r := map[rune]result{'o': resultOK, 's': resultOK, 'f': resultTimeout, 'F': resultUnreachable, 'r': resultRefused}[c]
				before := tr.health
				now := time.Unix(int64(i), 0)
				changed := tr.observe(r, c == 's', c == 'F', thresholds{downAfter: 3, upAfter: 2}, now)
				require.Equal(t, before != tr.health, changed)
				if changed {
					require.Equal(t, now, tr.since)
				}
				got.WriteString(map[Health]string{Unknown: "?", Up: "u", Slow: "s", Down: "d", Refused: "r"}[tr.health])
			}
			require.Equal(t, tt.healths, got.String())
		})
	}
}

func TestSuspectSelf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		polled, failed int
		want           bool
	}{
		{0, 0, false},
		{1, 1, false},
		{2, 2, false},
		{3, 1, false}, // a third of three is one sick server
		{3, 2, false},
		{3, 3, true},
		{9, 3, true},
		{10, 3, false},
		{10, 4, true},
		{100, 30, false},
		{100, 31, true},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.failed, tt.polled), func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, suspectSelf(tt.polled, tt.failed))
		})
	}
}
