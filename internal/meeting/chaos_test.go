package meeting

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

const (
	chaosSequences = 150
	chaosSteps     = 80
)

// TestChaos drives random calls and failures over two replicas, and holds what
// must never happen, whatever does: a class ended that its tenant did not end, a
// class denied that goes on, a room with two live claims.
func TestChaos(t *testing.T) {
	for seed := range uint64(chaosSequences) {
		synctest.Test(t, func(t *testing.T) {
			c := &chaos{
				t: t, rand: rand.New(rand.NewPCG(seed, 1)), mayEnd: map[string]bool{},
				alive: map[string]string{},
			}
			a := newWorld(t, 3)
			b := a.replica()
			b.tail()
			c.shared, c.replicas = a.shared, []*world{a, b}
			for range chaosSteps {
				c.step()
				c.check()
				if t.Failed() {
					t.Fatalf("seed %d:\n%s", seed, strings.Join(c.log, "\n"))
				}
			}
			c.settle()
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, strings.Join(c.log, "\n"))
			}
		})
	}
}

type chaos struct {
	*shared
	t        *testing.T
	rand     *rand.Rand
	replicas []*world
	log      []string
	// alive are the rooms that their tenant was told are open, and the meetings.
	alive map[string]string
	// mayEnd are the meetings that a tenant's end was about.
	mayEnd map[string]bool
}

func (c *chaos) note(format string, args ...any) { c.log = append(c.log, fmt.Sprintf(format, args...)) }

func (c *chaos) step() {
	w := c.replicas[c.rand.IntN(2)]
	who := "A"
	if w == c.replicas[1] {
		who = "B"
	}
	room := fmt.Sprint("r", c.rand.IntN(3))
	server := int64(c.rand.IntN(3) + 1)
	switch n := c.rand.IntN(100); {
	case n < 25:
		a, err := w.create(room)
		c.note("%s create %s: %s %v", who, room, a.Text("internalMeetingID"), err)
		if id := a.Text("internalMeetingID"); err == nil {
			c.open(room, id)
		}
	case n < 35:
		claim, err := w.join(room)
		c.note("%s join %s: %s %v", who, room, claim.InternalID, err)
		if err == nil {
			c.open(room, claim.InternalID)
			c.people(claim)
		}
	case n < 45:
		c.end(w, who, room)
	case n < 60:
		c.note("%s polls %d", who, server)
		w.poll(server)
	case n < 70:
		c.note("%s tails: %v", who, w.r.Tail(c.t.Context()))
	case n < 78:
		d := []time.Duration{50 * time.Millisecond, time.Second, 12 * time.Second, 40 * time.Second, 2 * time.Minute}[c.rand.IntN(5)]
		c.note("%v pass", d)
		time.Sleep(d)
	case n < 88:
		c.fault(server)
	case n < 93:
		kinds := []string{"nothing", "all", "Move", "Claim", "Room"}
		kind := kinds[c.rand.IntN(len(kinds))]
		c.note("the store fails: %s", kind)
		c.store.away(func(method string, _ State) bool { return kind == "all" || kind == method })
	case n < 96:
		c.note("%d restarts", server)
		c.restart(server)
	default:
		c.note("%s ends inside %d", room, server)
		c.forget(server, Scope(acme.ScopeKey, room))
	}
}

// open notes that a tenant was told that a room is open. Nothing is promised by a
// replica that could not ask or tell the store: it may not have heard of the
// room's end, and the others don't hear of the meeting for as long.
func (c *chaos) open(room, internalID string) {
	recorded := slices.ContainsFunc(c.store.of(room), func(row Claim) bool { return row.InternalID == internalID })
	if recorded && !c.mayEnd[internalID] {
		c.alive[room] = internalID
	}
}

// people come into a meeting, if it is there.
func (c *chaos) people(claim Claim) {
	c.on(claim.ServerID, func(v *fakeServer) {
		if m, ok := v.meetings[claim.ScopedID]; ok && m.life.InternalID == claim.InternalID {
			m.people++
			v.meetings[claim.ScopedID] = m
		}
	})
}

func (c *chaos) end(w *world, who, room string) {
	// Whether it is carried out now or later, and also when the store only says
	// that it could not take the intent, what is there now may end.
	for _, m := range c.meetings(room) {
		c.mayEnd[m.life.InternalID] = true
	}
	err := w.r.End(c.t.Context(), acmeID, room)
	c.note("%s end %s: %v", who, room, err)
	if err == nil || fault.Is(err, fault.NotFound) {
		delete(c.alive, room)
	}
}

// fault changes how a server behaves.
func (c *chaos) fault(server int64) {
	kind := c.rand.IntN(7)
	c.note("%d behaves as %d", server, kind)
	c.on(server, func(v *fakeServer) {
		v.down, v.answer = time.Time{}, nil
		switch kind {
		case 0, 1, 2:
		case 3:
			v.down = time.Now()
		case 4:
			v.answer = fails(errHangs)
		case 5:
			v.answer = fails(errRefuses)
		case 6: // takes the create and never says so
			v.accepts = true
		}
		if kind != 6 {
			v.accepts = false
		}
	})
}

func (c *chaos) meetings(room string) []fakeMeeting {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []fakeMeeting
	for _, v := range c.servers {
		if m, ok := v.meetings[Scope(acme.ScopeKey, room)]; ok {
			list = append(list, m)
		}
	}
	return list
}

// check holds what must be true at every moment.
func (c *chaos) check() {
	c.mu.Lock()
	ended := slices.Clone(c.ended)
	c.mu.Unlock()
	for _, id := range ended {
		require.True(c.t, c.mayEnd[id], "we ended %s, nobody asked us to\n%s", id, strings.Join(c.log, "\n"))
	}
	for i := range 3 {
		room := fmt.Sprint("r", i)
		live := 0
		for _, s := range c.store.states(room) {
			if s.Live() {
				live++
			}
		}
		require.LessOrEqual(c.t, live, 1, room)
		goesOn := slices.ContainsFunc(c.meetings(room), func(m fakeMeeting) bool { return m.life.InternalID == c.alive[room] })
		if !goesOn {
			continue
		}
		for _, w := range c.replicas {
			_, err := w.info(room)
			if fault.Is(err, fault.NotFound) {
				require.Fail(c.t, "denied", "%s goes on as %s, and is denied\n%s", room, c.alive[room], strings.Join(c.log, "\n"))
			}
			require.True(c.t, err == nil || fault.Is(err, fault.Unavailable), err)
			require.False(c.t, errors.Is(err, errBusyRoom), "a claim that is live has an answer")
		}
	}
}

// settle ends all failures: soon every room opens, on one server, on both replicas.
func (c *chaos) settle() {
	c.note("all is well again")
	c.store.away(nil)
	for id := int64(1); id <= 3; id++ {
		c.on(id, func(v *fakeServer) { v.down, v.answer, v.accepts = time.Time{}, nil, false })
	}
	for range 3 {
		time.Sleep(settles)
		for _, w := range c.replicas {
			w.tail()
			for id := int64(1); id <= 3; id++ {
				w.poll(id)
			}
		}
		c.check()
	}
	for i := range 3 {
		room := fmt.Sprint("r", i)
		ids := map[string]bool{}
		for _, w := range c.replicas {
			a, err := w.create(room)
			require.NoError(c.t, err, "%s\n%s", room, strings.Join(c.log, "\n"))
			ids[a.Text("internalMeetingID")] = true
			claim, err := w.join(room)
			require.NoError(c.t, err)
			require.Equal(c.t, a.Text("internalMeetingID"), claim.InternalID)
			info, err := w.info(room)
			require.NoError(c.t, err)
			ids[info.Text("internalMeetingID")] = true
		}
		require.Len(c.t, ids, 1, "%s\n%s", room, strings.Join(c.log, "\n"))
	}
	for _, w := range c.replicas {
		w.tail()
		require.Empty(c.t, w.r.unsaved)
		list, err := w.r.List(c.t.Context(), acmeID)
		require.NoError(c.t, err)
		meetings, err := bbb.ParseMeetings(list.Answer)
		require.NoError(c.t, err)
		require.Len(c.t, meetings, 3)
	}
}
