package arena

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
	"lockd/robust"
)

// Processes insert, evict and re-insert a few names in a table that is too
// small for them and what they insert besides. Were a name ever in two slots,
// two would be in its critical section, and the counter that it guards would
// lose a step.
const (
	tornNames  = 6
	fillerName = 1100 // of each process, however much of the time it is alone: more than the table has
)

func TestOneNameOneSlot(t *testing.T) {
	t.Parallel()
	const processes = 4
	rounds := 40_000
	if testing.Short() {
		rounds = 4_000
	}
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	counters, err := os.Create(a.Path() + ".counters")
	if err != nil {
		t.Fatal(err)
	}
	defer counters.Close()
	if err := counters.Truncate(pageSize); err != nil {
		t.Fatal(err)
	}
	var all []*proc.Proc
	for i := range processes {
		p := proc.Start(t, "tearer", []string{a.Path(), strconv.Itoa(i), strconv.Itoa(rounds)}, proc.Files(counters))
		p.Expect("ready")
		all = append(all, p)
	}
	for _, p := range all {
		p.Send("go")
	}
	total, moved := 0, 0
	for _, p := range all {
		var did, saw int
		if n, err := fmt.Sscanf(p.Next(), "%d %d", &did, &saw); n != 2 || err != nil {
			t.Fatal("a process failed")
		}
		total += did
		moved += saw
	}
	page, err := os.ReadFile(counters.Name())
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for i := range tornNames {
		counted += int(page[8*i]) | int(page[8*i+1])<<8 | int(page[8*i+2])<<16 | int(page[8*i+3])<<24
	}
	if counted != total {
		t.Errorf("%d steps were done under the locks, %d are in the counters", total, counted)
	}
	if moved < rounds/200 {
		t.Errorf("names moved only %d times: the test shows little", moved)
	}
	t.Logf("%d steps by %d processes; %d times a name had moved", total, processes, moved)
}

func init() { roles["tearer"] = tearer }

// tearer says how many steps it did and how often a handle's name had moved.
func tearer(args []string) {
	a := reopen(args[0], &Options{MaxLocks: 1, Logger: quiet})
	rounds, _ := strconv.Atoi(args[2])
	counters, err := unix.Mmap(3, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		proc.Say("%v", err)
		return
	}
	proc.Say("ready")
	proc.Hear()
	did, moved := 0, 0
	var kept [tornNames]*Mutex // handles that grow stale
	var last [tornNames]*binding
	for i := range kept {
		kept[i] = a.Mutex("torn" + strconv.Itoa(i))
	}
	for i := range rounds {
		filler := a.Mutex("filler " + args[1] + " " + strconv.Itoa(i%fillerName))
		filler.Lock()
		filler.Unlock()
		if i%4 != 0 {
			continue
		}
		n := i / 4 % tornNames
		m := kept[n]
		switch i / 4 / tornNames % 3 {
		case 0:
			m.Lock()
		case 1:
			for !m.TryLock() {
				runtime.Gosched()
			}
		default:
			if err := m.LockContext(context.Background()); err != nil {
				proc.Say("%v", err)
				return
			}
		}
		// A plain load, a moment, a plain store.
		v := counters[8*n : 8*n+4]
		old := uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16 | uint32(v[3])<<24
		if i%64 == 0 {
			runtime.Gosched()
		}
		old++
		v[0], v[1], v[2], v[3] = byte(old), byte(old>>8), byte(old>>16), byte(old>>24)
		if b := m.binding(); b != last[n] {
			last[n] = b
			moved++
		}
		m.Unlock()
		did++
	}
	proc.Say("%d %d", did, moved)
}

// A handle whose name was evicted comes upon the dead owner of the name that
// has the slot now: it must not take that one's lock, nor its notice.
func TestStaleHandleMeetsDeadOwner(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	m := a.Mutex("evicted")
	m.Lock()
	m.Unlock()
	old := m.binding()
	heir := ""
	for i := 0; heir == ""; i++ {
		n := a.Mutex("filler " + strconv.Itoa(i))
		n.Lock()
		n.Unlock()
		if n.binding().index == old.index {
			heir = n.Name()
		}
	}
	victim := startActor(t, a.Path(), "victim", atMost(1))
	victim.must("held", "lock %s", heir)
	judged := robust.Word(old.slot.word.Load())
	victim.Kill()
	c := a.core
	// The settler may be quicker; then the word is not the judged one any more.
	switch out := c.reclaim(old, judged); out {
	case taken:
		t.Fatal("took another name's lock for its own")
	case busy:
		t.Log("settled before it could be reclaimed")
	}
	n := a.Mutex(heir)
	n.Lock()
	if d, ok := n.Abandoned(); !ok || d.PID != victim.PID() {
		t.Errorf("the heir of %q is told %v, %v", heir, d, ok)
	}
	if !m.TryLock() {
		t.Error("the evicted name cannot be locked")
	}
	if _, ok := m.Abandoned(); ok {
		t.Error("the evicted name is called abandoned")
	}
	m.Unlock()
	n.MarkConsistent()
	n.Unlock()
}

// A program that locks ever new names works in a small table, and in bounded
// memory. LOCKD_LONG=1 makes them ten million, in about a minute.
func TestManyNames(t *testing.T) {
	// Not beside others: the heap is all of theirs.
	names := 2_000_000
	switch {
	case os.Getenv("LOCKD_LONG") != "":
		names = 10_000_000
	case testing.Short() || slowOnly:
		names = 200_000
	}
	a := testArena(t, &Options{MaxLocks: 4096, Logger: quiet})
	kept := a.Mutex("kept")
	kept.Lock()
	lock := func(from, to int) {
		name := make([]byte, 0, 32)
		for i := from; i < to; i++ {
			m := a.Mutex(string(strconv.AppendInt(append(name, "order "...), int64(i), 10)))
			if err := m.LockContext(context.Background()); err != nil {
				t.Error(err)
				return
			}
			m.Unlock()
		}
	}
	const parts = 10
	var heap [parts]uint64
	began := time.Now()
	for part := range parts {
		from, to := part*names/parts, (part+1)*names/parts
		middle := (from + to) / 2
		var both sync.WaitGroup
		both.Go(func() { lock(from, middle) })
		both.Go(func() { lock(middle, to) })
		both.Wait()
		heap[part] = heapInUse()
	}
	t.Logf("%d names in %v; bytes of heap after each tenth: %v", names, time.Since(began).Round(time.Millisecond), heap)
	// Some megabytes are between two collections; what matters is that they do
	// not become more.
	first, second := slices.Max(heap[:parts/2]), slices.Max(heap[parts/2:])
	if second > max(first+first/4, 16<<20) {
		t.Errorf("the heap grew from %d to %d bytes", first, second)
	}
	if got := a.core.segments(); got != segmentsFor(4096) {
		t.Errorf("%d segments; 4096 locks need %d", got, segmentsFor(4096))
	}
	if err := a.wholeAndHeld(1); err != nil {
		t.Error(err)
	}
	if err := kept.Release(); err != nil {
		t.Errorf("the one that was held all the time: %v", err)
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and weak pointers held
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Names of every length that is a boundary somewhere, alike but for their
// last byte, in one process and as another sees them.
func TestNameLengths(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	var names []string
	for _, n := range []int{1, 2, 7, 8, 9, 63, 64, 65, 79, 80, 81, 82, 87, 88, 89, 128, 254, 255} {
		for _, last := range []string{"a", "b", "\xff"} {
			names = append(names, strings.Repeat("\xfe", n-1)+last)
		}
	}
	for range 3 {
		for _, name := range names {
			if err := a.Mutex(name).LockContext(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		s, err := ReadSnapshot(a.Path())
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]bool)
		for _, l := range s.Locks {
			if l.Held() {
				found[l.Name] = true
			}
		}
		for _, name := range names {
			if !found[name] {
				t.Errorf("%q is not in the table", name)
			}
		}
		if len(found) != len(names) {
			t.Errorf("%d names in the table, not %d", len(found), len(names))
		}
		other := startActor(t, a.Path(), "other", atMost(1))
		for _, name := range names {
			other.must("busy", "try %s", name)
		}
		for _, name := range names {
			a.Mutex(name).Unlock()
		}
		other.must("held", "try %s", names[len(names)-1])
		other.must("ok", "unlock %s", names[len(names)-1])
		// Long and short names take each other's slots.
		for i := range 2 * segmentSlots {
			m := a.Mutex(strings.Repeat("z", i%MaxName) + strconv.Itoa(i)[:1])
			if err := m.LockContext(context.Background()); err != nil {
				t.Fatal(err)
			}
			m.Unlock()
			m = a.Mutex(fmt.Sprintf("%0*d", 60+i%60, i))
			if err := m.LockContext(context.Background()); err != nil {
				t.Fatal(err)
			}
			m.Unlock()
		}
	}
	if problems, err := Check(a.Path()); err != nil || len(problems) > 0 {
		t.Errorf("check: %v, %v", err, problems)
	}
}

// The table grows while two processes insert, and a third that attached
// before finds everything.
func TestGrowth(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	const each = 2500
	early := startActor(t, a.Path(), "early")
	one, two := startActor(t, a.Path(), "one"), startActor(t, a.Path(), "two")
	one.Send("hold 0 %d name", each)
	two.Send("hold %d %d name", each, 2*each)
	one.Expect("held")
	two.Expect("held")
	if err := a.wholeAndHeld(2 * each); err != nil {
		t.Error(err)
	}
	s, err := ReadSnapshot(a.Path())
	if err != nil || s.Segments != (2*each+segmentSlots)/segmentSlots || s.Size != int64(fileSize(s.Segments)) {
		t.Errorf("%d segments, %d bytes, %v", s.Segments, s.Size, err)
	}
	for i := 0; i < 2*each; i += 7 {
		early.must("busy", "try name%d", i)
	}
	one.Kill()
	two.must("ok", "drop %d %d name", each, 2*each)
	for i := 0; i < 2*each; i += 7 {
		want := "held"
		if i < each {
			want = one.died(1)
		}
		early.must(want, "lock name%d", i)
	}
}
