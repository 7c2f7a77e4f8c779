//go:build !lockd_variants

package proc

import "time"

// Soon is how long a test waits for something that must happen.
const Soon = 3 * time.Minute
