package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// mask makes of what a verb says about real processes what it always says: pids,
// times and paths get names, and how wide a column is made by them is forgotten.
type mask struct {
	texts []string          // old, new, …
	pids  map[string]string // what each is called
}

func newMask() *mask { return &mask{pids: make(map[string]string)} }

func (m *mask) text(old, new string) { m.texts = append(m.texts, old, new) }

func (m *mask) pid(pid int, called string) { m.pids[fmt.Sprint(pid)] = called }

var volatile = []struct {
	is   *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*Z"`), `"DATE"`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "DATE"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d(\.\d{3})?\b`), "TIME"},
	{regexp.MustCompile(`\b(\d+d\d\dh|\d+h\d\dm|\d+m\d\ds|[0-9.]+(e[+-]\d\d)?m?s)\b`), "AGE"},
	{regexp.MustCompile(`"age":[0-9.]+`), `"age":AGE`},
	{regexp.MustCompile(`(?m)^(  command +).*`), "${1}COMMAND"},
	{regexp.MustCompile(`; \d+ wait\n`), "; N wait\n"},
	{regexp.MustCompile(` {2,}`), "  "},
}

// A pid is known by what stands around it: any number could be one.
var (
	namedPID = regexp.MustCompile(`(pid |kill |"pid":)(\d+)\b`)
	cellPID  = regexp.MustCompile(`  (\d+)  ([a-z]+)\b`) // before its label
)

func (m *mask) over(said string) string {
	said = strings.NewReplacer(m.texts...).Replace(said)
	for _, v := range volatile {
		said = v.is.ReplaceAllString(said, v.name)
	}
	said = namedPID.ReplaceAllStringFunc(said, func(found string) string {
		parts := namedPID.FindStringSubmatch(found)
		if called, known := m.pids[parts[2]]; known {
			return parts[1] + called
		}
		return found
	})
	return cellPID.ReplaceAllStringFunc(said, func(found string) string {
		parts := cellPID.FindStringSubmatch(found)
		if called := strings.ToUpper(parts[2]); m.pids[parts[1]] == called {
			return "  " + called + "  " + parts[2]
		}
		return found
	})
}

// once leaves out a line that is the same as the one before: how often something
// is said again depends on how long it lasts.
func once(said string) string {
	return strings.Join(slices.Compact(strings.SplitAfter(said, "\n")), "")
}
