package arena

import (
	"encoding/binary"
	"fmt"
	"iter"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Skimmed is an arena that was looked at like one in a Snapshot, but for its
// locks: those of a large one stay in the file, and are read when they are
// asked for. So it takes little memory however many there are, and the first
// are there at once.
type Skimmed struct {
	// Snapshot has no Locks. Its WaitGraph is that of sessions alone.
	*Snapshot

	small  []LockInfo // of an arena that was copied at once
	mapped []byte     // else: the file
	cut    bool
}

// skimmedFrom is how many segments an arena has that is not copied at once. A
// copy of a smaller one is almost of one moment.
const skimmedFrom = 33

// Skim looks at the arena of this name as ReadSnapshot does, and leaves its
// locks to EachLock. What comes back, also with an error, has to be closed.
func Skim(name string) (*Skimmed, error) {
	fd, path, err := openNamed(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	large, err := isLarge(fd)
	if err == nil && large {
		k, err := skim(fd, path)
		if err != nil {
			err = fmt.Errorf("arena: %s: %w", path, err)
		}
		return k, err
	}
	s, err := copied(fd, path)
	if s == nil {
		return nil, err
	}
	k := &Skimmed{Snapshot: s, small: s.Locks}
	return k, err
}

func isLarge(fd int) (bool, error) {
	head := make(picture, headerSize)
	n, err := unix.Pread(fd, head, 0)
	if err != nil {
		return false, err
	}
	size, err := sizeOf(fd)
	return err == nil && min(neededBy(head[:n]), uint64(size)) >= segmentsStart+skimmedFrom*segmentSize, err
}

// skim reads what is in front of the segments, and the records in them, into
// memory that is only there where they are not zero: pages that nothing is
// written to take none.
func skim(fd int, path string) (*Skimmed, error) {
	size, err := sizeOf(fd)
	if err != nil {
		return nil, err
	}
	mapped, err := unix.Mmap(fd, 0, int(min(size, largestImage))&^7, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	head := copyWords(nil, wordsOf(mapped[:min(len(mapped), headerSize)]))
	p, err := emptyPicture(min(neededBy(head), uint64(len(mapped))))
	if err != nil {
		unix.Munmap(mapped)
		return nil, err
	}
	k := &Skimmed{mapped: mapped, Snapshot: &Snapshot{picture: p}}
	k.load(p, 0, segmentsStart, copySparsely)
	for at := uint64(segmentsStart); at < uint64(len(p)); at += segmentSize {
		k.load(p, at+recordsInside, segmentSize-recordsInside, copySparsely)
		k.forget(at, segmentSize)
	}
	taken := time.Now()
	verdicts := judgeAll(fd, p)
	s, err := p.decodeHeader()
	if s == nil {
		k.Close()
		return nil, err
	}
	k.Snapshot, s.Path, s.Size, s.Taken = s, path, size, taken
	if !s.readable {
		return k, err
	}
	p.decodeMembers(s, &verdicts)
	k.loadForSessions(p)
	p.decodeSessions(s)
	p.decodeLatches(s)
	return k, err
}

func emptyPicture(size uint64) (picture, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	unix.Madvise(b, unix.MADV_NOHUGEPAGE) // else a page that is touched brings 2 MiB
	return b, nil
}

// IsLarge tells whether the locks are still in the file.
func (k *Skimmed) IsLarge() bool { return k.mapped != nil }

// Close lets go of the file. The Snapshot is of no more use.
func (k *Skimmed) Close() {
	if k.mapped != nil {
		unix.Munmap(k.mapped)
		unix.Munmap(k.picture)
		k.mapped, k.picture = nil, nil
	}
}

// Err says, after EachLock or Problems, why they may have missed some: the file
// was cut off meanwhile.
func (k *Skimmed) Err() error {
	if k.cut {
		return fmt.Errorf("arena: %s: %w: it was cut off while it was read", k.Path, ErrTruncated)
	}
	return nil
}

// EachLock reads every name in the table, idle or not, by slot. Of a large
// arena each lock is as it was when it was read, with who waits for it and holds
// some of it as they were when the arena was skimmed. A LockInfo is good until
// the next one is asked for.
func (k *Skimmed) EachLock() iter.Seq[*LockInfo] {
	return func(yield func(*LockInfo) bool) {
		if k.mapped == nil {
			for i := range k.small {
				if !yield(&k.small[i]) {
					return
				}
			}
			return
		}
		if !k.readable {
			return
		}
		records := k.picture.annexes(k.Snapshot)
		var l LockInfo
		k.walk(k.slots(), func(p picture, i uint32) bool {
			if !p.life(i).isLock() {
				return true
			}
			l = p.decodeLock(k.Snapshot, i)
			records = k.picture.attach(k.Snapshot, &l, records)
			return yield(&l)
		})
	}
}

// Problems is Snapshot's.
func (k *Skimmed) Problems() []Problem {
	if k.mapped == nil {
		return k.Snapshot.Problems()
	}
	return k.problems(k.picture, func(limit uint32, f func(picture, uint32)) {
		k.walk(limit, func(p picture, i uint32) bool {
			f(p, i)
			return true
		})
	})
}

// walk calls f with each slot below a limit, and a picture that has the slots
// of its segment and the end of its name, until f returns false.
func (k *Skimmed) walk(limit uint32, f func(p picture, i uint32) bool) {
	p, err := emptyPicture(uint64(len(k.picture)))
	if err != nil {
		k.cut = true
		return
	}
	defer unix.Munmap(p)
	for first := uint32(0); first < limit; first += segmentSlots {
		at, far := slotStart(first), false
		if at >= uint64(len(p)) {
			return // the header says more than the file has
		}
		k.load(p, at, segmentSlots*slotSize, copyAll)
		for i := max(first, 1); i < min(first+segmentSlots, limit); i++ {
			if life := p.life(i); life.isLock() && life.length() > inlineName {
				if x := p.word32(slotStart(i) + atSlotExtension); x/segmentSlots != first/segmentSlots {
					k.load(p, slotStart(x), slotSize, copyAll)
					far = true
				}
			}
			if !f(p, i) {
				return
			}
		}
		k.forget(at, segmentSize)
		used := p[at:min(at+segmentSlots*slotSize, uint64(len(p)))]
		if far {
			used = p
		}
		unix.Madvise(used, unix.MADV_DONTNEED)
	}
}

// loadForSessions brings in the slots of what sessions hold and wait for.
func (k *Skimmed) loadForSessions(p picture) {
	load := func(slot uint32) {
		if slot == 0 || slot >= k.slots() {
			return
		}
		k.load(p, slotStart(slot), slotSize, copyAll)
		if x := p.word32(slotStart(slot) + atSlotExtension); x != 0 && x < k.slots() {
			k.load(p, slotStart(x), slotSize, copyAll)
		}
	}
	p.records(k.Snapshot, func(i uint32, r seenRecord) {
		at := recordStart(i)
		switch recordKind(r.kind) {
		case recordSession:
			load(sessionWord(p.word64(at + atSessionWait)).slot())
		case recordHoldings:
			for n := range uint64(holdingsWords) {
				load(sessionWord(p.word64(at + atHoldingsWords + 8*n)).slot())
			}
		}
	})
}

// How load copies: sparsely, it leaves alone the pages of which all is zero.
const (
	copyAll      = false
	copySparsely = true
)

// load copies a part of the file to its place in a picture.
func (k *Skimmed) load(p picture, at, size uint64, sparsely bool) {
	if at >= uint64(len(p)) {
		return
	}
	end := min(at+size, uint64(len(p)))
	if !copyPages(p[at:end], wordsOf(k.mapped)[at/8:end/8], sparsely) {
		k.cut = true
	}
}

// copyPages is false if the file does not have all of the words any more.
func copyPages(to []byte, words []atomic.Uint64, sparsely bool) (all bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil && !faultedIn(r, words) {
			panic(r)
		}
	}()
	const step = pageSize / 8
	var page [step]uint64
	for at := 0; at < len(words); at += step {
		n := min(step, len(words)-at)
		some := uint64(0)
		for i := range n {
			page[i] = words[at+i].Load()
			some |= page[i]
		}
		if some == 0 && sparsely {
			continue
		}
		out := to[at*8 : (at+n)*8]
		for i := range n {
			binary.LittleEndian.PutUint64(out[i*8:], page[i])
		}
	}
	return true
}

// around is how far from a page that was asked for the kernel brings in others.
const around = 64 << 10

// forget says that a segment is not needed soon: its pages, and those before it
// that came with them, stay where they are and no longer count as this process's.
func (k *Skimmed) forget(at, size uint64) {
	first := (at - min(at, around)) / pageSize * pageSize
	if first < uint64(len(k.mapped)) {
		unix.Madvise(k.mapped[first:min(at+size, uint64(len(k.mapped)))], unix.MADV_DONTNEED)
	}
}
