// Package feature names the kernel features that have a fallback, and lets
// the environment take them away so that the fallbacks are tested on kernels
// that have everything.
//
// LOCKD_FEATURES_OFF holds names separated by commas, or "all". It is read
// once, when the program starts. Names nobody knows are ignored, so that one
// setting serves several versions.
package feature

import (
	"os"
	"strings"
	"sync/atomic"
)

const env = "LOCKD_FEATURES_OFF"

var (
	FutexWaitv = named("futex_waitv") // Linux 5.16: sleep on several words
	PidfdOpen  = named("pidfd_open")  // Linux 5.3: a descriptor that tells when a process is gone
	Pidfs      = named("pidfs")       // Linux 6.9: a pidfd's inode that is never used twice
	OFDLocks   = named("ofd_locks")   // Linux 3.15: record locks owned by an open file description
	TmpFile    = named("o_tmpfile")   // Linux 3.11: a file without a name until it is complete
	Fallocate  = named("fallocate")   // space promised before it is written

	RobustList      = named("robust_list")      // Linux 2.6.17: a word that the kernel marks when a thread ends
	ProcessMrelease = named("process_mrelease") // Linux 5.15: tells that no thread of a process has memory
)

// Names are the names of all features.
func Names() (all []string) {
	for _, f := range features {
		all = append(all, f.name)
	}
	return all
}

var features []*Feature

// Feature is something the kernel may lack.
type Feature struct {
	name string
	off  atomic.Bool
}

// String is the name by which LOCKD_FEATURES_OFF knows f.
func (f *Feature) String() string {
	if f == nil {
		return ""
	}
	return f.name
}

// Off reports whether f must be treated as missing. That it is not off says
// nothing about the kernel: whoever uses f still has to find out.
func (f *Feature) Off() bool { return f.off.Load() }

// SetOff takes f away, or gives it back, for the whole process until restore
// is called. It is for tests, which must not do so in parallel for one f.
func (f *Feature) SetOff(off bool) (restore func()) {
	before := f.off.Swap(off)
	return func() { f.off.Store(before) }
}

func named(name string) *Feature {
	f := &Feature{name: name}
	f.off.Store(listed(os.Getenv(env), name))
	features = append(features, f)
	return f
}

func listed(list, name string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == name || item == "all" {
			return true
		}
	}
	return false
}
