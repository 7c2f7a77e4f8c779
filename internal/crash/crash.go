// Package crash marks the points of a protocol at which a process may be
// killed. They cost nothing unless the program is built with the tag
// lockd_crash; then LOCKD_CRASH names the one at which it dies, and a test can
// have something happen there.
package crash
