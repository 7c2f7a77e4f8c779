package main

import (
	"errors"

	"lockd/arena"
)

func rmVerb() *verb {
	v := newVerb("rm", "ARENA…", "remove an arena that no living process uses", `Removes the file of an arena if nobody living is attached to it, and otherwise
says who is. To take a file away by other means splits its users from those who
open the name anew.

Exit code: 0 if it is removed, 1 if it is in use, 2 if it cannot be removed.`)
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		if len(args) == 0 {
			t.complain("rm which arena? %s", t.arenasThere())
			return exitCannotTell
		}
		code := exitFine
		for _, name := range args {
			err := arena.Remove(t.path(name))
			if err == nil {
				continue
			}
			t.complain("%v", t.explain(name, err))
			if errors.Is(err, arena.ErrInUse) {
				code = max(code, exitFound)
			} else {
				code = exitCannotTell
			}
		}
		return code
	}
	return v
}
