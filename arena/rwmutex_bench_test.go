package arena

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// benchmarkRWMutexes runs sync's benchmarks of RWMutex.
func benchmarkRWMutexes(b *testing.B, f func(b *testing.B, m func(i int) rwLocker)) {
	a := testArena(b, nil)
	b.Run("arena", func(b *testing.B) {
		b.ReportAllocs()
		f(b, func(i int) rwLocker { return a.RWMutex("rw-" + strconv.Itoa(i)) })
	})
	b.Run("sync", func(b *testing.B) {
		b.ReportAllocs()
		f(b, func(int) rwLocker {
			type padded struct {
				sync.RWMutex
				_ [128]uint8
			}
			return &new(padded).RWMutex
		})
	})
}

type rwLocker interface {
	sync.Locker
	RLock()
	RUnlock()
}

// BenchmarkRWMutexPair is the plain pair that the bar is about.
func BenchmarkRWMutexPair(b *testing.B) {
	m := testArena(b, nil).RWMutex("pair")
	m.RLock()
	m.RUnlock()
	b.Run("arena", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m.RLock()
			m.RUnlock()
		}
	})
	b.Run("sync", func(b *testing.B) {
		b.ReportAllocs()
		s := new(sync.RWMutex)
		for range b.N {
			s.RLock()
			s.RUnlock()
		}
	})
}

// BenchmarkRWMutexWriterPair has one reader's cell to look at.
func BenchmarkRWMutexWriterPair(b *testing.B) {
	benchmarkRWMutexes(b, func(b *testing.B, m func(int) rwLocker) {
		l := m(0)
		l.RLock()
		l.RUnlock()
		for b.Loop() {
			l.Lock()
			l.Unlock()
		}
	})
}

func BenchmarkRWMutexConversions(b *testing.B) {
	m := testArena(b, nil).RWMutex("converted")
	ctx := context.Background()
	b.Run("upgrade", func(b *testing.B) {
		b.ReportAllocs()
		m.ULock()
		for range b.N {
			m.Upgrade(ctx)
			m.DowngradeToU()
		}
		m.UUnlock()
	})
	b.Run("downgrade", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m.Lock()
			m.Downgrade()
			m.RUnlock()
		}
	})
}

// BenchmarkRWMutexUncontended is sync's: each goroutine has its own.
func BenchmarkRWMutexUncontended(b *testing.B) {
	benchmarkRWMutexes(b, func(b *testing.B, m func(int) rwLocker) {
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			l := m(int(n.Add(1)))
			for pb.Next() {
				l.RLock()
				l.RLock()
				l.RUnlock()
				l.RUnlock()
				l.Lock()
				l.Unlock()
			}
		})
	})
}

func benchmarkRWMutex(b *testing.B, work, writeRatio int) {
	benchmarkRWMutexes(b, func(b *testing.B, m func(int) rwLocker) {
		l := m(0)
		b.RunParallel(func(pb *testing.PB) {
			foo := 0
			for pb.Next() {
				foo++
				if foo%writeRatio == 0 {
					l.Lock()
					l.Unlock()
				} else {
					l.RLock()
					for i := 0; i != work; i++ {
						foo *= 2
						foo /= 2
					}
					l.RUnlock()
				}
			}
			runtime.KeepAlive(foo)
		})
	})
}

func BenchmarkRWMutexWrite100(b *testing.B)     { benchmarkRWMutex(b, 0, 100) }
func BenchmarkRWMutexWrite10(b *testing.B)      { benchmarkRWMutex(b, 0, 10) }
func BenchmarkRWMutexWorkWrite100(b *testing.B) { benchmarkRWMutex(b, 100, 100) }
func BenchmarkRWMutexWorkWrite10(b *testing.B)  { benchmarkRWMutex(b, 100, 10) }
