package main

import "math/bits"

// histogram counts nanoseconds in 64 buckets for each power of two, as
// peers/histogram.h does: exact to 1.6 %. The largest is exact.
type histogram struct {
	count   [3840]uint64
	total   uint64
	largest uint64
}

func (h *histogram) add(ns int64) {
	v := uint64(max(ns, 0))
	h.count[bucketOf(v)]++
	h.total++
	h.largest = max(h.largest, v)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.count {
		h.count[i] += n
	}
	h.total += other.total
	h.largest = max(h.largest, other.largest)
}

func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-7, 0)
	return shift*64 + int(v>>shift)
}

// bucketStart is the smallest value of a bucket.
func bucketStart(i int) uint64 {
	if i < 128 {
		return uint64(i)
	}
	shift := i/64 - 1
	return uint64(i-shift*64) << shift
}

// quantile is the value below which this part of all are, 0 of none.
func (h *histogram) quantile(part float64) float64 {
	if h.total == 0 {
		return 0
	}
	left := int64(part * float64(h.total))
	for i, n := range h.count {
		if left -= int64(n); left < 0 {
			return float64(min(bucketStart(i), h.largest))
		}
	}
	return float64(h.largest)
}

// pairs is the histogram as a worker sends it.
func (h *histogram) pairs() [][2]uint64 {
	list := [][2]uint64{}
	for i, n := range h.count {
		if n > 0 {
			list = append(list, [2]uint64{uint64(i), n})
		}
	}
	return list
}

func (h *histogram) addPairs(list [][2]uint64, largest uint64) {
	for _, p := range list {
		if p[0] < uint64(len(h.count)) {
			h.count[p[0]] += p[1]
			h.total += p[1]
		}
	}
	h.largest = max(h.largest, largest)
}
