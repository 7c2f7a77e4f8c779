package fuzz

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
	"lockd/internal/feature"
	"lockd/internal/proc"
)

const nobody = 65534

func init() {
	// creator: path, umask, mode. It creates the arena and says its mode.
	roles["creator"] = func(args []string) {
		umask, _ := strconv.ParseUint(args[1], 8, 32)
		mode, _ := strconv.ParseUint(args[2], 8, 32)
		unix.Umask(int(umask))
		a, err := arena.Open(args[0], &arena.Options{Mode: fs.FileMode(mode), Logger: quiet})
		if err != nil {
			proc.Say("%v", err)
			return
		}
		defer a.Close()
		info, err := os.Stat(args[0])
		if err != nil {
			proc.Say("%v", err)
			return
		}
		proc.Say("%o", info.Mode())
	}
	// swapper: path, uid. It puts all sorts of things where an arena is to be.
	roles["swapper"] = func(args []string) {
		path := args[0]
		uid, _ := strconv.Atoi(args[1])
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(uid), syscall.Setuid(uid)); err != nil && uid != os.Getuid() {
			proc.Say("%v", err)
			return
		}
		own := path + ".own"
		os.WriteFile(own, nil, 0o666)
		proc.Say("swaps")
		for n := 0; ; n++ {
			swapUnfinished(path, n)
			os.Remove(path)
			switch n % 6 {
			case 0:
				os.Symlink(path+".precious", path)
			case 1:
				os.Link(path+".precious", path)
			case 2:
				os.Symlink("nowhere", path)
			case 3:
				unix.Mkfifo(path, 0o666)
			case 4:
				// Not written in place: that could cut off what the opener has mapped,
				// if he is the same user.
				os.WriteFile(path+".cut", []byte("lockd\x00A1"), 0o666)
				os.Rename(path+".cut", path)
			case 5:
				os.Link(own, path)
			}
		}
	}
}

// A file has exactly the mode that was asked for, whatever the umask is, and
// however it comes into being.
func TestFileMode(t *testing.T) {
	for _, off := range []string{"", "o_tmpfile"} {
		for _, c := range [][3]string{{"0", "0", "600"}, {"777", "0", "600"}, {"77", "660", "660"}, {"0", "640", "640"}} {
			p := proc.Start(t, "creator", []string{shmPath(t), c[0], c[1]}, proc.Env("LOCKD_FEATURES_OFF="+off))
			p.Expect(c[2])
		}
	}
}

// swapUnfinished puts a link, or a file of his own, in the place of a file that
// somebody is about to complete, where there is no O_TMPFILE.
func swapUnfinished(path string, n int) {
	unfinished, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new-*"))
	for _, name := range unfinished {
		os.Remove(name)
		if n%2 == 0 {
			os.Symlink(path+".precious", name)
		} else {
			os.WriteFile(name, []byte("lockd\x00A1"), 0o666)
		}
	}
}

// Somebody else puts links, pipes and files of his own where the arena is to
// be, all the time, and where it is being made. What is opened is never what a
// link leads to, nor anybody else's, and what the links lead to stays as it is.
func TestSwappedPath(t *testing.T) {
	t.Run("usual", swappedPath)
	t.Run("without O_TMPFILE", func(t *testing.T) {
		defer feature.TmpFile.SetOff(true)()
		swappedPath(t)
	})
}

func swappedPath(t *testing.T) {
	path := shmPath(t)
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil { // not sticky: he may remove, too
		t.Fatal(err)
	}
	precious := append([]byte(nil), image(t, 0)...)
	put(t, path+".precious", precious)
	uid := os.Getuid()
	if uid == 0 {
		uid = nobody
	}
	p := proc.Start(t, "swapper", []string{path, strconv.Itoa(uid)})
	p.Expect("swaps")
	duration := 2 * time.Second
	if testing.Short() {
		duration = 300 * time.Millisecond
	}
	opened, refused := 0, 0
	// On a busy machine one of the two may not get to run for long.
	for began := time.Now(); time.Since(began) < duration || (opened == 0 || refused == 0) && time.Since(began) < proc.Soon; {
		a, err := arena.Open(path, &arena.Options{Logger: quiet})
		switch {
		case err == nil:
			opened++
			if err := ownFile(path); err != nil {
				t.Fatal(err)
			}
			a.Close()
		case isOneOf(err, []error{
			arena.ErrUnsafeFile, arena.ErrNotArena, arena.ErrTruncated, arena.ErrBusy, arena.ErrPermission, arena.ErrNotExist,
		}):
			refused++
		default:
			t.Fatalf("an error of no known kind: %v", err)
		}
	}
	p.Kill()
	t.Logf("opened %d times, refused %d times", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("one of the two did not get through")
	}
	after, err := os.ReadFile(path + ".precious")
	if err != nil || string(after) != string(precious) {
		t.Errorf("what the links led to was changed: %v", err)
	}
}

// ownFile looks at what this process has open by a path.
func ownFile(path string) error {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, fd := range fds {
		target, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		if !strings.HasPrefix(target, filepath.Dir(path)) {
			continue
		}
		number, _ := strconv.Atoi(fd.Name())
		var st unix.Stat_t
		if err := unix.Fstat(number, &st); err != nil {
			return err
		}
		if st.Uid != uint32(os.Geteuid()) || st.Mode&unix.S_IFMT != unix.S_IFREG || !strings.HasPrefix(target, path) || strings.Contains(target, "precious") {
			return fmt.Errorf("it has %s open, of uid %d, mode %#o", target, st.Uid, st.Mode)
		}
	}
	return nil
}

// Who may write the file can keep others from attaching, by locking the gate;
// they are told so, soon.
func TestLockedGate(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as they are patient")
	}
	path := shmPath(t)
	put(t, path, image(t, 0))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 1 << 62, Len: 1024}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	open := make(chan error, 1)
	remove := make(chan error, 1)
	go func() {
		_, err := arena.Open(path, &arena.Options{Logger: quiet})
		open <- err
	}()
	go func() { remove <- arena.Remove(path) }()
	for range 2 {
		select {
		case err = <-open:
		case err = <-remove:
		case <-time.After(proc.Soon):
			t.Fatal("it hangs")
		}
		if !errors.Is(err, arena.ErrBusy) {
			t.Error(err)
		}
	}
}

// meddling are the system calls, and the functions that make them, by which a
// process does something to another.
var meddling = []string{
	"Kill", "Tgkill", "Signal", "SendSignal", "PidfdSendSignal", "PidfdGetfd", "ProcessVMReadv", "ProcessVMWritev",
	"PtraceAttach", "PtraceSeize", "SYS_KILL", "SYS_TGKILL", "SYS_PIDFD_SEND_SIGNAL", "SYS_PIDFD_GETFD",
	"SYS_PROCESS_MADVISE", "SYS_PROCESS_MRELEASE", "SYS_PROCESS_VM_READV", "SYS_PROCESS_VM_WRITEV", "SYS_PTRACE",
}

// askedOfTheDying is one of them in the one place where it may be: of a process
// that lives it takes nothing, of one that is being killed the memory, which
// goes anyway.
var askedOfTheDying = map[string]string{"SYS_PROCESS_MRELEASE": "exited.go"}

// What the arena's file says leads to no signal, whoever wrote it, and to no
// look into another process: nothing that is linked into a program which locks
// can do that. To kill with signal 0, which is none, is a variant's.
func TestSourcesSignalNobody(t *testing.T) {
	seen := 0
	for _, dir := range []string{"arena", "robust", "futex", "internal/words", "internal/feature"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			for _, found := range meddles(file) {
				if askedOfTheDying[found.Sel.Name] == filepath.Base(path) {
					continue
				}
				t.Errorf("%v: %s", set.Position(found.Pos()), found.Sel.Name)
			}
		}
	}
	if seen == 0 {
		t.Skip("needs the sources")
	}
}

func meddles(file *ast.File) (found []*ast.SelectorExpr) {
	none := make(map[ast.Expr]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if len(n.Args) > 0 {
				zero, ok := n.Args[len(n.Args)-1].(*ast.BasicLit)
				none[n.Fun] = ok && zero.Value == "0"
			}
		case *ast.SelectorExpr:
			if slices.Contains(meddling, n.Sel.Name) && !none[n] {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}
