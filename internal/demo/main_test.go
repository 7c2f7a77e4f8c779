package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockd/arena"
)

// The test binary is the workers too, the demo in its own process, and an
// inspector.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case workerCommand:
			os.Exit(workerMain(os.Args[2:]))
		case demoRole:
			os.Exit(run(os.Args[2:], os.Stdout, os.Stderr))
		case "locks":
			os.Exit(inspectorMain(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

const (
	demoRole = "demo"
	// inspectorEnv is what the test's inspector is to do instead of its duty.
	inspectorEnv = "DEMO_TEST_INSPECTOR"
	// mustBeDone bounds what has to happen at last, on a loaded machine too.
	mustBeDone = 5 * time.Minute
)

func inspectorMain(name string) int {
	switch os.Getenv(inspectorEnv) {
	case "fail":
		fmt.Fprintln(os.Stderr, "no sight")
		return 2
	case "blind":
		fmt.Println("nothing to see")
		return 0
	case "interrupt":
		forever := make(chan os.Signal, 1)
		signal.Notify(forever, syscall.SIGUSR1)
		_ = syscall.Kill(os.Getppid(), syscall.SIGINT)
		<-forever
	}
	s, err := arena.ReadSnapshot(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for _, l := range s.Locks {
		fmt.Printf("LOCK %s abandonments %d\n", l.Name, l.Abandonments)
		if l.Owner != nil {
			fmt.Printf("OWNER %d %s\n", l.Owner.PID, l.Owner.Label)
		}
	}
	return 0
}

func small(args ...string) []string {
	return append([]string{"--processes", "8", "--kills", "3", "--operations", "600"}, args...)
}

// demoCommand is the demo in a process of its own, with a directory for its
// files that must be empty afterwards, and a pipe whose write end all its
// processes inherit: they must be gone.
func demoCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(self(t), append([]string{demoRole}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	alive, inherited, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{inherited}
	t.Cleanup(func() {
		defer alive.Close()
		inherited.Close()
		alive.SetReadDeadline(time.Now().Add(mustBeDone))
		if _, err := alive.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("processes of the demo are left behind: %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if cmd.Process == nil {
			return
		}
		name, err := arena.Path(fmt.Sprintf("lockd-demo-%d", cmd.Process.Pid))
		if err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("arena %s is left behind: %v", name, err)
		}
	})
	return cmd
}

func self(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// outcome runs cmd to its end and returns its output and exit code.
func outcome(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func mustSay(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func TestDemo(t *testing.T) {
	stdout, stderr, code := outcome(t, demoCommand(t, small("--inspect", self(t))...))
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	mustSay(t, stdout,
		"1. Without a lock", "600 of 600 operations", "2. With a lock", "of 3 killed and repaired",
		"6 wait", "LOCK table abandonments 1\n", "OWNER",
		"3 owners were killed half-way", "died; after", "0 lost, 0 torn",
		"What you have just seen", "nothing is torn.")
	if strings.Contains(stdout, "\r") || strings.Contains(stdout, "\x1b") {
		t.Errorf("terminal control off a terminal: %q", stdout)
	}
}

func TestDemoWithoutInspector(t *testing.T) {
	stdout, stderr, code := outcome(t, demoCommand(t, small()...))
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	mustSay(t, stdout, "no --inspect PATH was given")
}

func TestDemoInspectorFails(t *testing.T) {
	for does, says := range map[string]string{"fail": "no sight", "blind": "does not name the owner"} {
		t.Run(does, func(t *testing.T) {
			cmd := demoCommand(t, small("--inspect", self(t))...)
			cmd.Env = append(cmd.Env, inspectorEnv+"="+does)
			stdout, stderr, code := outcome(t, cmd)
			if code != exitWrong {
				t.Errorf("exit code %d: %s", code, stdout)
			}
			mustSay(t, stderr, says)
		})
	}
}

func TestDemoArguments(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"x"}, {"--kills", "0"}, {"--processes", "8"}, {"--operations", "3"}} {
		if _, stderr, code := outcome(t, demoCommand(t, args...)); code != exitUsage || stderr == "" {
			t.Errorf("%q: exit code %d, said %q", args, code, stderr)
		}
	}
}

func TestDemoNoDirectory(t *testing.T) {
	cmd := demoCommand(t, small()...)
	cmd.Env = append(cmd.Env, "TMPDIR=/proc/nowhere")
	_, stderr, code := outcome(t, cmd)
	if code != exitWrong {
		t.Errorf("exit code %d", code)
	}
	mustSay(t, stderr, "cannot make a directory for the table", "/proc/nowhere")
}

// TestDemoInterruptedAtWork sends a signal while everybody is at work, or only
// starting.
func TestDemoInterruptedAtWork(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := demoCommand(t, "--processes", "8", "--kills", "3", "--operations", "1000000")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			guard := time.AfterFunc(mustBeDone, func() { cmd.Process.Kill() })
			defer guard.Stop()
			if err := readUntil(out, "1. Without a lock\n"); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d", code, exitInterrupted)
			}
			mustSay(t, stderr.String(), "interrupted ("+signal.String()+")")
		})
	}
}

// TestDemoInterruptedHalfWay sends the signal while one process holds the lock
// half-way through a write and the others wait.
func TestDemoInterruptedHalfWay(t *testing.T) {
	cmd := demoCommand(t, small("--inspect", self(t))...)
	cmd.Env = append(cmd.Env, inspectorEnv+"=interrupt")
	stdout, stderr, code := outcome(t, cmd)
	if code != exitInterrupted {
		t.Errorf("exit code %d, want %d: %s", code, exitInterrupted, stderr)
	}
	mustSay(t, stdout, "now holds the lock half-way")
	mustSay(t, stderr, "interrupted (interrupt)")
}

func readUntil(r io.Reader, text string) error {
	var got []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte(text)) {
		if _, err := r.Read(b); err != nil {
			return fmt.Errorf("%q did not come, but %q: %w", text, got, err)
		}
		got = append(got, b[0])
	}
	return nil
}
