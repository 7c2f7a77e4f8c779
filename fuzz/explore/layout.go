package explore

import (
	"fmt"

	"lockd/robust"
)

// word gives a model one more word of memory.
func (m *Model) word(name string, args ...any) Addr {
	if m.Words == nil {
		m.Words = make(map[Addr]string)
		m.Owner = make(map[Addr]bool)
	}
	at := Addr(len(m.Words) + 1)
	if int(at) >= memorySize {
		panic(m.Name + ": a state has too few words")
	}
	m.Words[at] = fmt.Sprintf(name, args...)
	return at
}

// ownerWord is word for an owner word.
func (m *Model) ownerWord(name string, args ...any) Addr {
	at := m.word(name, args...)
	m.Owner[at] = true
	return at
}

// words are one word for each of n.
func (m *Model) words(n int, name string) []Addr {
	all := make([]Addr, n)
	for i := range all {
		all[i] = m.word(name, i+1)
	}
	return all
}

// memberOf is the member that process k is, in its first life.
func memberOf(k int) robust.Member { return robust.Member{Index: uint16(k + 1), Generation: 1} }

// selfOf is what a word says that process k holds.
func selfOf(k int) robust.Word { return robust.Held(memberOf(k), uint32(k+1)) }

// processOf is the process that a member is.
func processOf(m robust.Member) int { return int(m.Index) - 1 }

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func robustWord(s *State, at Addr) robust.Word { return robust.Word(s.Mem[at]) }

func robustOwner(v uint64) robust.Member { return robust.Word(v).Owner() }
