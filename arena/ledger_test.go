package arena

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/futex"
)

// ledger is a page that processes share and write by plain loads and stores,
// so that it comes out wrong when two of them are inside a lock at once.
type ledger struct{ page []byte }

const (
	ledgerOccupant = 0  // who is inside the lock; 0 is nobody
	ledgerTotal    = 8  // sections of all
	ledgerTallies  = 64 // sections of each contender
	ledgerSize     = 4096
)

func (l ledger) load(at int) uint64     { return binary.LittleEndian.Uint64(l.page[at:]) }
func (l ledger) store(at int, v uint64) { binary.LittleEndian.PutUint64(l.page[at:], v) }
func tallyOf(contender int) int         { return ledgerTallies + 8*contender }

// openLedger opens the ledger beside an arena, or makes it.
func openLedger(arenaPath string) (ledger, error) {
	f, err := os.OpenFile(arenaPath+".ledger", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return ledger{}, err
	}
	defer f.Close()
	if err := f.Truncate(ledgerSize); err != nil {
		return ledger{}, err
	}
	page, err := unix.Mmap(int(f.Fd()), 0, ledgerSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return ledger{page}, err
}

func testLedger(t testing.TB, arenaPath string) ledger {
	t.Helper()
	l, err := openLedger(arenaPath)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(l.page) })
	return l
}

// section is what a contender does inside the lock. It says whether it was
// alone there.
func (l ledger) section(me uint64, contender int, pauses uint32) (alone bool) {
	before := l.load(ledgerOccupant)
	l.store(ledgerOccupant, me)
	total, tally := l.load(ledgerTotal), l.load(tallyOf(contender))
	futex.Pause(pauses)
	l.store(ledgerTotal, total+1)
	l.store(tallyOf(contender), tally+1)
	alone = before == 0 && l.load(ledgerOccupant) == me
	l.store(ledgerOccupant, 0)
	return alone
}
