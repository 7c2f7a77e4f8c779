package main

import (
	"fmt"
	"strings"
	"unsafe"
)

// Many more names than an arena has slots, each used for a moment, so that
// slots go from name to name; of two kinds, and some of them long.
var namesKind = kind{name: "names", weight: 4, ledger: unsafe.Sizeof([names]section{}), turn: namesTurn}

const names = 3000

func namesTurn(t *turn) {
	i := t.r.IntN(names)
	s := &(*[names]section)(t.part)[i]
	name := fmt.Sprintf("name %d", i)
	if i%8 == 1 {
		name += strings.Repeat(" and more", 20)
	}
	try := t.attempt()
	defer try.end()
	if i%4 == 0 {
		m := t.a.RWMutex(name)
		if t.failed(name, try, m.LockContext(try)) {
			return
		}
		s.enter(t, name, m)
		s.use(t)
		s.leave(t, name)
		if err := m.Release(); err != nil {
			t.violated("%s in %s: %v", name, t.opening.name, err)
		}
		return
	}
	m := t.a.Mutex(name)
	if t.failed(name, try, m.LockContext(try)) {
		return
	}
	s.enter(t, name, m)
	s.use(t)
	s.leave(t, name)
	if err := m.Release(); err != nil {
		t.violated("%s in %s: %v", name, t.opening.name, err)
	}
}
