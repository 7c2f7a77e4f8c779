package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// manPage writes lockd-inspect.1 out of what help says. The file is kept
// beside the source; a test compares the two.
func manPage(to io.Writer) {
	w := bufio.NewWriter(to)
	defer w.Flush()
	fmt.Fprint(w, `.TH LOCKD\-INSPECT 1 "" "lockd" "User Commands"
.SH NAME
lockd\-inspect \- show who holds what in the arenas of this host
.SH SYNOPSIS
.B lockd\-inspect
[flags]
.br
.B lockd\-inspect
.I ARENA
[flags]
`)
	for _, v := range verbs() {
		fmt.Fprintf(w, ".br\n.B lockd\\-inspect %s\n%s\n", roff(v.name), roff(strings.TrimSpace(strings.TrimPrefix(v.usage(), "lockd-inspect "+v.name))))
	}
	fmt.Fprint(w, `.SH DESCRIPTION
Programs on one host share named locks in a memory\-mapped file, the
.IR arena ,
usually in /dev/shm. This command shows who holds what, who waits, and what is
wrong. It maps an arena read\-only and writes no byte of it, so it works while
everything is wedged or damaged; only
.BR run ", " sem ", " settle ", " break " and " rm
change anything.
.PP
`+roff(strings.ReplaceAll("Without a verb it lists the arenas; with an arena's name alone, its locks.", "\n", " "))+`
.SH VERBS
`)
	for _, v := range verbs() {
		fmt.Fprintf(w, ".SS %s\n", roff(strings.TrimSpace(v.name+" "+v.args)))
		fmt.Fprintf(w, ".nf\n%s\n.fi\n", roff(v.about))
		v.flags.VisitAll(func(f *pflag.Flag) {
			what, usage := pflag.UnquoteUsage(f)
			flag := "--" + f.Name
			if f.Shorthand != "" {
				flag = "-" + f.Shorthand + ", " + flag
			}
			if what != "" {
				flag += " " + what
			}
			fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(flag), roff(usage))
		})
		if len(v.columns) > 0 {
			fmt.Fprint(w, ".PP\nColumns, in JSON the keys (with * only on demand in a table):\n.nf\n")
			for _, c := range v.columns {
				mark := " "
				if c.hidden {
					mark = "*"
				}
				fmt.Fprintln(w, roff(fmt.Sprintf("%s %-16s %s", mark, c.name, strings.ReplaceAll(c.says, "\n\t", "\n"+strings.Repeat(" ", 19)))))
			}
			fmt.Fprintln(w, ".fi")
		}
	}
	fmt.Fprintf(w, ".SH EXAMPLES\n.nf\n%s.fi\n", roff(examples))
	fmt.Fprintf(w, `.SH EXIT STATUS
%s
.SH ENVIRONMENT
.TP
.B NO_COLOR
no colours, which are used on a terminal only and never say anything alone
.TP
.B %s
set by run for its command: which runs hold something for it
.TP
.B LOCKD_TICKETS
set by run \-\-tickets for its command: the numbers of the tickets
.SH SEE ALSO
.BR flock (1),
.BR lslocks (8)
`, roff(exitCodes), actorVariable)
}

const examples = `A script that must not run twice at a time:
    lockd-inspect run --nonblock nightly backup -- ./backup.sh

Two scripts that hang, each of which runs another command under another lock:
    lockd-inspect check nightly
says that this is a deadlock, who holds what and waits for what, and which
process to end so that the other can go on;
    lockd-inspect graph nightly
draws it. Where all take their locks in the same order there is none.

A lock whose last owner was killed, once what it protects is looked after:
    lockd-inspect run --mark-consistent nightly backup -- ./repair.sh

All that can be said of an arena, for somebody on another machine:
    lockd-inspect dump nightly > nightly.json
    lockd-inspect check nightly.json
`

// roff escapes a text, whose lines begin none of the formatter's requests.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "×", `\(mu`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
