package words

import (
	"testing"

	"lockd/robust"
)

func TestLife(t *testing.T) {
	m := robust.Member{Index: 999, Generation: 65535}
	claimed := ClaimedLife(m)
	if claimed.Phase() != Claimed || claimed.Claimer() != m || claimed.IsLock() {
		t.Errorf("claimed: %#x", claimed)
	}
	for _, generation := range []uint32{1, 1 << 31, robust.MaxGeneration} {
		live := LiveLife(generation, 255, 2)
		if live.Phase() != Live || live.Generation() != generation || live.Kind() != 2 || !live.IsLock() {
			t.Errorf("live: %#x", live)
		}
		if LiveLife(generation, 9, Extension).IsLock() {
			t.Error("an extension is no lock")
		}
		held := robust.Held(m, 1)
		if Astray(robust.Free(generation), live) || !Astray(robust.Free(generation-1), live) || Astray(held, live) {
			t.Errorf("astray in generation %d", generation)
		}
	}
	if Life(Empty).Phase() != Empty {
		t.Error("empty")
	}
}

func TestMember(t *testing.T) {
	s := NewMember(65535, Attached, 5, 1<<22)
	if s.Generation() != 65535 || s.Phase() != Attached || s.Flags() != 5 || s.PID() != 1<<22 {
		t.Errorf("%#x", s)
	}
	if s.Next() != 1 || NewMember(7, FreeEntry, 0, 0).Next() != 8 || Member(0).Next() != 1 {
		t.Error("the next generation is one more, and never 0")
	}
}

func TestCounts(t *testing.T) {
	n := Counts(41).Opened()
	if !n.IsOpen() || n.Held() != 0 || n.Waiting() != 0 || n.Epoch() != 42 {
		t.Fatalf("opened: %#x", n)
	}
	for held := range Counts(4) {
		for waiting := range Counts(4) {
			m := n + held*OneReader + waiting*OneWaits
			if m.Held() != uint32(held) || m.Waiting() != uint32(waiting) || m.Epoch() != 42 {
				t.Errorf("%d held, %d waiting: %#x", held, waiting, m)
			}
			g := m.Granted()
			if g.Held() != uint32(held+waiting) || g.Waiting() != 0 || !g.IsOpen() || g.Epoch() != 43 {
				t.Errorf("granted: %#x", g)
			}
			if r := g.Regretted(uint32(waiting)); r.Held() != m.Held() || r.Waiting() != m.Waiting() || !r.IsOpen() {
				t.Errorf("regretted: %#x", r)
			}
			if m.IsEmpty() != (m&ReadBits == 0) || (m.Waiting() == 0) != (m&WaitBits == 0) {
				t.Errorf("%d held, %d wait: bits %#x and %#x", held, m.Waiting(), m&ReadBits, m&WaitBits)
			}
			if m.IsEmpty() != (held == 0) || m.IsReadFrom() != (held > 0) || m.IsFull() {
				t.Errorf("%d held: empty %v, read from %v, full %v", held, m.IsEmpty(), m.IsReadFrom(), m.IsFull())
			}
		}
	}
	if m := n + MaxPeople*OneReader + OneReader; m.IsOpen() || !m.IsFull() || m.IsEmpty() || !m.IsReadFrom() {
		t.Errorf("one reader more than there is room for: %#x", m)
	}
	if m := n - OneReader; m.IsEmpty() || m.IsFull() || m.IsReadFrom() {
		t.Errorf("one reader less than none: %#x", m)
	}
	if (n - OneReader).IsOpen() || n.Epoch().IsOpen() || Counts(0).IsOpen() {
		t.Error("subtracted once too often, closed, or a fresh page, it is not open")
	}
	if e := Counts(EpochMask).Opened().Epoch(); e != 0 {
		t.Errorf("the epoch after the last is %d", e)
	}
}

func TestTickets(t *testing.T) {
	s := NewTickets(1<<32-1, 1<<16)
	if !s.Exists() || s.Incarnation() != 1<<32-1 || s.Capacity() != 1<<16 || s.Has(Awaited|Drained|Ending|Look) {
		t.Errorf("%#x", s)
	}
	if s |= Look; !s.Has(Awaited|Look) || s.Has(Awaited) || s.Capacity() != 1<<16 {
		t.Errorf("with look: %#x", s)
	}
	m := robust.Member{Index: 1000, Generation: 3}
	for _, w := range []struct {
		word    Ticket
		owner   robust.Member
		held    bool
		request uint32
	}{
		{s.Free(), robust.Member{}, false, 0},
		{0, robust.Member{}, false, 0},
		{Ticket(robust.Held(m, 77)), m, true, 0},
		{GivenTo(m, 1<<19), m, true, 1 << 19},
	} {
		owner, held := w.word.Owner()
		if held != w.held || held && owner != w.owner || w.word.Request() != w.request {
			t.Errorf("%#x: owner %v, held %v, request %d", w.word, owner, held, w.word.Request())
		}
	}
	if s.Free() == NewTickets(1, 1).Free() {
		t.Error("free tickets of two incarnations are one word")
	}
}

func TestOwner(t *testing.T) {
	m := robust.Member{Index: 1000, Generation: 65535}
	for kind := TicketRecord; kind <= Withdrawn; kind++ {
		owner := OwnerOf(m, kind)
		if MemberOf(owner) != m || KindOf(owner) != kind {
			t.Errorf("kind %d: %#x", kind, owner)
		}
		want := uint64(0)
		if kind == Wanted {
			want = uint64(Withdrawn)
		}
		if AfterDeath(owner) != want {
			t.Errorf("kind %d after death: %#x", kind, AfterDeath(owner))
		}
	}
}
