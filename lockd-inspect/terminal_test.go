package main

import (
	"bufio"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal runs the command with its output on a terminal of that width.
func onTerminal(t *testing.T, width uint16, args ...string) []string {
	t.Helper()
	keyboard, terminal := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}); err != nil {
		t.Fatal(err)
	}
	lines := make(chan []string)
	const end = "the end"
	go func() {
		var all []string
		for s := bufio.NewScanner(keyboard); s.Scan() && s.Text() != end; {
			all = append(all, strings.TrimSuffix(s.Text(), "\r"))
		}
		lines <- all
	}()
	if code := run(args, nil, terminal, terminal); code == exitCannotTell {
		t.Errorf("%q: exit code %d", args, code)
	}
	terminal.WriteString(end + "\n")
	select {
	case all := <-lines:
		return all
	case <-time.After(mustBeDone):
		t.Fatal("the terminal shows no end")
	}
	return nil
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// On a terminal lines are made as narrow as it is; names and what is held
// yield last, and colours say nothing alone.
func TestTerminal(t *testing.T) {
	inUTC(t)
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")
	for _, width := range []uint16{80, 200} {
		for _, args := range [][]string{{"locks", billing}, {"who", billing}, {"graph", billing}, {"sem", billing}} {
			coloured := false
			for _, line := range onTerminal(t, width, args...) {
				coloured = coloured || escapes.MatchString(line)
				shown := escapes.ReplaceAllString(line, "")
				if widthOf := width; len([]rune(shown)) > int(widthOf) {
					t.Errorf("%d columns: %q has %d: %q", width, args, len([]rune(shown)), shown)
				}
			}
			if !coloured && args[0] != "sem" {
				t.Errorf("%q shows no colour", args)
			}
		}
	}
	plain := strings.Join(onTerminal(t, 200, "locks", billing), "\n")
	_, off, _ := call(nil, "locks", billing)
	if got := escapes.ReplaceAllString(plain, "") + "\n"; got != off {
		t.Errorf("wide enough a terminal shows\n%s\nwant\n%s", got, off)
	}
	if first := onTerminal(t, 80, "locks", billing, "--name", "busy")[1]; !strings.HasPrefix(first, "busy ") || !strings.HasSuffix(first, "…") {
		t.Errorf("80 columns: %q", first)
	}
}

// The screens as they are, with what colours them: only the terminal's own
// colours, bold, faint, red and magenta, which can be read on black and on white.
func TestGoldenScreens(t *testing.T) {
	inUTC(t)
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")
	readable := regexp.MustCompile("^\x1b\\[(0|1|2|31|35)m$")
	for _, width := range []uint16{80, 200} {
		var all strings.Builder
		for _, args := range [][]string{
			{"locks", billing}, {"show", billing, "catalogue"}, {"show", billing, "gpu"}, {"who", billing}, {"graph", billing}, {"check", billing}, {"sem", billing},
		} {
			fmt.Fprintf(&all, "$ lockd-inspect %s\n", shellLine(args))
			for _, line := range onTerminal(t, width, args...) {
				for _, code := range escapes.FindAllString(line, -1) {
					if !readable.MatchString(code) {
						t.Errorf("%q paints with %q", args, code)
					}
				}
				fmt.Fprintln(&all, strings.ReplaceAll(line, "\x1b", "^["))
			}
			fmt.Fprintln(&all)
		}
		golden(t, fmt.Sprintf("screens-%d.golden", width), all.String())
	}
}

func TestNoColour(t *testing.T) {
	for _, env := range [][2]string{{"NO_COLOR", "1"}, {"TERM", "dumb"}, {"TERM", ""}} {
		t.Run(env[0]+"="+env[1], func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			t.Setenv(env[0], env[1])
			for _, args := range [][]string{{"locks", billing}, {"graph", billing}, {"check", billing}} {
				if all := strings.Join(onTerminal(t, 120, args...), "\n"); strings.Contains(all, "\x1b") {
					t.Errorf("%q uses colours: %q", args, all)
				}
			}
		})
	}
}

func TestWidth(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "größe": 5, "日本": 4, "e\u0301": 1, "…×↺": 3, "👍": 2} {
		if got := width(text); got != want {
			t.Errorf("%q is %d wide, want %d", text, got, want)
		}
	}
	for _, tc := range []struct {
		text string
		most int
		want string
	}{{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"größer", 4, "grö…"}} {
		if got := cut(tc.text, tc.most); got != tc.want {
			t.Errorf("%q cut to %d is %q, want %q", tc.text, tc.most, got, tc.want)
		}
	}
}
