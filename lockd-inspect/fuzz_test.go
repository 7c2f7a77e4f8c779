package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"lockd/arena"
)

// acting are the verbs that change something, start a command, or go on until
// they are ended. Of these only the command line is looked at.
var acting = []string{"run", "sem", "settle", "break", "rm", "top", "watch"}

// FuzzCommandLine calls the command with any arguments, a NUL between them, in
// a folder with one small arena and with a dump on its standard input. It ends
// with one of its exit codes, says something whenever that is not 0, and
// writes no control character.
func FuzzCommandLine(f *testing.F) {
	dump, err := os.ReadFile(billing)
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range []string{
		"", "billing", "locks billing --json", "locks - -o name,state,+pid --sort -pid", "--no-headers -", "show - busy",
		"who - --sessions 4711", "who billing -o +uid --json", "graph - --format svg", "graph - --format dot", "check", "check - billing -q",
		"dump -", "dump billing", "metrics - --name p*", "arenas --json", "help", "help run", "completion bash", "version", "sem - list",
		"run -w 1m30s billing lock -- true", "run --range 100:50 -n -E 75 billing lock true", "run --tickets 2 --mark-consistent billing x y",
		"top billing", "watch billing -i 1s", "break billing lock --yes", "rm billing", "settle", "--json run billing", "locks -- -", "-h", "show - \"\\x1b",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	before := folder
	folder = f.TempDir()
	f.Cleanup(func() { folder = before })
	a, err := arena.Open(folder+"/billing", &arena.Options{MaxLocks: 1, Label: "label"})
	if err != nil {
		f.Fatal(err)
	}
	a.Mutex("lock").Lock()
	a.RWMutex("busy").RLock()
	f.Cleanup(func() { a.Close() })
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		if len(args) > 32 {
			return
		}
		var out, complaints bytes.Buffer
		code := 0
		switch {
		case !slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(acting, arg) }):
			code = run(args, bytes.NewReader(dump), &out, &complaints)
		case slices.Contains(acting, args[0]):
			code = onlyParsed(args, &out, &complaints)
		default: // the verb may stand behind flags
			return
		}
		if code != exitFine && code != exitFound && code != exitCannotTell && !(code == exitUsage && args[0] == "run") {
			t.Errorf("exit code %d: %s", code, complaints.String())
		}
		if code == exitCannotTell && complaints.Len() == 0 {
			t.Error("it does not say why it cannot tell")
		}
		for _, text := range []string{out.String(), complaints.String()} {
			if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }); i >= 0 {
				t.Errorf("a control character is written: %q", text[max(0, i-20):min(len(text), i+20)])
			}
		}
	})
}

// onlyParsed is what an acting verb makes of its command line, without doing it.
func onlyParsed(args []string, out, complaints *bytes.Buffer) int {
	t := &tool{strings.NewReader(""), out, complaints, folder, screenOf(out)}
	v := verbNamed(args[0])
	v.run = func(*tool, []string) int { return exitFine }
	if v.name == "run" {
		r := new(runner)
		v = r.asVerb()
		v.run = func(t *tool, rest []string) int {
			if err := r.parse(rest); err != nil {
				return t.misused(v, err)
			}
			return exitFine
		}
	}
	return t.do(v, args[1:])
}

// FuzzDump has the views made of any dump: the one of the other tests with
// bytes put over it, or any bytes.
func FuzzDump(f *testing.F) {
	dump, err := os.ReadFile(billing)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(len(dump)), uint8(0), []byte(`{"format":1}`))
	f.Add(uint32(0), uint8(0), []byte(`{"format":1,"arena":{"path":"x"},"members":[],"locks":[]}`))
	for verb := range dumpViews {
		f.Add(uint32(0), uint8(verb), []byte(nil))
		for _, c := range [][2]string{
			{`"member":2,`, `"member":7,`}, {`"slot":`, `"slot":-`}, {`"generation":1`, `"generation":9`}, {`null`, `[]  `}, {`"pid":`, `"uid":`},
		} {
			if i := bytes.Index(dump, []byte(c[0])); i >= 0 {
				f.Add(uint32(i), uint8(verb), []byte(c[1]))
			}
		}
	}
	scratch := slices.Clone(dump)
	f.Fuzz(func(t *testing.T, at uint32, view uint8, bytesOver []byte) {
		content := bytesOver
		if int(at) < len(dump) {
			content = scratch
			copy(content[at:], bytesOver)
			defer copyBack(scratch, dump)
		}
		args := append([]string(nil), dumpViews[int(view)%len(dumpViews)]...)
		var out, complaints bytes.Buffer
		code := run(args, bytes.NewReader(content), &out, &complaints)
		if code != exitFine && code != exitFound && code != exitCannotTell {
			t.Errorf("exit code %d: %s", code, complaints.String())
		}
		if strings.ContainsAny(out.String()+complaints.String(), "\x1b\x00\x7f") {
			t.Errorf("a control character is written by %q", args)
		}
	})
}

func copyBack(scratch, dump []byte) { copy(scratch, dump) }

var dumpViews = [][]string{
	{"locks", "-"}, {"locks", "-", "--json"}, {"show", "-", "busy"}, {"who", "-"}, {"who", "-", "--sessions", "--json"}, {"graph", "-"},
	{"graph", "-", "--format", "svg"}, {"graph", "-", "--format", "dot"}, {"graph", "-", "--format", "mermaid"}, {"check", "-"},
	{"check", "-", "--json"}, {"metrics", "-"}, {"sem", "-"}, {"dump", "-"},
}
