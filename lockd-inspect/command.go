package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// command is the one that runs under the lock.
type command struct {
	heirs int // read end of a pipe whose write end the command inherits
	child child

	mu    sync.Mutex
	ended bool
}

// child is a process that was started.
type child interface {
	// wait returns when it has ended, and keeps its pid from being given to
	// another process until reap is called.
	wait()
	signal(syscall.Signal)
	reap() syscall.WaitStatus
}

// startCommand starts the command so that it is killed if this process is.
// What it inherits, it passes on to all that it starts.
//
// The kernel kills the command when the thread ends that forked it: the caller
// stays on that thread until finish.
func startCommand(args, environment []string, streams [3]any, inherit *os.File) (*command, error) {
	c := &command{heirs: -1}
	e := exec.Command(args[0], args[1:]...)
	if errors.Is(e.Err, exec.ErrDot) {
		e.Err = nil // PATH says so, and so a shell would find it
	}
	if e.Err != nil {
		if inherit != nil {
			inherit.Close()
		}
		return nil, e.Err
	}
	var files []*os.File
	if inherit != nil {
		defer inherit.Close()
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("pipe: %w", err)
		}
		c.heirs = ends[0]
		life := os.NewFile(uintptr(ends[1]), "life")
		defer life.Close()
		var err error
		files, err = afterInherited(inherit, life)
		defer closeAll(files)
		if err != nil {
			unix.Close(c.heirs)
			return nil, err
		}
	}
	runtime.LockOSThread()
	var err error
	if c.child, err = fork(e.Path, args, environment, streams, files); errors.Is(err, syscall.ENOEXEC) {
		// A script without its first line: as execvp(3) does.
		c.child, err = fork("/bin/sh", append([]string{"/bin/sh", e.Path}, args[1:]...), environment, streams, files)
	}
	if err != nil {
		c.finish()
		return nil, err
	}
	return c, nil
}

func (c *command) finish() {
	runtime.UnlockOSThread()
	if c.heirs >= 0 {
		unix.Close(c.heirs)
	}
}

// fork starts a program with three streams and some files behind them.
func fork(path string, args, environment []string, streams [3]any, files []*os.File) (child, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var fds []uintptr
	for _, s := range streams {
		if f, ok := s.(*os.File); ok {
			fds = append(fds, f.Fd())
		}
	}
	if len(fds) < len(streams) { // somebody has to copy
		c := &exec.Cmd{Path: path, Args: args, Env: environment, ExtraFiles: files, SysProcAttr: attr}
		c.Stdin, _ = streams[0].(io.Reader)
		c.Stdout, _ = streams[1].(io.Writer)
		c.Stderr, _ = streams[2].(io.Writer)
		return copied{c}, c.Start()
	}
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: environment, Files: fds, Sys: attr})
	if err != nil {
		return nil, &fs.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	return bare(pid), nil
}

// bare is a process that is known by its pid. What package os does before it
// starts its first one costs as much as a quarter of a small command.
type bare int

func (pid bare) signal(sig syscall.Signal) { syscall.Kill(int(pid), sig) }

func (pid bare) wait() {
	for unix.Waitid(unix.P_PID, int(pid), nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

func (pid bare) reap() (status syscall.WaitStatus) {
	for {
		if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != syscall.EINTR {
			return status
		}
	}
}

// copied is a process whose output is copied by this one.
type copied struct{ *exec.Cmd }

func (c copied) signal(sig syscall.Signal) { c.Process.Signal(sig) }
func (c copied) wait()                     { c.Wait() }
func (c copied) reap() syscall.WaitStatus  { return c.ProcessState.Sys().(syscall.WaitStatus) }

// hasHeirs tells whether somebody still has what the command inherited.
func (c *command) hasHeirs() bool {
	if c.heirs < 0 {
		return false
	}
	poll := [1]unix.PollFd{{Fd: int32(c.heirs), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(poll[:], 0)
		if err == unix.EINTR {
			continue
		}
		return err != nil || poll[0].Revents&unix.POLLHUP == 0
	}
}

// afterInherited puts files at the first descriptors of the command that this
// process has not inherited itself: a lock that an outer run holds lasts as
// long as somebody has the descriptor that it passed on. The caller closes
// what is returned, also with an error.
func afterInherited(files ...*os.File) ([]*os.File, error) {
	var all []*os.File
	for fd := 3; len(files) > 0; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			all, files = append(all, files[0]), files[1:]
			continue
		}
		again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return all, fmt.Errorf("pass on descriptor %d: %w", fd, err)
		}
		all = append(all, os.NewFile(uintptr(again), "inherited"))
	}
	return all, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// signals are those that end a process, or tell it something, and that are
// not ignored: what is ignored stays so, here and in the command.
type signals chan os.Signal

func catchSignals() signals {
	s := make(signals, 64)
	s.catch(usual)
	return s
}

// catchRest also catches those that a Go program ignores unless it asks for
// them. Each signal that is caught costs two switches between threads: these
// are caught while something else is waited for, and not for the shortest of
// commands.
func (s signals) catchRest() {
	var rest []syscall.Signal
	const firstRealtime, lastRealtime = 34, 64 // the C library keeps 32 and 33
	for n := firstRealtime; n <= lastRealtime; n++ {
		rest = append(rest, syscall.Signal(n))
	}
	s.catch(rest)
}

func (s signals) catch(some []syscall.Signal) {
	for _, sig := range some {
		if !signal.Ignored(sig) {
			signal.Notify(s, sig)
		}
	}
}

func (s signals) stop() { signal.Stop(s) }

// usual leaves out what stops and continues: the terminal sends that to the
// command as well, and a stopped run keeps the lock.
var usual = []syscall.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPWR,
}

const catchAfter = 3 * time.Millisecond

// wait passes signals on until the command has ended, and returns its exit
// code, or 128 and the signal that ended it.
func (c *command) wait(s signals) int {
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-s:
				c.pass(sig.(syscall.Signal))
			case <-ended:
				return
			}
		}
	}()
	later := time.AfterFunc(catchAfter, s.catchRest)
	defer later.Stop()
	c.child.wait()
	c.mu.Lock()
	c.ended = true // its pid may be another's from now on
	c.mu.Unlock()
	close(ended)
	status := c.child.reap()
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (c *command) pass(sig syscall.Signal) {
	if (sig == syscall.SIGINT || sig == syscall.SIGQUIT) && fromTerminal() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.child.signal(sig)
	}
}

// fromTerminal tells whether SIGINT and SIGQUIT come from the keyboard, which
// sends them to the command as well: this process is in the foreground of its
// terminal. Otherwise somebody has sent them.
func fromTerminal() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}
