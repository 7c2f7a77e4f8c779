// Package explore tries every interleaving of the arena's protocols: every
// order of the atomic steps of a few actors, with a death at any step,
// spurious wake-ups, and wakes that the dead have eaten. The transitions of
// all words are those of the code (packages robust and internal/words), and
// the actors' programs mirror its functions, under the same names, one access
// to shared memory a step.
//
// Two things are asked. Of each state: is it one that must never be? And of
// all together: does from each of them a way lead on to where nobody waits,
// by steps that are sure to come, that is, without a lucky wake-up and without
// another death? Where it does not, somebody sleeps for ever.
package explore
