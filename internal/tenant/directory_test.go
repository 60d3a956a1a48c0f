package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

const (
	acmeSecret  = "acme-secret-that-is-long-enough"
	bobSecret   = "bob-secret-that-is-long-enough-too"
	carolSecret = "carol-secret-that-is-long-enough"
	shortSecret = "8cd8ef52e8e101574e400"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("198.51.100.2")
)

// people is a listing of three tenants with one shared secret each.
func people() Listing {
	return Listing{
		Tenants: []Tenant{
			{ID: 3, Slug: "carol", Name: "Carol", State: Active},
			{ID: 1, Slug: "acme", Name: "Acme", State: Active},
			{ID: 2, Slug: "bob", Name: "Bob", State: Suspended},
		},
		Secrets: []Secret{
			{ID: 11, TenantID: 1, Value: acmeSecret, Shared: true},
			{ID: 21, TenantID: 2, Value: bobSecret, Shared: true},
			{ID: 31, TenantID: 3, Value: carolSecret, Shared: true},
		},
		Hosts: []Host{{Name: "BBB.Acme.Example", TenantID: 1}, {Name: "conf.bob.example.", TenantID: 2}},
	}
}

func signed(query string, alg bbb.Algorithm, secret string) bbb.Call {
	c := bbb.Call{Name: "getMeetingInfo", Query: query}
	c.Query = c.Sign(alg, secret)
	return c
}

func newLoaded(t *testing.T, o Options, l Listing) *Directory {
	t.Helper()
	d := NewDirectory(o)
	d.Set(l)
	return d
}

// series returns the values of a collector's or registry's counters by name and label value.
func series(g prometheus.Gatherer) map[string]int {
	families, err := g.Gather()
	if err != nil {
		panic(err)
	}
	out := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			out[name] = int(m.GetCounter().GetValue())
		}
	}
	return out
}

func count(c prometheus.Collector) int {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	for _, n := range series(r) {
		return n
	}
	return 0
}

// foundBy returns how often a step found the caller.
func (d *Directory) foundBy(s step) int { return count(d.metrics.identified[s]) }

func (d *Directory) failed(r Reason) int { return count(d.metrics.failures[r]) }

// sameRefusal asserts that what a caller sees of an error is the plain refusal.
func sameRefusal(t require.TestingT, err error, reason Reason) {
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Equal(t, fault.Error{Kind: fault.Denied, Key: "checksumError", Message: "Checksums do not match"},
		fault.Error{Kind: f.Kind, Key: f.Key, Message: f.Message})
	require.Equal(t, reason, ReasonOf(err))
}

func overloaded(t *testing.T, err error) {
	t.Helper()
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Equal(t, fault.Unavailable, f.Kind)
	require.Equal(t, "overloaded", f.Key)
	require.Equal(t, Busy, ReasonOf(err))
}

func TestLookUps(t *testing.T) {
	d := NewDirectory(Options{})
	require.False(t, d.Loaded())
	require.Empty(t, d.Tenants())
	_, ok := d.Tenant(1)
	require.False(t, ok)
	_, ok = d.HostTenant("bbb.acme.example")
	require.False(t, ok)
	_, err := d.Identify(t.Context(), Where{Slug: "acme"}, signed("", bbb.SHA1, acmeSecret))
	require.True(t, fault.Is(err, fault.Unavailable), "not knowing is never a refusal")
	require.Equal(t, "starting", fault.As(err).Key)

	d.Set(people())
	require.True(t, d.Loaded())
	acme, ok := d.Tenant(1)
	require.True(t, ok)
	require.Equal(t, "Acme", acme.Name)
	bob, ok := d.Tenant(2)
	require.True(t, ok)
	require.Equal(t, Suspended, bob.State)
	_, ok = d.Tenant(99)
	require.False(t, ok)
	all := d.Tenants()
	require.Len(t, all, 3)
	require.Equal(t, []int64{1, 2, 3}, []int64{all[0].ID, all[1].ID, all[2].ID})
	all[0].Slug = "changed"
	require.Equal(t, "acme", d.Tenants()[0].Slug, "what is returned is the caller's")
}

func TestHostTenant(t *testing.T) {
	l := people()
	l.Hosts = append(l.Hosts,
		Host{Name: "twice.example", TenantID: 1}, Host{Name: "Twice.example.", TenantID: 2}, Host{Name: "twice.example", TenantID: 3},
		Host{Name: "again.example", TenantID: 1}, Host{Name: "again.example.", TenantID: 1},
		Host{Name: "gone.example", TenantID: 99}, Host{Name: "", TenantID: 1}, Host{Name: "[2001:DB8::1]", TenantID: 3})
	d := newLoaded(t, Options{}, l)
	for host, want := range map[string]string{
		"bbb.acme.example":      "acme",
		"BBB.ACME.example":      "acme",
		"bbb.acme.example:443":  "acme",
		"bbb.acme.example.":     "acme",
		"bbb.acme.example.:443": "acme",
		"conf.bob.example":      "bob",
		"again.example":         "acme",
		"[2001:db8::1]":         "carol",
		"[2001:db8::1]:8443":    "carol",
		"acme.example":          "",
		"x.bbb.acme.example":    "",
		"twice.example":         "", // of two tenants: neither
		"gone.example":          "",
		"":                      "",
		":443":                  "",
		".":                     "",
		"[":                     "",
		"[]":                    "",
	} {
		slug, ok := d.HostTenant(host)
		require.Equal(t, want, slug, host)
		require.Equal(t, want != "", ok, host)
	}
}

func TestIdentifyBySlug(t *testing.T) {
	l := people()
	l.Secrets = append(l.Secrets,
		Secret{ID: 12, TenantID: 1, Value: "short"},
		Secret{ID: 13, TenantID: 1, Value: bobSecret},
		Secret{ID: 14, TenantID: 1, Value: ""})
	d := newLoaded(t, Options{}, l)
	for _, alg := range bbb.Algorithms() {
		for _, tc := range []struct {
			slug, secret string
			want         int64
		}{
			{"acme", acmeSecret, 11},
			{"acme", "short", 12},
			{"acme", bobSecret, 13},
			{"bob", bobSecret, 21},
		} {
			c, err := d.Identify(t.Context(), Where{Slug: tc.slug}, signed("meetingID=a%20b+c", alg, tc.secret))
			require.NoError(t, err)
			require.Equal(t, tc.slug, c.Tenant.Slug)
			require.Equal(t, tc.want, c.SecretID)
			require.Equal(t, alg, c.Algorithm)
			require.False(t, c.Expired)
		}
	}
	require.Equal(t, 16, d.foundBy(bySlug))
}

// Whatever is wrong, the caller sees the same; only the log and the metric differ.
func TestRefusalsAreAlike(t *testing.T) {
	good := signed("meetingID=x", bbb.SHA256, acmeSecret)
	zeros := string(dummySecret[:])
	for _, tc := range []struct {
		name   string
		where  Where
		call   bbb.Call
		reason Reason
	}{
		{"unknown slug", Where{Slug: "nobody"}, good, UnknownTenant},
		{"unknown slug, signed with what stands in for its secret", Where{Slug: "nobody"}, signed("", bbb.SHA1, zeros), UnknownTenant},
		{"unknown slug, no checksum", Where{Slug: "nobody"}, bbb.Call{Name: "create"}, UnknownTenant},
		{"another tenant's secret", Where{Slug: "carol"}, good, BadChecksum},
		{"known slug, signed with the stand-in", Where{Slug: "carol"}, signed("", bbb.SHA1, zeros), BadChecksum},
		{"an empty secret", Where{Slug: "carol"}, signed("", bbb.SHA1, ""), BadChecksum},
		{"no checksum", Where{Slug: "acme"}, bbb.Call{Name: "create", Query: "meetingID=x"}, Missing},
		{"empty checksum", Where{Slug: "acme"}, bbb.Call{Name: "create", Query: "meetingID=x&checksum="}, Missing},
		{"odd length", Where{Slug: "acme"}, bbb.Call{Name: "create", Query: "checksum=abc"}, Algorithm},
		{"no hex", Where{Slug: "acme"}, bbb.Call{Name: "create", Query: "checksum=" + strings.Repeat("x", 40)}, BadChecksum},
		{"changed query", Where{Slug: "acme"}, bbb.Call{Name: good.Name, Query: "a=b&" + good.Query}, BadChecksum},
		{"changed call", Where{Slug: "acme"}, bbb.Call{Name: "end", Query: good.Query}, BadChecksum},
		{"shared: unknown secret", Where{Addr: here}, signed("", bbb.SHA512, "some other secret, long enough"), BadChecksum},
		{"shared: empty secret", Where{Addr: here}, signed("", bbb.SHA512, ""), BadChecksum},
		{"shared: no checksum", Where{Addr: here}, bbb.Call{Name: "create"}, Missing},
		{"shared: odd length", Where{Addr: here}, bbb.Call{Name: "create", Query: "checksum=abc"}, Algorithm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := people()
			l.Secrets = append(l.Secrets, Secret{ID: 32, TenantID: 3, Value: "", Shared: true})
			d := newLoaded(t, Options{}, l)
			_, err := d.Identify(t.Context(), tc.where, tc.call)
			sameRefusal(t, err, tc.reason)
			require.Equal(t, 1, d.failed(tc.reason))
			for _, secret := range []string{acmeSecret, tc.call.Query} {
				if secret != "" {
					require.NotContains(t, err.Error(), secret)
				}
			}
		})
	}
}

// A refusal by slug costs as many checksums whether the tenant exists or not.
func TestRefusalCostsTheSame(t *testing.T) {
	l := people()
	l.Secrets = append(l.Secrets, Secret{ID: 12, TenantID: 1, Value: "old"})
	d := newLoaded(t, Options{}, l)
	ix := d.index.Load()
	v := signed("meetingID=x", bbb.SHA256, "none of them").Verifier()
	time1 := func(slug string) float64 {
		began := time.Now()
		for range 200 {
			who, _ := ix.identifyBySlug(slug, v)
			require.Nil(t, who.secret)
		}
		return float64(time.Since(began))
	}
	// Several tries, because a shared machine is noisy: one quiet one is enough.
	var ratio float64
	for range 50 {
		nobody, one, two := time1("nobody"), time1("carol"), time1("acme")
		ratio = max(nobody, one, two) / min(nobody, one, two)
		if ratio < 1.25 {
			return
		}
	}
	t.Fatalf("the times of refusals differ by a factor of %.2f", ratio)
}

func TestSharedOrder(t *testing.T) {
	owners := map[string][]int64{}
	d := newLoaded(t, Options{Owners: func(id string) []int64 { return owners[id] }}, people())
	identify := func(addr netip.Addr, c bbb.Call, want int64) {
		t.Helper()
		got, err := d.Identify(t.Context(), Where{Addr: addr}, c)
		require.NoError(t, err)
		require.Equal(t, want, got.Tenant.ID)
	}
	first := signed("meetingID=r1", bbb.SHA1, bobSecret)

	identify(here, first, 2)
	require.Equal(t, 1, d.foundBy(byScan), "nothing is known: all secrets")
	identify(there, first, 2)
	require.Equal(t, 1, d.foundBy(byCall), "the same call, from anywhere")
	identify(here, signed("meetingID=r2", bbb.SHA256, bobSecret), 2)
	require.Equal(t, 1, d.foundBy(byAddress), "a new call from the same address")

	owners["r3"] = []int64{1, 2}
	identify(there, signed("meetingID=r3", bbb.SHA1, bobSecret), 2)
	require.Equal(t, 1, d.foundBy(byMeeting))
	identify(there, signed("a=b&meetingID=%72%33%2Cr4", bbb.SHA1, bobSecret), 2)
	require.Equal(t, 2, d.foundBy(byMeeting), "the first of a list, decoded")
	rec := bbb.Call{Name: "publishRecordings", Query: "recordID=r3,r9&publish=true"}
	rec.Query = rec.Sign(bbb.SHA384, bobSecret)
	identify(netip.Addr{}, rec, 2)
	require.Equal(t, 3, d.foundBy(byMeeting))
	identify(there, signed("meetingID=r4", bbb.SHA1, bobSecret), 2)
	require.Equal(t, 2, d.foundBy(byAddress), "finding by meeting remembers the address")

	// Owning a meeting isn't signing for it.
	owners["r5"] = []int64{1, 3, 99}
	identify(here, signed("meetingID=r5", bbb.SHA1, bobSecret), 2)
	require.Equal(t, 3, d.foundBy(byAddress))
	require.Equal(t, 1, d.foundBy(byScan))
}

func TestAtMostEightOwnersAreTried(t *testing.T) {
	l := people()
	ids := make([]int64, 0, 1000)
	for i := int64(100); i < 1100; i++ {
		l.Tenants = append(l.Tenants, Tenant{ID: i, Slug: fmt.Sprint("t", i)})
		l.Secrets = append(l.Secrets, Secret{ID: i, TenantID: i, Value: fmt.Sprint("a secret that is long enough ", i), Shared: true})
		ids = append(ids, i, i) // a tenant twice counts once
	}
	d := newLoaded(t, Options{Owners: func(string) []int64 { return ids }}, l)
	by := func(id int64) step {
		before := d.foundBy(byMeeting)
		_, err := d.Identify(t.Context(), Where{}, signed("meetingID=1", bbb.SHA1, fmt.Sprint("a secret that is long enough ", id)))
		require.NoError(t, err)
		if d.foundBy(byMeeting) > before {
			return byMeeting
		}
		return byScan
	}
	require.Equal(t, byMeeting, by(107))
	require.Equal(t, byScan, by(108))
}

func TestAddressRemembersFourTenants(t *testing.T) {
	l := Listing{}
	for i := int64(1); i <= 5; i++ {
		l.Tenants = append(l.Tenants, Tenant{ID: i, Slug: fmt.Sprint("t", i)})
		l.Secrets = append(l.Secrets, Secret{ID: i, TenantID: i, Value: fmt.Sprint("a secret that is long enough ", i), Shared: true})
	}
	d := newLoaded(t, Options{}, l)
	n := 0
	call := func(id int64) (scanned bool) {
		n++
		before := d.foundBy(byScan)
		_, err := d.Identify(t.Context(), Where{Addr: here}, signed(fmt.Sprint("n=", n), bbb.SHA1, fmt.Sprint("a secret that is long enough ", id)))
		require.NoError(t, err)
		return d.foundBy(byScan) > before
	}
	for _, id := range []int64{1, 2, 3, 4} {
		require.True(t, call(id))
	}
	for _, id := range []int64{1, 4, 2, 3, 1} {
		require.False(t, call(id), id)
	}
	require.True(t, call(5)) // the oldest, 4, goes
	require.False(t, call(2))
	require.True(t, call(4))
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":           "192.0.2.1",
		"::ffff:192.0.2.1":    "192.0.2.1",
		"2001:db8:1:2::3":     "2001:db8:1:2::",
		"2001:db8:1:2:3:4::5": "2001:db8:1:2::",
		"fe80::1%eth0":        "fe80::",
	} {
		require.Equal(t, netip.MustParseAddr(want), addressKey(netip.MustParseAddr(in)))
	}
	require.False(t, addressKey(netip.Addr{}).IsValid())
}

func TestAddressIsForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	d := newLoaded(t, Options{Now: func() time.Time { return now }}, people())
	call := func(addr netip.Addr, n int) {
		_, err := d.Identify(t.Context(), Where{Addr: addr}, signed(fmt.Sprint("n=", n), bbb.SHA1, acmeSecret))
		require.NoError(t, err)
	}
	call(here, 1)
	now = now.Add(addressMemory - time.Second)
	call(here, 2)
	require.Equal(t, 1, d.foundBy(byAddress))
	now = now.Add(addressMemory - time.Second)
	call(here, 3)
	require.Equal(t, 2, d.foundBy(byAddress), "it came back in time")
	now = now.Add(addressMemory + time.Second)
	call(there, 4)
	require.Equal(t, []netip.Addr{there}, d.recent.addresses.Keys(), "another one's visit throws stale ones out")
	call(here, 5)
	require.Equal(t, 3, d.foundBy(byScan))
	now = now.Add(addressMemory + time.Second)
	call(here, 6)
	require.Equal(t, 4, d.foundBy(byScan))
}

// What isn't shared never matches on the shared URL, whatever is remembered or owned.
func TestNotShared(t *testing.T) {
	l := people()
	l.Secrets = append(l.Secrets,
		Secret{ID: 12, TenantID: 1, Value: "not-shared-but-long-enough"},
		Secret{ID: 13, TenantID: 1, Value: "0123456789012345678", Shared: true}, // 19 characters
		Secret{ID: 14, TenantID: 1, Value: "ääääääääää", Shared: true},          // 20 bytes, 10 characters
		Secret{ID: 15, TenantID: 1, Value: "01234567890123456789", Shared: true},
	)
	d := newLoaded(t, Options{Owners: func(string) []int64 { return []int64{1} }}, l)
	_, err := d.Identify(t.Context(), Where{Addr: here}, signed("meetingID=x", bbb.SHA1, acmeSecret))
	require.NoError(t, err)
	for i := range l.Secrets[3:6] {
		c := signed("meetingID=x", bbb.SHA1, l.Secrets[3+i].Value)
		_, err := d.Identify(t.Context(), Where{Slug: "acme", Addr: here}, c)
		require.NoError(t, err)
		_, err = d.Identify(t.Context(), Where{Addr: here}, c)
		sameRefusal(t, err, BadChecksum)
	}
	_, err = d.Identify(t.Context(), Where{Addr: here}, signed("", bbb.SHA1, "01234567890123456789"))
	require.NoError(t, err)
}

func TestSameSecretOfTwoTenants(t *testing.T) {
	for _, shared := range []bool{false, true} { // true is a listing that is wrong
		l := people()
		l.Secrets = append(l.Secrets,
			Secret{ID: 12, TenantID: 1, Value: "the-very-same-secret-of-two", Shared: shared},
			Secret{ID: 22, TenantID: 2, Value: "the-very-same-secret-of-two", Shared: shared},
			Secret{ID: 32, TenantID: 3, Value: "twice-the-same-of-one-tenant", Shared: true},
			Secret{ID: 33, TenantID: 3, Value: "twice-the-same-of-one-tenant", Shared: true})
		d := newLoaded(t, Options{Owners: func(string) []int64 { return []int64{1} }}, l)
		c := signed("meetingID=x", bbb.SHA256, "the-very-same-secret-of-two")
		_, err := d.Identify(t.Context(), Where{Addr: here}, c)
		sameRefusal(t, err, BadChecksum)
		for slug, id := range map[string]int64{"acme": 12, "bob": 22} {
			got, err := d.Identify(t.Context(), Where{Slug: slug}, c)
			require.NoError(t, err)
			require.Equal(t, id, got.SecretID)
		}
		got, err := d.Identify(t.Context(), Where{}, signed("", bbb.SHA1, "twice-the-same-of-one-tenant"))
		require.NoError(t, err)
		require.Equal(t, int64(3), got.Tenant.ID)
	}
}

func TestSuspendedAndExpiredVerify(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := people()
	past, present, future := now.Add(-time.Hour), now, now.Add(time.Nanosecond)
	l.Secrets[0].ExpiresAt, l.Secrets[1].ExpiresAt, l.Secrets[2].ExpiresAt = &past, &present, &future
	d := newLoaded(t, Options{Now: func() time.Time { return now }}, l)
	for _, slug := range []string{"", "by slug"} {
		for i, s := range l.Secrets {
			w := Where{Addr: here}
			if slug != "" {
				w.Slug = l.Tenants[(i+1)%3].Slug
			}
			c, err := d.Identify(t.Context(), w, signed("n=1", bbb.SHA1, s.Value))
			require.NoError(t, err)
			require.Equal(t, s.ID, c.SecretID)
			require.Equal(t, i < 2, c.Expired)
		}
	}
	c, err := d.Identify(t.Context(), Where{}, signed("", bbb.SHA1, bobSecret))
	require.NoError(t, err)
	require.Equal(t, Suspended, c.Tenant.State)
}

// A secret that was revoked, replaced, taken off the shared URL or whose tenant
// went is gone at once, however well remembered.
func TestMemoryDoesNotResurrect(t *testing.T) {
	revoked := time.Unix(1, 0)
	for name, change := range map[string]func(*Listing){
		"revoked":        func(l *Listing) { l.Secrets[0].RevokedAt = &revoked },
		"removed":        func(l *Listing) { l.Secrets = l.Secrets[1:] },
		"replaced":       func(l *Listing) { l.Secrets[0].Value = "acme's new secret, long enough" },
		"not shared":     func(l *Listing) { l.Secrets[0].Shared = false },
		"tenant removed": func(l *Listing) { l.Tenants = []Tenant{l.Tenants[0], l.Tenants[2]} },
		"other tenant's ID": func(l *Listing) {
			l.Secrets[0].TenantID, l.Secrets[1].TenantID = 2, 1
			l.Secrets[0].Value = bobSecret
			l.Secrets[1].Value = "acme's new secret, long enough"
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newLoaded(t, Options{Owners: func(string) []int64 { return []int64{1} }}, people())
			w := Where{Addr: here}
			old := signed("meetingID=x", bbb.SHA1, acmeSecret)
			unowned := signed("n=1", bbb.SHA1, acmeSecret)
			for _, c := range []bbb.Call{unowned, old, unowned} {
				_, err := d.Identify(t.Context(), w, c)
				require.NoError(t, err)
			}
			l := people()
			change(&l)
			d.Set(l)
			for _, c := range []bbb.Call{old, unowned, signed("n=2", bbb.SHA1, acmeSecret)} {
				_, err := d.Identify(t.Context(), w, c)
				sameRefusal(t, err, BadChecksum)
			}
			if name == "revoked" || name == "removed" || name == "tenant removed" {
				require.Zero(t, d.recent.calls.Len(), "nothing is left of it")
			}
			d.Set(people()) // it comes back: that is not remembered either, but verified
			_, err := d.Identify(t.Context(), w, unowned)
			require.NoError(t, err)
		})
	}
}

func TestSetKeepsWhatIsStillTrue(t *testing.T) {
	d := newLoaded(t, Options{}, people())
	a, b := signed("n=1", bbb.SHA1, acmeSecret), signed("n=1", bbb.SHA1, bobSecret)
	for _, c := range []bbb.Call{a, b} {
		_, err := d.Identify(t.Context(), Where{Addr: here}, c)
		require.NoError(t, err)
	}
	l := people()
	l.Secrets = l.Secrets[1:]
	d.Set(l)
	_, err := d.Identify(t.Context(), Where{}, b)
	require.NoError(t, err)
	require.Equal(t, 1, d.foundBy(byCall), "a tenant doesn't pay for another one's change")
}

func TestMemoryIsBounded(t *testing.T) {
	d := newLoaded(t, Options{RecentCalls: 10, RecentAddresses: 5, ScanRate: 1e9, ScanBurst: 1}, people())
	for i := range 100 {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		_, err := d.Identify(t.Context(), Where{Addr: addr}, signed(fmt.Sprint("n=", i), bbb.SHA1, acmeSecret))
		require.NoError(t, err)
		_, err = d.Identify(t.Context(), Where{Addr: addr}, signed(fmt.Sprint("n=", i), bbb.SHA1, "nobody's secret at all"))
		require.Error(t, err)
	}
	require.Equal(t, 10, d.recent.calls.Len())
	require.Equal(t, 5, d.recent.addresses.Len())
	require.LessOrEqual(t, d.scans.buckets.Len(), 5)
}

// An address whose scans found nothing loses the scan, and nothing else; the
// others lose nothing.
func TestThrottledAddress(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	owners := map[string][]int64{"r1": {3}}
	d := newLoaded(t, Options{
		Now: func() time.Time { return now }, ScanRate: 0.5, ScanBurst: 3,
		Owners: func(id string) []int64 { return owners[id] },
	}, people())
	w := Where{Addr: here}
	seen := signed("n=1", bbb.SHA1, acmeSecret)
	_, err := d.Identify(t.Context(), Where{Addr: there}, seen)
	require.NoError(t, err)
	for i := range 50 { // successes cost nothing
		_, err := d.Identify(t.Context(), w, signed(fmt.Sprint("ok=", i), bbb.SHA1, bobSecret))
		require.NoError(t, err)
	}
	for i := range 3 {
		_, err := d.Identify(t.Context(), w, signed(fmt.Sprint("bad=", i), bbb.SHA1, "nobody's secret at all"))
		sameRefusal(t, err, BadChecksum)
	}
	_, err = d.Identify(t.Context(), w, signed("bad=4", bbb.SHA1, "nobody's secret at all"))
	overloaded(t, err)
	_, err = d.Identify(t.Context(), w, signed("ok=1", bbb.SHA1, carolSecret))
	overloaded(t, err)
	_, err = d.Identify(t.Context(), w, bbb.Call{Name: "create"})
	sameRefusal(t, err, Missing)

	for name, c := range map[string]bbb.Call{
		"meeting": signed("meetingID=r1", bbb.SHA1, carolSecret),
		"call":    seen,
		"address": signed("n=2", bbb.SHA1, bobSecret),
	} {
		_, err := d.Identify(t.Context(), w, c)
		require.NoError(t, err, name)
	}
	_, err = d.Identify(t.Context(), Where{Addr: here, Slug: "carol"}, signed("", bbb.SHA1, carolSecret))
	require.NoError(t, err)
	_, err = d.Identify(t.Context(), Where{Addr: there}, signed("n=3", bbb.SHA1, bobSecret))
	require.NoError(t, err)
	_, err = d.Identify(t.Context(), Where{Addr: there}, signed("bad=5", bbb.SHA1, "nobody's secret at all"))
	sameRefusal(t, err, BadChecksum)

	now = now.Add(2 * time.Second)
	_, err = d.Identify(t.Context(), w, signed("bad=6", bbb.SHA1, "nobody's secret at all"))
	sameRefusal(t, err, BadChecksum)
	_, err = d.Identify(t.Context(), w, signed("bad=7", bbb.SHA1, "nobody's secret at all"))
	overloaded(t, err)
	require.Equal(t, 3, d.failed(Busy))

	now = now.Add(time.Hour)
	_, err = d.Identify(t.Context(), Where{}, signed("bad=8", bbb.SHA1, "nobody's secret at all"))
	sameRefusal(t, err, BadChecksum)
	require.Equal(t, []netip.Addr{{}}, d.scans.buckets.Keys(), "full buckets are thrown away")
}

func TestScanQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLoaded(t, Options{ScanWaiters: 2, Now: time.Now}, people())
		call := signed("", bbb.SHA1, carolSecret)
		type outcome struct {
			err  error
			took time.Duration
		}
		start := func(ctx context.Context) chan outcome {
			out := make(chan outcome, 1)
			go func() {
				began := time.Now()
				_, err := d.Identify(ctx, Where{}, call)
				out <- outcome{err, time.Since(began)}
			}()
			synctest.Wait()
			return out
		}

		require.True(t, d.scans.acquire(t.Context())) // a scan is on its way
		a, b := start(t.Context()), start(t.Context())
		full := <-start(t.Context())
		overloaded(t, full.err)
		require.Zero(t, full.took, "the queue is full")
		for _, ch := range []chan outcome{a, b} {
			got := <-ch
			overloaded(t, got.err)
			require.Equal(t, 50*time.Millisecond, got.took)
		}

		ctx, cancel := context.WithCancel(t.Context())
		a, b = start(ctx), start(t.Context())
		cancel()
		got := <-a
		overloaded(t, got.err)
		require.ErrorIs(t, got.err, context.Canceled)
		require.Zero(t, got.took)
		time.Sleep(30 * time.Millisecond) // of the bubble's clock
		d.scans.release()
		got = <-b
		require.NoError(t, got.err)
		require.Equal(t, 30*time.Millisecond, got.took)
		require.Zero(t, d.scans.waiting.Load())
		require.NoError(t, (<-start(t.Context())).err)
	})
}

// Those who waited for a scan look again before they scan themselves: after a
// start an LMS's calls come in dozens, and one scan is enough for them.
func TestScanServesThoseWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLoaded(t, Options{}, people())
		require.True(t, d.scans.acquire(t.Context()))
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_, err := d.Identify(t.Context(), Where{Addr: here}, signed(fmt.Sprint("n=", i), bbb.SHA1, carolSecret))
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		d.scans.release()
		wg.Wait()
		require.Equal(t, 1, d.foundBy(byScan))
		require.Equal(t, 49, d.foundBy(byAddress))
	})
}

// A budget is a budget when the calls come at once, too; and who has none left
// doesn't stand in the way of others.
func TestThrottleUnderConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLoaded(t, Options{ScanBurst: 5}, people())
		var wg sync.WaitGroup
		together := func() {
			for i := range 50 {
				wg.Go(func() {
					_, err := d.Identify(t.Context(), Where{Addr: here}, signed(fmt.Sprint("n=", i), bbb.SHA1, "nobody's secret at all"))
					if err == nil {
						t.Error("identified")
					}
				})
			}
			synctest.Wait()
		}
		require.True(t, d.scans.acquire(t.Context()))
		together()
		require.Zero(t, d.failed(Busy), "they wait")
		d.scans.release()
		wg.Wait()
		require.Equal(t, 5, d.failed(BadChecksum))
		require.Equal(t, 45, d.failed(Busy))

		require.True(t, d.scans.acquire(t.Context()))
		together()
		require.Equal(t, 95, d.failed(Busy), "they don't wait")
		d.scans.release()
		wg.Wait()
	})
}

func TestScanIsCancelled(t *testing.T) {
	d := newLoaded(t, Options{}, people())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	_, err := d.Identify(ctx, Where{Addr: here}, signed("", bbb.SHA1, carolSecret))
	overloaded(t, err)
	require.ErrorContains(t, err, "gone")
	require.True(t, d.scans.allowed(here, time.Now()), "a scan that was given up isn't charged")
	_, err = d.Identify(t.Context(), Where{Addr: here}, signed("", bbb.SHA1, carolSecret))
	require.NoError(t, err)
}

func TestSetAndIdentifyTogether(t *testing.T) {
	d := newLoaded(t, Options{Owners: func(string) []int64 { return []int64{3} }, ScanQueue: time.Minute, ScanWaiters: 1000}, people())
	without := people()
	without.Secrets = without.Secrets[1:]
	stop := make(chan struct{})
	var setter, callers sync.WaitGroup
	setter.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				d.Set(without)
				d.Set(people())
			}
		}
	})
	for g := range 4 {
		callers.Go(func() {
			for i := range 300 {
				w := Where{Addr: netip.AddrFrom4([4]byte{10, 0, byte(g), byte(i % 3)})}
				for id, secret := range map[int64]string{2: bobSecret, 3: carolSecret} {
					c, err := d.Identify(context.Background(), w, signed(fmt.Sprint("meetingID=", i%20), bbb.Algorithms()[i%4], secret))
					if err != nil || c.Tenant.ID != id {
						t.Errorf("tenant %d is taken for %d: %v", id, c.Tenant.ID, err)
						return
					}
				}
				c, err := d.Identify(context.Background(), Where{Slug: "acme"}, signed("", bbb.SHA1, acmeSecret))
				if (err == nil && c.Tenant.ID != 1) || (err != nil && ReasonOf(err) != BadChecksum) {
					t.Errorf("tenant 1 is taken for %d: %v", c.Tenant.ID, err)
					return
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	setter.Wait()
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	d := newLoaded(t, Options{Registerer: r}, people())
	_, err := d.Identify(t.Context(), Where{Slug: "nobody"}, signed("", bbb.SHA1, acmeSecret))
	require.Error(t, err)
	_, err = d.Identify(t.Context(), Where{Slug: "acme"}, signed("", bbb.SHA1, acmeSecret))
	require.NoError(t, err)
	require.Equal(t, map[string]int{
		"bluegate_api_auth_failures_total reason=algorithm":      0,
		"bluegate_api_auth_failures_total reason=bad_checksum":   0,
		"bluegate_api_auth_failures_total reason=busy":           0,
		"bluegate_api_auth_failures_total reason=missing":        0,
		"bluegate_api_auth_failures_total reason=unknown_tenant": 1,
		"bluegate_api_identified_total by=address":               0,
		"bluegate_api_identified_total by=call":                  0,
		"bluegate_api_identified_total by=meeting":               0,
		"bluegate_api_identified_total by=scan":                  0,
		"bluegate_api_identified_total by=slug":                  1,
	}, series(r))
}

// Whatever was called before and however the listing changed, the shared URL
// finds exactly the tenant that trying every shared secret finds.
func TestSharedEqualsBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := []string{
			"secret number one, long enough", "secret number two, long enough", "secret number three is long, too",
			"secret number four, long enough", "short", "",
		}
		now := time.Unix(1_700_000_000, 0)
		revoked := now
		listing := rapid.Custom(func(t *rapid.T) Listing {
			var l Listing
			holder := map[string]int64{}
			for id := int64(1); id <= 4; id++ {
				if rapid.IntRange(0, 4).Draw(t, "absent") == 0 {
					continue
				}
				l.Tenants = append(l.Tenants, Tenant{ID: id, Slug: fmt.Sprint("t", id)})
			}
			for id := range rapid.Int64Range(1, 8).Draw(t, "secrets") {
				s := Secret{
					ID: id, TenantID: rapid.Int64Range(1, 4).Draw(t, "tenant"),
					Value: rapid.SampledFrom(values).Draw(t, "value"), Shared: rapid.Bool().Draw(t, "shared"),
				}
				// As the store does: the first tenant of a value may share it.
				if s.Shared {
					if first, ok := holder[s.Value]; ok && first != s.TenantID {
						s.Shared = false
					} else {
						holder[s.Value] = s.TenantID
					}
				}
				if rapid.IntRange(0, 5).Draw(t, "revoked") == 0 {
					s.RevokedAt = &revoked
				}
				l.Secrets = append(l.Secrets, s)
			}
			return l
		})
		brute := func(l Listing, c bbb.Call) int64 {
			for _, s := range l.Secrets {
				known := false
				for _, tenant := range l.Tenants {
					known = known || tenant.ID == s.TenantID
				}
				if known && s.Shared && s.RevokedAt == nil && len(s.Value) >= MinSharedSecret && c.Verify(s.Value) {
					return s.TenantID
				}
			}
			return 0
		}
		l := listing.Draw(t, "listing")
		owners := rapid.SliceOfN(rapid.Int64Range(1, 5), 0, 12)
		d := NewDirectory(Options{
			Now: func() time.Time { return now }, ScanRate: 1e9, RecentCalls: 3, RecentAddresses: 2,
			Owners: func(string) []int64 { return owners.Draw(t, "owners") },
		})
		d.Set(l)
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(1, 3600).Draw(t, "later")) * time.Second)
			if rapid.IntRange(0, 5).Draw(t, "swap") == 0 {
				l = listing.Draw(t, "listing")
				d.Set(l)
			}
			c := signed(fmt.Sprint("meetingID=", rapid.IntRange(1, 3).Draw(t, "meeting")),
				rapid.SampledFrom(bbb.Algorithms()).Draw(t, "algorithm"), rapid.SampledFrom(values).Draw(t, "secret"))
			addr := netip.AddrFrom4([4]byte{10, 0, 0, rapid.ByteRange(1, 3).Draw(t, "address")})
			got, err := d.Identify(context.Background(), Where{Addr: addr}, c)
			if want := brute(l, c); want != 0 {
				require.NoError(t, err)
				require.Equal(t, want, got.Tenant.ID)
			} else {
				sameRefusal(t, err, BadChecksum)
			}
		}
	})
}
