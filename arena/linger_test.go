package arena

import (
	"testing"
	"testing/synctest"
	"time"

	"lockd/robust"
)

// Who has taken something of the dead's settles soon; who has only heard of a
// death leaves it to that one for a while, but not for ever.
func TestLinger(t *testing.T) {
	heard := reasons{deaths: []robust.Member{{Index: 1, Generation: 1}}}
	took := reasons{other: true}
	type event struct {
		at  time.Duration
		why reasons
	}
	for _, tc := range []struct {
		name   string
		events []event
		want   time.Duration
	}{
		{"took", []event{{0, took}}, settleDelay},
		{"heard", []event{{0, heard}}, settleLater},
		{"heard and took", []event{{0, heard}, {0, took}}, settleDelay},
		{"took after it heard", []event{{0, heard}, {settleLater / 2, took}}, settleLater/2 + settleDelay},
		{"heard again", []event{{0, heard}, {settleLater / 2, heard}, {settleLater - 1, heard}}, settleLater},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &settling{wanted: make(chan struct{}, 1), quit: make(chan struct{})}
				began := time.Now()
				var first []event
				for _, e := range tc.events {
					if e.at == 0 {
						s.owe(e.why)
						first = append(first, e)
					}
				}
				go func() {
					for _, e := range tc.events[len(first):] {
						time.Sleep(e.at - time.Since(began))
						s.owe(e.why)
						select {
						case s.wanted <- struct{}{}:
						default:
						}
					}
				}()
				if !s.linger() {
					t.Error("the process leaves")
				}
				if took := time.Since(began); took != tc.want {
					t.Errorf("after %v, not %v", took, tc.want)
				}
				synctest.Wait()
			})
		})
	}
	t.Run("leaving", func(t *testing.T) {
		for _, why := range []reasons{heard, took} {
			s := &settling{quit: make(chan struct{})}
			s.owe(why)
			close(s.quit)
			if s.linger() {
				t.Errorf("it stays for %+v", why)
			}
		}
	})
}

// Who finds another settling comes back less and less often.
func TestSettlesBehindAnother(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	until(t, "the pass that belongs to attaching is over", c.settling.passed)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c.latches.doors[settlerDoor] <- struct{}{} // another is at it
		before := c.head.passes.Load()
		s := &settling{c: c}
		s.start()
		defer s.stop()
		at := func(hundreds int) { // of milliseconds, after it has tried first
			time.Sleep(settleDelay + time.Duration(hundreds)*settleRetry + 1 - time.Since(began))
			synctest.Wait()
		}
		at(1 + 2 + 4 + 8) // it has just tried in vain, and no more than it should
		<-c.latches.doors[settlerDoor]
		at(1 + 2 + 4 + 8 + 7)
		if c.head.passes.Load() != before {
			t.Error("it has come back soon, or two settle")
		}
		at(1 + 2 + 4 + 8 + 8)
		if c.head.passes.Load() == before {
			t.Error("it has not come back")
		}
	})
}
