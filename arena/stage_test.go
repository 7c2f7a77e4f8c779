package arena

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stage is memory beside the arena in which processes note that they are
// inside, and how: the truth that the lock is held against. Every process that
// a test starts has an entry of its own.
type stage struct{ raw []byte }

// stageEntries is the most there can be; the first one's turns say how many
// are in use.
const stageEntries = 2048

type stageEntry struct {
	pid                         atomic.Int32
	readers, upgraders, writers atomic.Int32
	turns                       atomic.Int64
	_                           [40]byte
}

func openStage(path string) stage {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	size := stageEntries * int(unsafe.Sizeof(stageEntry{}))
	if err := f.Truncate(int64(size)); err != nil {
		panic(err)
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return stage{raw: raw}
}

func (s stage) at(i int) *stageEntry {
	return (*stageEntry)(unsafe.Pointer(&s.raw[i*int(unsafe.Sizeof(stageEntry{}))]))
}

// leave takes one who is dead, and was reaped, from the stage.
func (s stage) leave(i int) {
	e := s.at(i)
	e.readers.Store(0)
	e.upgraders.Store(0)
	e.writers.Store(0)
}

// inside says who is inside in which way; the dead are not.
func (s stage) inside() (readers, upgraders, writers int) {
	for i := 1; i <= int(s.at(0).turns.Load()); i++ {
		e := s.at(i)
		r, u, w := e.readers.Load(), e.upgraders.Load(), e.writers.Load()
		if r|u|w != 0 && !isDead(int(e.pid.Load())) {
			readers, upgraders, writers = readers+int(r), upgraders+int(u), writers+int(w)
		}
	}
	return readers, upgraders, writers
}

// isDead tells whether a process has ended or is ending. One whose memory and
// descriptors are gone is not a zombie yet, but can do nothing any more.
func isDead(pid int) bool {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 7 {
		return true
	}
	const exiting = 4 // PF_EXITING of include/linux/sched.h
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return fields[0] == "Z" || fields[0] == "X" || flags&exiting != 0
}
