package pool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// gather returns every series as "name{label=value,...}" with its value; of a
// histogram the number of observations.
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make([]string, 0, len(m.GetLabel()))
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.GetCounter() != nil:
				out[key] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				out[key] = m.GetGauge().GetValue()
			case m.GetHistogram() != nil:
				out[key] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.set(1, func(f *fake) {
			f.body = listing(room{id: "a", people: 10, videos: 2}, room{id: "b", parent: "a", people: 4}, room{id: "c", people: 3})
		})
		f.set(2, func(f *fake) { f.err = errDown })
		reg := prometheus.NewPedanticRegistry()
		ss := servers(3)
		ss[1].Pool, ss[2].AdminState = "gold", Draining
		p := fakePool(t, f, Options{Registerer: reg, Claims: func(id int64) []Claimed {
			if id != 1 {
				return nil
			}
			return []Claimed{{Ref: "ref-of-a-meeting", InternalID: "a", Seats: 30, Since: time.Now()}}
		}}, ss)

		// Everything is there from the start.
		got := gather(t, reg)
		for _, want := range []string{
			"bluegate_server_polls_total{result=ok,server=s1}", "bluegate_server_polls_total{result=timeout,server=s2}",
			"bluegate_server_poll_duration_seconds{server=s1}", "bluegate_server_requests_total{call=create,code=200,server=s1}",
			"bluegate_server_request_duration_seconds{call=create,server=s3}", "bluegate_server_state_changes_total{server=s3,to=down}",
			"bluegate_server_last_poll_success_timestamp_seconds{server=s1}", "bluegate_health_freezes_total{}", "bluegate_health_frozen{}",
			"bluegate_server_up{server=s1}", "bluegate_server_meetings{server=s1}", "bluegate_server_load_seats{server=s1}",
		} {
			require.Contains(t, got, want)
			if want != "bluegate_server_load_seats{server=s1}" {
				require.Zero(t, got[want], want)
			}
		}

		p.Start(t.Context())
		time.Sleep(time.Minute)
		_, _ = p.Call(t.Context(), 1, named("create"))
		_, _ = p.Call(t.Context(), 2, named("create"))
		_, _ = p.Call(t.Context(), 1, named("some\xffthing?meetingID=x"))
		f.set(1, func(f *fake) { f.status = 799 })
		_, _ = p.Call(t.Context(), 1, named("end"))
		f.set(1, func(f *fake) { f.hang = true })
		_, _ = p.Call(t.Context(), 1, named("end"))
		got = gather(t, reg)
		for key, want := range map[string]float64{
			"bluegate_server_up{server=s1}":                                       1,
			"bluegate_server_up{server=s2}":                                       0,
			"bluegate_server_admin_state{server=s1,state=enabled}":                1,
			"bluegate_server_admin_state{server=s1,state=draining}":               0,
			"bluegate_server_admin_state{server=s3,state=draining}":               1,
			"bluegate_server_health_state{server=s1,state=up}":                    1,
			"bluegate_server_health_state{server=s2,state=down}":                  1,
			"bluegate_server_health_state{server=s2,state=up}":                    0,
			"bluegate_server_meetings{server=s1}":                                 2,
			"bluegate_server_breakout_meetings{server=s1}":                        1,
			"bluegate_server_participants{server=s1}":                             13,
			"bluegate_server_listeners{server=s1}":                                3,
			"bluegate_server_voice_participants{server=s1}":                       6,
			"bluegate_server_videos{server=s1}":                                   2,
			"bluegate_server_largest_meeting_participants{server=s1}":             10,
			"bluegate_server_load_seats{server=s1}":                               34, // 30 expected, 3 in c, 2 cameras
			"bluegate_server_capacity_seats{server=s1}":                           100,
			"bluegate_server_state_changes_total{server=s1,to=up}":                1,
			"bluegate_server_state_changes_total{server=s2,to=down}":              1,
			"bluegate_server_circuit_open{server=s1}":                             0,
			"bluegate_server_requests_total{call=create,code=200,server=s1}":      1,
			"bluegate_server_requests_total{call=create,code=not_sent,server=s2}": 1,
			"bluegate_server_requests_total{call=other,code=200,server=s1}":       1,
			"bluegate_server_requests_total{call=end,code=other,server=s1}":       1,
			"bluegate_server_requests_total{call=end,code=timeout,server=s1}":     1,
			"bluegate_server_request_duration_seconds{call=end,server=s1}":        2,
			"bluegate_pool_free_seats{pool=default}":                              66,
			"bluegate_pool_free_seats{pool=gold}":                                 0,
			"bluegate_health_frozen{}":                                            0,
		} {
			require.Contains(t, got, key)
			require.InDelta(t, want, got[key], 1e-6, key)
		}
		require.Greater(t, got["bluegate_server_polls_total{result=ok,server=s1}"], 4.0)
		require.Greater(t, got["bluegate_server_polls_total{result=unreachable,server=s2}"], 4.0)
		require.Greater(t, got["bluegate_server_consecutive_failures{server=s2}"], 4.0)
		require.InDelta(t, float64(time.Now().Unix()), got["bluegate_server_last_poll_success_timestamp_seconds{server=s1}"], 30)
		for key := range got {
			for _, word := range []string{secret, "checksum", "example.org", "ref-of", "g-a", "meetingID"} {
				require.NotContains(t, key, word)
			}
		}

		// A server that is gone leaves nothing, and a call that ends late brings
		// nothing back. One that only got a new URL keeps its counters.
		p.roster.Load().byID[2].breaker = p.newBreaker("s2")
		f.set(2, func(f *fake) { f.err, f.delay = nil, 2*time.Second })
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = p.Call(t.Context(), 2, named("getMeetings")) })
		synctest.Wait()
		changed := server(1)
		changed.APIURL = base(7)
		p.SetServers([]Server{changed})
		wg.Wait()
		got = gather(t, reg)
		for key := range got {
			require.NotContains(t, key, "server=s2")
			require.NotContains(t, key, "server=s3")
			require.NotContains(t, key, "gold")
		}
		require.InDelta(t, 1, got["bluegate_server_requests_total{call=create,code=200,server=s1}"], 0)

		// Renamed: the series are the new name's.
		changed.Name = "new"
		p.SetServers([]Server{changed})
		keys := slices.Collect(maps.Keys(gather(t, reg)))
		require.NotContains(t, strings.Join(keys, " "), "server=s1")
		require.Contains(t, keys, "bluegate_server_polls_total{result=ok,server=new}")
	})
}

func TestFreezeMetric(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		reg := prometheus.NewPedanticRegistry()
		p := fakePool(t, f, Options{Registerer: reg}, servers(4))
		p.Start(t.Context())
		synctest.Wait()
		for id := range int64(4) {
			f.set(id+1, func(f *fake) { f.err = errDown })
		}
		time.Sleep(5 * time.Minute)
		got := gather(t, reg)
		require.InDelta(t, 1, got["bluegate_health_frozen{}"], 0)
		require.InDelta(t, 1, got["bluegate_health_freezes_total{}"], 0)
		p.SetServers(servers(1))
		require.Zero(t, gather(t, reg)["bluegate_health_frozen{}"], "one server is too few to suspect ourselves")
	})
}

// The budget is some 40 series a server; a histogram's buckets count.
func TestSeriesPerServer(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	p := fakePool(t, newFakes(), Options{Registerer: reg}, servers(100))
	families, err := reg.Gather()
	require.NoError(t, err)
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n++
			if h := m.GetHistogram(); h != nil {
				n += len(h.GetBucket()) + 2
			}
		}
	}
	t.Log(fmt.Sprint(n/100), "series per server")
	require.Less(t, n/100, 120)
	p.Stop()
}
