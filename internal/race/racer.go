package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

const racerCommand = "racer"

// kinds are the ways to lock the ring.
var kinds = []string{"ranges", "mutexes", "fcntl"}

// ring is how tracks are locked.
type ring struct {
	lock, unlock func(track int) error
	close        func() error
}

func openRing(kind, path string, tracks int) (ring, error) {
	if kind == "fcntl" {
		return openBytes(path + ".bytes")
	}
	a, err := arena.Open(path, &arena.Options{Label: "racer"})
	if err != nil {
		return ring{}, err
	}
	if kind == "ranges" {
		r := a.Ranges("ring")
		return ring{
			lock:   func(t int) error { return r.Lock(context.Background(), arena.Exclusive, int64(t), 1) },
			unlock: func(t int) error { return r.Release(int64(t), 1) },
			close:  a.Close,
		}, nil
	}
	mutexes := make([]*arena.Mutex, tracks)
	for t := range mutexes {
		mutexes[t] = a.Mutex("track " + strconv.Itoa(t))
	}
	return ring{
		lock:   func(t int) error { return mutexes[t].LockContext(context.Background()) },
		unlock: func(t int) error { return mutexes[t].Release() },
		close:  a.Close,
	}, nil
}

func openBytes(path string) (ring, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return ring{}, err
	}
	set := func(how int16, t int) error {
		for {
			err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, &unix.Flock_t{Type: how, Start: int64(t), Len: 1})
			if err != unix.EINTR {
				return err
			}
		}
	}
	return ring{
		lock:   func(t int) error { return set(unix.F_WRLCK, t) },
		unlock: func(t int) error { return set(unix.F_UNLCK, t) },
		close:  func() error { return unix.Close(fd) },
	}, nil
}

// racerMain is one racer: KIND PATH NUMBER PROCESSES TRACKS RACES.
func racerMain(args []string) int {
	if err := raceAs(args); err != nil {
		fmt.Println(err)
		return exitWrong
	}
	return 0
}

func raceAs(args []string) error {
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(args[2+i])
	}
	c := course{n[1], n[2], n[3]}
	b, err := makeBoard(args[1]+".board", c)
	if err != nil {
		return err
	}
	r, err := openRing(args[0], args[1], c.tracks)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return io.ErrUnexpectedEOF
	}
	last := -1
	for step := range c.races * c.tracks {
		t := step % c.tracks
		if err := r.lock(t); err != nil {
			return err
		}
		b.enter(t, n[0])
		if last >= 0 {
			if err := r.unlock(last); err != nil {
				return err
			}
		}
		last = t
	}
	if err := r.unlock(last); err != nil {
		return err
	}
	fmt.Println("done")
	return r.close()
}
