package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// command is the one that runs under the lock.
type command struct {
	*exec.Cmd
	heirs int           // read end of a pipe whose write end the command inherits
	ended chan struct{} // lets go of the thread that the command was forked from
}

// startCommand starts the command so that it is killed if this process is.
// What it inherits, it passes on to all that it starts.
func startCommand(args, environment []string, stdin io.Reader, stdout, stderr io.Writer, inherit *os.File) (*command, error) {
	c := &command{Cmd: exec.Command(args[0], args[1:]...), heirs: -1, ended: make(chan struct{})}
	if errors.Is(c.Err, exec.ErrDot) {
		c.Err = nil // PATH says so, and so a shell would find it
	}
	if inherit != nil {
		defer inherit.Close()
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("pipe: %w", err)
		}
		c.heirs = ends[0]
		life := os.NewFile(uintptr(ends[1]), "life")
		defer life.Close()
		files, err := afterInherited(inherit, life)
		defer closeAll(files)
		if err != nil {
			unix.Close(c.heirs)
			return nil, err
		}
		c.ExtraFiles = files
	}
	c.Stdin, c.Stdout, c.Stderr, c.Env = stdin, stdout, stderr, environment
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	// The kernel kills the command when the thread ends that forked it, so
	// that thread has to last.
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.Start()
		if errors.Is(err, syscall.ENOEXEC) { // a script without its first line: as execvp(3) does
			script := exec.Command("/bin/sh", append([]string{c.Path}, args[1:]...)...)
			script.Stdin, script.Stdout, script.Stderr, script.Env = stdin, stdout, stderr, environment
			script.SysProcAttr, script.ExtraFiles = c.SysProcAttr, c.ExtraFiles
			c.Cmd = script
			err = c.Start()
		}
		started <- err
		<-c.ended
	}()
	if err := <-started; err != nil {
		c.finish()
		return nil, err
	}
	return c, nil
}

func (c *command) finish() {
	close(c.ended)
	if c.heirs >= 0 {
		unix.Close(c.heirs)
	}
}

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
	for _, sig := range passedOn() {
		if !signal.Ignored(sig) {
			signal.Notify(s, sig)
		}
	}
	return s
}

func (s signals) stop() { signal.Stop(s) }

// passedOn leaves out what stops and continues: the terminal sends that to the
// command as well, and a stopped run keeps the lock.
func passedOn() []os.Signal {
	all := []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPWR,
	}
	const firstRealtime, lastRealtime = 34, 64 // the C library keeps 32 and 33
	for n := firstRealtime; n <= lastRealtime; n++ {
		all = append(all, syscall.Signal(n))
	}
	return all
}

// wait passes signals on until the command has ended, and returns its exit
// code, or 128 and the signal that ended it.
func (c *command) wait(s signals) int {
	waited := make(chan struct{})
	go func() {
		c.Wait()
		close(waited)
	}()
	for {
		select {
		case sig := <-s:
			if sig != syscall.SIGINT && sig != syscall.SIGQUIT || !fromTerminal() {
				c.Process.Signal(sig)
			}
		case <-waited:
			status := c.ProcessState.Sys().(syscall.WaitStatus)
			if status.Signaled() {
				return 128 + int(status.Signal())
			}
			return status.ExitStatus()
		}
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
