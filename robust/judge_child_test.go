package robust

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// doneBound is how long anything that must happen may take on a loaded
// machine.
const doneBound = 3 * time.Minute

// A child is this test binary in another role. It says things as JSON on its
// standard output, its identity first, and ends at the latest when its
// standard input does.
const roleVariable = "ROBUST_TEST_ROLE"

var roles = map[string]func(){
	"idle":       func() { introduce(); hearOut() },
	"leaderless": leaderless,
	"byte-owner": byteOwner,
	"foreigner":  foreigner,
	"pid-reuse":  pidReuse,
	"time-shift": timeShift,
	"shifted":    shifted,
	"starved":    starved,
	"sentry":     sentry,
}

func init() {
	// These must do their work in the first thread.
	switch os.Getenv(roleVariable) {
	case "leaderless", "time-shift":
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		signal.Ignore(unix.SIGPIPE)
		roles[role]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var stdin = bufio.NewReader(os.Stdin)

func say(v any) {
	text, err := json.Marshal(v)
	must(err)
	_, err = os.Stdout.Write(append(text, '\n'))
	must(err)
}

func introduce() Identity {
	id, err := Self()
	must(err)
	say(id)
	return id
}

func hear(v any) {
	line, err := stdin.ReadBytes('\n')
	if err != nil {
		os.Exit(0)
	}
	must(json.Unmarshal(line, v))
}

func hearOut() { io.Copy(io.Discard, stdin) }

func must(err error) {
	if err != nil {
		os.Stderr.WriteString("child: " + err.Error() + "\n")
		os.Exit(1)
	}
}

type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *json.Decoder
	id     Identity
}

// launch starts a child without a test, for children that have children.
func launch(role string, prepare func(*exec.Cmd)) (*child, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	if prepare != nil {
		prepare(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, stdin: stdin, stdout: json.NewDecoder(stdout)}
	if err := c.stdout.Decode(&c.id); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

func (c *child) end() {
	c.stdin.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func start(t testing.TB, role string, prepare func(*exec.Cmd)) *child {
	t.Helper()
	c, err := launch(role, prepare)
	if err != nil {
		t.Fatalf("child %s: %v", role, err)
	}
	t.Cleanup(c.end)
	return c
}

// startPrivileged starts a child in new namespaces; as an ordinary user in a
// user namespace of its own as well, where that is allowed.
func startPrivileged(t *testing.T, role string, flags uintptr) *child {
	t.Helper()
	c, err := launch(role, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if os.Geteuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
		t.Skipf("new namespaces are not allowed here: %v", err)
	}
	if err != nil {
		t.Fatalf("child %s: %v", role, err)
	}
	t.Cleanup(c.end)
	return c
}

func (c *child) tell(t testing.TB, v any) {
	t.Helper()
	if err := json.NewEncoder(c.stdin).Encode(v); err != nil {
		t.Fatal(err)
	}
}

func (c *child) answer(t testing.TB, v any) {
	t.Helper()
	if err := c.stdout.Decode(v); err != nil {
		t.Fatalf("child's answer: %v", err)
	}
}

// die kills c and returns when it is a zombie.
func (c *child) die(t testing.TB) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := unix.EINTR
	for err == unix.EINTR {
		e := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		err, _ = e.(unix.Errno)
	}
	if err != 0 {
		t.Fatal(err)
	}
}

func (c *child) dieAndReap(t testing.TB) {
	t.Helper()
	c.die(t)
	c.cmd.Wait()
}

func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(doneBound); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
	}
}

func procState(t testing.TB, pid int) string {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[0]
}

// kernels are what JudgePID may meet.
var kernels = []struct {
	name         string
	pidfd, pidfs bool
}{
	{"pidfs", true, true},
	{"pidfd", true, false},
	{"neither", false, true},
}

func onEachKernel(t *testing.T, test func(t *testing.T, pidfd, pidfs bool)) {
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			switch {
			case k.pidfd && k.pidfs:
				skipWithoutPidfs(t)
			case k.pidfd:
				skipWithoutPidfd(t)
			}
			turnOff(t, feature.PidfdOpen, !k.pidfd)
			turnOff(t, feature.Pidfs, !k.pidfs)
			test(t, k.pidfd, k.pidfs)
		})
	}
}

func turnOff(t testing.TB, f *feature.Feature, off bool) {
	if off {
		t.Cleanup(f.SetOff(true))
	}
}

func skipWithoutPidfs(t testing.TB) {
	t.Helper()
	if self(t).PidfdInode == 0 {
		t.Skip("needs pidfs: Linux 6.9, and not switched off")
	}
}

func skipWithoutPidfd(t testing.TB) {
	t.Helper()
	if JudgePID(self(t)) != Alive {
		t.Skip("needs pidfd_open and /proc")
	}
}

func self(t testing.TB) Identity {
	t.Helper()
	id, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	return id
}
