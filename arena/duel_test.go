package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"lockd/futex"
	"lockd/internal/proc"
	"lockd/robust"
)

func init() { roles["canceller"] = cancelOnDemand }

// cancelOnDemand waits for a lock until it is told to give up: arena, lock.
func cancelOnDemand(args []string) {
	m := withoutTicks(reopen(args[0], quietly("canceller"))).Mutex(args[1])
	orders := orders()
	proc.Say("ready")
	for range orders {
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error)
		go func() { result <- m.LockContext(ctx) }()
		<-orders
		cancel()
		if err := <-result; err == nil {
			m.Unlock()
			proc.Say("had it")
		} else {
			proc.Say("gave up")
		}
	}
}

// duel is a lock with one holder, one who gives up just when the holder
// releases it, and one who is patient and has to get it. Nobody has a ticker.
type duel struct {
	holder, canceller, patient *Mutex
	// lead is by how many steps the cancellation goes first. It is set so that
	// either is about as often the winner.
	lead int
}

const mostLead = 200

func linger(steps int) {
	for i := range steps {
		futex.Pause(8)
		if i%16 == 15 {
			runtime.Gosched()
		}
	}
}

// fight is one race; the second result is false if the patient was stranded.
func (d *duel) fight(r *rand.Rand) (cancelled, served bool) {
	d.holder.Lock()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gaveUp, had := make(chan bool, 1), make(chan bool, 1)
	impatient := func() {
		err := d.canceller.LockContext(ctx)
		if err == nil {
			d.canceller.Unlock()
		}
		gaveUp <- err != nil
	}
	wait := func() {
		d.patient.Lock()
		d.patient.Unlock()
		had <- true
	}
	first, second := impatient, wait
	if r.IntN(4) == 0 { // mostly the one who gives up is the first to be woken
		first, second = second, first
	}
	go first()
	d.awaitQueued(1)
	go second()
	if r.IntN(3) != 0 { // else the second arrives while the lock is released
		d.awaitQueued(2)
	}
	linger(r.IntN(32))

	var gun atomic.Bool
	ready := make(chan bool)
	go func() {
		ready <- true
		for !gun.Load() {
			linger(16)
		}
		cancel()
	}()
	<-ready
	crowded := r.IntN(6) == 0
	if crowded {
		defer d.crowdQueue()()
	}
	gun.Store(true)
	if r.IntN(2) == 0 {
		linger(r.IntN(2*d.lead + 1))
	} else {
		linger(d.lead)
		futex.Pause(uint32(1 + r.IntN(16)))
	}
	d.holder.Unlock()
	if r.IntN(3) == 0 && d.holder.TryLock() {
		linger(r.IntN(32))
		d.holder.Unlock()
	}

	late := time.NewTimer(strandedAfter)
	defer late.Stop()
	select {
	case <-had:
	case <-late.C:
		d.rescue()
		<-had
		return <-gaveUp, false
	}
	switch cancelled = <-gaveUp; {
	case crowded:
	case cancelled:
		d.lead = max(d.lead-1, 0)
	default:
		d.lead = min(d.lead+1, mostLead)
	}
	return cancelled, true
}

// crowdQueue keeps the queue of the one who gives up busy, as many goroutines
// would, until stop is called.
func (d *duel) crowdQueue() (stop func()) {
	c := d.canceller.arena.core
	q := c.lot.find(d.canceller.binding().key())
	if q == nil {
		return func() {}
	}
	var stopped atomic.Bool
	done := make(chan bool)
	go func() {
		for !stopped.Load() {
			q.mu.Lock()
			futex.Pause(8)
			q.mu.Unlock()
			runtime.Gosched()
		}
		c.lot.leave(q)
		close(done)
	}()
	return func() {
		stopped.Store(true)
		<-done
	}
}

// awaitQueued returns when so many wait in the members' queues.
func (d *duel) awaitQueued(n int) {
	members := map[*core]bool{d.canceller.arena.core: true, d.patient.arena.core: true}
	for {
		queued := 0
		for c := range members {
			queued += waitersIn(c)
		}
		if queued >= n {
			return
		}
		runtime.Gosched()
	}
}

// A hundred thousand races between a cancellation and a release, with the
// three in one process, in two and in three.
func TestCancelAgainstUnlock(t *testing.T) {
	rounds := 100_000
	if testing.Short() || slowOnly {
		rounds = 3_000
	}
	// Three processes have more than one's share of processors: with fewer, a
	// sleeper would hold the one that the next step needs.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	path := testPath(t)
	here, there, yonder := anotherMember(t, path), anotherMember(t, path), anotherMember(t, path)
	for _, a := range []*Arena{here, there, yonder} {
		withoutTicks(a)
	}
	for _, seats := range []struct {
		name                       string
		holder, canceller, patient *Arena
		share                      int // of twenty
	}{
		{"three members", here, there, yonder, 1},
		{"waiters together", here, there, there, 2},
		{"patient alone", here, here, there, 4},
		{"canceller alone", here, there, here, 4},
		{"one member", here, here, here, 9},
	} {
		const name = "fought over"
		d := &duel{holder: seats.holder.Mutex(name), canceller: seats.canceller.Mutex(name), patient: seats.patient.Mutex(name)}
		r := rand.New(rand.NewPCG(1, uint64(seats.share)))
		cancelled := 0
		began := time.Now()
		n := 0
		for ; n < rounds*seats.share/20 || cancelled == 0 && time.Since(began) < proc.Soon; n++ {
			gaveUp, served := d.fight(r)
			if !served {
				t.Errorf("%s: the wake of race %d was lost", seats.name, n)
				return
			}
			if gaveUp {
				cancelled++
			}
		}
		t.Logf("%s: %d races, %d cancelled, lead %d, %v", seats.name, n, cancelled, d.lead, time.Since(began))
		if w := robust.Word(d.holder.binding().slot.word.Load()); !w.IsFree() || cancelled == 0 {
			t.Errorf("%s: word %#x, %d cancelled", seats.name, w, cancelled)
		}
	}
}

// rescue makes the stranded look again, so that the test can end.
func (d *duel) rescue() {
	d.canceller.arena.core.lot.nudgeAll()
	d.patient.arena.core.lot.nudgeAll()
}

// The same with real processes.
func TestCancelAgainstUnlockOfProcesses(t *testing.T) {
	rounds := 2_000
	if testing.Short() || slowOnly {
		rounds = 200
	}
	t.Run("futex_waitv", func(t *testing.T) { fightProcesses(t, rounds, 100*time.Microsecond) })
	t.Run("without futex_waitv", func(t *testing.T) { fightProcesses(t, 40, boundedSleep, withoutWaitv(t)) })
}

// fightProcesses lets about so much time pass between the two at first, and
// then as much as makes either the winner half the time.
func fightProcesses(t *testing.T, rounds int, lead time.Duration, options ...proc.Option) {
	path := testPath(t)
	a, err := Open(path, quietly("holder"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := withoutTicks(a).Mutex("fought over")
	canceller := proc.Start(t, "canceller", []string{path, m.Name()}, options...)
	patient := proc.Start(t, "sleeper", []string{path, m.Name(), "no ticks"}, options...)
	canceller.Expect("ready")
	patient.Expect("ready")
	outcomes := make(map[string]int)
	began := time.Now()
	for n := 0; n < rounds || (outcomes["had it"] == 0 || outcomes["gave up"] == 0) && time.Since(began) < proc.Soon; n++ {
		m.Lock()
		canceller.Send("lock")
		patient.Send("lock")
		awaitWaiters(t, m, []*proc.Proc{canceller, patient})
		canceller.Send("give up")
		for until := time.Now().Add(rand.N(2 * lead)); time.Now().Before(until); {
			runtime.Gosched()
		}
		m.Unlock()
		if err := allHadIt([]*proc.Proc{patient}); err != nil {
			t.Fatalf("race %d, word %#x: %v", n, m.binding().slot.word.Load(), err)
		}
		outcome := canceller.Next()
		outcomes[outcome]++
		if outcome == "had it" {
			lead = min(lead*9/8, time.Second)
		} else {
			lead = max(lead*7/8, time.Microsecond)
		}
	}
	t.Log(fmt.Sprint(outcomes))
	if outcomes["had it"] == 0 || outcomes["gave up"] == 0 {
		t.Errorf("there was no race: %v", outcomes)
	}
}
