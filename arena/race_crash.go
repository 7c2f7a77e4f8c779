//go:build lockd_crash && !race

package arena

// With crash points every operation takes the slow paths, where they are.
const slowOnly = true

func raceAcquire(*core, *binding) {}
func raceRelease(*core, *binding) {}
func raceGot(*core, *binding)     {}
func raceGave(*core, *binding)    {}

func raceReadAcquire(*core, uint32)    {}
func raceReadRelease(*core, uint32)    {}
func raceWriteAcquire(*core, *binding) {}
