// Package arena gives the programs of one Linux host locks that they share by
// name, in a memory-mapped file, and that outlive whoever dies holding them:
// the next owner is told.
//
// [Open] opens an arena, or makes it. Handles come from its methods, one kind
// each: [Arena.Mutex], [Arena.RWMutex], [Arena.Semaphore], [Arena.Ranges], and
// [Arena.Session] for one actor that holds many locks, among which deadlocks
// are found. A name becomes a lock, of one kind, at its first use.
//
// As with sync, a release happens before the acquisition that it lets in
// returns, in whichever process; and all that a dead owner did, before its heir
// has the lock. Each kind says more.
//
// An error means that the lock is not held. That the last owner died is no
// error but asked for, as by [Mutex.Abandoned].
//
// doc/DESIGN.md in the repository tells how it works and why it may be trusted.
package arena
