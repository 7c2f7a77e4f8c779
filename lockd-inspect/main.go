// Command lockd-inspect shows who holds what in the arenas of this host, and
// runs commands under a lock. It reads arenas without becoming a member and
// without writing a byte, so it works while everything is wedged; only its
// verb run takes part.
package main

import (
	"fmt"
	"io"
	"os"

	"lockd/arena"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit codes of all verbs but run, like grep's.
const (
	exitFine       = 0
	exitCannotTell = 2
)

// tool is one call of the command.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	folder         string // where bare names live
}

// folder is another one in tests.
var folder = arena.Dir

type verb struct {
	name, args string
	says       string
	run        func(t *tool, args []string) int
	help       func(w io.Writer)
}

var verbs []verb

func init() { // help names the verbs, of which it is one
	verbs = []verb{
		{"", "[flags]", "the arenas on this host", (*tool).view, helpArenas},
		{"locks", "ARENA [flags]", "the locks of an arena; also just ARENA", (*tool).view, helpLocks},
		{"run", "[flags] ARENA LOCK -- COMMAND [ARG…]", "hold a lock while a command runs", (*tool).run, helpRun},
		{"help", "[VERB]", "this, or what a verb does", (*tool).help, nil},
		{"version", "", "the version of this build", (*tool).version, nil},
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{stdin, stdout, stderr, folder}
	if len(args) > 0 {
		for _, v := range verbs[1:] {
			if v.name == args[0] {
				rest := args[1:]
				if v.name == "locks" {
					rest = args // without it, a name that is a verb could not be said
				}
				return v.run(t, rest)
			}
		}
	}
	return t.view(args)
}

// complain writes an error for a person, without control characters.
func (t *tool) complain(format string, args ...any) {
	fmt.Fprintf(t.stderr, "lockd-inspect: %s\n", printable(fmt.Sprintf(format, args...)))
}
