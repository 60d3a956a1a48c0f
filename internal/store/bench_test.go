package store

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/store/pgtest"
)

// BenchmarkRoom is the look-up that a page of an LMS makes hundreds of times,
// mostly for rooms that don't exist.
func BenchmarkRoom(b *testing.B) {
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(b.TempDir(), "bluegate.db") },
		"postgres": func() string { return pgtest.URL(b) },
	} {
		w := newWorld(b, url())
		for _, id := range numbered("room", 200) {
			w.moveTo(w.claimRoom(id), "running")
		}
		b.Run(name+"/hit", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := w.Room(b.Context(), w.tenant.ID, "room77")
				require.NoError(b, err)
			}
		})
		b.Run(name+"/miss", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := w.Room(b.Context(), w.tenant.ID, "no such room")
				require.True(b, fault.Is(err, fault.NotFound))
			}
		})
		b.Run(name+"/miss4", func(b *testing.B) {
			b.SetParallelism(2)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					_, _ = w.Room(b.Context(), w.tenant.ID, "no such room")
				}
			})
		})
	}
}
