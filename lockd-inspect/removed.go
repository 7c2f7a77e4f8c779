package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// removedMark is what the kernel puts behind the path of a file that has none
// any more.
const removedMark = " (deleted)"

// wasArena looks how a removed file begins. One that this user may not read
// counts as an arena: it had the name of one.
func wasArena(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	return hasBeginning(f)
}

// usersOfRemoved finds processes that have an arena open that had this path
// and was removed. looked is false if /proc shows nobody's files. Of other
// users' processes nothing can be seen without the right to; a file that only
// its owner may open has no such users.
func (t *tool) usersOfRemoved(path, name string, gone bool) (found []finding, looked bool) {
	if strings.HasPrefix(path, "/") {
		path = filepath.Clean(path)
	} else if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	byFile := make(map[string][]string) // inode: pids
	var order []string
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		folder := "/proc/" + p.Name() + "/fd/"
		files, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		looked = true
		for _, f := range files {
			target, err := os.Readlink(folder + f.Name())
			if err != nil || target != path+removedMark {
				continue
			}
			id := folder + f.Name()
			if !wasArena(id) {
				continue
			}
			if info, err := os.Stat(id); err == nil {
				id = inodeOf(info)
			}
			if byFile[id] == nil {
				order = append(order, id)
			}
			if known := byFile[id]; len(known) == 0 || known[len(known)-1] != p.Name() {
				byFile[id] = append(known, p.Name())
			}
		}
	}
	for _, id := range order {
		pids := strings.Join(byFile[id], ", ")
		text := fmt.Sprintf("the file was removed under processes %s, which go on excluding each other only", pids)
		if !gone {
			text = fmt.Sprintf("processes %s use an older file that was removed from this path; they and those who use the present one do not exclude each other", pids)
		}
		found = append(found, finding{
			Arena: name, Severity: "split", Code: "removed-file", Where: "file", Text: text, Next: "restart them, so that all open the same file",
		})
	}
	return found, looked
}
