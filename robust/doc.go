// Package robust is what locks between processes need to outlive their owners:
// the owner [Word], 64 bits that say who holds a lock; the [Identity] of a
// process, which no later one with its pid has; the judgement whether it is
// gone, still alive or not to be told; and word of when it goes.
//
// Words are read and changed atomically, which orders memory as sync/atomic
// does. doc/DESIGN.md in the repository tells how it works.
package robust
