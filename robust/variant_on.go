//go:build lockd_variants

package robust

import "os"

var (
	variantBelieveSentinel = variant("believe-sentinel")
	variantBelieveProc     = variant("believe-proc")
)

func variant(name string) bool { return os.Getenv("LOCKD_VARIANT") == name }
