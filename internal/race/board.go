package main

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// board is memory that the racers share. For each track it has how many came
// there, and who, in order. It is written by plain stores, by who holds the
// track: were there two at a time, some would be lost.
type board struct {
	course
	raw []byte
}

func (c course) visits() int    { return c.processes * c.races }
func (c course) trackSize() int { return 8 + (c.visits()+7)/8*8 }

func makeBoard(path string, c course) (*board, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := c.tracks * c.trackSize()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the board: %w", err)
	}
	return &board{c, raw}, nil
}

func (b *board) close() { unix.Munmap(b.raw) }

func (b *board) track(t int) []byte { return b.raw[t*b.trackSize():][:b.trackSize()] }

// enter writes down that a racer has come to a track.
func (b *board) enter(t, racer int) {
	raw := b.track(t)
	n := binary.LittleEndian.Uint64(raw)
	if n < uint64(b.visits()) {
		raw[8+n] = byte(racer)
	}
	binary.LittleEndian.PutUint64(raw, n+1)
}

// check looks whether everybody came everywhere, in the same order.
func (b *board) check() error {
	first := b.track(0)
	for t := range b.tracks {
		raw := b.track(t)
		if n := binary.LittleEndian.Uint64(raw); n != uint64(b.visits()) {
			return fmt.Errorf("track %d was entered %d times, not %d: two were there at once", t, n, b.visits())
		}
		for k := 8; k < 8+b.visits(); k++ {
			if raw[k] != first[k] {
				return fmt.Errorf("on track %d racer %d came as number %d, where racer %d came on track 0: somebody was overtaken", t, raw[k], k-8, first[k])
			}
		}
	}
	return nil
}
