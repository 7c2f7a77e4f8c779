package arena

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The fast paths cost what a compare-and-swap costs only if the compiler
// inlines them, and they are at the edge of its budget.
func TestFastPathsAreInlined(t *testing.T) {
	if slowOnly {
		t.Skip("in this build every operation takes the slow path")
	}
	if _, err := os.Stat("mutex.go"); err != nil {
		t.Skip("the source is not here")
	}
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(gotool, "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, method := range []string{"Lock", "Unlock"} {
		if !strings.Contains(string(out), "can inline (*Mutex)."+method+"\n") {
			t.Errorf("(*Mutex).%s is not inlined", method)
		}
	}
}
