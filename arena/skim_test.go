package arena

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"lockd/robust"
)

// eachOf collects what EachLock gives.
func eachOf(k *Skimmed) (all []LockInfo) {
	for l := range k.EachLock() {
		all = append(all, *l)
	}
	return all
}

// What is skimmed of a large arena is what is in a copy of it.
func TestSkim(t *testing.T) {
	const names = skimmedFrom * segmentSlots
	a := testArena(t, &Options{Logger: quiet})
	nothing := func(context.Context) error { return nil }
	ctx := t.Context()
	name := func(i int) string {
		if i%500 == 0 {
			return strings.Repeat(fmt.Sprintf("long %d ", i), 10)
		}
		return fmt.Sprint("lock ", i)
	}
	for i := range names {
		if err := a.Mutex(name(i)).Do(ctx, nothing); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < names; i += 5000 {
		a.Mutex(name(i)).Lock()
		defer a.Mutex(name(i)).Unlock()
	}
	a.RWMutex("read").RLock()
	defer a.RWMutex("read").RUnlock()
	tickets, err := a.Semaphore("gpu", 40).Acquire(ctx, 30)
	if err != nil {
		t.Fatal(err)
	}
	defer tickets.Release()
	r := a.Ranges("table")
	defer r.ReleaseAll()
	for i := range int64(20) {
		if err := r.Lock(ctx, Exclusive, 10*i, 5); err != nil {
			t.Fatal(err)
		}
	}
	s := a.Session("transfer")
	defer s.Close()
	if err := errors.Join(s.Lock(ctx, a.Mutex("held in a session")), s.RLock(ctx, a.RWMutex("read"))); err != nil {
		t.Fatal(err)
	}
	other := startActor(t, a.Path(), "other")
	other.Send("lock %s", name(5000))
	other.Silent()

	var want *Snapshot
	var k *Skimmed
	differs := func() error {
		var err error
		if want, err = ReadSnapshot(a.Path()); err != nil {
			t.Fatal(err)
		}
		if k, err = Skim(a.Path()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close() })
		if !k.IsLarge() || want.Segments < skimmedFrom {
			t.Fatalf("%d segments", want.Segments)
		}
		for range 2 { // as often as one likes
			got := eachOf(k)
			if len(got) != len(want.Locks) || len(got) < names {
				return fmt.Errorf("%d locks, in the copy are %d", len(got), len(want.Locks))
			}
			for i := range got {
				if !reflect.DeepEqual(got[i], want.Locks[i]) {
					return fmt.Errorf("lock %d is\n%+v, in the copy\n%+v", i, got[i], want.Locks[i])
				}
			}
		}
		if !reflect.DeepEqual(k.Members, want.Members) || !reflect.DeepEqual(k.Latches, want.Latches) || !reflect.DeepEqual(k.Sessions, want.Sessions) {
			return fmt.Errorf("%+v\n%+v\n%+v\nin the copy\n%+v\n%+v\n%+v", k.Members, k.Latches, k.Sessions, want.Members, want.Latches, want.Sessions)
		}
		return nil
	}
	// The other one looks after the dead, and after its wait: between the two
	// looks at the arena it may have changed something.
	different := differs()
	for ctx := within(t); different != nil && ctx.Err() == nil; different = differs() {
	}
	if different != nil {
		t.Fatal(different)
	}
	if n, err := residentPages(k.mapped); err == nil && n > 4*around/pageSize {
		t.Errorf("%d pages of the file are left in this process, of %d", n, len(k.mapped)/pageSize)
	}
	if len(k.Sessions) != 1 || len(k.Sessions[0].Holds) != 2 || k.Sessions[0].Holds[0].Lock == "" {
		t.Errorf("sessions: %+v", k.Sessions)
	}
	if found := k.Problems(); len(found) != 0 || k.Err() != nil {
		t.Errorf("%v, %v", found, k.Err())
	}
	first := ""
	for l := range k.EachLock() {
		first = l.Name
		break
	}
	if first != want.Locks[0].Name {
		t.Errorf("the first is %q", first)
	}
}

// residentPages counts the pages of a mapping that count as this process's.
func residentPages(mapped []byte) (n int, err error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	entries := make([]byte, 8*(len(mapped)/pageSize))
	if _, err := f.ReadAt(entries, 8*int64(uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))/pageSize)); err != nil {
		return 0, err
	}
	for i := 7; i < len(entries); i += 8 {
		n += int(entries[i] >> 7) // present
	}
	return n, nil
}

// A small one is copied at once.
func TestSkimSmall(t *testing.T) {
	k, err := Skim(writeImage(t, forgeBusy().picture))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if got := eachOf(k); k.IsLarge() || len(got) != len(forgedNames) || got[0].Name != "a" {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]error{"/nothing/there": ErrNotExist, "": ErrName, "/dev/null": ErrNotArena} {
		if k, err := Skim(name); k != nil || !errors.Is(err, want) {
			t.Errorf("%q: %v, %v", name, k, err)
		}
	}
}

// forgeLarge is a calm arena with names in its first segments and in its last.
func forgeLarge() forgery {
	f := forge(skimmedFrom + 1)
	f.put32(atBump, (skimmedFrom+1)*segmentSlots)
	f.addMember(forgedOwner, PhaseLive, 0, robust.Identity{PID: 4242}, "owner")
	for i, name := range forgedNames {
		f.addLock(uint32(i+1), name)
		f.addLock(uint32(skimmedFrom*segmentSlots+i+1), "far "+name[:min(len(name), MaxName-4)])
	}
	return f
}

// What is wrong with a large arena is found as in a copy, and so is what can
// still be read of it.
func TestSkimDamaged(t *testing.T) {
	const far = skimmedFrom*segmentSlots + 1
	for name, change := range map[string]func(f forgery) picture{
		"nothing":    func(f forgery) picture { return f.picture },
		"name twice": func(f forgery) picture { f.addLock(far+20, "a"); return f.picture },
		"owner": func(f forgery) picture {
			f.setWord(far, robust.Held(robust.Member{Index: 7, Generation: 7}, 7))
			return f.picture
		},
		"extension":     func(f forgery) picture { f.put32(slotStart(far+3)+atSlotExtension, 4); return f.picture },
		"far extension": func(f forgery) picture { f.put32(slotStart(4)+atSlotExtension, far+53); return f.picture },
		"out of range":  func(f forgery) picture { f.put32(slotStart(far)+atSlotNext, 1<<31); return f.picture },
		"unreachable":   func(f forgery) picture { f.put64(slotStart(far)+atSlotHash, 1<<63); return f.picture },
		"life":          func(f forgery) picture { f.put64(slotStart(far+40)+atSlotLife, 3); return f.picture },
		"record": func(f forgery) picture {
			f.addWaiter(skimmedFrom*segmentRecords+2, forgedOwner, far+40, 1)
			return f.picture
		},
		"waits":    func(f forgery) picture { f.addWaiter(5, forgedOwner, far, 1); return f.picture },
		"segments": func(f forgery) picture { f.put32(atSegments, 1<<20); return f.picture },
		"version":  func(f forgery) picture { f.put32(atVersion, 99); return f.picture },
		"layout":   func(f forgery) picture { f.put64(atLayout, 99); return f.picture },
		"cut":      func(f forgery) picture { return f.picture[:len(f.picture)-50001] },
		"cut to fewer segments": func(f forgery) picture {
			f.put32(atBump, (skimmedFrom+4)*segmentSlots)
			f.put32(atSegments, skimmedFrom+4)
			return f.picture
		},
		"cut in the table": func(f forgery) picture { return f.picture[:len(f.picture)-segmentSize+slotSize*3] },
		"all ones": func(f forgery) picture {
			for i := segmentsStart; i < len(f.picture); i++ {
				f.picture[i] = 0xff
			}
			return f.picture
		},
	} {
		t.Run(name, func(t *testing.T) {
			image := change(forgeLarge())
			path := writeImage(t, image)
			want, wantErr := ReadSnapshot(path)
			k, err := Skim(path)
			if k == nil || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%v, %v; of a copy %v", k, err, wantErr)
			}
			defer k.Close()
			if got := eachOf(k); len(got) != len(want.Locks) || len(got) > 0 && !reflect.DeepEqual(got, want.Locks) {
				t.Errorf("%d locks, in a copy %d", len(got), len(want.Locks))
			}
			texts := func(all []Problem) (texts []string) {
				for _, p := range all {
					texts = append(texts, p.String())
				}
				slices.Sort(texts)
				return texts
			}
			if got, want := texts(k.Problems()), texts(want.Problems()); !slices.Equal(got, want) {
				t.Errorf("found %q, in a copy %q", got, want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, image) {
				t.Error("the file was written to")
			}
		})
	}
}

// What is cut off while it is read is missed, and that is said.
func TestSkimSurvivesTruncation(t *testing.T) {
	path := writeImage(t, forgeLarge().picture)
	k, err := Skim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if got := eachOf(k); len(got) != len(forgedNames) || !errors.Is(k.Err(), ErrTruncated) {
		t.Errorf("%d locks, %v", len(got), k.Err())
	}
	k.Problems()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if got := eachOf(k); len(got) != 0 {
		t.Errorf("%d locks", len(got))
	}
}
