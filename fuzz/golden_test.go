package fuzz

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/arena"
)

// A golden is a state that an arena can be in, as a recipe: an image is
// hundreds of KiB, and of one boot. The image is taken while everything is as
// the recipe left it, so whoever opens a copy of it meets the dead.
var goldens = []struct {
	name string
	make func(g *golden)
}{
	{"fresh", func(*golden) {}},
	{"mutexes", func(g *golden) {
		g.a.Mutex("held").Lock()
		g.abandon("abandoned")
		g.a.Mutex(strings.Repeat("long", 60)).Lock()
		g.a.Mutex("fenced").Lock()
		g.a.Mutex("fenced").Fence()
		g.a.Mutex("fenced").Unlock()
	}},
	{"waiters", func(g *golden) {
		g.a.Mutex("m").Lock()
		for range 3 {
			g.waits(func(ctx context.Context) { g.a.Mutex("m").LockContext(ctx) })
		}
		g.a.RWMutex("rw").Lock()
		g.waits(func(ctx context.Context) { g.a.RWMutex("rw").RLockContext(ctx) })
		g.waits(func(ctx context.Context) { g.a.RWMutex("rw").LockContext(ctx) })
		g.until(func(l arena.LockInfo) bool { return l.Name == "m" && l.Waiters == 3 })
		g.until(func(l arena.LockInfo) bool { return l.Name == "rw" && l.Waiters > 0 })
	}},
	{"readers", func(g *golden) {
		g.a.RWMutex("rw").RLock()
		g.a.RWMutex("rw").RLock()
		g.a.RWMutex("u").ULock()
		g.a.RWMutex("x").Lock()
		g.a.RWMutex("left").RDo(g.ctx, func(context.Context) error { return nil })
		g.a.RWMutex("drains").RLock()
		g.waits(func(ctx context.Context) { g.a.RWMutex("drains").LockContext(ctx) })
		g.until(func(l arena.LockInfo) bool { return l.Name == "drains" && l.Gate != 0 })
	}},
	{"tickets", func(g *golden) {
		s := g.a.Semaphore("s", 12)
		s.TryAcquire(3)
		if t, ok := s.TryAcquire(4); ok {
			t.ReleaseSome(t.Numbers()[1])
		}
		full := g.a.Semaphore("full", 2)
		full.TryAcquire(2)
		g.waits(func(ctx context.Context) { full.Acquire(ctx, 1) })
		g.waits(func(ctx context.Context) { full.Acquire(ctx, 2) })
		g.until(func(l arena.LockInfo) bool { return l.Name == "full" && l.Waiters > 0 })
	}},
	{"semaphores that end", func(g *golden) {
		g.a.Semaphore("gone", 7).TryAcquire(1)
		shrinks, ends := g.a.Semaphore("shrinks", 9), g.a.Semaphore("ends", 3)
		shrinks.TryAcquire(9)
		ends.TryAcquire(1)
		g.waits(func(ctx context.Context) { shrinks.ResizeWait(ctx, 2) })
		g.waits(func(ctx context.Context) { ends.Destroy(ctx) })
		g.until(func(l arena.LockInfo) bool { return l.Name == "ends" && l.Waiters > 0 })
		done := g.a.Semaphore("done", 6)
		done.Tickets()
		done.Destroy(g.ctx)
	}},
	{"ranges", func(g *golden) {
		a, b, ctx := g.a.Ranges("ranges"), g.a.Ranges("ranges"), g.ctx
		for i := range int64(12) {
			a.Lock(ctx, arena.Shared, 30*i, 20)
			b.Lock(ctx, arena.Shared, 30*i+10, 20)
		}
		a.Lock(ctx, arena.Exclusive, 1000, 100)
		a.Release(1040, 5)
		b.Lock(ctx, arena.Exclusive, 1<<40, 0)
		for i := range int64(3) {
			g.waits(func(ctx context.Context) { g.a.Ranges("ranges").Lock(ctx, arena.Exclusive, 100*i, 950) })
		}
		g.waits(func(ctx context.Context) { b.Lock(ctx, arena.Exclusive, 0, 30) })
		g.until(func(l arena.LockInfo) bool { return l.Name == "ranges" && len(l.Waiting) == 4 })
	}},
	{"sessions", func(g *golden) {
		m, rw, s := g.a.Mutex("m"), g.a.RWMutex("rw"), g.a.Semaphore("s", 12)
		r := g.a.Ranges("ranges")
		g.first, g.second = g.a.Session("first"), g.a.Session("second")
		g.first.Lock(g.ctx, m)
		g.first.RLock(g.ctx, rw)
		g.first.Acquire(g.ctx, s, 5)
		g.second.LockRange(g.ctx, r, arena.Exclusive, 0, 10)
		g.second.RLock(g.ctx, rw)
		for i := range 20 { // more than one record of holdings shows
			g.second.Lock(g.ctx, g.a.Mutex(fmt.Sprintf("name %d", i)))
		}
		g.waits(func(ctx context.Context) { g.first.LockRange(ctx, r, arena.Shared, 5, 10) })
		g.until(func(l arena.LockInfo) bool { return l.Name == "ranges" && len(l.Waiting) == 1 })
	}},
	{"full", func(g *golden) {
		for i := range 1400 {
			m := g.a.Mutex(fmt.Sprintf("name %d", i))
			if m.LockContext(g.ctx) == nil && i%16 != 0 {
				m.Unlock()
			}
		}
	}},
	{"grown", func(g *golden) {
		for i := range 1100 {
			g.a.Mutex(fmt.Sprintf("name %d", i)).Lock()
		}
		g.a.RWMutex("rw").Lock()
		g.a.Semaphore("s", 30).TryAcquire(7)
	}},
}

// firstLarge is the first of the goldens that have many locks.
const firstLarge = 8

// golden is an arena that a recipe makes.
type golden struct {
	t      testing.TB
	a      *arena.Arena
	ctx    context.Context
	cancel func()
	all    sync.WaitGroup

	first, second *arena.Session
}

func (g *golden) waits(f func(context.Context)) { g.all.Go(func() { f(g.ctx) }) }

func (g *golden) abandon(name string) {
	defer func() { recover() }()
	g.a.Mutex(name).Do(g.ctx, func(context.Context) error { panic("half-way") })
}

// until waits until a lock is seen so.
func (g *golden) until(f func(arena.LockInfo) bool) {
	for g.ctx.Err() == nil {
		s, err := arena.ReadSnapshot(g.a.Path())
		if err != nil {
			g.t.Fatal(err)
		}
		for _, l := range s.Locks {
			if f(l) {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
	g.t.Fatal("the recipe does not come out")
}

func goldenImage(t testing.TB, number int) []byte {
	t.Helper()
	recipe := goldens[number]
	locks := 1
	if recipe.name == "grown" {
		locks = 2000
	}
	path := shmPath(t)
	a, err := arena.Open(path, &arena.Options{Label: "golden", MaxLocks: locks, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{t: t, a: a}
	g.ctx, g.cancel = context.WithTimeout(context.Background(), time.Minute)
	recipe.make(g)
	image, err := os.ReadFile(path)
	g.cancel()
	g.all.Wait()
	for _, s := range []*arena.Session{g.first, g.second} {
		if s != nil {
			s.Close()
		}
	}
	a.Close()
	os.Remove(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// images are those of all recipes, made when the first is asked for. The one
// who asks first has the folders that they were made in.
var images struct {
	once sync.Once
	all  [][]byte
}

func image(t testing.TB, number uint8) []byte {
	images.once.Do(func() {
		for i := range goldens {
			images.all = append(images.all, goldenImage(t, i))
		}
	})
	return images.all[int(number)%len(images.all)]
}

// Every recipe makes a state that decodes, in which nothing is damaged; opened
// as it is by others, it works.
func TestGoldens(t *testing.T) {
	for i, recipe := range goldens {
		t.Run(recipe.name, func(t *testing.T) {
			s, err := arena.Decode(image(t, uint8(i)))
			if err != nil {
				t.Fatal(err)
			}
			if large := len(s.Locks) > 1000; large != (i >= firstLarge) {
				t.Errorf("it has %d locks", len(s.Locks))
			}
			for _, p := range s.Problems() {
				if p.Severity == arena.Damage {
					t.Error(p)
				}
			}
			path := shmPath(t)
			if err := os.WriteFile(path, image(t, uint8(i)), 0o600); err != nil {
				t.Fatal(err)
			}
			use(t, path, nil, true)
		})
	}
}
