package arena

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"lockd/robust"
)

func problemsOf(t *testing.T, p picture, v verdicts) []Problem {
	t.Helper()
	s, err := decode(p, v)
	if err != nil {
		t.Fatal(err)
	}
	return s.Problems()
}

func codesOf(problems []Problem) []string {
	var codes []string
	for _, p := range problems {
		code := p.Code
		if p.Severity == Damage {
			code = strings.ToUpper(code)
		}
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return codes
}

// forgeCalm is an arena in which nobody is changing anything.
func forgeCalm() forgery {
	f := forgeBusy()
	f.put64(atGrowth, 0)
	f.put64(stripesStart+5*stripeSize, 0)
	return f
}

func bucketOf(f forgery, name string) uint32 {
	return uint32(hashName(f.seed, name) & (1<<forgedLevel - 1))
}

// pairs returns two names of one stripe, in one bucket or in two.
func pairs(f forgery, oneBucket bool) (string, string) {
	const first = "first"
	for i := 0; ; i++ {
		name := fmt.Sprintf("second %d", i)
		same := bucketOf(f, name) == bucketOf(f, first)
		if bucketOf(f, name)%stripeCount == bucketOf(f, first)%stripeCount && same == oneBucket {
			return first, name
		}
	}
}

func TestProblems(t *testing.T) {
	stranger := robust.Member{Index: 3, Generation: 6}
	for _, tc := range []struct {
		name   string
		change func(f forgery)
		want   []string // in capitals: damage
	}{
		{"whole", func(f forgery) {}, nil},
		{"chain of two", func(f forgery) {
			a, b := pairs(f, true)
			f.addLock(20, a)
			f.addLock(21, b)
		}, nil},

		{"owner of another generation", func(f forgery) { f.setWord(1, robust.Held(stranger, 5)) }, []string{"OWNER"}},
		{"owner out of the table", func(f forgery) { f.setWord(1, robust.Held(robust.Member{Index: 1023, Generation: 1}, 5)) }, []string{"OWNER"}},
		{"owner still joining", func(f forgery) { f.setWord(1, robust.Held(robust.Member{Index: 9, Generation: 1}, 1)) }, []string{"OWNER"}},
		{"owner of a slot without a name", func(f forgery) { f.setWord(40, robust.Held(stranger, 5)) }, []string{"OWNER"}},
		{"L in a free word", func(f forgery) { f.setWord(1, robust.Free(1)|robust.Local) }, []string{"WORD-FLAGS"}},
		{"D in a free word", func(f forgery) { f.setWord(1, robust.Free(1)|robust.Dozing) }, []string{"WORD-FLAGS"}},
		{"S without W", func(f forgery) { f.setWord(1, robust.Held(forgedOwner, 4242)|robust.Starved) }, []string{"WORD-FLAGS"}},
		{"half-evicted", func(f forgery) { f.setWord(1, robust.Free(2)) }, []string{"HALF-EVICTED"}},
		{"half-evicted, latch abandoned", func(f forgery) {
			f.setWord(1, robust.Free(2))
			f.put64(stripesStart+uint64(bucketOf(f, "a")%stripeCount)*stripeSize, uint64(robust.Abandoned))
		}, []string{"half-evicted", "latch-rebuild"}},
		{"robbed", func(f forgery) { f.setWord(1, robust.Free(2)|robust.Abandoned) }, nil},
		{"phase of a member", func(f forgery) {
			f.addMember(robust.Member{Index: 20, Generation: 1}, 3, 0, robust.Identity{PID: 1}, "")
		}, []string{"MEMBER-PHASE"}},
		{"bump", func(f forgery) { f.put32(atBump, 2*segmentSlots+1) }, []string{"BUMP"}},
		{"life", func(f forgery) { f.put64(slotStart(40)+atSlotLife, 3) }, []string{"LIFE"}},

		{"name changed", func(f forgery) { f.putText(slotStart(1)+atSlotName, "b") }, []string{"NAME-HASH"}},
		{"hash changed", func(f forgery) {
			hash := slotStart(1) + atSlotHash
			f.put64(hash, f.word64(hash)^1<<40)
		}, []string{"NAME-HASH"}},
		{"no name", func(f forgery) { f.put64(slotStart(1)+atSlotLife, lifeOf(1, 0, 1)) }, []string{"NAME-EMPTY"}},
		{"one name twice", func(f forgery) { f.addLock(20, "a") }, []string{"NAME-TWICE"}},
		{"end of a name changed", func(f forgery) { f.putText(slotStart(54)+16, "b") }, []string{"NAME-HASH"}},
		{"no extension", func(f forgery) { f.put32(slotStart(4)+atSlotExtension, 0) }, []string{"EXTENSION", "EXTENSION-LOST"}},
		{"extension out of range", func(f forgery) { f.put32(slotStart(4)+atSlotExtension, 1<<30) }, []string{"EXTENSION", "EXTENSION-LOST"}},
		{"extension is a lock", func(f forgery) { f.put32(slotStart(4)+atSlotExtension, 1) }, []string{"EXTENSION", "EXTENSION-LOST"}},
		{"extension of another", func(f forgery) { f.put32(slotStart(4)+atSlotExtension, 53) }, []string{"EXTENSION", "EXTENSION-LOST"}},

		{"lost from its chain", func(f forgery) { f.put32(bucketStart(bucketOf(f, "a")), 0) }, []string{"UNREACHABLE"}},
		{"chain leads out", func(f forgery) { f.put32(bucketStart(bucketOf(f, "a")), 1<<31) }, []string{"CHAIN-RANGE", "UNREACHABLE"}},
		{"chain leads to itself", func(f forgery) { f.put32(slotStart(1)+atSlotNext, 1) }, []string{"CHAIN-LOOP"}},
		{"chain ends in a loop of others", func(f forgery) {
			a, b := pairs(f, false)
			f.addLock(20, a)
			f.addLock(21, b)
			f.put32(slotStart(20)+atSlotNext, 21)
			f.put32(slotStart(21)+atSlotNext, 20)
		}, []string{"CHAIN-FOREIGN", "CHAIN-FOREIGN", "CHAIN-LOOP", "CHAIN-LOOP"}},
		{"slot in two chains", func(f forgery) {
			a, b := pairs(f, false)
			f.addLock(20, a)
			f.addLock(21, b)
			f.put32(slotStart(20)+atSlotNext, 21)
		}, []string{"CHAIN-FOREIGN"}},
		{"slot in another chain only", func(f forgery) {
			a, b := pairs(f, false)
			f.addLock(20, a)
			f.addLock(21, b)
			f.put32(bucketStart(bucketOf(f, b)), 0)
			f.put32(slotStart(20)+atSlotNext, 21)
		}, []string{"CHAIN-FOREIGN", "UNREACHABLE"}},
		{"chain leads to an empty slot", func(f forgery) { f.put32(slotStart(1)+atSlotNext, 40) }, []string{"CHAIN-EMPTY"}},
		{"chains half-moved", func(f forgery) {
			f.put32(bucketStart(bucketOf(f, "a")), 0)
			f.put64(stripesStart+uint64(bucketOf(f, "a")%stripeCount)*stripeSize, uint64(robust.Held(forgedOwner, 4242)))
		}, []string{"unreachable"}},
		{"level too high", func(f forgery) {
			f.put32(stripesStart+uint64(bucketOf(f, "a")%stripeCount)*stripeSize+8, uint32(bits.Len32(2*segmentBuckets)))
		}, []string{"LEVEL"}},

		{"latch of a stranger", func(f forgery) { f.put64(atSettler, uint64(robust.Held(stranger, 5))) }, []string{"LATCH-OWNER"}},
		{"record of a stranger", func(f forgery) { f.addWaiter(2, stranger, 1, 1) }, []string{"RECORD-OWNER"}},
		{"record for no slot", func(f forgery) { f.addWaiter(2, forgedOwner, 0, 1) }, []string{"RECORD-SLOT"}},
		{"record for an empty slot", func(f forgery) { f.addWaiter(2, forgedOwner, 40, 1) }, []string{"RECORD-SLOT"}},
		{"record for a slot that is not there", func(f forgery) { f.addWaiter(2, forgedOwner, 1<<31, 1) }, []string{"RECORD-SLOT"}},
		{"record just claimed", func(f forgery) { f.addWaiter(2, forgedOwner, 0, 0) }, nil},
		{"slot just claimed", func(f forgery) { f.put64(slotStart(40)+atSlotLife, 7<<48|3<<32|lifeClaimed) }, nil},
		{"slot claimed by a stranger", func(f forgery) { f.put64(slotStart(40)+atSlotLife, 6<<48|3<<32|lifeClaimed) }, []string{"CLAIM"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := forgeCalm()
			tc.change(f)
			problems := problemsOf(t, f.picture, verdicts{})
			if got := codesOf(problems); !slices.Equal(got, tc.want) {
				t.Errorf("found %q, want %q:\n%v", got, tc.want, problems)
			}
		})
	}
}

// What the dead left is reported once for each of them, and is no damage.
func TestProblemsOfTheDead(t *testing.T) {
	f := forgeCalm()
	f.setWord(2, robust.Held(forgedOwner, 4242))
	f.put64(slotStart(40)+atSlotLife, 7<<48|3<<32|lifeClaimed)
	f.put64(atGrowth, uint64(robust.Held(forgedOwner, 4242)))
	problems := problemsOf(t, f.picture, verdicts{3: robust.Gone, 1000: robust.Alive})
	if got, want := codesOf(problems), []string{"latch-dead", "member-dead"}; !slices.Equal(got, want) {
		t.Fatalf("found %q, want %q", got, want)
	}
	const want = `unsettled: member-dead: member 3: pid 4242 ("owner") is dead and not settled yet; it left 2 locks, 0 read locks, 1 waits, 1 claimed slots and 1 latches`
	if got := problems[1].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	s, err := decode(f.picture, verdicts{3: robust.Gone})
	if err != nil {
		t.Fatal(err)
	}
	if s.Locks[0].Waiters != 3 || len(s.Locks[0].Waiting) != 2 {
		t.Errorf("the dead wait: %d waiters, %+v", s.Locks[0].Waiters, s.Locks[0].Waiting)
	}
}

func TestConfirmed(t *testing.T) {
	stays := Problem{Damage, "owner", "slot 1", "as it was", [2]uint64{1, 2}}
	moved := Problem{Damage, "owner", "slot 2", "", [2]uint64{1, 2}}
	movedAgain := Problem{Damage, "owner", "slot 2", "", [2]uint64{1, 3}}
	worse := Problem{Unsettled, "name-twice", "slot 3", "", [2]uint64{}}
	worseNow := Problem{Damage, "name-twice", "slot 3", "", [2]uint64{}}
	same := stays
	same.Text = "as it is now"
	got := confirmed([]Problem{stays, moved, worse}, []Problem{movedAgain, same, worseNow})
	if len(got) != 1 || got[0] != same {
		t.Errorf("confirmed %+v, want only %+v", got, same)
	}
}
