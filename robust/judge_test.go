package robust

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

func expect(t testing.TB, what string, got, want Verdict) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// ifAsked is what JudgePID must say when want is the truth.
func ifAsked(pidfd bool, want Verdict) Verdict {
	if !pidfd {
		return Unknown
	}
	return want
}

func TestJudgePIDFollowsALife(t *testing.T) {
	onEachKernel(t, func(t *testing.T, pidfd, pidfs bool) {
		c := start(t, "idle", nil)
		nameless := Identity{PID: c.id.PID, PIDNS: c.id.PIDNS}
		expect(t, "running", JudgePID(c.id), ifAsked(pidfd, Alive))
		expect(t, "running, only pid known", JudgePID(nameless), ifAsked(pidfd, Alive))

		if err := c.cmd.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(c.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("not stopped: %v %v", status, err)
		}
		expect(t, "stopped", JudgePID(c.id), ifAsked(pidfd, Alive))

		c.die(t)
		if err := unix.Kill(c.cmd.Process.Pid, 0); err != nil {
			t.Fatalf("not a zombie: %v", err)
		}
		expect(t, "zombie", JudgePID(c.id), ifAsked(pidfd, Gone))
		expect(t, "zombie, only pid known", JudgePID(nameless), ifAsked(pidfd, Gone))

		c.cmd.Wait()
		expect(t, "reaped", JudgePID(c.id), Gone)
	})
}

// Here procfs shows a Z for a process that runs.
func TestJudgePIDWithoutLeader(t *testing.T) {
	onEachKernel(t, func(t *testing.T, pidfd, pidfs bool) {
		c := start(t, "leaderless", nil)
		eventually(t, "the first thread has exited", func() bool { return procState(t, int(c.id.PID)) == "Z" })
		expect(t, "first thread exited", JudgePID(c.id), ifAsked(pidfd, Alive))
		c.tell(t, "still there?")
		var yes bool
		c.answer(t, &yes)
		c.die(t)
		expect(t, "all threads exited", JudgePID(c.id), ifAsked(pidfd, Gone))
	})
}

func leaderless() {
	id := introduce()
	if unix.Gettid() != int(id.PID) {
		panic("not in the first thread")
	}
	go func() {
		var question string
		hear(&question)
		say(true)
		hearOut()
		os.Exit(0)
	}()
	// Through Syscall, so that the runtime takes the thread for one that
	// blocks and carries on without it.
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// With the pid of a process that lives, everything hangs on the rest.
func TestJudgePIDTellsNamesakesApart(t *testing.T) {
	skipWithoutPidfd(t)
	id := self(t)
	other := func(change func(*Identity)) Identity {
		namesake := id
		change(&namesake)
		return namesake
	}
	later := other(func(i *Identity) { i.StartTime += 5 })
	unstarted := other(func(i *Identity) { i.StartTime = 0 })
	expect(t, "itself", JudgePID(id), Alive)
	expect(t, "no pid", JudgePID(other(func(i *Identity) { i.PID = 0 })), Unknown)
	expect(t, "no possible pid", JudgePID(other(func(i *Identity) { i.PID = 1<<32 - 1 })), Unknown)
	expect(t, "no namespace", JudgePID(other(func(i *Identity) { i.PIDNS = 0 })), Unknown)
	expect(t, "other namespace", JudgePID(other(func(i *Identity) { i.PIDNS++ })), Unknown)
	if id.PidfdInode != 0 {
		expect(t, "other inode", JudgePID(other(func(i *Identity) { i.PidfdInode++ })), Gone)
		expect(t, "same inode, other start time", JudgePID(later), Alive)
	}

	defer feature.Pidfs.SetOff(true)()
	expect(t, "other inode, no pidfs", JudgePID(other(func(i *Identity) { i.PidfdInode++ })), Alive)
	expect(t, "no start time, no pidfs", JudgePID(unstarted), Alive)
	if id.StartTime != 0 {
		expect(t, "other start time, no pidfs", JudgePID(later), Gone)
	}
}

// A pid can pass to a mere thread of another process.
func TestJudgePIDOfAThread(t *testing.T) {
	skipWithoutPidfd(t)
	var threads sync.WaitGroup
	tids, release := make(chan int), make(chan struct{})
	defer threads.Wait()
	defer close(release)
	for range 2 { // one of them may get the first thread
		threads.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tids <- unix.Gettid()
			<-release
		})
	}
	tid := <-tids
	if second := <-tids; tid == os.Getpid() {
		tid = second
	}

	id := Identity{PID: uint32(tid), PIDNS: self(t).PIDNS}
	expect(t, "thread, only pid known", JudgePID(id), Unknown)
	if self(t).PidfdInode != 0 {
		id.PidfdInode = self(t).PidfdInode
		expect(t, "thread, another's inode", JudgePID(id), Gone)

		fd, err := pidfdOpen(tid, unix.O_EXCL)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		id.PidfdInode = pidfdInode(fd)
		expect(t, "thread, its own inode", JudgePID(id), Unknown)
	}
}

func TestJudgeTable(t *testing.T) {
	skipWithoutPidfd(t)
	dead := start(t, "idle", nil)
	dead.dieAndReap(t)
	foreign := self(t)
	foreign.PIDNS++
	byPID := map[Verdict]Identity{Alive: self(t), Gone: dead.id, Unknown: foreign}

	for _, row := range []struct{ byByte, byPID, judged, byteOnly Verdict }{
		{Gone, Gone, Gone, Gone},
		{Gone, Alive, Gone, Gone},
		{Gone, Unknown, Gone, Gone},
		{Alive, Gone, Gone, Alive},
		{Alive, Alive, Alive, Alive},
		{Alive, Unknown, Alive, Alive},
		{Unknown, Gone, Gone, Unknown},
		{Unknown, Alive, Alive, Unknown},
		{Unknown, Unknown, Unknown, Unknown},
	} {
		what := "byte " + row.byByte.String() + ", pid " + row.byPID.String()
		probe := func() Verdict { return row.byByte }
		expect(t, what, Judge(byPID[row.byPID], probe, false), row.judged)
		expect(t, what+", by byte only", Judge(byPID[row.byPID], probe, true), row.byteOnly)
		expect(t, what+", combined", combine(row.byByte, row.byPID), row.judged)
		if row.byByte == Unknown {
			expect(t, "no byte, pid "+row.byPID.String(), Judge(byPID[row.byPID], nil, false), row.judged)
			expect(t, "no byte but only that", Judge(byPID[row.byPID], nil, true), Unknown)
		}
	}
}

func TestJudgePIDAllocatesNothing(t *testing.T) {
	skipWithoutPidfs(t)
	id := self(t)
	if n := testing.AllocsPerRun(100, func() { JudgePID(id) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A process that has run out of descriptors must not take others for dead.
func TestJudgePIDWithoutDescriptors(t *testing.T) {
	skipWithoutPidfd(t)
	c := start(t, "starved", nil)
	c.tell(t, self(t))
	var got starvedAnswer
	c.answer(t, &got)
	expect(t, "no descriptor left", got.Starved, Unknown)
	expect(t, "descriptors back", got.Fed, Alive)
	if got.StarvedWatch || got.StarvedSelf {
		t.Errorf("without descriptors: watched %v, knew itself %v", got.StarvedWatch, got.StarvedSelf)
	}
	if got.HastyWatch {
		t.Error("watched again before its time")
	}
	if !got.FedWatch {
		t.Error("not watched again although there are descriptors")
	}
}

type starvedAnswer struct {
	Starved, Fed                                    Verdict
	StarvedSelf, StarvedWatch, HastyWatch, FedWatch bool
}

func starved() {
	introduce()
	var outside Identity
	hear(&outside)
	var view starvedAnswer
	watcher := NewWatcher(1)
	watch := func() bool { return watcher.Watch(1, outside, func(uint64) {}) }

	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}))
	var hoard []int
	for {
		fd, err := unix.Dup(0)
		if err == unix.EMFILE {
			break
		}
		must(err)
		hoard = append(hoard, fd)
	}
	view.Starved = JudgePID(outside)
	_, err := Self()
	view.StarvedSelf = err == nil
	tried := time.Now()
	view.StarvedWatch = watch()
	for _, fd := range hoard {
		unix.Close(fd)
	}

	view.Fed = JudgePID(outside)
	view.HastyWatch = watch() && time.Since(tried) < retryAfter
	if outside.PIDNS == ownPIDNamespace() {
		for deadline := tried.Add(doneBound); !view.FedWatch && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
			view.FedWatch = watch()
		}
	}
	watcher.Close()
	say(view)
	hearOut()
}

func TestVerdictString(t *testing.T) {
	for v, want := range map[Verdict]string{Unknown: "unknown", Alive: "alive", Gone: "gone", 7: "Verdict(7)"} {
		if got := v.String(); got != want {
			t.Errorf("%d: %q, want %q", v, got, want)
		}
	}
}
