package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// The table is a flat file: one page for the note, then the records. It has no
// locking of its own. A change is four writes:
//
//	1  the note: which place is to hold which record
//	2  the record's first half
//	3  the record's second half
//	4  the note taken back
//
// Whoever finds a note can finish the change, whichever of its writes was the
// last; a note that is itself half-written means that the record was not touched.
const (
	noteSize  = 4096
	places    = 192
	accounts  = 16 // places 0 … 15 hold records 1 … 16, which are only ever added to
	tableSize = noteSize + places*recordSize

	// scanBytes is how much of the table is read at once: like most flat files,
	// this one has no index.
	scanBytes = 8 * recordSize
)

// The note, little-endian: 0 state, 4 place, 8 the record, then a checksum of
// all before.
const (
	noteState  = 0
	notePlace  = 4
	noteRecord = 8
	noteSum    = noteRecord + recordSize
	noteBytes  = noteSum + 4

	changePending = 1
)

// noteTable is not the polynomial of the records: the checksum of bytes that
// end with their own checksum would not depend on the bytes.
var noteTable = crc32.MakeTable(crc32.Castagnoli)

type table struct {
	file interface {
		io.ReaderAt
		io.WriterAt
	}
	// halfWay, if set, is called between the two halves of a record.
	halfWay func(record)
}

// row is one place of the table as it was read.
type row struct {
	place int
	record
	torn bool
}

// createTable makes the file with all its records, so that nothing that is
// written later needs more room.
func createTable(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("cannot make the table: %w", err)
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("cannot make the table: %w", e)
		}
	}()
	whole := make([]byte, tableSize)
	for place := range places {
		r := record{}
		if place < accounts {
			r = record{key: uint64(place + 1), live: true}
		}
		copy(whole[offset(place):], r.image()[:])
	}
	if _, err := f.WriteAt(whole, 0); err != nil {
		return fmt.Errorf("cannot make the table, which needs %d bytes: %w", tableSize, err)
	}
	return nil
}

func offset(place int) int64 { return noteSize + int64(place)*recordSize }

func (t *table) scan() ([]row, error) {
	rows := make([]row, 0, places)
	var part [scanBytes]byte
	for place := 0; place < places; {
		if _, err := t.file.ReadAt(part[:], offset(place)); err != nil {
			return nil, fmt.Errorf("cannot read the table: %w", err)
		}
		for at := 0; at < scanBytes; at += recordSize {
			r, torn := readRecord(part[at : at+recordSize])
			rows = append(rows, row{place, r, torn})
			place++
		}
	}
	return rows, nil
}

// put changes one record.
func (t *table) put(place int, r record) error {
	b := r.image()
	if err := t.writeNote(place, b); err != nil {
		return err
	}
	return t.finish(place, b)
}

func (t *table) finish(place int, b *image) error {
	if err := t.write(b[:recordHalf], offset(place)); err != nil {
		return err
	}
	if t.halfWay != nil {
		r, _ := readRecord(b[:])
		t.halfWay(r)
	}
	if err := t.write(b[recordHalf:], offset(place)+recordHalf); err != nil {
		return err
	}
	// All of it, so that the beginning of the next note does not bring it back.
	var none [noteBytes]byte
	return t.write(none[:], 0)
}

func (t *table) writeNote(place int, b *image) error {
	var n [noteBytes]byte
	le := binary.LittleEndian
	le.PutUint32(n[noteState:], changePending)
	le.PutUint32(n[notePlace:], uint32(place))
	copy(n[noteRecord:], b[:])
	le.PutUint32(n[noteSum:], crc32.Checksum(n[:noteSum], noteTable))
	return t.write(n[:], 0)
}

// repair finishes the change that the note tells of, if there is one, and
// returns the record it wrote. It may be killed anywhere and done again.
func (t *table) repair() (r record, found bool, err error) {
	var n [noteBytes]byte
	if _, err := t.file.ReadAt(n[:], 0); err != nil {
		return record{}, false, fmt.Errorf("cannot read the note: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint32(n[noteState:]) != changePending ||
		le.Uint32(n[noteSum:]) != crc32.Checksum(n[:noteSum], noteTable) {
		return record{}, false, nil
	}
	place := int(le.Uint32(n[notePlace:]))
	r, torn := readRecord(n[noteRecord:noteSum])
	if place >= places || torn {
		return record{}, false, fmt.Errorf("the note names place %d of %d, torn %v: not written by this program", place, places, torn)
	}
	quiet := table{file: t.file}
	return r, true, quiet.finish(place, (*image)(n[noteRecord:noteSum]))
}

func (t *table) write(b []byte, at int64) error {
	if _, err := t.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("cannot write to the table: %w", err)
	}
	return nil
}
