// Package variants knows the protocols that are broken on purpose, and the
// tests that must catch them. A variant is a constant in a package's
// variant_off.go, which says what is broken; with the build tag lockd_variants
// it is a variable, switched on by its name in LOCKD_VARIANT.
package variants

// A Catch is a test that goes red in a variant.
type Catch struct {
	Variant string
	Package string // where the test is, from the module's root
	Test    string // as -test.run takes it, without anchors
	Long    bool   // it takes long, or more than one run: for make variants alone
	Window  bool   // it holds a window open, at a crash point; without those there are fast paths, too
}

// Catches has every variant of the real code at least once. Those of the models
// are in fuzz/explore.
var Catches = []Catch{
	{Variant: "clear-w", Package: "arena", Test: "TestKilledWaiterOfBusyLock"},
	{Variant: "no-ticks", Package: "arena", Test: "TestKilledWaiterOfIdleLock"},
	{Variant: "doze-on", Package: "arena", Test: "TestKilledWaiterBeforeDozer"},
	{Variant: "keep-wake", Package: "arena", Test: "TestCancelAgainstUnlock"},
	{Variant: "woken-bit", Package: "arena", Test: "TestKilledWaiterOfBusyLock"},
	{Variant: "watch-past-owner", Package: "arena", Test: "TestInheritance", Long: true},
	{Variant: "try-never-judges", Package: "arena", Test: "TestPollingElection", Long: true},
	{Variant: "trust-binding", Package: "arena", Test: "TestStaleHandleMeetsDeadOwner"},
	{Variant: "reclaim-untold", Package: "arena", Test: "TestInheritance"},
	{Variant: "take-any-word", Package: "arena", Test: "TestInheritance"},
	{Variant: "exchange-unlock", Package: "arena", Test: "TestBreak"},
	{Variant: "robbed-rebinds", Package: "arena", Test: "TestRobbedReleaseFreesNobody"},
	{Variant: "robbed-passes", Package: "arena", Test: "TestRobbedMeetsOwnProcess", Window: true},
	{Variant: "rob-anyone", Package: "arena", Test: "TestBreakFrom"},

	{Variant: "insert-unlooked", Package: "arena", Test: "TestInsertMeetsSameName", Window: true},
	{Variant: "reuse-generation", Package: "arena", Test: "TestStaleHandleMeetsDeadOwner"},
	{Variant: "fence-anew", Package: "arena", Test: "TestFenceGrows"},
	{Variant: "link-first", Package: "arena", Test: "TestTwoCreators"},
	{Variant: "holes", Package: "arena", Test: "TestWeather"},
	{Variant: "free-first", Package: "arena", Test: "TestInheritance", Long: true},

	{Variant: "reader-looks-first", Package: "arena", Test: "TestRWDuel"},
	{Variant: "evict-readers", Package: "arena", Test: "TestRWEviction"},
	{Variant: "shared-reader-count", Package: "arena", Test: "TestRWKilledHolders", Long: true},
	{Variant: "pass-gate", Package: "fuzz", Test: "TestHistories/rwmutex"},
	{Variant: "pass-gate", Package: "fuzz/torture", Test: "TestTorture"},

	{Variant: "look-once", Package: "arena", Test: "TestSemaphoreLateNewcomer"},
	{Variant: "overtake-queue", Package: "fuzz", Test: "TestHistories/queue"},
	{Variant: "free-blindly", Package: "arena", Test: "TestTicketOfTheDeadComesBackOnce"},

	{Variant: "queue-conversions", Package: "arena", Test: "TestRangesToExclusiveSoon"},
	{Variant: "overtake-ranges", Package: "arena", Test: "TestRangesModel"},

	{Variant: "no-second-look", Package: "arena", Test: "TestVerdictOnWhatHasChanged"},
	{Variant: "no-verdict-order", Package: "arena", Test: "TestVerdictsOfTwoDetectors"},
	{Variant: "process-cycles", Package: "arena", Test: "TestDisorder"},

	{Variant: "fast-uncounted", Package: "arena", Test: "TestTally"},
	{Variant: "since-of-anybody", Package: "arena", Test: "TestTallyOfTheDead"},
	{Variant: "robbed-counts", Package: "arena", Test: "TestTallyOfTheRobbed"},
	{Variant: "keep-tally", Package: "arena", Test: "TestTallyGoesWithTheName"},
	{Variant: "trust-tally", Package: "arena", Test: "TestTallyIsNotBelieved"},

	{Variant: "robbed-rebinds", Package: "fuzz/torture", Test: "TestTorture"},
	{Variant: "judge-rashly", Package: "fuzz", Test: "TestHistories/mutex"},
	{Variant: "judge-rashly", Package: "fuzz", Test: "TestHistories/semaphore"},
	{Variant: "judge-rashly", Package: "fuzz", Test: "TestHistories/ranges"},
	{Variant: "judge-rashly", Package: "fuzz/torture", Test: "TestTorture"},
	{Variant: "take-any-word", Package: "fuzz/torture", Test: "TestTorture", Long: true},

	{Variant: "judge-by-kill", Package: "robust", Test: "TestJudgePIDFollowsALife"},
	{Variant: "claim-ahead", Package: "arena", Test: "TestUnusedSlotsAreHandedOutInOrder"},
	{Variant: "pidfds-only", Package: "robust", Test: "TestJudgePIDFollowsALife"},
	{Variant: "pidfds-only", Package: "arena", Test: "TestOwnerWithoutWitnesses"},
	{Variant: "judge-by-pid", Package: "robust", Test: "TestJudgePIDTellsNamesakesApart"},
	{Variant: "judge-by-pid", Package: "arena", Test: "TestReusedPID", Long: true},
	{Variant: "judge-by-start-time", Package: "robust", Test: "TestJudgePIDTellsNamesakesApart"},
	{Variant: "judge-by-byte", Package: "robust", Test: "TestJudgeOwnerSurvivedByHeir"},
	{Variant: "judge-foreigners", Package: "robust", Test: "TestJudgePIDOfAnotherNamespace"},
	{Variant: "readers-are-alive", Package: "robust", Test: "TestProbeIgnoresReaders"},

	{Variant: "believe-sentinel", Package: "arena", Test: "TestNobodyWritesAfterTheHeir"},
	{Variant: "believe-proc", Package: "arena", Test: "TestThreadsThatComeAndGo"},
	{Variant: "believe-sentinel", Package: "arena", Test: "TestOwnerOutlivesItsSentinel"},
	{Variant: "believe-sentinel", Package: "arena", Test: "TestNobodyWritesAfterTheVerdict"},
	{Variant: "ignore-full-exit", Package: "arena", Test: "TestFullExit"},

	{Variant: "trust-index", Package: "arena", Test: "TestDecodeAnything"},
	{Variant: "trust-index", Package: "fuzz", Test: "FuzzDecode"},
}

// Of are the catches of one package's tests.
func Of(pkg string) (some []Catch) {
	for _, c := range Catches {
		if c.Package == pkg {
			some = append(some, c)
		}
	}
	return some
}
