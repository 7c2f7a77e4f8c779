//go:build !lockd_variants

package robust

// Deliberately broken variants, as in package arena.
const (
	variantBelieveSentinel = false // whose sentinel has fallen is taken for gone
	variantBelieveProc     = false // whose threads procfs shows without memory is taken for gone
)
