package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A waiter that was woken and is dead before it could take the lock, until the
// next one awake has it.

func wakeCases(plan) []benchCase {
	return []benchCase{{
		name: "killed-waiter", unit: latency,
		about: fmt.Sprintf("an unlock that wakes a waiter who is killed at once, until the next waiter has the lock; nobody comes back meanwhile; given up after %v", stranded),
		contenders: []contender{
			eaten("arena", "mutex"), eaten("C robust", "robust"), eaten("flock", "flock"),
		},
		bars: []bar{atMost("", "p99", 40e6), atMost("", "max", 350e6)},
	}}
}

// stranded is when a waiter counts as left to sleep for ever.
const stranded = 2 * time.Second

// mostStranded is how many in one round are enough to know.
const mostStranded = 2

// eaten: the victim runs on the holder's processor, and only when that is
// idle, so that it has the wake but no time to use it.
func eaten(name, lock string) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		if _, err := s.page(); err != nil {
			return nil, err
		}
		start := func() (*child, error) {
			if lock == "mutex" {
				return s.worker(workerRole, s.arenaPath(), s.pagePath(), lock)
			}
			return s.peer(lock)
		}
		holder, err := start()
		if err != nil {
			return nil, err
		}
		if _, err := holder.ask(s.env.ctx, "init"); err != nil {
			return nil, err
		}
		cpu := processors()[0]
		if _, err := holder.ask(s.env.ctx, "pin %d 0", cpu); err != nil {
			return nil, err
		}
		patient, err := start()
		if err != nil {
			return nil, err
		}
		return func() (sample, error) {
			one := sample{waits: &histogram{}}
			for range s.env.plan.kills {
				took, err := s.eatOne(start, holder, patient, cpu)
				if errors.Is(err, errStranded) {
					one.lost++
					if patient, err = s.rescue(start, patient); err != nil || one.lost == mostStranded {
						return one, err
					}
					continue
				}
				if err != nil {
					return one, err
				}
				one.waits.add(took)
			}
			return one, nil
		}, nil
	}}
}

var errStranded = errors.New("stranded")

func (s *stage) eatOne(start func() (*child, error), holder, patient *child, cpu int) (took int64, err error) {
	ctx := s.env.ctx
	victim, err := start()
	if err != nil {
		return 0, err
	}
	defer s.drop(victim)
	if _, err := victim.ask(ctx, "pin %d 1", cpu); err != nil {
		return 0, err
	}
	if _, err := holder.ask(ctx, "lock"); err != nil {
		return 0, err
	}
	victim.send("wait") // first in the queue
	if err := s.env.pause(10 * asleep); err != nil {
		return 0, err
	}
	patient.send("wait")
	if err := s.env.pause(asleep); err != nil {
		return 0, err
	}
	freed, err := holder.ask(ctx, "slay %d", victim.pid())
	if err != nil {
		return 0, err
	}
	select {
	case r, ok := <-patient.replies:
		if !ok || r.Error != "" {
			return 0, fmt.Errorf("the patient waiter ended: %s", r.Error)
		}
		return r.At - freed.At, nil
	case <-time.After(stranded):
		return 0, errStranded
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// rescue replaces the stranded waiter.
func (s *stage) rescue(start func() (*child, error), patient *child) (*child, error) {
	s.drop(patient)
	return start()
}

func init() {
	requests["slay"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		m := a.Mutex("bench")
		at := now()
		m.Unlock()
		unix.Kill(int(args[0]), unix.SIGKILL)
		return reply{At: at}, nil
	}
}
