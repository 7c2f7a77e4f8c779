package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// reply is what a worker answers, in Go and in C; most of its fields are for
// some requests only.
type reply struct {
	Say     string      `json:"say,omitempty"`
	NS      float64     `json:"ns,omitempty"`      // per operation, the median of batches
	Ops     uint64      `json:"ops,omitempty"`     // operations done
	Elapsed int64       `json:"elapsed,omitempty"` // in so many ns
	CPU     int64       `json:"cpu,omitempty"`     // ns of processor time in that, user and system
	Allocs  *float64    `json:"allocs,omitempty"`  // per operation
	Counts  []uint64    `json:"counts,omitempty"`  // of each goroutine
	Waits   [][2]uint64 `json:"waits,omitempty"`   // a histogram
	Largest uint64      `json:"largest,omitempty"`
	At      int64       `json:"at,omitempty"` // CLOCK_MONOTONIC, ns
	Dead    int         `json:"dead,omitempty"`
	Amount  float64     `json:"amount,omitempty"`
	Layout  []uintptr   `json:"layout,omitempty"`
	Error   string      `json:"error,omitempty"`
}

// child is a process of a contender: this program again in a role, or a peer
// in C. Both are asked in lines and answer in lines of JSON.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan reply
	ended   chan struct{}
	errors  strings.Builder
	name    string
}

const roleVariable = "LOCKD_BENCH_ROLE"

// patience bounds the wait for any single answer, beside what was asked for.
const patience = 5 * time.Minute

var errSilent = errors.New("did not answer in time")

// spawner starts processes from one thread that lives as long as the program:
// the signal that a child gets at its parent's death comes at the death of the
// thread that started it.
var spawner = func() chan func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range starts {
			f()
		}
	}()
	return starts
}()

func (s *stage) child(name string, cmd *exec.Cmd) (*child, error) {
	c := &child{name: name, cmd: cmd, replies: make(chan reply, 16), ended: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = &c.errors
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	spawner <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r reply
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				r.Error = fmt.Sprintf("answered %q", lines.Text())
			}
			c.replies <- r
		}
		close(c.replies)
		cmd.Wait()
		close(c.ended)
	}()
	s.children = append(s.children, c)
	return c, nil
}

// worker starts this program in a role.
func (s *stage) worker(role string, args ...string) (*child, error) {
	cmd := exec.Command(s.self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return s.child(role, cmd)
}

// peer starts a peer in C, which uses the stage's page.
func (s *stage) peer(lock string) (*child, error) {
	path, err := s.env.peers()
	if err != nil {
		return nil, err
	}
	set, err := s.sysv(strings.HasPrefix(lock, "sysv"))
	if err != nil {
		return nil, err
	}
	return s.child("C "+lock, exec.Command(path, lock, s.pagePath(), fmt.Sprint(set)))
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) send(format string, args ...any) {
	fmt.Fprintf(c.in, format+"\n", args...)
}

func (c *child) hear(ctx context.Context) (reply, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r, ok := <-c.replies:
		if !ok {
			<-c.ended
			return r, fmt.Errorf("%s ended: %v %s", c.name, c.cmd.ProcessState, strings.TrimSpace(c.errors.String()))
		}
		if r.Error != "" {
			return r, fmt.Errorf("%s: %s", c.name, r.Error)
		}
		return r, nil
	case <-late.C:
		return reply{}, fmt.Errorf("%s: %w", c.name, errSilent)
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	}
}

// ask sends a request and waits for its answer.
func (c *child) ask(ctx context.Context, format string, args ...any) (reply, error) {
	c.send(format, args...)
	return c.hear(ctx)
}

// end kills the child and reaps it.
func (c *child) end() {
	c.cmd.Process.Kill()
	for range c.replies {
	}
	<-c.ended
	c.in.Close()
}
