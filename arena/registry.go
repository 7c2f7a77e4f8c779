package arena

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
	"lockd/robust"
)

// attached are the arenas that this process is a member of.
var attached = registry{cores: make(map[fileID]*core)}

// registry interns arenas by file: a second member of the same process would
// look alive when the first is closed, and its own byte would not conflict
// with the first's.
type registry struct {
	mu    sync.Mutex
	cores map[fileID]*core
}

// openTries bounds how often a path may name another file each time it is
// looked at.
const openTries = 100

func (r *registry) open(path string, o *Options) (*core, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range openTries {
		c, err := r.openOnce(path, o)
		if err == nil {
			c.openings++
			return c, nil
		}
		if !errors.Is(err, errAgain) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("arena: %w: %s is created and removed all the time", ErrBusy, path)
}

// errAgain: the path does not name the file any more that was opened.
var errAgain = errors.New("arena file changed while it was opened")

func (r *registry) openOnce(path string, o *Options) (*core, error) {
	f, err := openExisting(path)
	if errors.Is(err, ErrNotExist) && !o.MustExist {
		if err := r.outlived(path); err != nil {
			return nil, err
		}
		if err := create(path, o); err != nil && err != errExists {
			return nil, err
		}
		return nil, errAgain
	}
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()

	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("arena: stat %s: %w", path, err)
	}
	id := idOf(&st)
	if c := r.cores[id]; c != nil {
		c.raiseLimit(o)
		return c, nil
	}
	if err := checkFile(path, &st, o); err != nil {
		return nil, err
	}
	if err := r.outlived(path); err != nil {
		return nil, err
	}
	p, err := preambleOf(f, path, &st)
	if err != nil {
		return nil, err
	}
	boot, err := robust.BootID()
	if err != nil {
		return nil, fmt.Errorf("arena: read the boot id: %w", err)
	}
	if p.boot != boot {
		if unused, err := takeAway(f, path, id); err != nil {
			return nil, err
		} else if unused {
			return nil, errAgain
		}
	}

	gate := gateOf(f)
	if err := passGate(path, gate.TryShared); err != nil {
		return nil, err
	}
	defer gate.Unlock(gateByte)
	crash.At("attach.gated")
	switch names := id.namesBy(path); {
	case names == 0:
		return nil, errAgain
	case names > 1:
		return nil, hardLinked(path, names)
	}
	c, err := attach(f, path, id, p, o)
	if err != nil {
		return nil, err
	}
	keep = true
	r.cores[id] = c
	return c, nil
}

// outlived says that this process has a file open that had the path before.
func (r *registry) outlived(path string) error {
	for _, c := range r.cores {
		if c.path == path && c.checkReplaced() {
			return fmt.Errorf("arena: open %s: %w; close the old one first", path, ErrReplaced)
		}
	}
	return nil
}

// preambleOf reads and judges the first page; the file is not touched.
func preambleOf(f *os.File, path string, st *unix.Stat_t) (preamble, error) {
	page := make([]byte, headerSize)
	n, err := f.ReadAt(page, 0)
	if err != nil && err != io.EOF {
		return preamble{}, fmt.Errorf("arena: read %s: %w", path, err)
	}
	// The size after the header: the file may be growing.
	if err := unix.Fstat(int(f.Fd()), st); err != nil {
		return preamble{}, fmt.Errorf("arena: stat %s: %w", path, err)
	}
	return readPreamble(path, page[:n], uint64(st.Size))
}

// takeAway removes the name of a file of another boot, unless the path names
// another file by now. It is false if the file is in use: a container can show
// its processes a boot id of its own, and then the file is not an earlier one's.
func takeAway(f *os.File, path string, id fileID) (unused bool, err error) {
	gate := gateOf(f)
	if err := passGate(path, gate.TryExclusive); err != nil {
		return false, err
	}
	defer gate.Unlock(gateByte)
	if gate.AnyHeld(1, memberEntries-1) != robust.Gone {
		return false, nil
	}
	if !id.namedBy(path) {
		return true, nil
	}
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		return false, fmt.Errorf("arena: %w to remove %s of an earlier boot: %w", ErrPermission, path, err)
	}
	crash.At("attach.took-away")
	return true, nil
}

func (r *registry) close(c *core) error { return r.drop(c, false) }

func (r *registry) leave(c *core) error { return r.drop(c, true) }

func (r *registry) drop(c *core, inOrder bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.detached {
		return fmt.Errorf("arena: close %s: %w: the process has left it", c.path, ErrClosed)
	}
	if inOrder {
		c.leaveInOrder()
	} else if c.openings--; c.openings > 0 {
		return nil
	}
	c.detached = true
	delete(r.cores, c.id)
	return c.detach(inOrder)
}

// Remove takes the arena of this name away, if no living member is attached;
// otherwise it returns ErrInUse and says who is. A program that has opened the
// file but is not attached yet finds out and makes a new one.
func Remove(name string) error {
	path, err := Path(name)
	if err != nil {
		return err
	}
	f, err := openExisting(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("arena: stat %s: %w", path, err)
	}
	if _, err := preambleOf(f, path, &st); err != nil {
		return err
	}
	gate := gateOf(f)
	if err := passGate(path, gate.TryExclusive); err != nil {
		return err
	}
	defer gate.Unlock(gateByte)
	crash.At("remove.gated")
	held, err := attachedTo(f)
	if err != nil {
		return fmt.Errorf("arena: remove %s: cannot tell who is attached: %w", path, err)
	}
	if len(held) > 0 {
		return fmt.Errorf("arena: remove %s: %w by %d members (%s); end them or wait", path, ErrInUse, len(held), pidsOf(f, held))
	}
	id := idOf(&st)
	if !id.namedBy(path) {
		return fmt.Errorf("arena: remove %s: %w", path, ErrReplaced)
	}
	if err := unix.Unlink(path); err != nil {
		return fmt.Errorf("arena: %w to remove %s: %w", ErrPermission, path, err)
	}
	crash.At("remove.unlinked")
	return nil
}

// leavingPatience is how long the byte of a member that has withdrawn may stay
// locked: a child that is just being started has the description, too, until
// its exec.
const leavingPatience = 500 * time.Millisecond

// attachedTo lists who is attached to the file. The gate is held.
func attachedTo(f *os.File) ([]int, error) {
	for deadline := time.Now().Add(leavingPatience); ; {
		held, err := gateOf(f).HeldIn(1, memberEntries-1)
		if err != nil || len(held) == 0 || time.Now().After(deadline) || anyLive(f, held) {
			return held, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
