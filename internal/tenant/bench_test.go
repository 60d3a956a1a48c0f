package tenant

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
)

// The ratios here are what the design promises: with 10,000 tenants a seen
// tenant costs at most 2x one bare checksum, the scan at most 1.5x the bare loop
// over the same secrets. Both sides run by turns, and the median counts.

const benchTenants = 10_000

func newHash(alg bbb.Algorithm) hash.Hash {
	switch alg {
	case bbb.SHA256:
		return sha256.New()
	case bbb.SHA384:
		return sha512.New384()
	case bbb.SHA512:
		return sha512.New()
	default:
		return sha1.New()
	}
}

func benchSecret(tenant int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "secret of %d", tenant))
	return hex.EncodeToString(sum[:20])
}

func benchListing() Listing {
	var l Listing
	for i := 1; i <= benchTenants; i++ {
		id := int64(i)
		l.Tenants = append(l.Tenants, Tenant{ID: id, Slug: fmt.Sprintf("t%d", i), State: Active})
		l.Secrets = append(l.Secrets, Secret{ID: id, TenantID: id, Value: benchSecret(i), Shared: true})
	}
	return l
}

// benchCall is a join as Chamilo sends it, about 300 bytes.
func benchCall(tenant, n int, alg bbb.Algorithm) bbb.Call {
	c := bbb.Call{Name: "join", Query: fmt.Sprintf("fullName=Anna+B%%C3%%A4cker+%d&meetingID=meeting-%d"+
		"&password=CURSO992mod&userID=4711&createTime=1700000000000&userdata-bbb_custom_style_url=https%%3A%%2F%%2Fportal.example.org"+
		"%%2Fplugin%%2Fbbb%%2Fresources%%2Fstyle.css&avatarURL=https%%3A%%2F%%2Fportal.example.org%%2Fapp%%2Fupload%%2Fusers%%2F4%%2F4711.png", n, tenant)}
	c.Query = c.Sign(alg, benchSecret(tenant))
	return c
}

// bareCheck is the least a gateway that knows the secret would do.
func bareCheck(c bbb.Call, alg bbb.Algorithm, secret string) bool {
	query, given, _ := strings.Cut(c.Query, "&checksum=")
	h := newHash(alg)
	h.Write([]byte(c.Name))
	h.Write([]byte(query))
	h.Write([]byte(secret))
	sum := h.Sum(nil)
	var digits [128]byte
	n := hex.Encode(digits[:], sum)
	return subtle.ConstantTimeCompare(digits[:n], []byte(given)) == 1
}

// compare times the two in blocks by turns.
func compare(b *testing.B, block int, measured, bare func(i int)) {
	b.Helper()
	b.ReportAllocs()
	var ratios []float64
	i, began := 0, time.Now()
	for b.Loop() {
		measured(i)
		i++
		if i%block != 0 {
			continue
		}
		took := time.Since(began)
		b.StopTimer()
		began = time.Now()
		for j := range block {
			bare(j)
		}
		ratios = append(ratios, float64(took)/float64(time.Since(began)))
		b.StartTimer()
		began = time.Now()
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "x-bare")
	}
}

func BenchmarkSeenTenant(b *testing.B) {
	ctx := context.Background()
	const tenant = 7777
	addr := netip.MustParseAddr("192.0.2.77")
	owned := map[string][]int64{"meeting-7777": {tenant}}
	for _, door := range []struct {
		name  string
		where Where
		calls int // 1 = the same call again and again
		owns  bool
	}{
		{"slug", Where{Slug: "t7777", Addr: addr}, 1, false},
		{"meeting", Where{Addr: addr}, 1, true},
		{"call", Where{Addr: addr}, 1, false},
		{"address", Where{Addr: addr}, 4096, false},
	} {
		for _, alg := range bbb.Algorithms() {
			b.Run(door.name+"/"+alg.String(), func(b *testing.B) {
				d := NewDirectory(Options{
					RecentCalls: 2048, // fewer than the calls of "address": none is ever remembered
					Owners: func(id string) []int64 {
						if door.owns {
							return owned[id]
						}
						return nil
					},
				})
				d.Set(benchListing())
				calls := make([]bbb.Call, door.calls)
				for i := range calls {
					calls[i] = benchCall(tenant, i, alg)
				}
				_, err := d.Identify(ctx, door.where, calls[0])
				require.NoError(b, err)
				compare(b, 500, func(i int) {
					c, err := d.Identify(ctx, door.where, calls[i%len(calls)])
					if err != nil || c.Tenant.ID != tenant {
						b.Fatal(err)
					}
				}, func(i int) {
					if !bareCheck(calls[i%len(calls)], alg, benchSecretOf7777) {
						b.Fatal("the bare check fails")
					}
				})
			})
		}
	}
}

const benchSecretOf7777 = "cca92646de9b97c0d20ff7b101cecb05f93915af"

func BenchmarkScan(b *testing.B) {
	ctx := context.Background()
	l := benchListing()
	for _, alg := range bbb.Algorithms() {
		b.Run(alg.String(), func(b *testing.B) {
			d := NewDirectory(Options{ScanRate: 1e12, ScanBurst: 1e12})
			d.Set(l)
			call := benchCall(benchTenants+1, 0, alg) // nobody's
			query, _, _ := strings.Cut(call.Query, "&checksum=")
			signed := []byte(call.Name + query)
			var out []byte
			compare(b, 10, func(int) {
				if _, err := d.Identify(ctx, Where{}, call); ReasonOf(err) != BadChecksum {
					b.Fatal(err)
				}
			}, func(int) {
				h := newHash(alg)
				h.Write(signed)
				state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
				if err != nil {
					b.Fatal(err)
				}
				clone := h.(encoding.BinaryUnmarshaler)
				for i := range l.Secrets {
					if err := clone.UnmarshalBinary(state); err != nil {
						b.Fatal(err)
					}
					h.Write([]byte(l.Secrets[i].Value))
					out = h.Sum(out[:0])
				}
			})
		})
	}
}
