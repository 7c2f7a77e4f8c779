package arena

import (
	"context"
	"sync"
	"testing"

	"golang.org/x/sync/semaphore"
)

// BenchmarkSemaphorePair is one ticket taken and given back, beside a mutex
// and the semaphore of package x/sync in one run.
func BenchmarkSemaphorePair(b *testing.B) {
	ctx := context.Background()
	b.Run("arena", func(b *testing.B) {
		s := testArena(b, nil).Semaphore("pair", 4)
		release(b, acquire(b, s, 1))
		b.ReportAllocs()
		for b.Loop() {
			t, err := s.Acquire(ctx, 1)
			if err != nil {
				b.Fatal(err)
			}
			t.Release()
		}
	})
	b.Run("arena-two", func(b *testing.B) {
		s := testArena(b, nil).Semaphore("pair", 4)
		b.ReportAllocs()
		for b.Loop() {
			t, err := s.Acquire(ctx, 2)
			if err != nil {
				b.Fatal(err)
			}
			t.Release()
		}
	})
	b.Run("x-sync", func(b *testing.B) {
		s := semaphore.NewWeighted(4)
		b.ReportAllocs()
		for b.Loop() {
			s.Acquire(ctx, 1)
			s.Release(1)
		}
	})
	b.Run("sync-mutex", func(b *testing.B) {
		s := new(sync.Mutex)
		b.ReportAllocs()
		for b.Loop() {
			s.Lock()
			s.Unlock()
		}
	})
}

// BenchmarkSemaphoreContended is more goroutines than tickets.
func BenchmarkSemaphoreContended(b *testing.B) {
	ctx := context.Background()
	b.Run("arena", func(b *testing.B) {
		s := testArena(b, nil).Semaphore("contended", 1)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				t, _ := s.Acquire(ctx, 1)
				t.Release()
			}
		})
	})
	b.Run("x-sync", func(b *testing.B) {
		s := semaphore.NewWeighted(1)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.Acquire(ctx, 1)
				s.Release(1)
			}
		})
	})
}
