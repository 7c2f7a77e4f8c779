package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A record of the table, little-endian:
//
//	0    key
//	8    value
//	16   worker that wrote it
//	20   change: the number of that worker's change
//	24   live: 1, or 0 for a free place
//	32   words that differ from change to change, so that halves of two changes never match
//	508  checksum of all before
const (
	recordSize = 512
	recordHalf = recordSize / 2
	recordFill = 32
	recordSum  = recordSize - 4
)

type record struct {
	key, value     uint64
	worker, change uint32
	live           bool
}

type image [recordSize]byte

func (r record) image() *image {
	var b image
	le := binary.LittleEndian
	le.PutUint64(b[0:], r.key)
	le.PutUint64(b[8:], r.value)
	le.PutUint32(b[16:], r.worker)
	le.PutUint32(b[20:], r.change)
	if r.live {
		le.PutUint32(b[24:], 1)
	}
	words := fmt.Sprintf("worker %d change %d key %d value %d; ", r.worker, r.change, r.key, r.value)
	for at := recordFill; at < recordSum; {
		at += copy(b[at:recordSum], words)
	}
	le.PutUint32(b[recordSum:], crc32.ChecksumIEEE(b[:recordSum]))
	return &b
}

// readRecord returns what the first half of b says, and whether b is torn:
// the two halves are not of one change.
func readRecord(b []byte) (r record, torn bool) {
	le := binary.LittleEndian
	r = record{
		key:    le.Uint64(b[0:]),
		value:  le.Uint64(b[8:]),
		worker: le.Uint32(b[16:]),
		change: le.Uint32(b[20:]),
		live:   le.Uint32(b[24:]) == 1,
	}
	return r, le.Uint32(b[recordSum:]) != crc32.ChecksumIEEE(b[:recordSum])
}
