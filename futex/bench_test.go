//go:build linux && (amd64 || arm64)

package futex

import (
	"fmt"
	"sync/atomic"
	"testing"
)

func BenchmarkWakeNobody(b *testing.B) {
	word := new(atomic.Uint32)
	b.Run("shared", func(b *testing.B) {
		_, page := sharedPage(b)
		for b.Loop() {
			Wake(wordAt(page, 0), 1)
		}
	})
	b.Run("private", func(b *testing.B) {
		for b.Loop() {
			WakePrivate(word, 1)
		}
	})
}

// BenchmarkWaitChanged is the price of a wait apart from the sleep.
func BenchmarkWaitChanged(b *testing.B) {
	b.Run("Wait", func(b *testing.B) {
		word := new(atomic.Uint32)
		for b.Loop() {
			Wait(word, 1, 0)
		}
	})
	for _, n := range []int{1, 2, 4, 50, MaxWords} {
		b.Run(fmt.Sprintf("WaitAny/words=%d", n), func(b *testing.B) {
			needWaitAny(b)
			list := words(n, false)
			list[n-1].Value = 1
			b.ReportAllocs()
			for b.Loop() {
				WaitAny(list, 0)
			}
		})
	}
}

// BenchmarkPingPong is a round trip between two goroutines that sleep.
func BenchmarkPingPong(b *testing.B) {
	b.Run("Wait", func(b *testing.B) { pingPong(b, waitOn) })
	b.Run("WaitAny", func(b *testing.B) {
		needWaitAny(b)
		cancel := new(atomic.Uint32)
		pingPong(b, func(word *atomic.Uint32, value uint32, deadline int64) error {
			_, err := WaitAny([]Word{{Addr: word, Value: value}, {Addr: cancel, Private: true}}, deadline)
			return err
		})
	})
}

func pingPong(b *testing.B, wait waitFunc) {
	call, answer := new(atomic.Uint32), new(atomic.Uint32)
	ended := make(chan error)
	rounds := uint32(b.N)
	go func() {
		for round := uint32(1); round <= rounds; round++ {
			if err := waitFor(call, round, surely(), wait); err != nil {
				ended <- err
				return
			}
			answer.Store(round)
			Wake(answer, 1)
		}
		ended <- nil
	}()
	for round := uint32(1); round <= rounds; round++ {
		call.Store(round)
		Wake(call, 1)
		if err := waitFor(answer, round, surely(), wait); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPause(b *testing.B) {
	for _, n := range []uint32{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Pause(n)
			}
		})
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}
