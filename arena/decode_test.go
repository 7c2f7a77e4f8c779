package arena

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"lockd/robust"
)

// forgery is an image made by hand, so that the reading side is held against
// the layout and not against the writing side.
type forgery struct {
	picture
	seed uint64
}

func (f forgery) put32(at uint64, v uint32) { binary.LittleEndian.PutUint32(f.picture[at:], v) }
func (f forgery) put64(at, v uint64)        { binary.LittleEndian.PutUint64(f.picture[at:], v) }

func (f forgery) putText(at uint64, text string) { copy(f.picture[at:], text) }

const forgedLevel = 10

func forge(segments uint32) forgery {
	f := forgery{make(picture, segmentsStart+segments*segmentSize), 42}
	f.put64(0, magic)
	f.put32(atVersion, formatVersion)
	f.put32(atBytes, headerSize)
	f.put64(atLayout, layoutHash)
	f.put64(atBoot, 0x1122334455667788)
	f.put64(atSeed, f.seed)
	f.put64(atCreated, uint64(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()))
	f.put32(atMembers, memberLimit)
	f.put32(atSlots, segmentSlots)
	f.put32(atLimit, max(segments, 8))
	f.put32(atSegments, segments)
	f.put32(atBump, 100)
	f.put64(atFence, 1000)
	for i := range uint64(stripeCount) {
		f.put32(stripesStart+i*stripeSize+uint64(unsafe.Offsetof(stripe{}.level)), forgedLevel)
	}
	return f
}

func (f forgery) addMember(m robust.Member, phase Phase, flags uint64, id robust.Identity, label string) {
	at := membersStart + uint64(m.Index)*memberSize
	f.put64(at, uint64(m.Generation)<<48|flags|uint64(phase)<<32|uint64(id.PID))
	f.put64(at+uint64(unsafe.Offsetof(member{}.pidNS)), id.PIDNS)
	f.put64(at+uint64(unsafe.Offsetof(member{}.pidfd)), id.PidfdInode)
	f.put64(at+uint64(unsafe.Offsetof(member{}.startTime)), id.StartTime)
	f.put32(at+uint64(unsafe.Offsetof(member{}.uid)), 1000)
	f.put64(at+uint64(unsafe.Offsetof(member{}.joined)), uint64(time.Unix(1700000000, 0).UnixNano()))
	f.putText(at+uint64(unsafe.Offsetof(member{}.label)), label)
}

func lifeOf(generation uint32, length int, kind uint8) uint64 {
	return uint64(generation)<<32 | uint64(length)<<24 | uint64(kind)<<16 | lifeLive
}

// addLock puts a free mutex of generation 1 into a slot and into its chain;
// the end of a long name goes into slot + 50.
func (f forgery) addLock(slot uint32, name string) {
	at := slotStart(slot)
	hash := hashName(f.seed, name)
	f.put64(at, uint64(robust.Free(1)))
	f.put64(at+atSlotLife, lifeOf(1, len(name), 1))
	f.put64(at+atSlotHash, hash)
	f.putText(at+atSlotName, name[:min(len(name), inlineName)])
	if len(name) > inlineName {
		f.put32(at+atSlotExtension, slot+50)
		f.put64(slotStart(slot+50)+atSlotLife, uint64(extensionLife(slot, 1)))
		f.putText(slotStart(slot+50)+uint64(unsafe.Offsetof(extension{}.name)), name[inlineName:])
	}
	bucket := bucketStart(uint32(hash & (1<<forgedLevel - 1)))
	f.put32(at+atSlotNext, f.word32(bucket))
	f.put32(bucket, slot)
}

func (f forgery) setWord(slot uint32, w robust.Word) { f.put64(slotStart(slot), uint64(w)) }

func (f forgery) addWaiter(number uint32, m robust.Member, slot, count uint32) {
	at := recordStart(number)
	f.put64(at, uint64(m.Generation)<<48|uint64(m.Index)<<32|seenWaiter)
	f.put32(at+uint64(unsafe.Offsetof(record{}.slot)), slot)
	f.put32(at+uint64(unsafe.Offsetof(record{}.count)), count)
	f.put64(at+uint64(unsafe.Offsetof(record{}.since)), uint64(time.Unix(1700000100, 0).UnixNano()))
}

var (
	forgedOwner  = robust.Member{Index: 3, Generation: 7}
	forgedWaiter = robust.Member{Index: 1000, Generation: 65535}
)

// forgeBusy is an arena with something of everything.
func forgeBusy() forgery {
	f := forge(2)
	f.addMember(forgedOwner, PhaseLive, seenByteOnly, robust.Identity{PID: 4242, PIDNS: 1, PidfdInode: 2, StartTime: 3}, "owner")
	f.addMember(forgedWaiter, PhaseLive, 0, robust.Identity{PID: 4343}, strings.Repeat("w", memberLabel))
	f.addMember(robust.Member{Index: 9, Generation: 1}, PhaseJoining, seenLeftInOrder|seenNoByte, robust.Identity{PID: 1}, "")
	for i, name := range forgedNames {
		f.addLock(uint32(i+1), name)
	}
	f.setWord(1, robust.Held(forgedOwner, 4242)|robust.Waiters|robust.Abandoned)
	f.put32(slotStart(1)+atSlotDeaths, 2)
	f.put32(slotStart(1)+atSlotDeadPID, 77)
	f.put32(slotStart(1)+atSlotDeadCause, 1)
	f.put64(slotStart(1)+atSlotDeadWhen, uint64(time.Unix(1700000200, 0).UnixNano()))
	f.putText(slotStart(1)+atSlotDeadLabel, strings.Repeat("d", deathLabel))
	f.put64(slotStart(1)+atSlotFence, 99)
	f.put32(slotStart(1)+atSlotInserted, 61)
	f.addWaiter(1, forgedWaiter, 1, 3)
	f.addWaiter(segmentRecords+1, forgedOwner, 1, 2)
	f.put64(atGrowth, uint64(robust.Held(forgedOwner, 4242)))
	f.put64(stripesStart+5*stripeSize, uint64(robust.Abandoned))
	return f
}

var forgedNames = []string{
	"a", strings.Repeat("i", inlineName), strings.Repeat("j", inlineName+1), strings.Repeat("k", MaxName), "\x01\xff\n",
}

func TestDecode(t *testing.T) {
	s, err := Decode(forgeBusy().picture)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != 1 || s.Segments != 2 || s.Limit != 8 || s.Bump != 100 || s.FenceHigh != 1000 || s.Capacity() != 8*1024-1 {
		t.Errorf("header: %+v", s)
	}
	if want := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC); !s.Created.Equal(want) {
		t.Errorf("created %v, want %v", s.Created, want)
	}
	if s.BootID[0] != 0x88 || s.BootID[7] != 0x11 {
		t.Errorf("boot id %x", s.BootID)
	}

	if len(s.Members) != 3 {
		t.Fatalf("members: %+v", s.Members)
	}
	owner, joining, waiter := s.Members[0], s.Members[1], s.Members[2]
	if owner.Member != forgedOwner || owner.Identity != (robust.Identity{PID: 4242, PIDNS: 1, PidfdInode: 2, StartTime: 3}) ||
		owner.Phase != PhaseLive || !owner.ByteOnly || owner.LeftInOrder || owner.NoByte ||
		owner.UID != 1000 || owner.Label != "owner" || owner.Joined.Unix() != 1700000000 || owner.Verdict != robust.Unknown {
		t.Errorf("owner: %+v", owner)
	}
	if joining.Phase != PhaseJoining || joining.ByteOnly || !joining.LeftInOrder || !joining.NoByte {
		t.Errorf("joining: %+v", joining)
	}
	if waiter.Member != forgedWaiter || waiter.Label != strings.Repeat("w", memberLabel) {
		t.Errorf("waiter: %+v", waiter)
	}

	if len(s.Locks) != len(forgedNames) {
		t.Fatalf("locks: %+v", s.Locks)
	}
	for i, l := range s.Locks {
		if l.Name != forgedNames[i] || l.Slot != uint32(i+1) || l.Generation != 1 || l.Kind != Kind(1) {
			t.Errorf("lock %d: %+v, want name %q", i, l, forgedNames[i])
		}
		if l.Held() != (i == 0) || (l.Owner != nil) != (i == 0) {
			t.Errorf("lock %d: held %v, owner %v", i, l.Held(), l.Owner)
		}
	}
	held := s.Locks[0]
	if *held.Owner != (OwnerInfo{Member: forgedOwner, PID: 4242, Known: true, Label: "owner"}) {
		t.Errorf("owner of the lock: %+v", held.Owner)
	}
	if held.Waiters != 5 || len(held.Waiting) != 2 || held.Waiting[0].Member != forgedWaiter || held.Waiting[0].PID != 4343 ||
		held.Waiting[0].Since.Unix() != 1700000100 || held.Waiting[1].Count != 2 {
		t.Errorf("waiting: %+v", held.Waiting)
	}
	if d := held.LastDeath; d == nil || d.PID != 77 || d.Label != strings.Repeat("d", deathLabel) || d.When.Unix() != 1700000200 || d.Count != 2 || d.Cause != Cause(1) {
		t.Errorf("last death: %+v", d)
	}
	if held.Fence != 99 || held.Inserted != 61*time.Second || held.Abandonments != 2 {
		t.Errorf("held: %+v", held)
	}
	if s.Locks[1].LastDeath != nil {
		t.Errorf("a death of a lock that nobody abandoned: %+v", s.Locks[1].LastDeath)
	}
	if len(s.Latches) != 2 || s.Latches[0].Name != "growth" || s.Latches[0].Owner.PID != 4242 ||
		s.Latches[1].Name != "stripe 5" || s.Latches[1].Owner != nil {
		t.Errorf("latches: %+v", s.Latches)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(forgery) picture
		want    error
		says    string // what was found and what was expected
		locks   int    // that are still shown
		nothing bool   // no Snapshot
	}{
		{"empty", func(f forgery) picture { return nil }, ErrNotArena, "does not begin like one", 0, true},
		{"other file", func(f forgery) picture { return picture("#!/bin/sh\necho no arena\n") }, ErrNotArena, "does not begin like one", 0, true},
		{"version", func(f forgery) picture { f.put32(atVersion, 9); return f.picture }, ErrVersion, "version 9, this build reads version 1", 0, false},
		{"layout", func(f forgery) picture { f.put64(atLayout, 5); return f.picture }, ErrLayout, "layout 0x5, this build has", 0, false},
		{"header size", func(f forgery) picture { f.put32(atBytes, 64); return f.picture }, ErrDamaged, "header size is 64, must be 4096", 0, false},
		{"members", func(f forgery) picture { f.put32(atMembers, 3); return f.picture }, ErrDamaged, "number of members is 3, must be 1000", 0, false},
		{"slots", func(f forgery) picture { f.put32(atSlots, 3); return f.picture }, ErrDamaged, "slots a segment is 3, must be 1024", 0, false},
		{"no segments", func(f forgery) picture { f.put32(atSegments, 0); return f.picture }, ErrDamaged, "0 segments are not in 1 … 1024", 5, false},
		{"too many segments", func(f forgery) picture { f.put32(atSegments, 1<<31); return f.picture }, ErrDamaged, "2147483648 segments are not in", 5, false},
		{"cut in the header", func(f forgery) picture { return f.picture[:100] }, ErrTruncated, "100 bytes, the header alone has 4096", 0, false},
		{"cut in the slots", func(f forgery) picture { return f.picture[:segmentsStart+3*slotSize] }, ErrTruncated, "139840 bytes, its 2 segments need 630784", 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Decode(tc.change(forgeBusy()))
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %q does not say %q", err, tc.says)
			}
			if (s == nil) != tc.nothing {
				t.Fatalf("snapshot %+v", s)
			}
			if s != nil && len(s.Locks) != tc.locks {
				t.Errorf("%d locks, want %d", len(s.Locks), tc.locks)
			}
			if s != nil {
				s.Problems()
			}
		})
	}
}

// What is cut off at any place, or changed anywhere, must not hurt.
func TestDecodeAnything(t *testing.T) {
	whole := forgeBusy().picture
	for n := 0; n < len(whole); n += 1 + n/50 {
		s, err := Decode(whole[:n])
		if err == nil {
			t.Fatalf("%d of %d bytes decode without an error", n, len(whole))
		}
		if s != nil {
			s.Problems()
		}
	}

	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	interesting := []uint64{0, 1, 2, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1, lifeLive, lifeClaimed}
	for round := range 150 {
		image := bytes.Clone(whole)
		for range 1 + random.IntN(3000) {
			at := random.IntN(len(image)/8) * 8
			if random.IntN(2) == 0 { // where it matters most
				at = [...]int{0, 64, 128, stripesStart, membersStart, segmentsStart, segmentsStart + bucketsInside}[random.IntN(7)] + random.IntN(512)*8
			}
			if at < headerSize && random.IntN(20) > 0 {
				continue // most rounds should get past the header
			}
			v := random.Uint64()
			if random.IntN(2) == 0 {
				v = interesting[random.IntN(len(interesting))]
			}
			binary.LittleEndian.PutUint64(image[at:], v)
		}
		before := allocated()
		s, _ := Decode(image)
		if s != nil {
			s.Problems()
		}
		if used := allocated() - before; used > 40*uint64(len(image)) {
			t.Fatalf("seed %d, round %d: decoding %d bytes took %d bytes", seed, round, len(image), used)
		}
	}
}

// allocated grows by what anybody in the process allocates, so limits on its
// differences are generous.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
