package arena

import "sync"

// dozer is who of this process sleeps at a futex for something else than an
// owner word. As with queues, deaths and the end of the arena nudge all of
// them, and the ticker looks at each from time to time.
type dozer interface {
	nudge()
	// rouse nudges, and makes those look too who wait behind it.
	rouse()
	// look nudges if there is something to see, and says whether anything has
	// changed since the last look.
	look() (changed bool)
}

type dozers struct {
	mu    sync.Mutex
	there map[dozer]struct{}
}

func (z *dozers) init() { z.there = make(map[dozer]struct{}) }

func (z *dozers) enter(d dozer) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.there[d] = struct{}{}
}

func (z *dozers) leave(d dozer) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.there, d)
}

func (z *dozers) list() []dozer {
	z.mu.Lock()
	defer z.mu.Unlock()
	all := make([]dozer, 0, len(z.there))
	for d := range z.there {
		all = append(all, d)
	}
	return all
}

// nudgeAll makes all who sleep for this process look again.
func (c *core) nudgeAll() {
	c.lot.nudgeAll()
	c.porter.nudge()
	for _, d := range c.dozers.list() {
		d.nudge()
	}
}

// rouseAll makes all goroutines of this process that wait look whether they
// should give up.
func (c *core) rouseAll() {
	c.lot.all((*queue).rouse)
	c.porter.rouse()
	for _, d := range c.dozers.list() {
		d.rouse()
	}
}
