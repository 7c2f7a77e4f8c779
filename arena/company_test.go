package arena

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"lockd/internal/feature"
	"lockd/internal/proc"
)

// quietly are the options of processes whose warnings nobody reads.
func quietly(label string) *Options {
	return &Options{Label: label, Logger: slog.New(slog.DiscardHandler)}
}

// withoutWaitv takes futex_waitv from this process; the option takes it from
// another.
func withoutWaitv(t *testing.T) proc.Option {
	t.Cleanup(feature.FutexWaitv.SetOff(true))
	return proc.Env("LOCKD_FEATURES_OFF=futex_waitv")
}

// withoutTicks takes the ticker from a member, so that a wake that is lost
// stays lost.
func withoutTicks(a *Arena) *Arena {
	t := &a.core.ticker
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = true
	t.done = make(chan struct{})
	close(t.done)
	return a
}

// anotherMember attaches this process once more, as if it were another one.
func anotherMember(t *testing.T, path string) *Arena {
	t.Helper()
	elsewhere := registry{cores: make(map[fileID]*core)}
	options, err := quietly("another member").withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c, err := elsewhere.open(path, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := elsewhere.close(c); err != nil {
			t.Error(err)
		}
	})
	return newArena(c, options)
}

// orders are what the parent tells a process that may be blocked when the
// parent ends; that ends the process all the same.
func orders() <-chan string {
	lines := make(chan string)
	go func() {
		for {
			lines <- proc.Hear()
		}
	}()
	return lines
}

func scan(line, format string, to ...any) bool {
	n, err := fmt.Sscanf(line, format, to...)
	return err == nil && n == len(to)
}

// waitersOf says which processes have goroutines waiting for a lock that this
// process has used.
func waitersOf(m *Mutex) map[int]uint32 {
	c, index := m.arena.core, m.binding().index
	found := make(map[int]uint32)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		owner := r.owner.Load()
		if owner == 0 || r.slot.Load() != index {
			continue
		}
		if e := c.memberAt(ownerOfRecord(owner).Index); e != nil {
			found[int(memberState(e.state.Load()).pid())] = r.count.Load()
		}
	}
	return found
}

// between is the pause between two looks at something that has no event.
const between = 100 * time.Microsecond

// awaitWaiters returns when all of the processes wait for the lock.
func awaitWaiters(t testing.TB, m *Mutex, processes []*proc.Proc) {
	t.Helper()
	until(t, fmt.Sprintf("%d processes wait for %q", len(processes), m.Name()), func() bool {
		waiting := waitersOf(m)
		return !slices.ContainsFunc(processes, func(p *proc.Proc) bool { return waiting[p.PID()] == 0 })
	})
}

// waitersIn counts the goroutines of a process that wait.
func waitersIn(c *core) int {
	count := 0
	c.lot.all(func(q *queue) {
		q.mu.Lock()
		count += q.count
		q.mu.Unlock()
	})
	return count
}

// supply starts processes ahead of their use; each is used once.
type supply struct {
	start func(n int) *proc.Proc
	ready []*proc.Proc
	made  int
}

func newSupply(ahead int, start func(n int) *proc.Proc) *supply {
	s := &supply{start: start}
	for range ahead {
		s.more()
	}
	return s
}

func (s *supply) more() {
	s.ready = append(s.ready, s.start(s.made))
	s.made++
}

func (s *supply) next() *proc.Proc {
	s.more()
	p := s.ready[0]
	s.ready = s.ready[1:]
	p.Expect("ready")
	return p
}
