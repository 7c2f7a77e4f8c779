//go:build !race && !lockd_crash

package arena

// slowOnly sends every operation through the slow paths.
const slowOnly = false

func raceAcquire(*core, *binding) {}
func raceRelease(*core, *binding) {}
func raceGot(*core, *binding)     {}
func raceGave(*core, *binding)    {}

func raceReadAcquire(*core, uint32)    {}
func raceReadRelease(*core, uint32)    {}
func raceWriteAcquire(*core, *binding) {}
