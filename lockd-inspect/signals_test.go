package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What is sent to run reaches the command, once and in order.
func TestRunPassesSignals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	p := start(t, asTool, "run", path, "l", "--", self(t), asSignals)
	if line := p.line(); line != "ready" {
		t.Fatalf("command says %q", line)
	}
	for _, sig := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGINT, syscall.SIGQUIT, 40, syscall.SIGTERM,
	} {
		p.Process.Signal(sig)
		if line := p.line(); line != sig.String() {
			t.Errorf("command got %q, sent was %v", line, sig)
		}
	}
	if code := p.exit(); code != 33 {
		t.Errorf("exit code %d, want the command's", code)
	}
}

// What was ignored stays ignored, for run and for the command.
func TestRunLeavesIgnoredSignals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	p := startWith(t, func(c *exec.Cmd) {
		c.Path = "/bin/sh"
		c.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, c.Args...)
	}, asTool, "run", path, "l", "--", self(t), asUntil, end)
	command := p.pid()
	p.Process.Signal(syscall.SIGHUP)
	syscall.Kill(command, syscall.SIGHUP)
	p.silent()
	finish()
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A run that is stopped keeps the lock, also when the command ends meanwhile.
func TestRunStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	p := start(t, asTool, "run", path, "l", "--", self(t), asUntil, end)
	command := p.pid()
	p.Process.Signal(syscall.SIGSTOP)
	defer p.Process.Signal(syscall.SIGCONT)
	eventually(t, "run is stopped", func() bool { return processState(p.Process.Pid) == 'T' })
	finish()
	eventually(t, "the command has ended", func() bool { return processState(command) == 'Z' })
	if code, _, _ := call(nil, "run", "-n", path, "l", "--", "true"); code != 1 {
		t.Errorf("exit code %d while run is stopped, want 1", code)
	}
	p.Process.Signal(syscall.SIGCONT)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if code, _, stderr := call(nil, "run", "-n", path, "l", "--", "true"); code != 0 || stderr != "" {
		t.Errorf("exit code %d after its end; %s", code, stderr)
	}
}

func processState(pid int) byte { return stateIn(fmt.Sprintf("/proc/%d", pid)) }

// stateIn is of a process or a thread by its folder in /proc.
func stateIn(folder string) (state byte) {
	var pid int
	var comm string
	if stat, err := os.ReadFile(folder + "/stat"); err == nil {
		fmt.Sscanf(string(stat), "%d %s %c", &pid, &comm, &state)
	}
	return state
}

// Ctrl-C reaches the command once, though run gets it too.
func TestRunOnTerminal(t *testing.T) {
	keyboard, terminal := openTerminal(t)
	path := filepath.Join(t.TempDir(), "a")
	p := startWith(t, func(c *exec.Cmd) {
		c.Stdin = terminal
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	}, asTool, "run", path, "l", "--", self(t), asSignals)
	if line := p.line(); line != "ready" {
		t.Fatalf("command says %q", line)
	}
	for key, sig := range map[string]syscall.Signal{"\x03": syscall.SIGINT, "\x1c": syscall.SIGQUIT} {
		if _, err := keyboard.WriteString(key); err != nil {
			t.Fatal(err)
		}
		if line := p.line(); line != sig.String() {
			t.Errorf("command got %q, want %v", line, sig)
		}
		p.silent()
	}
	p.Process.Signal(syscall.SIGTERM)
	if line := p.line(); line != syscall.SIGTERM.String() {
		t.Errorf("command got %q", line)
	}
	if code := p.exit(); code != 33 {
		t.Errorf("exit code %d, want the command's", code)
	}
}

func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}
