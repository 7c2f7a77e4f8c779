package variants

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Check builds the tests of the package in the working folder with the
// variants, and fails unless each of the package's catches goes red, but
// passes, in short, in the sound protocol. Long ones are left to make variants.
func Check(t *testing.T, pkg string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the tests once more")
	}
	NeedBuilds(t)
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	binary := Binary(t.TempDir(), pkg)
	if err := Build(t.Context(), folder, binary); err != nil {
		t.Fatal(err)
	}
	t.Run("each", func(t *testing.T) {
		passed := newOnce()
		for _, c := range Of(pkg) {
			if c.Long {
				continue
			}
			t.Run(c.Variant+" "+c.Test, func(t *testing.T) {
				t.Parallel() // it does nothing but start processes
				if err := passed.do(c.Test, func() error {
					output, err := Run(t.Context(), folder, binary, "", c.Test, "-test.short")
					if err != nil {
						t.Log(output)
					}
					return err
				}); err != nil {
					t.Fatalf("%s fails without a variant: %v", c.Test, err)
				}
				complaint, red, err := runs(t.Context(), folder, binary, c)
				switch {
				case err != nil:
					t.Error(err)
				case !red:
					t.Errorf("%s passes in the variant %q", c.Test, c.Variant)
				default:
					t.Logf("as it should: %s", complaint)
				}
			})
		}
	})
}

func runs(ctx context.Context, folder, binary string, c Catch) (string, bool, error) {
	output, err := Run(ctx, folder, binary, c.Variant, c.Test)
	return Red(c.Test, output, err)
}

// NeedBuilds skips the test where the go command cannot build.
func NeedBuilds(t *testing.T) {
	t.Helper()
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Skip("needs the go command: ", err)
	}
	dir := strings.TrimSpace(string(cache))
	if err := os.MkdirAll(dir, 0o777); err != nil || unix.Access(dir, unix.W_OK) != nil {
		t.Skipf("needs a build cache, cannot write to %q", dir)
	}
	if sources, _ := filepath.Glob("*_test.go"); sources == nil {
		t.Skip("needs the package's sources")
	}
}
