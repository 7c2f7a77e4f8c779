package arena

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// core is this process's membership of one arena file; every opening of the
// file shares it.
type core struct {
	path    string
	id      fileID
	file    *os.File // its description backs the mapping and holds the liveness byte
	mapped  atomic.Pointer[mapping]
	first   atomic.Pointer[mapping] // what handles point into; nil once the arena was closed, for it to go with the last of them
	head    *header
	seed    uint64  // of the name hash
	options Options // of the first opening
	log     *slog.Logger
	boot    time.Time // when the machine started, for the touched stamps

	identity robust.Identity
	member   robust.Member
	self     robust.Word // what a word says that this process holds
	bytes    robust.Bytes
	hasByte  bool

	gate     opsGate
	latches  latchDoors
	lot      lot
	dozers   dozers
	readings readings
	cells    cells
	tenants  tenants
	porter   porter
	ranges   rangeSight
	muxer    muxer
	watcher  *robust.Watcher
	sentinel *robust.Sentinel // nil if nobody would look at it
	ticker   ticker
	settling settling
	sessions sessionBook
	detector detector
	wall     wallClock
	passing  sync.Mutex   // see takeAndLetGo
	growing  atomic.Bool  // for tallies
	replaced atomic.Bool  // the file has lost its path
	looked   atomic.Int64 // when checkReplacedOften looked, CLOCK_MONOTONIC ns

	openings int  // guarded by the registry
	detached bool // guarded by the registry
}

// attach makes the process a member of the arena in f, which it owns from here
// on. The caller holds the gate shared.
func attach(f *os.File, path string, id fileID, p preamble, o *Options) (*core, error) {
	m, err := mapFile(f, fileSize(p.segments))
	if err != nil {
		return nil, err
	}
	c := &core{
		path: path, id: id, file: f, head: at[header](m, 0),
		options: *o, log: o.Logger.With("arena", path),
		bytes: gateOf(f), hasByte: true, watcher: robust.NewWatcher(watchLimit),
		boot: bootTime(),
	}
	c.seed = c.head.seed.Load()
	c.mapped.Store(m)
	c.first.Store(m)
	crash.At("attach.mapped")
	c.identity, err = robust.Self()
	if err == nil && robust.Held(robust.Member{}, c.identity.PID).IsFree() {
		err = fmt.Errorf("pid %d does not fit an owner word", c.identity.PID)
	}
	if err != nil {
		m.bytes.Unmap()
		return nil, fmt.Errorf("arena: open %s: nobody could tell who this process is: %w", path, err)
	}
	c.gate.init()
	c.latches.init()
	c.lot.init()
	c.dozers.init()
	c.readings.init()
	c.cells.init()
	c.porter.init()
	c.settling.c = c
	if err := c.join(); err != nil {
		m.bytes.Unmap()
		return nil, err
	}
	if !o.ByteOnly && !o.FullExit {
		c.sentinel = robust.PostSentinel(&c.memberAt(c.member.Index).sentinel)
	}
	c.raiseLimit(o)
	c.ticker.init(c)
	c.settling.start()
	c.detector.init(c)
	return c, nil
}

// raiseLimit lets the arena grow as far as an opener asks for.
func (c *core) raiseLimit(o *Options) {
	if o.MaxLocks == 0 {
		return
	}
	for want := segmentsFor(o.MaxLocks); ; {
		limit := c.head.limit.Load()
		if limit >= want {
			return
		}
		if c.head.limit.CompareAndSwap(limit, want) {
			crash.At("attach.raised")
			return
		}
	}
}

// watchLimit bounds the pidfds kept of owners met.
const watchLimit = 256

func bootTime() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Unix(0, 0)
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}

// uptime is the machine's age in seconds.
func (c *core) uptime() uint32 { return uint32(time.Since(c.boot) / time.Second) }

func (c *core) duplicate() (*os.File, error) {
	fd, err := unix.FcntlInt(c.file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("arena: duplicate the descriptor of %s: %w", c.path, err)
	}
	return os.NewFile(uintptr(fd), c.path), nil
}

// detach ends the membership. Nobody else uses c any more when it is called:
// all openings are closed.
//
// The order matters. First no operation is under way; then the mapping that
// handles point into is zero pages, so that nothing can be taken any more; then
// what this process holds is given back through a second mapping; then the
// entry is withdrawn, and last the byte goes free, with the descriptor. Killed
// anywhere in between, the process is a dead member like any other.
func (c *core) detach(inOrder bool) error {
	c.gate.shut(c.nudgeAll)
	c.ticker.stop()
	c.detector.stop()
	c.settling.stop()
	c.watcher.Close()
	c.muxer.stop()
	if c.sentinel != nil {
		c.sentinel.Withdraw()
	}

	replaced := c.checkReplaced()
	mapped := c.mapped.Load()
	usable := mapped.usable.Load()
	rest, err := mapFile(c.file, usable)
	if err != nil {
		// The locks go the way a dead process's go.
		mapped.retire()
		c.file.Close()
		return err
	}
	if err := mapped.retire(); err != nil {
		// Handles can still take locks: the process stays a member to its end.
		rest.bytes.Unmap()
		return errors.Join(err, c.giveBackAll(false))
	}
	c.mapped.Store(rest)
	c.first.Store(nil)
	crash.At("detach.retired")
	c.ranges.forget()
	c.head = at[header](rest, 0)
	var held error
	if !inOrder {
		held = c.giveBackAll(true)
		c.withdraw()
		crash.At("detach.withdrawn")
	}
	rest.bytes.Unmap()
	c.file.Close()
	switch {
	case held != nil:
		return held
	case replaced:
		return fmt.Errorf("arena: close %s: %w", c.path, ErrReplaced)
	}
	return nil
}

// checkReplacedOften is checkReplaced for those who come often: it looks once
// in a tick.
func (c *core) checkReplacedOften() bool {
	now, last := futex.Now(), c.looked.Load()
	if now-last < int64(tickFirst) || !c.looked.CompareAndSwap(last, now) {
		return c.replaced.Load()
	}
	return c.checkReplaced()
}

// wakeForClose makes all who wait look whether their opening was closed.
func (c *core) wakeForClose() {
	if c.gate.enter() {
		c.rouseAll()
		c.gate.leave()
	}
}

// checkReplaced looks whether the file still has its path, and says it in the
// log the first time that it has not.
func (c *core) checkReplaced() bool {
	if c.replaced.Load() {
		return true
	}
	if c.id.namedBy(c.path) {
		return false
	}
	if !c.replaced.Swap(true) {
		c.log.Error("the arena's file was removed or replaced while in use; programs that open it now do not exclude this one")
	}
	return true
}
