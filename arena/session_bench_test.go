package arena

import (
	"context"
	"testing"
)

// BenchmarkSessionPair is the plain pair beside the same through a session.
func BenchmarkSessionPair(b *testing.B) {
	a := testArena(b, nil)
	m, rw := a.Mutex("pair"), a.RWMutex("read pair")
	s := a.Session("bench")
	defer s.Close()
	ctx := context.Background()
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m.Lock()
			m.Unlock()
		}
	})
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			s.Lock(ctx, m)
			s.Unlock(m)
		}
	})
	b.Run("plain/read", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			rw.RLock()
			rw.RUnlock()
		}
	})
	b.Run("session/read", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			s.RLock(ctx, rw)
			s.RUnlock(rw)
		}
	})
	b.Run("open and close", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			a.Session("short").Close()
		}
	})
}
