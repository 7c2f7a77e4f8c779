package feature

import (
	"os"
	"os/exec"
	"testing"
)

func TestListed(t *testing.T) {
	for _, c := range []struct {
		list string
		want bool
	}{
		{"", false},
		{"pidfs", true},
		{"all", true},
		{"futex_waitv, pidfs", true},
		{"futex_waitv,unheard_of", false},
		{"pidfs2,pid", false},
		{",,", false},
		{"unheard_of,all", true},
	} {
		if got := listed(c.list, "pidfs"); got != c.want {
			t.Errorf("%q takes pidfs away: %v, want %v", c.list, got, c.want)
		}
	}
}

func TestSetOff(t *testing.T) {
	f := named("unheard_of")
	before := f.Off()
	restore := f.SetOff(!before)
	if f.Off() == before {
		t.Error("SetOff changed nothing")
	}
	restore()
	if f.Off() != before {
		t.Error("restore changed nothing")
	}
}

func TestEnvironment(t *testing.T) {
	const inside = "LOCKD_FEATURE_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		for _, f := range []*Feature{FutexWaitv, PidfdOpen, Pidfs, OFDLocks, TmpFile, Fallocate, RobustList, ProcessMrelease} {
			if want := f == Pidfs || f == TmpFile; f.Off() != want {
				t.Errorf("%s off: %v, want %v", f.name, f.Off(), want)
			}
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEnvironment$")
	cmd.Env = append(os.Environ(), inside+"=1", env+"=pidfs,o_tmpfile,unheard_of")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
