package robust

import (
	"testing"

	"lockd/internal/variants"
)

// The tests of this package go red in the ways of judging that are broken on
// purpose.
func TestVariants(t *testing.T) { variants.Check(t, "robust") }
