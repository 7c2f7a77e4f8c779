package fuzz

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"lockd/arena"
	"lockd/futex"
	"lockd/internal/proc"
)

// Histories of processes that are killed, stopped and continued at random are
// what the model of each kind can do.
func TestHistories(t *testing.T) {
	for name, kind := range historyKinds {
		t.Run(name, func(t *testing.T) {
			rounds := 20
			if testing.Short() {
				rounds = 5
			}
			var sum struct{ operations, unanswered, killed, unknown int }
			for round := range rounds {
				h := newHistoryRun(t, name)
				killed := h.run()
				history := h.history()
				sum.operations += len(history)
				sum.killed += killed
				for _, op := range history {
					if op.Input.(call).unanswered {
						sum.unanswered++
					}
				}
				switch result, info := porcupine.CheckOperationsVerbose(kind.model.ToModel(), history, proc.Soon); result {
				case porcupine.Illegal:
					t.Fatalf("round %d: no order of these operations is what a %s does; picture: %s", round, name, h.picture(kind.model.ToModel(), info))
				case porcupine.Unknown:
					sum.unknown++
				}
				h.close()
			}
			t.Logf("%d histories, %d operations, %d processes killed, %d operations cut by it; %d not told within %v",
				rounds, sum.operations, sum.killed, sum.unanswered, sum.unknown, proc.Soon)
			if sum.unknown > rounds/10 {
				t.Errorf("of %d histories the checker could not tell", sum.unknown)
			}
		})
	}
}

// historyRun is processes that use one lock together.
type historyRun struct {
	t      *testing.T
	kind   string
	log    *historyLog
	unmap  func()
	crew   []*proc.Proc
	killed [historyProcesses]int64 // when, 0 if it was not
}

func newHistoryRun(t *testing.T, kind string) *historyRun {
	t.Helper()
	path := shmPath(t)
	a, err := arena.Open(path, &arena.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if kind == "semaphore" || kind == queueKind {
		if _, err := a.Semaphore("history", historyTickets).Tickets(); err != nil {
			t.Fatal(err)
		}
	}
	h := &historyRun{t: t, kind: kind}
	logPath := filepath.Join(filepath.Dir(path), "log")
	if h.log, h.unmap, err = openHistory(logPath); err != nil {
		t.Fatal(err)
	}
	for i := range historyProcesses {
		h.crew = append(h.crew, proc.Start(t, "historian", []string{path, logPath, strconv.Itoa(i), kind}))
	}
	for _, p := range h.crew {
		p.Expect("ready")
	}
	if err := a.Close(); err != nil { // who settles the dead is one of them
		t.Fatal(err)
	}
	return h
}

// run lets them work, and kills up to four of them, and stops others.
func (h *historyRun) run() (killed int) {
	for _, p := range h.crew {
		p.Send("go")
	}
	victims := rand.IntN(historyProcesses - 1)
	for range 3 * victims {
		time.Sleep(time.Duration(rand.IntN(1200)) * time.Microsecond)
		i := rand.IntN(historyProcesses)
		switch {
		case h.killed[i] != 0:
		case rand.IntN(2) == 0 && killed < victims:
			killed++
			h.killed[i] = futex.Now()
			h.crew[i].Signal(syscall.SIGKILL)
		default:
			h.crew[i].Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			h.crew[i].Signal(syscall.SIGCONT)
		}
	}
	for i, p := range h.crew {
		if h.killed[i] == 0 {
			p.Expect("done")
		}
	}
	for _, p := range h.crew {
		p.Kill()
	}
	return killed
}

// history is what they have seen, and who was killed when.
func (h *historyRun) history() (history []porcupine.Operation) {
	end := futex.Now()
	for client := range historyClients {
		events := h.log.clients[client].events[:]
		killed := h.killed[processOf(client)]
		var held, leaving uint32 // tickets
		var left int64           // when it called to release the latter
		for i := range events {
			e := &events[i]
			called, returned := e.called.Load(), e.returned.Load()
			if called == 0 {
				break
			}
			op := porcupine.Operation{
				ClientId: client, Call: called, Return: returned,
				Input:  call{what: e.what, client: client, argument: int(e.argument), unanswered: returned == 0},
				Output: answer{done: e.done, told: e.told, fence: e.fence},
			}
			if returned == 0 {
				op.Return = end
			}
			switch {
			case e.what != opAcquire && e.what != opRelease:
				history = append(history, op)
			case e.what == opAcquire && h.kind == queueKind:
				if returned != 0 && e.done {
					held |= e.tickets
					history = append(history, askedAndGot(op, e)...)
				}
			case e.what == opRelease && returned == 0:
				leaving, left = e.tickets, called
			case e.what == opRelease:
				held &^= e.tickets
				history = append(history, eachTicket(op, e.tickets)...)
			case returned != 0 && e.done:
				held |= e.tickets
				history = append(history, eachTicket(op, e.tickets)...)
			}
		}
		if killed == 0 {
			continue
		}
		death := porcupine.Operation{ClientId: client, Call: killed, Return: end, Input: call{what: opDeath, client: client}, Output: answer{}}
		if h.kind != "semaphore" && h.kind != queueKind {
			history = append(history, death)
			continue
		}
		history = append(history, eachTicket(death, held&^leaving)...)
		if leaving != 0 {
			death.Call = min(left, killed)
			history = append(history, eachTicket(death, leaving)...)
		}
	}
	return history
}

func eachTicket(op porcupine.Operation, tickets uint32) (ops []porcupine.Operation) {
	for n := range mostHistoryTickets {
		if tickets&(1<<n) != 0 {
			in := op.Input.(call)
			in.ticket = n
			op.Input = in
			ops = append(ops, op)
		}
	}
	return ops
}

// picture keeps the picture of a history that should not be.
func (h *historyRun) picture(m porcupine.Model, info porcupine.LinearizationInfo) string {
	path := filepath.Join(h.t.ArtifactDir(), "history.html")
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		// That folder goes with the test.
		file, err := os.CreateTemp("", "lockd-history-*.html")
		if err != nil {
			return err.Error()
		}
		path = file.Name()
		file.Close()
	}
	if err := porcupine.VisualizePath(m, info, path); err != nil {
		return fmt.Sprintf("%s: %v", path, err)
	}
	return path
}

func (h *historyRun) close() { h.unmap() }

// Broken variants make histories that no lock makes, and a picture of one.
func TestHistoriesCatch(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the tests once more")
	}
	binary := filepath.Join(t.TempDir(), "variants.test")
	build := exec.Command("go", "test", "-c", "-tags", "lockd_variants", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("needs the go command and the sources: %v\n%s", err, out)
	}
	for _, c := range [][2]string{{"judge-rashly", "mutex"}, {"judge-rashly", "semaphore"}, {"judge-rashly", "ranges"}, {"pass-gate", "rwmutex"}, {"overtake-queue", "queue"}} {
		variant, kind := c[0], c[1]
		t.Run(variant+" "+kind, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(binary, "-test.run", "^TestHistories$/^"+kind+"$")
			cmd.Env = append(os.Environ(), "LOCKD_VARIANT="+variant, "TMPDIR="+dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || !strings.Contains(out.String(), "no order of these operations") {
				t.Fatalf("it gets through: %v\n%s", err, out.String())
			}
			if pictures, _ := filepath.Glob(filepath.Join(dir, "lockd-history-*.html")); len(pictures) != 1 {
				t.Errorf("pictures: %v", pictures)
			}
			t.Logf("as it should:\n%s", strings.TrimSpace(out.String()))
		})
	}
}
