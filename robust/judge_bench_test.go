package robust

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func BenchmarkPidfdKept(b *testing.B) {
	skipWithoutPidfd(b)
	fd, err := pidfdOpen(os.Getpid(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for b.Loop() {
		pollPidfd(fd)
	}
}

func BenchmarkJudgePID(b *testing.B) {
	skipWithoutPidfd(b)
	id := self(b)
	b.Run("pidfs", func(b *testing.B) {
		skipWithoutPidfs(b)
		b.ReportAllocs()
		for b.Loop() {
			JudgePID(id)
		}
	})
	b.Run("starttime", func(b *testing.B) {
		id := id
		id.PidfdInode = 0
		for b.Loop() {
			JudgePID(id)
		}
	})
}

func BenchmarkProbe(b *testing.B) {
	for _, others := range []int{0, 1000} {
		for _, target := range []string{"held", "free"} {
			b.Run(fmt.Sprintf("others=%d/%s", others, target), func(b *testing.B) {
				path := newByteFile(b)
				owner, prober := openBytes(b, path, os.O_RDWR), openBytes(b, path, os.O_RDWR)
				for i := range others {
					mustLock(b, owner.Lock(2*i)) // neighbours would become one lock
				}
				last := 2 * others
				if target == "held" {
					mustLock(b, owner.Lock(last))
				}
				b.ReportAllocs()
				for b.Loop() {
					prober.Probe(last)
				}
			})
		}
	}
}

func BenchmarkHeldIn(b *testing.B) {
	path := newByteFile(b)
	prober := openBytes(b, path, os.O_RDWR)
	const members = 1000
	for i := range members {
		mustLock(b, openBytes(b, path, os.O_RDWR).Lock(i))
	}
	for b.Loop() {
		if held, err := prober.HeldIn(0, members); len(held) != members || err != nil {
			b.Fatal(len(held), err)
		}
	}
}

func BenchmarkWatchAgain(b *testing.B) {
	w := startWatching(b, 1)
	id := self(b)
	notify := func(uint64) {}
	b.ReportAllocs()
	for b.Loop() {
		w.Watch(1, id, notify)
	}
}

func BenchmarkWatchAndForget(b *testing.B) {
	w := startWatching(b, 1)
	id := self(b)
	notify := func(uint64) {}
	b.ReportAllocs()
	for b.Loop() {
		w.Watch(1, id, notify)
		w.Forget(1)
	}
}

func BenchmarkSelf(b *testing.B) {
	for b.Loop() {
		self(b)
	}
}
