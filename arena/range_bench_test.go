package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkRangePair is one range taken and given back, alone and at a random
// place among ranges that others hold, beside fcntl's open-file-description
// locks in the same run.
func BenchmarkRangePair(b *testing.B) {
	const apart = 1000
	for _, held := range []int{0, 1000, 10_000} {
		places := make([]int64, 4096)
		for i := range places {
			places[i] = int64(rand.IntN(held+1))*apart + apart/2
		}
		b.Run(fmt.Sprintf("arena-%d", held), func(b *testing.B) {
			a := testArena(b, nil)
			others := a.Ranges("pair")
			for _, i := range rand.Perm(held) {
				if ok, err := others.TryLock(Exclusive, int64(i)*apart, 10); !ok {
					b.Fatal(err)
				}
			}
			r := a.Ranges("pair")
			ctx := context.Background()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := places[i%len(places)]
				if err := r.Lock(ctx, Exclusive, at, 1); err != nil {
					b.Fatal(err)
				}
				r.Release(at, 1)
			}
			b.StopTimer()
			others.ReleaseAll()
		})
		if held > 1000 {
			continue // it would take minutes to set up
		}
		b.Run(fmt.Sprintf("fcntl-%d", held), func(b *testing.B) {
			fd := openLocked(b, held, apart)
			for i := 0; b.Loop(); i++ {
				at := places[i%len(places)]
				lockBytes(b, fd, unix.F_WRLCK, at, 1)
				lockBytes(b, fd, unix.F_UNLCK, at, 1)
			}
		})
	}
}

// openLocked opens a file, of which another description has ranges locked.
func openLocked(b *testing.B, held, apart int) int {
	f, err := os.CreateTemp(Dir, testPrefix)
	if err != nil {
		b.Fatal(err)
	}
	fd, err := unix.Open(f.Name(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	os.Remove(f.Name())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		unix.Close(fd)
		f.Close()
	})
	for i := range held {
		lockBytes(b, int(f.Fd()), unix.F_WRLCK, int64(i*apart), 10)
	}
	return fd
}

func lockBytes(b *testing.B, fd int, how int16, start, length int64) {
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: how, Start: start, Len: length}); err != nil {
		b.Fatal(err)
	}
}
