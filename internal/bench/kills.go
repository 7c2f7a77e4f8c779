package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// From the kill -9 of an owner until the next one has the lock.

const smallVictim = 0

// asleep is how long a waiter is given to have gone to sleep: a look would
// disturb what is measured, and who is late only makes a sample better for it.
const asleep = 3 * time.Millisecond

func killCases(p plan) []benchCase {
	heirs := func(size int) []contender {
		return []contender{
			killed("arena", "arena", size), killed("C robust", "robust", size),
			killed("pidfd", "nothing", size), killed("flock", "flock", size),
		}
	}
	n := slices.Max(p.crews)
	return []benchCase{
		{
			name: "kill-small", unit: latency, contenders: heirs(smallVictim),
			about: "kill -9 of the owner, a small Go process of 4 threads, until a sleeping heir has the lock; pidfd: until poll returns",
			bars:  []bar{atMost("C robust", "ratio", 3.5), atMost("", "p99", 5e6)},
		},
		{
			name: "kill-rotating", unit: latency,
			about: fmt.Sprintf("the same with %d processes of 4 threads that take turns and sleep in between (C robust: all in C)", n),
			contenders: []contender{
				{"arena", func(s *stage) (func() (sample, error), error) {
					return s.rotating(n, func() (*child, error) { return s.worker(workerRole, s.arenaPath(), s.pagePath(), "mutex") })
				}},
				{"C robust", func(s *stage) (func() (sample, error), error) {
					return s.rotating(n, func() (*child, error) { return s.peer("robust") })
				}},
			},
			bars: []bar{atMost("", "p99", 10e6)},
		},
		{
			name: "kill-large", unit: latency, contenders: heirs(p.victim),
			about: fmt.Sprintf("as kill-small, with %d MiB of resident memory in the victim", p.victim),
			bars:  []bar{{of: "p50", limit: 1e6}, {of: "p99", limit: 5e6}},
		},
	}
}

// killed kills victims that hold a lock of this kind.
func killed(name, kind string, size int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		if _, err := s.page(); err != nil {
			return nil, err
		}
		heir, layout, err := s.heir(kind)
		if err != nil {
			return nil, err
		}
		kills := s.env.plan.kills
		if size > smallVictim {
			kills = (kills + 9) / 10
		}
		return func() (sample, error) {
			one := sample{waits: &histogram{}}
			for range kills {
				took, err := s.killOne(kind, heir, size, layout)
				if err != nil {
					return one, err
				}
				one.waits.add(took)
			}
			return one, nil
		}, nil
	}}
}

func (s *stage) heir(kind string) (heir *child, layout []uintptr, err error) {
	switch kind {
	case "arena":
		heir, err = s.worker(workerRole, s.arenaPath(), s.pagePath(), "mutex")
		return heir, nil, err
	case "nothing":
		heir, err = s.peer("robust")
		return heir, nil, err
	}
	if heir, err = s.peer(kind); err != nil {
		return nil, nil, err
	}
	r, err := heir.ask(s.env.ctx, "init")
	if err == nil && kind == "robust" && r.Layout == nil {
		err = skipped{"not glibc: the layout of its robust mutex is not known"}
	}
	return heir, r.Layout, err
}

func (s *stage) killOne(kind string, heir *child, size int, layout []uintptr) (took int64, err error) {
	v, err := s.victim(kind, size, layout)
	if err != nil {
		return 0, err
	}
	defer s.drop(v)
	if kind == "nothing" {
		if _, err := heir.ask(s.env.ctx, "await-end %d", v.pid()); err != nil {
			return 0, err
		}
	} else {
		heir.send("wait")
	}
	if err := s.env.pause(asleep); err != nil {
		return 0, err
	}
	killedAt := now()
	unix.Kill(v.pid(), unix.SIGKILL)
	r, err := heir.hear(s.env.ctx)
	if err == nil && r.Dead == 0 && (kind == "arena" || kind == "robust") {
		err = fmt.Errorf("the heir was not told of the death")
	}
	return r.At - killedAt, err
}

// rotation is processes that take turns at a lock until one is told to keep it.
type rotation struct {
	stage   *stage
	page    *page
	start   func() (*child, error)
	members []*child
	events  chan event
}

type event struct {
	from *child
	reply
	err error
}

func (s *stage) rotating(n int, start func() (*child, error)) (func() (sample, error), error) {
	p, err := s.page()
	if err != nil {
		return nil, err
	}
	r := &rotation{stage: s, page: p, start: start, events: make(chan event, 4*n)}
	for i := range n {
		c, err := start()
		if err != nil {
			return nil, err
		}
		if i == 0 {
			if _, err := c.ask(s.env.ctx, "init"); err != nil {
				return nil, err
			}
		}
		r.join(c)
	}
	return r.turn, nil
}

func (r *rotation) join(c *child) {
	r.members = append(r.members, c)
	c.send("rotate")
	go func() {
		for {
			one, err := c.hear(r.stage.env.ctx)
			r.events <- event{c, one, err}
			if err != nil {
				return
			}
		}
	}()
}

func (r *rotation) turn() (sample, error) {
	one := sample{waits: &histogram{}}
	for range r.stage.env.plan.kills {
		took, err := r.killOne()
		if err != nil {
			return one, err
		}
		one.waits.add(took)
	}
	return one, nil
}

func (r *rotation) killOne() (took int64, err error) {
	i := rand.IntN(len(r.members))
	victim := r.members[i]
	r.page.keep.Store(uint32(victim.pid()))
	if _, err := r.next("kept", nil); err != nil {
		return 0, err
	}
	if err := r.stage.env.pause(asleep); err != nil {
		return 0, err
	}
	r.page.keep.Store(0)
	killedAt := now()
	unix.Kill(victim.pid(), unix.SIGKILL)
	heir, err := r.next("heir", victim)
	if err != nil {
		return 0, err
	}
	r.stage.drop(victim)
	r.members = slices.Delete(r.members, i, i+1)
	c, err := r.start()
	if err != nil {
		return 0, err
	}
	r.join(c)
	return heir.At - killedAt, nil
}

// next waits for an event of this kind; that the dying one ends is expected.
func (r *rotation) next(say string, dying *child) (reply, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case e := <-r.events:
			if e.err != nil {
				if e.from == dying || !slices.Contains(r.members, e.from) {
					continue
				}
				return reply{}, e.err
			}
			if e.Say == say {
				return e.reply, nil
			}
		case <-late.C:
			return reply{}, fmt.Errorf("%w: %q", errSilent, say)
		}
	}
}

func init() {
	requests["init"] = func(*worker, []int64) (reply, error) { return reply{Say: "ready"}, nil }
	requests["lock"] = func(w *worker, _ []int64) (reply, error) {
		m, err := w.mutex()
		if err == nil {
			m.Lock()
		}
		return reply{Say: "held"}, err
	}
	requests["wait"] = func(w *worker, _ []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		m := a.Mutex("bench")
		m.Lock()
		r := reply{At: now()}
		if _, dead := m.Abandoned(); dead {
			r.Dead = 1
			m.MarkConsistent()
		}
		m.Unlock()
		return r, nil
	}
	requests["rotate"] = func(w *worker, _ []int64) (reply, error) { return reply{}, w.rotate() }
}

// rotate does what the function of this name in peers/main.c does.
func (w *worker) rotate() error {
	a, err := w.arena()
	if err != nil {
		return err
	}
	m := a.Mutex("bench")
	nap := unix.NsecToTimespec(100_000)
	own := uint32(unix.Getpid())
	for {
		m.Lock()
		at := now()
		if _, dead := m.Abandoned(); dead {
			m.MarkConsistent()
			w.say(reply{Say: "heir", At: at})
		}
		if w.page.keep.Load() == own {
			w.say(reply{Say: "kept"})
			select {}
		}
		unix.Nanosleep(&nap, nil)
		m.Unlock()
		unix.Nanosleep(&nap, nil)
	}
}
