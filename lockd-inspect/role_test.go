package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

// The test binary is also the command itself, and the programs that tests run
// under locks: the first argument says which.
const (
	asTool    = "as-lockd-inspect"
	asHolder  = "as-holder"  // PATH LABEL LOCK…: holds the locks (r:, u:, x: rwmutexes; range:MODE:START:LENGTH:) until its standard input ends
	asChurner = "as-churner" // PATH LABEL: takes locks of all kinds until its standard input ends
	asUntil   = "as-until"   // FIFO [MIB]: ends when the fifo does
	asCheck   = "as-check"   // PID: says whether that process is gone
	asSignals = "as-signals" // says which signals it gets, until SIGTERM
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		args := os.Args[2:]
		switch os.Args[1] {
		case "run", "demo": // started by demo, which knows of no test
			os.Exit(begin(os.Args[1:]))
		case asTool:
			os.Exit(begin(args))
		case asHolder:
			holder(args[0], args[1], args[2:])
			os.Exit(0)
		case asChurner:
			churner(args[0], args[1])
			os.Exit(0)
		case asUntil:
			until(args)
			os.Exit(0)
		case asCheck:
			check(args[0])
			os.Exit(0)
		case asStranger:
			os.Exit(stranger(args))
		case asLimited:
			os.Exit(limited(args))
		case asSignals:
			tellSignals()
			os.Exit(0)
		}
	}
	// A shell starts what runs in its background with some signals ignored,
	// and what is ignored stays so in all that we start. What is caught does not.
	for _, sig := range usual {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(m.Run())
}

func holder(path, label string, locks []string) {
	a, err := arena.Open(path, &arena.Options{Label: label})
	if err != nil {
		panic(err)
	}
	rw := map[string]func(*arena.RWMutex, context.Context) error{
		"r": (*arena.RWMutex).RLockContext, "u": (*arena.RWMutex).ULockContext, "x": (*arena.RWMutex).LockContext,
	}
	for _, name := range locks {
		if mode, name, _ := strings.Cut(name, ":"); rw[mode] != nil {
			if err := rw[mode](a.RWMutex(name), context.Background()); err != nil {
				panic(err)
			}
			continue
		}
		if rest, ok := strings.CutPrefix(name, "range:"); ok {
			lockRange(a, rest)
			continue
		}
		name, passing := strings.CutPrefix(name, "pass:")
		if err := a.Mutex(name).LockContext(context.Background()); err != nil {
			panic(err)
		}
		if passing {
			a.Mutex(name).Unlock()
		}
	}
	fmt.Println("ready")
	// Each line is one more mutex or range to wait for, or a mutex to release.
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "release:"); ok {
			fmt.Println(a.Mutex(name).Release())
			continue
		}
		if rest, ok := strings.CutPrefix(lines.Text(), "range:"); ok {
			go lockRange(a, rest)
			continue
		}
		go a.Mutex(lines.Text()).LockContext(context.Background())
	}
	a.Close()
}

func lockRange(a *arena.Arena, text string) {
	parts := strings.SplitN(text, ":", 4)
	start, _ := strconv.ParseInt(parts[1], 10, 64)
	length, _ := strconv.ParseInt(parts[2], 10, 64)
	mode := arena.Exclusive
	if parts[0] == "s" {
		mode = arena.Shared
	}
	if err := a.Ranges(parts[3]).Lock(context.Background(), mode, start, length); err != nil && !errors.Is(err, arena.ErrClosed) {
		panic(err)
	}
}

func churner(path, label string) {
	a, err := arena.Open(path, &arena.Options{Label: label})
	if err != nil {
		panic(err)
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	ctx := context.Background()
	nothing := func(context.Context) error { return nil }
	for i := 0; ; i++ {
		select {
		case <-ended:
			a.Close()
			return
		default:
		}
		a.Mutex(fmt.Sprint("l", i%50)).Do(ctx, nothing)
		a.RWMutex(fmt.Sprint("r", i%20)).RDo(ctx, nothing)
		a.RWMutex(fmt.Sprint("r", i%7)).Do(ctx, nothing)
		if t, err := a.Semaphore("s", 4).Acquire(ctx, 1+i%4); err == nil {
			t.Release()
		}
		a.Ranges("t").Do(ctx, arena.Mode(1+i%2), int64(i%9), 3, nothing)
		if i == 0 {
			fmt.Println("ready")
		}
	}
}

func until(args []string) {
	if len(args) > 1 { // memory makes dying slow
		mib, _ := strconv.Atoi(args[1])
		memory := make([]byte, mib<<20)
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
		defer bytes.Clone(memory[:1])
	}
	f, err := os.Open(args[0])
	if err != nil {
		panic(err)
	}
	fmt.Println("pid", os.Getpid())
	io.Copy(io.Discard, f)
}

func check(number string) {
	pid, _ := strconv.Atoi(number)
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		unix.Poll(poll, 0)
		if poll[0].Revents == 0 {
			fmt.Println("alive")
			return
		}
	}
	fmt.Println("gone")
}

func tellSignals() {
	caught := make(chan os.Signal, 16)
	signals(caught).catch(usual)
	signals(caught).catchRest()
	fmt.Println("ready")
	for sig := range caught {
		fmt.Println(sig)
		if sig == syscall.SIGTERM {
			os.Exit(33)
		}
	}
}
