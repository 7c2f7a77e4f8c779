package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progress shows how far a round is: on a terminal as one line that is
// written over, elsewhere as a line for each quarter.
type progress struct {
	w        io.Writer
	terminal bool
	shown    time.Time
	width    int
	quarter  int
}

const (
	refresh    = 50 * time.Millisecond
	lineLength = 76
	indent     = "   "
)

func newProgress(w io.Writer) *progress { return &progress{w: w, terminal: isTerminal(w)} }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// show writes over the line, on a terminal only.
func (p *progress) show(format string, args ...any) {
	if !p.terminal || time.Since(p.shown) < refresh {
		return
	}
	p.shown = time.Now()
	line := indent + fmt.Sprintf(format, args...)
	line = line[:min(len(line), lineLength)]
	fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = len(line)
}

func (p *progress) work(done, of, repaired, victims int) {
	text := fmt.Sprintf("%d of %d operations", min(done, of), of)
	if victims > 0 {
		text += fmt.Sprintf(", %d of %d killed and repaired", repaired, victims)
	}
	p.show("%s", text)
	if quarter := 4 * done / of; !p.terminal && quarter > p.quarter && quarter <= 4 {
		p.quarter = quarter
		fmt.Fprintln(p.w, indent+text)
	}
}

// clear makes room for other text; reset ends a round.
func (p *progress) clear() {
	if p.terminal && p.width > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.width, "")
	}
	p.width, p.shown = 0, time.Time{}
}

func (p *progress) reset() {
	p.clear()
	p.quarter = 0
}

func (d *demo) say(format string, args ...any) {
	d.progress.clear()
	fmt.Fprintf(d.out, format+"\n", args...)
}

func (d *demo) sayFindings(l *ledger, f findings) {
	d.say("%s%d operations, %d of them changes, by %d processes", indent, l.operations, l.changes(), d.processes)
	for _, line := range []struct {
		count int
		what  string
	}{
		{f.lostUpdates, "updates lost: reported, and not in the table"},
		{f.extraUpdates, "updates in the table that nobody reported"},
		{f.lostInserts, "inserted records lost"},
		{f.undoneDeletes, "deleted records back again"},
		{f.deletedTwice, "records deleted by two processes"},
		{f.strangers, "records that nobody inserted, or twice in the table"},
		{f.tornSeen, "times a reader met a half-written record"},
		{f.torn, "records torn for good: half of one change, half of another"},
	} {
		if line.count > 0 {
			d.say("%s%8d %s", indent, line.count, line.what)
		}
	}
	if f.none() {
		d.say("%s       0 lost, 0 torn", indent)
	}
}

func (d *demo) sayKills(l *ledger) {
	d.say("%s%d owners were killed half-way through a write, and what each heir did:", indent, len(l.kills))
	for _, k := range l.kills {
		h, _ := l.heirOf(k)
		d.say("%s%s (pid %d) %s; after %v its heir finished the %s of %s", indent+indent,
			h.Label, h.PID, h.Cause, h.when.Sub(k.when).Round(100*time.Microsecond), h.Op, recordName(h.Key))
	}
}

// sayInThreeSentences says what one has just seen. The round with the lock
// has been found right before.
func (d *demo) sayInThreeSentences(before findings, l *ledger) {
	without := fmt.Sprintf("lost %d changes and met half-written records %d times", before.lost(), before.tornSeen)
	if before.torn > 0 {
		without += fmt.Sprintf(", with %d torn for good", before.torn)
	}
	if before.lost() == 0 && before.tornSeen == 0 && before.torn == 0 {
		without = "lost nothing this time, by luck alone"
	}
	d.say("\nWhat you have just seen\n")
	d.say("%s", wrap(fmt.Sprintf("Without a lock, %d processes that changed one file %s. "+
		"With a lock of the arena the same %d took turns, and although %d of them were killed (SIGKILL) while they held it, "+
		"with a record half-written, each time one other process got the lock, was told who had died, "+
		"finished the record from the note in the table and went on. "+
		"In the end all %d changes that were reported are in the table, nothing is lost, nothing is torn.",
		d.processes, without, d.processes, len(l.kills), l.changes())))
}

func wrap(text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > lineLength:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
