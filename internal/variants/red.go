package variants

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Build builds the tests of the package in a folder, with the variants in them,
// and the points at which a test can hold a window open.
func Build(ctx context.Context, folder, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-tags", "lockd_variants,lockd_crash", "-o", binary, ".")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests in %s with the variants: %w\n%s", folder, err, out)
	}
	return nil
}

// Run runs a test of such a binary in its package's folder, with a variant
// switched on, or "" for none. err is nil if the test ran and passed.
func Run(ctx context.Context, folder, binary, variant, test string, flags ...string) (output string, err error) {
	args := append(flags, "-test.run="+anchored(test), "-test.timeout=3m", "-test.count=1", "-test.v")
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "LOCKD_VARIANT="+variant)
	out, err := cmd.CombinedOutput()
	if err == nil && !strings.Contains(string(out), "--- PASS: "+test) {
		err = errors.New("it did not run")
	}
	return string(out), err
}

// anchored is a test's name as -test.run takes it, for that test alone.
func anchored(test string) string {
	return "^" + strings.ReplaceAll(test, "/", "$/^") + "$"
}

// ErrOther is a test that ended in another way than a test that fails.
var ErrOther = errors.New("it does not fail as a test does")

// Red says what the first complaint was of a test that went red, and nothing of
// one that passed.
func Red(test, output string, err error) (complaint string, red bool, other error) {
	if err == nil {
		return "", false, nil
	}
	var exit *exec.ExitError
	name, _, _ := strings.Cut(test, "/")
	failed := strings.Contains(output, "--- FAIL: "+name)
	if !errors.As(err, &exit) || !failed || strings.Contains(output, "panic: test timed out") {
		return "", false, fmt.Errorf("%w: %w\n%s", ErrOther, err, output)
	}
	return firstComplaint(output), true, nil
}

var (
	sectionLine   = regexp.MustCompile(`^=== (?:RUN|NAME|CONT) +(\S+)$`)
	verdictLine   = regexp.MustCompile(`^\s*--- FAIL: (\S+) `)
	complaintLine = regexp.MustCompile(`^\s*[a-z_0-9]+\.go:\d+: (.*)$`)
	panicLine     = regexp.MustCompile(`^panic: (.*)$`)
)

// firstComplaint is the first line that the innermost failing test has logged.
func firstComplaint(output string) (said string) {
	current, innermost := "", ""
	first := make(map[string]string)
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if m := panicLine.FindStringSubmatch(line); m != nil {
			return m[1]
		}
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if m := verdictLine.FindStringSubmatch(line); m != nil {
			if name := m[1]; first[name] != "" && len(name) > len(innermost) {
				innermost = name
			}
		} else if m := complaintLine.FindStringSubmatch(line); m != nil && first[current] == "" {
			first[current] = m[1]
		}
	}
	return first[innermost]
}

// Binary is where the tests of a package are built, in a folder.
func Binary(dir, pkg string) string {
	return filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-")+".test")
}
