package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// screen is what one may do where the output goes: nothing, off a terminal.
type screen struct {
	width, height int // 0 off a terminal: nothing is cut
	colours       bool
	fd            int
	unwrapped     bool // what is wider overwrites the end of its line
}

func screenOf(w io.Writer) screen {
	f, ok := w.(*os.File)
	if !ok {
		return screen{fd: -1}
	}
	fd := int(f.Fd())
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return screen{fd: -1}
	}
	term := os.Getenv("TERM")
	s := screen{int(size.Col), int(size.Row), os.Getenv("NO_COLOR") == "" && term != "dumb" && term != "", fd, false}
	if s.width == 0 { // a terminal that does not know
		s.width, s.height = 80, 24
	}
	return s
}

func (s screen) isTerminal() bool { return s.width > 0 }

// colour says a state, which the text beside it says as well.
type colour string

const (
	plain colour = ""
	faint colour = "2"
	amber colour = "35" // magenta, which can be read on white as well, unlike yellow
	red   colour = "31"
	bold  colour = "1"
)

func (s screen) paint(c colour, text string) string {
	if c == plain || !s.colours {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// width is how many columns of a terminal a text takes.
func width(text string) int {
	if isSimple(text) {
		return len(text)
	}
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x2e80, 0xa4cf, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1},
		{0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x1f300, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// wrap breaks a text at blanks where a terminal ends, and begins the lines that
// follow with blanks. Off a terminal the text stays as it is.
func (s screen) wrap(text string, indent int) string {
	if !s.isTerminal() || plainWidth(text) <= s.width {
		return text
	}
	lead := len(text) - len(strings.TrimLeft(text, " "))
	lines, line := []string{}, text[:lead]
	for i, word := range strings.Split(text[lead:], " ") {
		switch {
		case i == 0:
			line += word
		case plainWidth(line)+1+plainWidth(word) <= s.width:
			line += " " + word
		default:
			lines, line = append(lines, strings.TrimRight(line, " ")), strings.Repeat(" ", indent)+word
		}
	}
	return strings.Join(append(lines, line), "\n")
}

// plainWidth is that of a text that may be painted.
func plainWidth(text string) int {
	n := width(text)
	for rest := text; ; {
		_, after, painted := strings.Cut(rest, "\x1b[")
		if !painted {
			return n
		}
		code, after, _ := strings.Cut(after, "m")
		n -= width("\x1b[" + code + "m")
		rest = after
	}
}

// cut shortens a text to a width, and says so by its last character.
func cut(text string, most int) string {
	if width(text) <= most {
		return text
	}
	n := 0
	for i, r := range text {
		if n += runeWidth(r); n > most-1 {
			return text[:i] + "…"
		}
	}
	return text
}
