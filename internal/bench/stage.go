package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

//go:embed peers/*.c peers/*.h
var peerSources embed.FS

// skipped is why a contender is not on this machine.
type skipped struct{ why string }

func (s skipped) Error() string { return s.why }

// env is what all cases of a run share.
type env struct {
	ctx  context.Context
	self string // this program
	dir  string // in the arenas' directory; removed at the end
	plan plan

	buildPeers, buildInspect sync.Once
	peerPath, inspectPath    string
	peerErr, inspectErr      error
	stages                   int
}

func newEnv(ctx context.Context, p plan) (*env, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(arena.Dir, fmt.Sprintf("lockd-bench-%d-", os.Getpid()))
	if err != nil {
		return nil, err
	}
	return &env{ctx: ctx, self: self, dir: dir, plan: p}, nil
}

func (e *env) close() error { return os.RemoveAll(e.dir) }

// peers builds the peers in C, once.
func (e *env) peers() (string, error) {
	e.buildPeers.Do(func() { e.peerPath, e.peerErr = e.compile() })
	return e.peerPath, e.peerErr
}

func (e *env) compile() (string, error) {
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	if _, err := exec.LookPath(compiler); err != nil {
		return "", skipped{"no C compiler: " + err.Error()}
	}
	dir := filepath.Join(e.dir, "peers")
	if err := os.CopyFS(e.dir, peerSources); err != nil {
		return "", err
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.c"))
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "peer")
	out, err := exec.CommandContext(e.ctx, compiler, append([]string{"-O2", "-pthread", "-o", path}, sources...)...).CombinedOutput()
	if err != nil {
		return "", skipped{fmt.Sprintf("%s cannot build the peers: %v: %s", compiler, err, bytes.TrimSpace(out))}
	}
	return path, nil
}

// inspect builds the command, once.
func (e *env) inspect() (string, error) {
	e.buildInspect.Do(func() {
		path := filepath.Join(e.dir, "lockd-inspect")
		build := exec.CommandContext(e.ctx, "go", "build", "-o", path, "lockd/lockd-inspect")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
		out, err := build.CombinedOutput()
		if err != nil {
			e.inspectErr = skipped{fmt.Sprintf("go build: %v: %s", err, bytes.TrimSpace(out))}
		}
		e.inspectPath = path
	})
	return e.inspectPath, e.inspectErr
}

// stage is where one contender of one case works: its files and processes,
// which end with it.
type stage struct {
	env      *env
	self     string // the program that its workers are
	dir      string
	children []*child
	atEnd    []func()
	mapped   *page
	set      uintptr
}

func (e *env) stage() (*stage, error) {
	e.stages++
	s := &stage{env: e, self: e.self, dir: filepath.Join(e.dir, fmt.Sprint(e.stages))}
	return s, os.Mkdir(s.dir, 0o700)
}

func (s *stage) close() {
	for _, c := range s.children {
		c.cmd.Process.Kill()
	}
	for _, c := range s.children {
		c.end()
	}
	for i := len(s.atEnd) - 1; i >= 0; i-- {
		s.atEnd[i]()
	}
	os.RemoveAll(s.dir)
}

// drop ends one child before the stage does.
func (s *stage) drop(c *child) {
	for i := range s.children {
		if s.children[i] == c {
			s.children = append(s.children[:i], s.children[i+1:]...)
			break
		}
	}
	c.end()
}

func (s *stage) pagePath() string  { return filepath.Join(s.dir, "page") }
func (s *stage) arenaPath() string { return filepath.Join(s.dir, "arena") }

// page maps the stage's page, which this makes.
func (s *stage) page() (*page, error) {
	if s.mapped != nil {
		return s.mapped, nil
	}
	p, unmap, err := mapPage(s.pagePath())
	if err != nil {
		return nil, err
	}
	s.mapped = p
	s.atEnd = append(s.atEnd, unmap)
	return p, nil
}

// arena opens the stage's arena in this process.
func (s *stage) arena() (*arena.Arena, error) {
	a, err := arena.Open(s.arenaPath(), nil)
	if err != nil {
		return nil, err
	}
	s.atEnd = append(s.atEnd, func() { a.Close() })
	return a, nil
}

// sysv makes a System V semaphore set of one, which this process removes.
func (s *stage) sysv(wanted bool) (uintptr, error) {
	if !wanted || s.set != 0 {
		return s.set, nil
	}
	const ipcPrivate, ipcRmid = 0, 0
	id, _, errno := unix.Syscall(unix.SYS_SEMGET, ipcPrivate, 1, 0o600)
	if errno != 0 {
		return 0, skipped{"no System V semaphores: " + errno.Error()}
	}
	s.set = id
	s.atEnd = append(s.atEnd, func() { unix.Syscall6(unix.SYS_SEMCTL, id, 0, ipcRmid, 0, 0, 0) })
	return id, nil
}

// pause waits for so long, or until the run is broken off.
func (e *env) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-e.ctx.Done():
		return context.Cause(e.ctx)
	}
}

func isSkipped(err error) (why string, is bool) {
	var s skipped
	is = errors.As(err, &s)
	return s.why, is
}
