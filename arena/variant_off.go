//go:build !lockd_variants

package arena

// Deliberately broken variants of the protocols, for tests that must catch
// them. In a normal build they are not there.
const (
	variantClearW         = false // W cleared at unlock
	variantClaimAhead     = false // the clock's hand takes slots that were never handed out
	variantNoTicks        = false // sleeps without a bound
	variantDozeOn         = false // who dozes is woken like others, and has no more ticks
	variantKeepWake       = false // a cancelled waiter keeps the wake it consumed
	variantRobbedRebinds  = false // a robbed process takes the lock before it has noticed
	variantTrustBinding   = false // reclaiming does not check whose slot it is
	variantTryNeverJudges = false // a failed try does not judge the owner
	variantLookOnce       = false // who has taken a ticket does not look again whether he might
	variantFreeBlindly    = false // who has judged a ticket's holder gone frees it whoever holds it by then
	variantJudgeRashly    = false // whoever is not proven gone is taken for gone
	variantTakeAnyWord    = false // a reclaim swaps whatever the word is by then
	variantPassGate       = false // readers do not look at the gate
	variantNoSecondLook   = false // a detector believes what it saw once
	variantProcessCycles  = false // a detector tells processes apart, but not their sessions
	variantNoVerdictOrder = false // detectors do not look whether another has decided

	variantQueueConversions = false // a conversion of a range queues behind who waits for it
	variantOvertakeRanges   = false // a request for a range does not look at who waits for it
	variantReaderLooks      = false // a reader looks at the gate before it adds itself, not after
	variantEvictReaders     = false // eviction does not look whether anybody reads

	variantWokenBit          = false // a bit that says "one is woken" silences later wakes, until that one comes
	variantInsertUnlooked    = false // who inserts a name does not look again under the latch: two slots for one name
	variantWatchPastOwner    = false // who waits watches the owner it met first, and no later one
	variantExchangeUnlock    = false // unlock is an exchange, whatever the word is by then
	variantReuseGeneration   = false // a slot's next name has the generation of the last one
	variantLinkFirst         = false // a new file has its name before it is complete
	variantHoles             = false // a new file's space is not allocated
	variantSharedReaderCount = false // a reader's count is nobody's: it does not go with the dead
	variantReclaimUntold     = false // who takes over from the dead is not told
	variantFenceAnew         = false // a name that comes back into the table begins its fences anew
	variantFreeFirst         = false // the dead's entries are freed before what they held is given back
	variantOvertakeQueue     = false // a newcomer takes tickets though others wait for some
	variantTrustIndex        = false // an index in the file is believed
	variantRobbedPasses      = false // a robbed holder may release what his process has only taken to pass it on

	variantFastUncounted  = false // of a lock that is counted the fast path is not
	variantSinceOfAnybody = false // since when a lock is held is believed, whoever wrote it
	variantRobbedCounts   = false // a robbed holder who lets go counts as if he still held the lock
	variantKeepTally      = false // a name that leaves the table leaves its counts there
	variantTrustTally     = false // whatever counts a slot leads to are taken for its own
	variantRobAnyone      = false // who looked, and decided whom to rob, robs whoever holds it by then
	variantIgnoreFullExit = false // who asked to be gone only after its full exit is gone before
)
