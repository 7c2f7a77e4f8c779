package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// crew is the fifty processes.
type crew struct {
	members []*member
	events  chan event
	quit    chan struct{}
	readers sync.WaitGroup
}

type member struct {
	number  int
	cmd     *exec.Cmd
	in      io.WriteCloser
	errors  strings.Builder // standard error; read after it is gone
	waiting bool            // for the lock, as far as it has said
	gone    bool
	killed  bool
}

// event is a report of one member, or that it is gone.
type event struct {
	from *member
	report
	gone bool
	err  error
}

// startCrew starts a process in dir for each of halts, which are the numbers of
// the changes they stay half-way in.
func startCrew(dir, table, arena string, halts []int) (*crew, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crew{events: make(chan event, len(halts)), quit: make(chan struct{})}
	for number, halt := range halts {
		m := &member{number: number}
		m.cmd = &exec.Cmd{
			Path: self,
			// What the inspector shows as the owner's command.
			Args: []string{"demo", workerCommand, table, arena, strconv.Itoa(number), strconv.Itoa(halt)},
			Dir:  dir,
		}
		if err := c.start(m); err != nil {
			c.end()
			return nil, fmt.Errorf("cannot start process %d of %d: %w", number+1, len(halts), err)
		}
	}
	return c, nil
}

func (c *crew) start(m *member) error {
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.in = in
	m.cmd.Stderr = &m.errors
	if err := m.cmd.Start(); err != nil {
		return err
	}
	c.members = append(c.members, m)
	c.readers.Go(func() { c.read(m, out) })
	return nil
}

// read passes m's reports on until m is gone and waited for.
func (c *crew) read(m *member, out io.Reader) {
	lines := bufio.NewScanner(out)
	var failed error
	for lines.Scan() {
		r, err := parseReport(lines.Bytes())
		if err != nil || r.Say == sayFailed {
			failed = errors.Join(failed, err, failure(r))
			continue
		}
		c.tell(event{from: m, report: r})
	}
	err := m.cmd.Wait()
	if failed != nil {
		err = failed
	}
	c.tell(event{from: m, gone: true, err: err})
}

func failure(r report) error {
	if r.Text == "" {
		return nil
	}
	return errors.New(r.Text)
}

func (c *crew) tell(e event) {
	select {
	case c.events <- e:
	case <-c.quit:
	}
}

// next waits for an event and keeps the book of who waits and who is gone. It
// fails when ctx is done, and when a member that was not killed has failed.
func (c *crew) next(ctx context.Context) (event, error) {
	if err := ctx.Err(); err != nil {
		return event{}, context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return event{}, context.Cause(ctx)
	case e := <-c.events:
		switch {
		case e.gone:
			e.from.gone, e.from.waiting = true, false
			if e.err != nil && !e.from.killed {
				return e, fmt.Errorf("%s (pid %d): %w%s", label(e.from.number), e.from.pid(), e.err, said(&e.from.errors))
			}
		default:
			e.from.waiting = e.Say == sayAsk
		}
		return e, nil
	}
}

func said(errors *strings.Builder) string {
	const most = 2000
	s := strings.TrimSpace(errors.String())
	if s == "" {
		return ""
	}
	return "\n" + s[:min(len(s), most)]
}

// allWait reports whether everybody but m waits for the lock or is gone.
func (c *crew) allWait(m *member) bool {
	for _, other := range c.members {
		if other != m && !other.waiting && !other.gone {
			return false
		}
	}
	return true
}

func (c *crew) waiting() int {
	n := 0
	for _, m := range c.members {
		if m.waiting {
			n++
		}
	}
	return n
}

func (c *crew) allGone() bool {
	for _, m := range c.members {
		if !m.gone {
			return false
		}
	}
	return true
}

// begin lets everybody start to work; finish asks them to end after the
// operation they are in.
func (c *crew) begin() error {
	for _, m := range c.members {
		if _, err := m.in.Write([]byte{'\n'}); err != nil {
			return fmt.Errorf("%s: %w", label(m.number), err)
		}
	}
	return nil
}

func (c *crew) finish() {
	for _, m := range c.members {
		_ = m.in.Close()
	}
}

// end kills who is left, and returns when all are gone.
func (c *crew) end() {
	close(c.quit)
	for _, m := range c.members {
		_ = m.in.Close()
		_ = m.cmd.Process.Kill()
	}
	c.readers.Wait()
}

// kill sends SIGKILL.
func (m *member) kill() error {
	m.killed = true
	return m.cmd.Process.Kill()
}

func (m *member) pid() int { return m.cmd.Process.Pid }
