package arena

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"lockd/robust"
)

// Decode decodes a copy of an arena file, such as a saved one. It reads
// nothing else, so nobody's Verdict is known. Any bytes will do: what does not
// fit is an error, or is left out, or shows in Problems.
//
// Decode returns ErrNotArena, ErrVersion, ErrLayout, ErrTruncated or
// ErrDamaged, and except with ErrNotArena also a Snapshot of what could still
// be read: with ErrVersion and ErrLayout that is what the header says, with
// the others all members and locks whose place is in the image.
//
// The Snapshot keeps the image, which must not be changed afterwards. It takes
// memory in proportion to the image, whatever the image says.
func Decode(image []byte) (*Snapshot, error) {
	s, err := decode(image, verdicts{})
	if err != nil {
		err = fmt.Errorf("arena: decode: %w", err)
	}
	return s, err
}

// verdicts are by member index.
type verdicts [memberLimit + 1]robust.Verdict

func decode(image []byte, v verdicts) (*Snapshot, error) {
	p := picture(image)
	s, err := p.decodeHeader()
	if s == nil || !s.readable {
		return s, err
	}
	p.decodeMembers(s, &v)
	p.decodeLocks(s)
	p.decodeWaiters(s)
	p.decodeTickets(s)
	p.decodeSessions(s)
	p.decodeRanges(s)
	p.decodeLatches(s)
	return s, err
}

// picture is the copied bytes. Reading outside of them gives zeros, which is
// nothing in every table.
type picture []byte

func (p picture) has(at, size uint64) bool {
	return size <= uint64(len(p)) && at <= uint64(len(p))-size || variantTrustIndex
}

func (p picture) word32(at uint64) uint32 {
	if !p.has(at, 4) {
		return 0
	}
	return binary.LittleEndian.Uint32(p[at:])
}

func (p picture) word64(at uint64) uint64 {
	if !p.has(at, 8) {
		return 0
	}
	return binary.LittleEndian.Uint64(p[at:])
}

func (p picture) text(at, size uint64) string {
	if !p.has(at, size) {
		return ""
	}
	text, _, _ := bytes.Cut(p[at:at+size], []byte{0})
	return string(text)
}

func (p picture) time(at uint64) time.Time {
	ns := p.word64(at)
	if ns == 0 || ns > 1<<63-1 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

// Where the fields of a file are that says it is an arena.
const (
	atVersion  = uint64(unsafe.Offsetof(header{}.version))
	atBytes    = uint64(unsafe.Offsetof(header{}.headerBytes))
	atLayout   = uint64(unsafe.Offsetof(header{}.layoutHash))
	atBoot     = uint64(unsafe.Offsetof(header{}.bootID))
	atSeed     = uint64(unsafe.Offsetof(header{}.seed))
	atCreated  = uint64(unsafe.Offsetof(header{}.created))
	atMembers  = uint64(unsafe.Offsetof(header{}.members))
	atSlots    = uint64(unsafe.Offsetof(header{}.slots))
	atLimit    = uint64(unsafe.Offsetof(header{}.limit))
	atSegments = uint64(unsafe.Offsetof(header{}.segments))
	atBump     = uint64(unsafe.Offsetof(header{}.bump))
	atFence    = uint64(unsafe.Offsetof(header{}.fenceHigh))
	atGrowth   = uint64(unsafe.Offsetof(header{}.growth))
	atSettler  = uint64(unsafe.Offsetof(header{}.settler))
)

// beginning is how many bytes tell an arena, of any version, from other files.
const beginning = 16

func (p picture) beginsAsArena() bool { return len(p) >= beginning && p.word64(0) == magic }

// decodeHeader returns no Snapshot for what is no arena, and one that is not
// readable if nothing behind the header has a place that is known.
func (p picture) decodeHeader() (*Snapshot, error) {
	if !p.beginsAsArena() {
		return nil, fmt.Errorf("%w: it does not begin like one", ErrNotArena)
	}
	s := &Snapshot{Size: int64(len(p)), Version: p.word32(atVersion), picture: p}
	if s.Version != formatVersion {
		return s, fmt.Errorf("%w: version %d, this build reads version %d", ErrVersion, s.Version, formatVersion)
	}
	s.LayoutHash = p.word64(atLayout)
	if len(p) < headerSize {
		return s, fmt.Errorf("%w: %d bytes, the header alone has %d", ErrTruncated, len(p), headerSize)
	}
	copy(s.BootID[:], p[atBoot:])
	s.Created = p.time(atCreated)
	s.Limit, s.Segments = p.word32(atLimit), p.word32(atSegments)
	s.Bump, s.FenceHigh = p.word32(atBump), p.word64(atFence)
	if s.LayoutHash != layoutHash {
		return s, fmt.Errorf("%w: layout %#x, this build has %#x", ErrLayout, s.LayoutHash, layoutHash)
	}
	for _, fixed := range []struct {
		what string
		at   uint64
		want uint32
	}{
		{"header size", atBytes, headerSize},
		{"number of members", atMembers, memberLimit},
		{"slots a segment", atSlots, segmentSlots},
	} {
		if got := p.word32(fixed.at); got != fixed.want {
			return s, fmt.Errorf("%w: %s is %d, must be %d", ErrDamaged, fixed.what, got, fixed.want)
		}
	}
	s.readable = true
	if s.Segments < 1 || s.Segments > maxSegments {
		err := fmt.Errorf("%w: %d segments are not in 1 … %d", ErrDamaged, s.Segments, maxSegments)
		s.Segments = min(uint32(max(0, (len(p)-segmentsStart)/segmentSize)), maxSegments)
		return s, err
	}
	if need := segmentsStart + uint64(s.Segments)*segmentSize; !p.has(0, need) {
		return s, fmt.Errorf("%w: %d bytes, its %d segments need %d", ErrTruncated, len(p), s.Segments, need)
	}
	return s, nil
}

func (p picture) decodeMembers(s *Snapshot, v *verdicts) {
	for index := uint64(1); index <= memberLimit; index++ {
		at := membersStart + index*memberSize
		state := p.word64(at)
		phase := uint8(state >> 32)
		if phase == 0 {
			continue
		}
		s.Members = append(s.Members, MemberInfo{
			Member:      robust.Member{Index: uint16(index), Generation: uint16(state >> 48)},
			Phase:       Phase(phase),
			ByteOnly:    state&seenByteOnly != 0,
			LeftInOrder: state&seenLeftInOrder != 0,
			NoByte:      state&seenNoByte != 0,
			Identity: robust.Identity{
				PID:        uint32(state),
				PIDNS:      p.word64(at + uint64(unsafe.Offsetof(member{}.pidNS))),
				PidfdInode: p.word64(at + uint64(unsafe.Offsetof(member{}.pidfd))),
				StartTime:  p.word64(at + uint64(unsafe.Offsetof(member{}.startTime))),
			},
			UID:     p.word32(at + uint64(unsafe.Offsetof(member{}.uid))),
			Label:   p.text(at+uint64(unsafe.Offsetof(member{}.label)), memberLabel),
			Joined:  p.time(at + uint64(unsafe.Offsetof(member{}.joined))),
			Verdict: v[index],
		})
	}
}

// The flags of a member's state.
const (
	seenByteOnly    = flagByteOnly << 40
	seenLeftInOrder = flagLeftInOrder << 40
	seenNoByte      = flagNoByte << 40
)

// member returns the entry of a member that is attached, nil of any other.
func (s *Snapshot) member(m robust.Member) *MemberInfo {
	i, found := slices.BinarySearchFunc(s.Members, m, func(e MemberInfo, m robust.Member) int {
		return cmp.Compare(e.Index, m.Index)
	})
	if !found || s.Members[i].Generation != m.Generation {
		return nil
	}
	return &s.Members[i]
}

func (s *Snapshot) ownerOf(w robust.Word) *OwnerInfo {
	if w.IsFree() {
		return nil
	}
	o := &OwnerInfo{Member: w.Owner(), PID: w.PID()}
	if m := s.member(o.Member); m != nil {
		o.Label, o.Verdict, o.Known = m.Label, m.Verdict, true
	}
	return o
}

func (p picture) decodeLatches(s *Snapshot) {
	add := func(name string, at uint64) {
		if w := robust.Word(p.word64(at)); !w.IsFree() || w.Has(robust.Abandoned) {
			s.Latches = append(s.Latches, LatchInfo{Name: name, Word: w, Owner: s.ownerOf(w)})
		}
	}
	add("growth", atGrowth)
	add("settler", atSettler)
	for i := range uint64(stripeCount) {
		add(fmt.Sprintf("stripe %d", i), stripesStart+i*stripeSize)
	}
}
