package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const programRole = "torture-program"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if os.Args[1] == programRole {
			os.Exit(run(os.Args[2:], os.Stdout, os.Stderr))
		}
		if os.Args[1] == hogRole {
			hog()
		}
		playRole(os.Args[1:])
	}
	os.Exit(m.Run())
}

// torture runs the program and returns its summary.
func torture(t *testing.T, args ...string) (code int, s summary, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append(args, "-json"), &out, &errs)
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return code, s, errs.String()
}

// A short run of the torture: real processes, killed, stopped and replaced.
func TestTorture(t *testing.T) {
	duration := "4s"
	if testing.Short() {
		duration = "1500ms"
	}
	code, s, errs := torture(t, "-duration", duration, "-processes", "8")
	if code != 0 || s.Stranded != 0 || s.Violations != 0 {
		t.Errorf("code %d: %s", code, errs)
	}
	t.Logf("%+v", s)
	if s.Deadlocks == 0 && !testing.Short() {
		t.Error("not one deadlock")
	}
	if s.Robberies == 0 && !testing.Short() {
		t.Error("not one robbery")
	}
	for what, n := range map[string]uint64{
		"kill": uint64(s.Kills), "recovery": s.Recoveries, "mutex": s.Operations["mutex"],
		"rwmutex": s.Operations["rwmutex"], "semaphore": s.Operations["semaphore"], "name": s.Operations["names"],
		"range": s.Operations["ranges"], "session": s.Operations["sessions"],
		"break": s.Operations["breaks"],
	} {
		if n == 0 {
			t.Errorf("not one %s", what)
		}
	}
	if left := filesOf(t, os.Getpid(), ""); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func filesOf(t *testing.T, pid int, name string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shm, fmt.Sprintf("lockd-torture-%d-*", pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Interrupted, as by Ctrl-C, it ends in good order, with a summary.
func TestInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, programRole, "-duration", "10m", "-processes", "4", "-json")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(time.Minute); len(filesOf(t, cmd.Process.Pid, "small")) == 0 && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond) // until workers work
		}
		cmd.Process.Signal(sig)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if left := filesOf(t, cmd.Process.Pid, ""); len(left) > 0 {
			t.Errorf("%v: left behind: %v", sig, left)
		}
		var s summary
		if err := json.Unmarshal(out.Bytes(), &s); err != nil || s.Seconds > 120 {
			t.Errorf("%v: %v: %s", sig, err, out.String())
		}
	}
}

// Broken variants of the protocols do not get through.
func TestTortureCatches(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program once more")
	}
	binary := filepath.Join(t.TempDir(), "torture")
	build := exec.Command("go", "build", "-tags", "lockd_variants", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("needs the go command and the sources: %v\n%s", err, out)
	}
	variants := []string{"judge-rashly", "pass-gate"}
	if *fullMatrix {
		variants = append(variants, "take-any-word") // which takes luck
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			cmd := exec.Command(binary, "-duration", "3m", "-processes", "8", "-first", "-kinds", "mutex,rwmutex")
			cmd.Env = append(os.Environ(), "LOCKD_VARIANT="+variant)
			var errs strings.Builder
			cmd.Stderr = &errs
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("it gets through: %v", err)
			}
			first, _, _ := strings.Cut(errs.String(), "\n")
			t.Logf("as it should: %s", first)
		})
	}
}

const hogRole = "torture-hog"

// hog keeps a processor busy and memory moving until it is killed.
func hog() {
	for kept := [][]byte{}; ; {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		if kept = append(kept, b); len(kept) > 32 {
			kept = nil
		}
	}
}

// On a machine whose processors and memory others want, everybody gets on.
func TestTortureUnderPressure(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command(exe, hogRole)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
	}
	duration := "3s"
	if testing.Short() {
		duration = "1s"
	}
	code, s, errs := torture(t, "-duration", duration, "-processes", "6")
	if code != 0 || s.Stranded != 0 || s.Violations != 0 {
		t.Errorf("code %d: %s", code, errs)
	}
	t.Logf("%+v", s)
	if s.Kills == 0 || s.Operations["mutex"] == 0 {
		t.Error("nothing came about")
	}
}
