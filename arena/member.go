package arena

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
	"lockd/internal/words"
	"lockd/robust"
)

// The phases of a member entry.
//
//	free ──join──▶ joining ──▶ live ──withdraw, or settled when gone──▶ free
//
// Joining is entered with the liveness byte locked, so a process killed there
// leaves an entry whose byte is free and that names nothing else.
const (
	phaseFree    = words.FreeEntry
	phaseJoining = words.Joining
	phaseLive    = words.Attached
)

// The flags of a member entry.
const (
	flagByteOnly    = 1 // judged by its byte alone
	flagLeftInOrder = 2 // what it holds passes on without being abandoned
	flagNoByte      = 4 // its file system has no OFD locks: judged by its pid alone
	flagFullExit    = 8 // gone when the kernel has taken down all of it, not before
)

// memberState is the word that says what a member entry is.
type memberState words.Member

func newMemberState(generation uint16, phase, flags uint8, pid uint32) memberState {
	return memberState(words.NewMember(generation, phase, flags, pid))
}

func (s memberState) generation() uint16 { return words.Member(s).Generation() }
func (s memberState) flags() uint8       { return words.Member(s).Flags() }
func (s memberState) phase() uint8       { return words.Member(s).Phase() }
func (s memberState) pid() uint32        { return words.Member(s).PID() }

func (c *core) memberAt(index uint16) *member {
	if index == 0 || index >= memberEntries {
		return nil
	}
	return at[member](c.mapped.Load(), membersStart+uint64(index)*memberSize)
}

// join takes a member entry, round-robin so that a generation does not come
// round before 65 million attachments. The entries beyond memberLimit are for
// those who find the table full: as a member for a moment they settle the dead.
func (c *core) join() error {
	joined, err := c.joinAmong(1, memberLimit)
	if joined || err != nil {
		return err
	}
	joined, err = c.joinAmong(memberLimit+1, memberEntries-1-memberLimit)
	if err != nil {
		return err
	}
	if joined {
		c.settleDead()
		c.withdraw()
		c.bytes.Unlock(int(c.member.Index))
		joined, err = c.joinAmong(1, memberLimit)
		if joined || err != nil {
			return err
		}
	}
	return fmt.Errorf("arena: %w: %s has all its %d members, and they live; end some, or give those that share no locks with the rest an arena of their own", ErrMembersFull, c.path, memberLimit)
}

func (c *core) joinAmong(first, n uint32) (bool, error) {
	start := c.head.nextMember.Add(1)
	crash.At("join.turn")
	for k := range n {
		if joined, err := c.tryJoin(uint16(first + (start+k)%n)); joined || err != nil {
			return joined, err
		}
	}
	return false, nil
}

func (c *core) tryJoin(index uint16) (bool, error) {
	m := c.memberAt(index)
	free := memberState(m.state.Load())
	if free.phase() != phaseFree {
		return false, nil
	}
	switch err := c.bytes.Lock(int(index)); {
	case errors.Is(err, robust.ErrByteHeld):
		return false, nil
	case errors.Is(err, robust.ErrNoOFD):
		if c.options.ByteOnly {
			return false, fmt.Errorf("arena: open %s by its byte only: %w", c.path, err)
		}
		c.hasByte = false
	case err != nil:
		return false, fmt.Errorf("arena: liveness byte of %s: %w", c.path, err)
	}
	crash.At("join.byte")
	var flags uint8
	if c.options.ByteOnly {
		flags |= flagByteOnly
	}
	if c.options.FullExit {
		flags |= flagFullExit
	}
	if !c.hasByte {
		flags |= flagNoByte
	}
	generation := words.Member(free).Next()
	joining := newMemberState(generation, phaseJoining, flags, c.identity.PID)
	if !m.state.CompareAndSwap(uint64(free), uint64(joining)) {
		c.bytes.Unlock(int(index))
		return false, nil
	}
	crash.At("join.joining")
	m.pidNS.Store(c.identity.PIDNS)
	m.pidfd.Store(c.identity.PidfdInode)
	m.startTime.Store(c.identity.StartTime)
	m.joined.Store(uint64(time.Now().UnixNano()))
	m.uid.Store(uint32(os.Geteuid()))
	m.sentinel.Store(0) // or what the kernel made of the last member's
	storeText(m.label[:], c.options.Label)
	crash.At("join.filled")
	m.state.Store(uint64(newMemberState(generation, phaseLive, flags, c.identity.PID)))
	crash.At("join.live")
	c.member = robust.Member{Index: index, Generation: generation}
	c.self = robust.Held(c.member, c.identity.PID)
	return true, nil
}

// withdraw frees the entry; the byte goes free after that, with the file.
func (c *core) withdraw() {
	m := c.memberAt(c.member.Index)
	state := memberState(m.state.Load())
	if state.phase() == phaseLive && state.generation() == c.member.Generation {
		m.state.CompareAndSwap(uint64(state), uint64(newMemberState(state.generation(), phaseFree, 0, 0)))
	}
}

// leaveInOrder tells heirs that what this member holds is not half-changed.
func (c *core) leaveInOrder() {
	m := c.memberAt(c.member.Index)
	state := memberState(m.state.Load())
	m.state.CompareAndSwap(uint64(state), uint64(state|memberState(flagLeftInOrder)<<40))
	crash.At("leave.flagged")
}

// peer is a member as another process sees it, copied before it is judged.
type peer struct {
	member   robust.Member
	state    memberState
	identity robust.Identity
	label    string
}

// peerOf copies the entry of a member. It is false if the entry is not that
// member's any more (or never was: shared memory is not trusted).
func (c *core) peerOf(m robust.Member) (p peer, ok bool) {
	e := c.memberAt(m.Index)
	if e == nil {
		return peer{}, false
	}
	state := memberState(e.state.Load())
	if state.phase() != phaseLive || state.generation() != m.Generation {
		return peer{}, false
	}
	p = peer{
		member: m, state: state, label: loadText(e.label[:]),
		identity: robust.Identity{PID: state.pid(), PIDNS: e.pidNS.Load(), PidfdInode: e.pidfd.Load(), StartTime: e.startTime.Load()},
	}
	return p, true
}

// unchanged tells whether the entry still says what was copied: if so, the
// copy is of one member.
func (c *core) unchanged(p peer) bool {
	return memberState(c.memberAt(p.member.Index).state.Load()) == p.state
}

// judge says whether the owner of the word that was just loaded is gone.
//
// A word whose member entry is not that member's belongs to nobody: an entry
// is freed only after no word names its member, so either the word has changed
// since it was loaded, and a compare-and-swap from it fails, or the file is
// damaged. An entry that changes while it is looked at is Unknown: look at the
// word again.
func (c *core) judge(m robust.Member) (peer, robust.Verdict) {
	if m == c.member {
		return peer{}, robust.Alive
	}
	p, ok := c.peerOf(m)
	if !ok {
		return peer{member: m}, robust.Gone
	}
	verdict := c.judgePeer(p)
	if variantJudgeRashly {
		verdict = robust.Gone
	}
	if verdict == robust.Gone && !c.unchanged(p) {
		return p, robust.Unknown
	}
	return p, verdict
}

func (c *core) judgePeer(p peer) robust.Verdict {
	var probe func() robust.Verdict
	if p.state.flags()&flagNoByte == 0 {
		probe = func() robust.Verdict { return c.bytes.Probe(int(p.member.Index)) }
	}
	judge := robust.Judge
	if s := c.sentinelOf(p.member, p.state); s != nil && robust.Fallen(s.Load()) {
		judge = robust.JudgeFallen
	}
	return judge(p.identity, probe, p.state.flags()&flagByteOnly != 0)
}

// sentinelOf is where a member's end may show early, nil if it asked that only
// its full exit counts. What somebody wrote there all the same is not looked at.
func (c *core) sentinelOf(m robust.Member, state memberState) *atomic.Uint32 {
	if state.flags()&flagFullExit != 0 && !variantIgnoreFullExit {
		return nil
	}
	return &c.memberAt(m.Index).sentinel
}

// judgeJoining is for an entry whose process may have died before it was
// published: it holds nothing, and only its byte is certain.
func (c *core) judgeJoining(index uint16, state memberState) robust.Verdict {
	if state.flags()&flagNoByte != 0 {
		return robust.Unknown
	}
	return c.bytes.Probe(int(index))
}

// leftInOrder tells whether the member, which is gone, had said that its
// holdings are not half-changed.
func (p peer) leftInOrder() bool { return p.state.flags()&flagLeftInOrder != 0 }

// stateIn reads a member's state from a file that is not mapped.
func stateIn(f *os.File, index int) memberState {
	var raw [8]byte
	if _, err := unix.Pread(int(f.Fd()), raw[:], membersStart+int64(index)*memberSize); err != nil {
		return 0
	}
	return memberState(binary.LittleEndian.Uint64(raw[:]))
}

func anyLive(f *os.File, indices []int) bool {
	for _, i := range indices {
		if stateIn(f, i).phase() != phaseFree {
			return true
		}
	}
	return false
}

// pidsOf lists the process ids of members, for an error.
func pidsOf(f *os.File, indices []int) string {
	const most = 8
	var b strings.Builder
	for n, i := range indices {
		if n == most {
			b.WriteString(", …")
			break
		}
		if n > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "pid %d", stateIn(f, i).pid())
	}
	return b.String()
}
