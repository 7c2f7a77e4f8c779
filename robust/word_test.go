package robust

import (
	"testing"
)

var (
	someone = Held(Member{Index: 7, Generation: 0xbeef}, 1234)
	another = Held(Member{Index: 1000, Generation: 1}, 1<<22)
)

// everyFlags calls f with every combination of flags.
func everyFlags(f func(flags Word)) {
	for bits := range Word(32) {
		f(bits << 27)
	}
}

func TestWordFieldsDoNotOverlap(t *testing.T) {
	everyFlags(func(flags Word) {
		for _, m := range []Member{{1, 1}, {7, 0xbeef}, {1023, 0xffff}, {0xffff, 0}} {
			for _, pid := range []uint32{1, 2, 1 << 22, 1<<27 - 1} {
				w := Held(m, pid) | flags
				if w.IsFree() || w.Owner() != m || w.PID() != pid || w.Flags() != flags {
					t.Fatalf("%#x: free %v, owner %v, pid %d, flags %#x", w, w.IsFree(), w.Owner(), w.PID(), w.Flags())
				}
				if !w.SameHolding(Held(m, pid)) || w.SameHolding(Held(m, pid^1)) {
					t.Fatalf("%#x: same holding as another, or not as itself", w)
				}
			}
		}
		for _, generation := range []uint32{1, 0xffff, 0x10000, MaxGeneration} {
			w := Free(generation) | flags
			if !w.IsFree() || w.Generation() != generation || w.Owner() != (Member{}) || w.PID() != 0 || w.Flags() != flags {
				t.Fatalf("%#x: %v, generation %d, owner %v", w, w.IsFree(), w.Generation(), w.Owner())
			}
			if w.SameHolding(w) {
				t.Fatalf("%#x: a free word is nobody's holding", w)
			}
		}
	})
}

// The low half is what a futex wait compares: it must tell every state that a
// sleeper cares about.
func TestWordLowHalf(t *testing.T) {
	if Free(3).Low() != 0 || someone.Low() != 1234 || (someone|Waiters).Low() != 1234|1<<31 {
		t.Fatalf("low halves %#x %#x %#x", Free(3).Low(), someone.Low(), (someone | Waiters).Low())
	}
}

// Each row of the transitions' table, for every combination of flags.
func TestWordTransitions(t *testing.T) {
	everyFlags(func(flags Word) {
		keeps := func(what string, got, from, must Word) {
			t.Helper()
			if got.Flags() != from.Flags()&must {
				t.Errorf("%s of %#x has flags %#x, want %#x of them", what, from, got.Flags(), must)
			}
		}
		free, held := Free(9)|flags&^(Local|Dozing), someone|flags

		taken := free.Taken(another)
		keeps("Taken", taken, free, Waiters|Abandoned)
		barged := free.Barged(another)
		keeps("Barged", barged, free, Waiters|Abandoned|Starved)
		released := held.Released(9)
		keeps("Released", released, held, Waiters|Abandoned|Starved)
		calmed := free.Calmed()
		keeps("Calmed", calmed, free, Abandoned)
		inherited := held.Inherited(another)
		keeps("Inherited", inherited, held, Waiters|Abandoned)

		reclaimed := held.Reclaimed(another)
		if !reclaimed.Has(Abandoned) || reclaimed.Has(Waiters) != held.Has(Waiters) || reclaimed.Has(Local) || reclaimed.Has(Starved) || reclaimed.Has(Dozing) {
			t.Errorf("Reclaimed of %#x is %#x", held, reclaimed)
		}
		for _, w := range []Word{taken, barged, inherited, reclaimed} {
			if !w.SameHolding(another) {
				t.Errorf("%#x is not held by who took it", w)
			}
		}
		for _, w := range []Word{released, calmed} {
			if !w.IsFree() || w.Generation() != 9 || w.Has(Local) {
				t.Errorf("%#x is not free in generation 9", w)
			}
		}
	})
}

// Nobody's zero is a word that a handle could swap: slots' generations and
// members' indices start at 1.
func TestZeroIsNobodys(t *testing.T) {
	if Word(0) == Free(1) || Word(0) == Held(Member{1, 1}, 1) || !Word(0).IsFree() {
		t.Fatal("zero pages could be locked")
	}
}
