package arena

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// The benchmarks of package sync, under its names and with its bodies, on an
// arena's mutex and on sync.Mutex in one run.

func benchmarkLockers(b *testing.B, f func(b *testing.B, l func(i int) sync.Locker)) {
	a := testArena(b, nil)
	b.Run("arena", func(b *testing.B) {
		b.ReportAllocs()
		f(b, func(i int) sync.Locker { return a.Mutex("bench-" + strconv.Itoa(i)) })
	})
	b.Run("sync", func(b *testing.B) {
		b.ReportAllocs()
		f(b, func(int) sync.Locker {
			type padded struct {
				sync.Mutex
				_ [128]uint8
			}
			return &new(padded).Mutex
		})
	})
}

// BenchmarkMutexPair is the plain pair that the bar is about: no interface, no
// loop but the benchmark's.
func BenchmarkMutexPair(b *testing.B) {
	m := testArena(b, nil).Mutex("pair")
	m.Lock()
	m.Unlock()
	b.Run("arena", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m.Lock()
			m.Unlock()
		}
	})
	b.Run("sync", func(b *testing.B) {
		b.ReportAllocs()
		s := new(sync.Mutex)
		for range b.N {
			s.Lock()
			s.Unlock()
		}
	})
}

// BenchmarkMutexUncontended is sync's: each goroutine has a mutex of its own.
func BenchmarkMutexUncontended(b *testing.B) {
	a := testArena(b, nil)
	b.Run("arena", func(b *testing.B) {
		b.ReportAllocs()
		var mu sync.Mutex
		n := 0
		b.RunParallel(func(pb *testing.PB) {
			mu.Lock()
			n++
			m := a.Mutex("own-" + strconv.Itoa(n))
			mu.Unlock()
			for pb.Next() {
				m.Lock()
				m.Unlock()
			}
		})
	})
	b.Run("sync", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			var m struct {
				sync.Mutex
				_ [128]uint8
			}
			for pb.Next() {
				m.Lock()
				m.Unlock()
			}
		})
	})
}

func benchmarkMutex(b *testing.B, slack, work bool) {
	benchmarkLockers(b, func(b *testing.B, locker func(int) sync.Locker) {
		m := locker(0)
		if slack {
			b.SetParallelism(10)
		}
		b.RunParallel(func(pb *testing.PB) {
			foo := 0
			for pb.Next() {
				m.Lock()
				m.Unlock()
				if work {
					for range 100 {
						foo *= 2
						foo /= 2
					}
				}
			}
			runtime.KeepAlive(foo)
		})
	})
}

func BenchmarkMutex(b *testing.B)          { benchmarkMutex(b, false, false) }
func BenchmarkMutexSlack(b *testing.B)     { benchmarkMutex(b, true, false) }
func BenchmarkMutexWork(b *testing.B)      { benchmarkMutex(b, false, true) }
func BenchmarkMutexWorkSlack(b *testing.B) { benchmarkMutex(b, true, true) }

// BenchmarkMutexNoSpin is sync's model of a lock for which spinning is no use.
func BenchmarkMutexNoSpin(b *testing.B) {
	benchmarkLockers(b, func(b *testing.B, locker func(int) sync.Locker) {
		m := locker(0)
		var acc0, acc1 uint64
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			c := make(chan bool)
			var data [4 << 10]uint64
			for i := 0; pb.Next(); i++ {
				if i%4 == 0 {
					m.Lock()
					acc0 -= 100
					acc1 += 100
					m.Unlock()
				} else {
					for i := 0; i < len(data); i += 4 {
						data[i]++
					}
					go func() { c <- true }()
					<-c
				}
			}
		})
	})
}

// BenchmarkMutexSpin is sync's model of a lock for which spinning pays.
func BenchmarkMutexSpin(b *testing.B) {
	benchmarkLockers(b, func(b *testing.B, locker func(int) sync.Locker) {
		m := locker(0)
		var acc0, acc1 uint64
		b.RunParallel(func(pb *testing.PB) {
			var data [16 << 10]uint64
			for i := 0; pb.Next(); i++ {
				m.Lock()
				acc0 -= 100
				acc1 += 100
				m.Unlock()
				for i := 0; i < len(data); i += 4 {
					data[i]++
				}
			}
		})
	})
}

func BenchmarkHandleLookup(b *testing.B) {
	a := testArena(b, nil)
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		a.Mutex("known")
		for range b.N {
			a.Mutex("known")
		}
	})
	b.Run("new", func(b *testing.B) {
		// Looked up, inserted and taken; beyond the table's size, evicted too.
		b.ReportAllocs()
		for i := range b.N {
			m := a.Mutex(strconv.Itoa(i))
			m.Lock()
			m.Unlock()
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	path := testArena(b, nil).Path()
	other := reopenedBy(b, path)
	defer other.Kill()
	for range b.N {
		other.Send("again")
		other.Expect("opened")
	}
}

func init() {
	roles["bench-open"] = func(args []string) {
		for {
			a := reopen(args[0], nil)
			m := a.Mutex("first")
			m.Lock()
			m.Unlock()
			proc.Say("opened")
			a.Close()
			proc.Hear()
		}
	}
	roles["bench-victim"] = func(args []string) {
		a := reopen(args[0], nil)
		m := a.Mutex("killed")
		m.Lock()
		proc.Say("held")
		select {}
	}
}

func reopenedBy(b *testing.B, path string) *proc.Proc {
	p := proc.Start(b, "bench-open", []string{path})
	p.Expect("opened")
	return p
}

// BenchmarkKillToHeir is the time from SIGKILL of the owner, a small Go
// process, until the next owner in another process has the lock; beside it the
// time until the kernel lets a poll(2) of the victim's pidfd return, which is
// when its death can be known at all.
func BenchmarkKillToHeir(b *testing.B) {
	a := testArena(b, nil)
	m := a.Mutex("killed")
	b.Run("heir", func(b *testing.B) {
		measureKills(b, a, func(victim *proc.Proc) func() {
			got := make(chan time.Time)
			proc.MustBlock(b, "Lock", func() {
				m.Lock()
				close(got)
			})
			return func() {
				<-got
				if d, ok := m.Abandoned(); !ok || d.PID != victim.PID() {
					b.Errorf("abandoned %v, %v", d, ok)
				}
			}
		})
	})
	b.Run("pidfd", func(b *testing.B) {
		measureKills(b, a, func(victim *proc.Proc) func() {
			pidfd, err := unix.PidfdOpen(victim.PID(), 0)
			if err != nil {
				b.Skip(err)
			}
			return func() {
				unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
				unix.Close(pidfd)
				m.Lock()
			}
		})
	})
}

// measureKills kills one victim a round; watch returns what waits for the end.
func measureKills(b *testing.B, a *Arena, watch func(victim *proc.Proc) func()) {
	m := a.Mutex("killed")
	var took []time.Duration
	for range b.N {
		b.StopTimer()
		victim := proc.Start(b, "bench-victim", []string{a.Path()})
		victim.Expect("held")
		wait := watch(victim)
		b.StartTimer()
		killed := time.Now()
		victim.Cmd.Process.Kill()
		wait()
		took = append(took, time.Since(killed))
		b.StopTimer()
		m.MarkConsistent()
		m.Unlock()
		victim.Kill()
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
