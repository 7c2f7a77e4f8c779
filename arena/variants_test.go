package arena

import (
	"testing"

	"lockd/internal/variants"
)

// The tests of this package go red in the protocols that are broken on purpose.
func TestVariants(t *testing.T) { variants.Check(t, "arena") }

// runInner runs a test of another binary with this package's tests.
func runInner(t *testing.T, binary, variant, test string, flags ...string) (output string, err error) {
	return variants.Run(t.Context(), ".", binary, variant, test, flags...)
}
