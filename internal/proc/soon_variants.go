//go:build lockd_variants

package proc

import "time"

// Soon is shorter where protocols are broken on purpose: there it is often
// waited for in vain.
const Soon = time.Minute
