package arena

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/proc"
)

func init() { roles["sleeper"] = sleepThrough }

// sleepThrough takes a lock and gives it back each time it is told to: arena,
// lock, and perhaps "no ticks".
func sleepThrough(args []string) {
	a := reopen(args[0], quietly("sleeper"))
	if len(args) > 2 {
		withoutTicks(a)
	}
	m := a.Mutex(args[1])
	orders := orders()
	proc.Say("ready")
	for range orders {
		m.Lock()
		m.Unlock()
		proc.Say("had it")
	}
}

// strandedAfter is when a waiter for a free lock counts as left to sleep for
// ever: twenty of the ticker's longest intervals.
const strandedAfter = 5 * time.Second

// bed is a lock for which a few processes sleep, of which one is killed each
// round just when it, perhaps, is the one that was woken.
type bed struct {
	t        *testing.T
	mutex    *Mutex
	fresh    *supply
	sleepers []*proc.Proc
	// busy: somebody comes back to the lock all the time, and does not stay away
	// for longer than it takes to come.
	busy  bool
	eaten *atomic.Int64 // rounds in which only the ticker can have helped
}

// night is a round: everybody asleep, unlock, kill one, and all others have to
// get the lock.
func (b *bed) night() error {
	b.mutex.Lock()
	for _, p := range b.sleepers {
		p.Send("lock")
	}
	awaitWaiters(b.t, b.mutex, b.sleepers)
	futex.Pause(futex.PausesPer(time.Duration(rand.IntN(100)) * time.Microsecond))

	victim := rand.IntN(len(b.sleepers))
	dying := b.sleepers[victim].Cmd.Process
	b.mutex.Unlock()
	dying.Signal(unix.SIGKILL)
	freed := time.Now()

	var survivors []*proc.Proc
	for i, p := range b.sleepers {
		if i != victim {
			survivors = append(survivors, p)
		}
	}
	done := make(chan error)
	go func() { done <- allHadIt(survivors) }()
	err := b.wait(done)
	if time.Since(freed) > tickFirst/2 {
		b.eaten.Add(1)
	}
	b.sleepers[victim].Kill()
	b.sleepers[victim] = b.fresh.next()
	return err
}

func allHadIt(sleepers []*proc.Proc) error {
	late := time.After(strandedAfter)
	for _, p := range sleepers {
		select {
		case line := <-p.Lines():
			if line != "had it" {
				return fmt.Errorf("sleeper %d said %q", p.PID(), line)
			}
		case <-late:
			return fmt.Errorf("sleeper %d was stranded for %v", p.PID(), strandedAfter)
		}
	}
	return nil
}

// wait waits for done, and comes back to the lock meanwhile, if it is busy.
func (b *bed) wait(done chan error) error {
	if !b.busy {
		return <-done
	}
	for {
		b.mutex.Lock()
		time.Sleep(between)
		select {
		case err := <-done:
			b.mutex.Unlock()
			return err
		default:
		}
		b.mutex.Unlock()
	}
}

// surviveNights runs so many rounds, in several beds at once, since those in
// which the wake died with the woken take a tick.
func surviveNights(t *testing.T, busy, ticks bool, sleepers, rounds int, options ...proc.Option) (survived bool) {
	t.Helper()
	path := testPath(t)
	a, err := Open(path, quietly("parent"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var tired []string
	if !ticks {
		tired = []string{"no ticks"}
	}
	const beds = 8
	var eaten, left atomic.Int64
	left.Store(int64(rounds))
	var all sync.WaitGroup
	for i := range beds {
		b := &bed{t: t, mutex: a.Mutex(fmt.Sprintf("bed %d", i)), busy: busy, eaten: &eaten}
		b.fresh = newSupply(sleepers, func(int) *proc.Proc {
			return proc.Start(t, "sleeper", append([]string{path, b.mutex.Name()}, tired...), options...)
		})
		for range sleepers {
			b.sleepers = append(b.sleepers, b.fresh.next())
		}
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := b.night(); err != nil {
					left.Store(0)
					t.Errorf("%q, word %#x: %v", b.mutex.Name(), b.mutex.binding().slot.word.Load(), err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d sleepers: %d killed, in %d rounds the others took longer than %v", sleepers, rounds, eaten.Load(), tickFirst/2)
	return !t.Failed()
}

func nights() int {
	if testing.Short() || slowOnly {
		return 50
	}
	return 500
}

// The wake may have gone to the one that was killed, and nobody comes to the
// lock any more.
func TestKilledWaiterOfIdleLock(t *testing.T) {
	if !surviveNights(t, false, true, 2, nights()) || !surviveNights(t, false, true, 4, nights()) {
		return
	}
	t.Run("without futex_waitv", func(t *testing.T) {
		surviveNights(t, false, true, 3, 50, withoutWaitv(t))
	})
}

// Somebody comes back to the lock, and is hardly ever away from it. For one who
// is left asleep W is enough then; of several, one may need the ticker.
func TestKilledWaiterOfBusyLock(t *testing.T) {
	if !surviveNights(t, true, false, 2, nights()) || !surviveNights(t, true, true, 4, nights()) {
		return
	}
	t.Run("without futex_waitv", func(t *testing.T) {
		surviveNights(t, true, true, 3, 50, withoutWaitv(t))
	})
}
