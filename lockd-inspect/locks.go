package main

func locksVerb() *verb {
	var l layout
	var only filter
	v := newVerb("locks", "ARENA", "the locks of an arena; also just ARENA", `Lists the locks in the table of an arena, idle ones too. ARENA is a name in
/dev/shm, or a path with a slash. Filters may be combined; a lock has to pass
all of them.`+dumpHint)
	l.flags(v.flags)
	only.flags(v.flags)
	v.columns = helpOn(lockColumns)
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		columns, err := choose(lockColumns, l.columns, l.json)
		if err == nil {
			err = only.check()
		}
		if err == nil && l.sort != "" {
			_, err = orderingBy(lockColumns, l.sort)
		}
		if err != nil {
			return t.misused(v, err)
		}
		name, ok := t.one(v, args, "of which arena")
		if !ok {
			return exitCannotTell
		}
		r, err := t.load(name)
		if r == nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		rows := only.of(r.counted())
		if l.sort != "" {
			rows = r.sorted(l.sort, rows)
		}
		code := write(t, l, columns, rows, "locks", r.behind)
		if err == nil {
			err = r.missed()
		}
		if err != nil { // what could be read is shown
			t.complain("%v", err)
			return exitCannotTell
		}
		return code
	}
	return v
}
