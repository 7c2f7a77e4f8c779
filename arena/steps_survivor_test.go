package arena

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lockd/robust"
)

// The locks of the arena in which operations are done. Nobody has read "fresh"
// yet; there is a cell of "x" that nobody has any more.
var (
	stageMutexes = []string{"m0", "m1", "m2", longName(0)}
	stageRW      = []string{"x", "fresh"}
	stageRanges  = []string{stageSections, "crash"}
	stageSizes   = map[string]int{"sem": stageTickets, "fleeting": 7, "crash": crashTickets}
)

const (
	stageTickets  = 4
	stageSections = "rng"
)

// images are what arenas are like at first, by name and number of slots.
var images struct {
	mu  sync.Mutex
	raw map[string][]byte
}

// imageOf is the file of an arena that nobody is attached to: "" has the locks
// of the stage, "full" a name in every slot besides, in "abandoned" m0 and x
// are, "booted" is of an earlier boot, "none" is no file.
func imageOf(t *testing.T, name string, slots int) []byte {
	images.mu.Lock()
	defer images.mu.Unlock()
	key := fmt.Sprint(name, slots)
	if raw, made := images.raw[key]; made || name == "none" {
		return raw
	}
	dir, err := os.MkdirTemp(Dir, testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "arena")
	o, _ := (&Options{MaxLocks: slots - 1, Logger: quiet}).withDefaults()
	if name == "booted" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(fill(f, [16]byte{1}, &o), f.Close())
		if err != nil {
			t.Fatal(err)
		}
	} else {
		makeStage(t, path, name, &o)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if images.raw == nil {
		images.raw = make(map[string][]byte)
	}
	images.raw[key] = raw
	return raw
}

func makeStage(t *testing.T, path, kind string, o *Options) {
	a, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stageMutexes {
		a.Mutex(name).Lock()
		a.Mutex(name).Unlock()
	}
	for _, name := range stageRW {
		a.RWMutex(name).Lock()
		a.RWMutex(name).Unlock()
	}
	a.RWMutex("x").RLock()
	a.RWMutex("x").RUnlock()
	if _, err := a.Semaphore("sem", stageTickets).Tickets(); err != nil {
		t.Fatal(err)
	}
	r := a.Ranges(stageSections)
	lockRange(t, r, Exclusive, 0, 0)
	must(r.ReleaseAll())
	switch kind {
	case "full":
		for i := 0; int(a.core.head.bump.Load()) < segmentSlots; i++ {
			a.Mutex(fmt.Sprint("filler", i)).Lock()
			a.Mutex(fmt.Sprint("filler", i)).Unlock()
		}
	case "abandoned":
		a.Mutex("m0").Lock()
		a.RWMutex("x").Lock()
	}
	if err := a.Close(); err != nil && !errors.Is(err, ErrWasHeld) {
		t.Fatal(err)
	}
}

// survive is what one finds who comes when all others have ended.
func (l *stepLane) survive(dead []*fallen) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, fmt.Errorf("the survivor: %v", p))
		}
	}()
	ctx, cancel := soon()
	defer cancel()
	a, err := Open(l.path, &Options{MaxLocks: l.slots() - 1, Logger: quiet})
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			a.Close()
		}
	}()
	settle := func() error {
		for !a.core.settleDead() {
			if ctx.Err() != nil {
				return errors.New("the dead are not settled")
			}
		}
		return nil
	}
	if l.turn%2 == 0 {
		if err := settle(); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range stageMutexes {
		m := a.Mutex(name)
		errs = append(errs, l.inherit(ctx, name, m, dead))
	}
	for _, name := range stageRW {
		m := a.RWMutex(name)
		errs = append(errs, l.inherit(ctx, name, m, dead), m.RLockContext(ctx), m.RRelease())
	}
	for name, size := range stageSizes {
		errs = append(errs, ticketsAddUp(ctx, a, name, size))
	}
	r := a.Ranges(stageSections)
	errs = append(errs, r.Lock(ctx, Exclusive, 0, 0), r.ReleaseAll())
	latchAll(&performer{a: a})
	errs = append(errs, settle())
	for _, name := range abandonedMutexes(a) {
		errs = append(errs, l.inherit(ctx, name, a.Mutex(name), dead))
	}
	errs = append(errs, nothingLeft(a))
	if problems, err := Check(l.path); err != nil || len(problems) > 0 {
		errs = append(errs, fmt.Errorf("check: %v, %d problems: %v", err, len(problems), problems[:min(len(problems), 3)]))
	}
	if l.o.table && l.turn%4 == 1 {
		errs = append(errs, l.allSlots(ctx, a))
	}
	closed = true
	errs = append(errs, a.Close())
	if left := leftIn(l.t, l.path); len(left) > 0 && !l.o.leaves {
		errs = append(errs, fmt.Errorf("left behind: %v", left))
	}
	return errors.Join(errs...)
}

// owned is a lock whose owner is told of a death.
type owned interface {
	LockContext(context.Context) error
	Abandoned() (Death, bool)
	MarkConsistent() error
	Release() error
}

// inherit takes a lock, and looks whether its owner is told what he must be.
func (l *stepLane) inherit(ctx context.Context, name string, m owned, dead []*fallen) error {
	if err := m.LockContext(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	death, told := m.Abandoned()
	may, owed := l.o.vague, false
	var pids []int
	for _, f := range dead {
		how := f.state[name]
		if !f.killed {
			continue
		}
		pids = append(pids, f.PID()) // be it as an heir, in passing
		may, owed = may || how == "has" || how == "wants", owed || how == "has"
	}
	var err error
	switch {
	case owed && !told && !l.o.vague:
		err = fmt.Errorf("%s: nobody was told of %v", name, dead)
	case told && !may:
		err = fmt.Errorf("%s: told of %+v, and nobody held it: %v", name, death, dead)
	case told && !l.o.vague && (!slices.Contains(pids, death.PID) || death.Cause != Died):
		err = fmt.Errorf("%s: told of %+v, and it was one of %v", name, death, dead)
	}
	return errors.Join(err, m.MarkConsistent(), m.Release())
}

// abandonedMutexes are those that were new to the arena.
func abandonedMutexes(a *Arena) (names []string) {
	for i := uint32(1); i < a.core.slotCount(); i++ {
		s := a.core.slotAt(i)
		if life := slotLife(s.life.Load()); life.isLock() && life.kind() == KindMutex && robust.Word(s.word.Load()).Has(robust.Abandoned) {
			names = append(names, a.core.slotName(s))
		}
	}
	return names
}

// ticketsAddUp takes all tickets of a semaphore, which must be as many as it has
// by then, and gives them back.
func ticketsAddUp(ctx context.Context, a *Arena, name string, size int) error {
	s := a.Semaphore(name, 0)
	err := s.ResizeWait(ctx, size)
	if errors.Is(err, ErrNoSemaphore) || errors.Is(err, ErrDestroyed) {
		s = a.Semaphore(name, size)
		_, err = s.Tickets()
	}
	if err != nil {
		return err
	}
	all, err := s.Acquire(ctx, size)
	if err != nil {
		return err
	}
	if n, err := s.InUse(); err != nil || n != size {
		return fmt.Errorf("%s: of %d tickets %d are in use: %v", name, size, n, err)
	}
	if err := all.Release(); err != nil {
		return err
	}
	if n, err := s.InUse(); err != nil || n != 0 {
		return fmt.Errorf("%s: %d tickets are in use, and nobody has any: %v", name, n, err)
	}
	return nil
}

// nothingLeft looks for what names, or stands for, anybody but this process.
func nothingLeft(a *Arena) error {
	c := a.core
	var left []string
	for i := uint16(1); i < memberEntries; i++ {
		if state := memberState(c.memberAt(i).state.Load()); state.phase() != phaseFree && i != c.member.Index {
			left = append(left, fmt.Sprintf("member %d, pid %d, phase %d", i, state.pid(), state.phase()))
		}
	}
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		owner := r.owner.Load()
		switch kind := kindOfRecord(owner); {
		case owner == 0, kind == recordTickets, kind == recordReaders && ownerOfRecord(owner) == c.member:
		case kind == recordVacant && c.isChained(i, r):
		default:
			left = append(left, fmt.Sprintf("record %d of kind %d: %#x", i, kind, owner))
		}
	}
	for i := uint32(1); i < c.slotCount(); i++ {
		s := c.slotAt(i)
		switch life := slotLife(s.life.Load()); {
		case life.isClaimed():
			left = append(left, fmt.Sprintf("slot %d, claimed", i))
		case life.isLock() && !robust.Word(s.word.Load()).IsFree():
			left = append(left, fmt.Sprintf("slot %d, held", i))
		case life.isLock() && life.kind() == KindRanges && s.records.Load()|uint32(s.state.Load()) != 0:
			left = append(left, fmt.Sprintf("slot %d, ranges", i))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("left of the dead: %s", strings.Join(left, "; "))
	}
	return nil
}

// allSlots holds as many names as there are slots.
func (l *stepLane) allSlots(ctx context.Context, a *Arena) error {
	for name, size := range stageSizes {
		if err := a.Semaphore(name, size).Destroy(ctx); err != nil {
			return err
		}
	}
	n := l.slots() - 1
	for i := range n {
		if err := a.Mutex(fmt.Sprint("all", i)).LockContext(ctx); err != nil {
			return fmt.Errorf("name %d of %d: %w", i, n, err)
		}
	}
	if a.Mutex("too many").TryLock() {
		return fmt.Errorf("more than %d names", n)
	}
	for i := range n {
		a.Mutex(fmt.Sprint("all", i)).Unlock()
	}
	return nil
}
