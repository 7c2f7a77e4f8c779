package main

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"lockd/arena"
)

// part is a range of offsets, length 0 to the last one.
type part struct {
	start, length int64
	set           bool
}

func (p *part) String() string { return "" }
func (p *part) Type() string   { return "start:length" }

// Set takes START, START: or START:LENGTH.
func (p *part) Set(text string) error {
	first, rest, _ := strings.Cut(text, ":")
	start, err := strconv.ParseInt(first, 10, 64)
	length := int64(0)
	if err == nil && rest != "" {
		length, err = strconv.ParseInt(rest, 10, 64)
	}
	if err != nil || start < 0 || length < 0 || length > 0 && start > math.MaxInt64-length+1 {
		return errors.New("give START:LENGTH in 0 … 2^63 − 1, such as 100:50; without a length, to the end")
	}
	*p = part{start, length, true}
	return nil
}

// rangeGrip is a part of a Ranges.
type rangeGrip struct {
	ranges *arena.Ranges
	part   part
	mode   arena.Mode
}

func (h *rangeGrip) try() bool {
	ok, _ := h.ranges.TryLock(h.mode, h.part.start, h.part.length)
	return ok
}

func (h *rangeGrip) acquire(ctx context.Context) error {
	return h.ranges.Lock(ctx, h.mode, h.part.start, h.part.length)
}

func (h *rangeGrip) release() error                 { return h.ranges.ReleaseAll() }
func (h *rangeGrip) abandoned() (arena.Death, bool) { return arena.Death{}, false }
func (h *rangeGrip) markConsistent() error          { return nil }
func (h *rangeGrip) environment() []string          { return nil }

func (p part) stretch() stretch {
	if p.length == 0 {
		return stretchOf(uint64(p.start), lastOffset)
	}
	return stretchOf(uint64(p.start), uint64(p.start+(p.length-1)))
}

func (r *runner) rangeMode() arena.Mode {
	if r.shared {
		return arena.Shared
	}
	return arena.Exclusive
}
