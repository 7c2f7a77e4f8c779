package arena

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// mustFail fails the test unless the inner test, which passes, fails in the
// broken variant. It does nothing but start processes, so the tests that call
// it may be parallel to each other.
func mustFail(t *testing.T, variant, innerTest string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the tests once more")
	}
	binary := variants.binary(t)
	if output, err := runInner(t, binary, "", innerTest, "-test.short"); err != nil {
		t.Fatalf("%s fails without a variant: %v\n%s", innerTest, err, output)
	}
	output, err := runInner(t, binary, variant, innerTest)
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("%s passes in the variant %q:\n%s", innerTest, variant, output)
	case !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(output, "--- FAIL: "+innerTest):
		t.Errorf("%s does not fail as a test does in the variant %q: %v\n%s", innerTest, variant, err, output)
	default:
		t.Logf("as it should in the variant %q:\n%s", variant, strings.TrimSpace(output))
	}
}

func runInner(t *testing.T, binary, variant, test string, flags ...string) (output string, err error) {
	flags = append(flags, "-test.run=^"+test+"$", "-test.timeout=2m", "-test.count=1", "-test.v")
	cmd := exec.CommandContext(t.Context(), binary, flags...)
	cmd.Env = append(os.Environ(), "LOCKD_VARIANT="+variant)
	out, err := cmd.CombinedOutput()
	if err == nil && !strings.Contains(string(out), "--- PASS: "+test) {
		err = errors.New("it did not run")
	}
	return string(out), err
}

// variants is the test binary with the broken variants in it, as long as any
// test uses it.
var variants variantsBuild

type variantsBuild struct {
	mu    sync.Mutex
	users int
	dir   string
}

func (v *variantsBuild) binary(t *testing.T) string {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.users == 0 {
		v.build(t)
	}
	v.users++
	t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.users--; v.users == 0 {
			os.RemoveAll(v.dir)
		}
	})
	return filepath.Join(v.dir, "variants.test")
}

func (v *variantsBuild) build(t *testing.T) {
	t.Helper()
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Skip("needs the go command: ", err)
	}
	dir := strings.TrimSpace(string(cache))
	if err := os.MkdirAll(dir, 0o777); err != nil || unix.Access(dir, unix.W_OK) != nil {
		t.Skipf("needs a build cache, cannot write to %q", dir)
	}
	if _, err := os.Stat("variant_on.go"); err != nil {
		t.Skip("needs the package's source: ", err)
	}
	dir, err = os.MkdirTemp("", "lockd-variants-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "lockd_variants", "-o", filepath.Join(dir, "variants.test"), ".")
	if output, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		t.Fatalf("build with the variants: %v\n%s", err, output)
	}
	v.dir = dir
}
