package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every verb, flag and column is in help, in each shell's completion, and in
// the man page.
func TestEverythingIsDescribed(t *testing.T) {
	var page bytes.Buffer
	manPage(&page)
	manual := strings.ReplaceAll(page.String(), `\-`, "-")
	scripts := make(map[string]string)
	for _, shell := range shells {
		code, stdout, stderr := call(nil, "completion", shell)
		if code != 0 || stderr != "" {
			t.Fatalf("completion %s: exit code %d, %q", shell, code, stderr)
		}
		scripts[shell] = stdout
	}
	_, overview, _ := call(nil, "help")
	for _, v := range verbs() {
		_, help, _ := call(nil, "help", v.name)
		if _, again, _ := call(nil, v.name, "--help"); again != help {
			t.Errorf("%s --help says something else than help %s", v.name, v.name)
		}
		if !strings.Contains(overview, "\n  "+v.name+" ") || !strings.Contains(manual, "\n.SS "+v.name) {
			t.Errorf("%s is not in help or not in the man page", v.name)
		}
		_, section, _ := strings.Cut(manual, "\n.SS "+v.name)
		section, _, _ = strings.Cut(section, "\n.S")
		_, inBash, _ := strings.Cut(scripts["bash"], "\n        "+v.name+")")
		inBash, _, _ = strings.Cut(inBash, "            ;;\n")
		v.flags.VisitAll(func(f *pflag.Flag) {
			long := "--" + f.Name
			if !strings.Contains(help, long) {
				t.Errorf("help %s lacks %s", v.name, long)
			}
			if !strings.Contains(section, long) {
				t.Errorf("the man page lacks %s of %s", long, v.name)
			}
			if !strings.Contains(inBash, long+`\n`) && !strings.Contains(inBash, long+`'`) {
				t.Errorf("completion in bash lacks %s of %s", long, v.name)
			}
			if !strings.Contains(scripts["fish"], "__fish_seen_subcommand_from "+v.name+"' -l "+f.Name) {
				t.Errorf("completion in fish lacks %s of %s", long, v.name)
			}
			if f.Usage == "" {
				t.Errorf("%s of %s says nothing", long, v.name)
			}
		})
		for _, c := range v.columns {
			if !strings.Contains(help, " "+c.name+" ") || !strings.Contains(section, " "+c.name+" ") || c.says == "" {
				t.Errorf("column %s of %s is not described", c.name, v.name)
			}
		}
		if v.about == "" || v.says == "" {
			t.Errorf("%s says nothing about itself", v.name)
		}
	}
	for _, v := range verbs() {
		for _, line := range strings.Split(v.about, "\n") {
			if width(line) > 84 {
				t.Errorf("help %s is too wide: %q", v.name, line)
			}
		}
	}
	if _, zsh, _ := strings.Cut(scripts["zsh"], "\n"); zsh != scripts["bash"] {
		t.Error("zsh completes otherwise than bash")
	}
}

// The man page is made of what help says; -update writes it.
func TestManPage(t *testing.T) {
	var page bytes.Buffer
	manPage(&page)
	const path = "lockd-inspect.1"
	if *update {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Skip("the source is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, page.Bytes()) {
		t.Error("lockd-inspect.1 is not what help says; go test -run ManPage -update writes it anew")
	}
}

// The scripts are loaded by their shells, where those are, and complete.
func TestCompletionInShells(t *testing.T) {
	for _, tc := range []struct{ shell, ask string }{
		{"bash", `COMP_WORDS=(lockd-inspect graph --format ''); COMP_CWORD=3; _lockd_inspect; echo "${COMPREPLY[*]}"; COMP_WORDS=(lockd-inspect sem a ''); COMP_CWORD=3; _lockd_inspect; echo "${COMPREPLY[*]}"; COMP_WORDS=(lockd-inspect run --sh); COMP_CWORD=2; _lockd_inspect; echo "${COMPREPLY[*]}"`},
		{"fish", `complete -C 'lockd-inspect graph --format '; complete -C 'lockd-inspect sem a '; complete -C 'lockd-inspect run --sh'`},
	} {
		shell, err := exec.LookPath(tc.shell)
		if err != nil {
			t.Logf("no %s here", tc.shell)
			continue
		}
		_, script, _ := call(nil, "completion", tc.shell)
		c := exec.Command(shell, "-c", script+"\n"+tc.ask)
		c.Env = append(os.Environ(), "HOME="+t.TempDir(), "PATH="+os.Getenv("PATH"))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", tc.shell, err, out)
		}
		for _, word := range []string{"mermaid", "resize", "--shared"} {
			if !strings.Contains(string(out), word) {
				t.Errorf("%s does not complete %s: %s", tc.shell, word, out)
			}
		}
	}
	if _, _, stderr := call(nil, "completion", "tcsh"); !strings.Contains(stderr, "there are: bash, zsh, fish") {
		t.Errorf("%q", stderr)
	}
}
