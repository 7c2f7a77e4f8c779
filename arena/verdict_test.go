package arena

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// crossed opens two sessions that wait for each other; nobody looks. end waits
// for the first, after the second has closed, and returns what they got.
func crossed(t *testing.T, a *Arena) (one, other *sessionWait, gaveUp chan struct{}, end func() (error, error)) {
	ctx, cancel := context.WithCancel(within(t))
	o := SessionOptions{DeadlockAfter: time.Hour}
	s, x := a.OpenSession(o), a.OpenSession(o)
	mustLock(t, s, a.Mutex("m0"))
	mustLock(t, x, a.Mutex("m1"))
	var both sync.WaitGroup
	var errs [2]error
	both.Go(func() { errs[0] = s.Lock(ctx, a.Mutex("m1")); s.Close() })
	gaveUp = make(chan struct{})
	go func() {
		defer close(gaveUp)
		errs[1] = x.Lock(ctx, a.Mutex("m0"))
	}()
	waitOf := func(s *Session) *sessionWait {
		for d := &a.core.detector; ; time.Sleep(time.Millisecond) { // between two looks
			d.mu.Lock()
			for w := range d.waits {
				if w.session == s.in {
					d.mu.Unlock()
					return w
				}
			}
			d.mu.Unlock()
		}
	}
	return waitOf(s), waitOf(x), gaveUp, func() (error, error) {
		defer cancel()
		<-gaveUp
		x.Close()
		both.Wait()
		return errs[0], errs[1]
	}
}

// What a detector saw is over when it comes to its verdict: nobody is a victim.
func TestVerdictOnWhatHasChanged(t *testing.T) {
	a := testArena(t, nil)
	c := a.core
	one, other, gaveUp, end := crossed(t, a)
	seen := c.sight()
	other.cancel(context.Canceled) // it gives up, and keeps what it holds
	<-gaveUp
	victim, found := c.detector.conclude(seen, map[uint32]*sessionWait{one.session.index: one}, verdictWord(c.head.verdict.Load()))
	if victim != nil || !found {
		t.Errorf("victim %v, suspicion %v", victim != nil, found)
	}
	e, f := end()
	if e != nil || !errors.Is(f, context.Canceled) {
		t.Errorf("%v, %v", e, f)
	}
}

// Two detectors have seen the same circle; one of them decides.
func TestVerdictsOfTwoDetectors(t *testing.T) {
	a := testArena(t, nil)
	c := a.core
	one, other, _, end := crossed(t, a)
	last, first, second := verdictWord(c.head.verdict.Load()), c.sight(), c.sight()
	one.mu.Lock() // its detector is slow: decided, but not marked
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.detector.conclude(first, map[uint32]*sessionWait{one.session.index: one}, last)
	}()
	for ; verdictWord(c.head.verdict.Load()) == last; time.Sleep(time.Millisecond) {
	}
	if victim, _ := c.detector.conclude(second, map[uint32]*sessionWait{other.session.index: other}, last); victim != nil {
		t.Error("two victims")
	}
	one.mu.Unlock()
	<-done
	if e, f := end(); !errors.Is(e, ErrDeadlock) || f != nil {
		t.Errorf("%v, %v", e, f)
	}
}
