package main

import "time"

// A case is one thing that is measured, for the arena and beside it for its
// peers. To add one: write it into the list of its group's file, or a new
// group into the registry.
type benchCase struct {
	name  string
	about string // one line for the table's reader
	unit  unit
	// contenders: the first is ours, the others are its peers. In each round
	// each has its turn.
	contenders []contender
	bars       []bar
	of         string // what an amount is of
	rounds     int    // at most, 0: as many as the plan says
}

// unit is what a sample is about.
type unit int

const (
	perOperation unit = iota // ns an operation; less is better
	perSecond                // operations a second; more is better
	latency                  // a distribution of ns; less is better
	amount                   // of memory, threads, a core; less is better
)

func (u unit) String() string { return [...]string{"time", "throughput", "latency", "amount"}[u] }

// contender is one of those who are compared. start gets ready what it needs,
// in its own stage, and returns what measures one round. It returns skipped if
// the machine does not have it.
type contender struct {
	name  string
	start func(s *stage) (round func() (sample, error), err error)
}

// sample is what one round of one contender came to.
type sample struct {
	ns     float64    // perOperation
	ops    float64    // perSecond
	cpu    float64    // ns of processor time of all, for each operation
	counts []uint64   // how much each process or goroutine did
	waits  *histogram // latency
	amount float64
	allocs *float64 // for each operation, where they were counted
	lost   int      // how often what was waited for never came
}

// bar is what the project wants to reach.
type bar struct {
	peer  string // whom it is measured against; "" for nobody
	of    string // what: see value in result.go
	least bool   // at least limit, not at most
	limit float64
}

func atMost(peer, of string, limit float64) bar { return bar{peer: peer, of: of, limit: limit} }
func atLeast(peer, of string, limit float64) bar {
	return bar{peer: peer, of: of, limit: limit, least: true}
}

// plan says how much to measure.
type plan struct {
	rounds  int
	turn    time.Duration // of one contender in one round, where it is a matter of time
	kills   int           // of one contender in one round
	victim  int           // MiB of the large victim
	names   int           // the most names
	held    int           // the most locks held by others
	crowd   []int         // goroutines
	crews   []int         // processes
	starts  int           // of a command in one round
	stretch int           // by how much a turn is longer where rare events count
	blocked int           // goroutines of one process, each on a lock of its own
	herd    int           // processes of which all but two are killed at once
	idlers  int           // goroutines that wait while it is measured what that costs
	waiting int           // processes of which one goroutine does
	idle    time.Duration // for so long
}

func fullPlan() plan {
	return plan{
		rounds: 7, turn: 300 * time.Millisecond, kills: 30, victim: 1024, names: 1_000_000, held: 10_000,
		crowd: []int{2, 4, 8, 16, 32, 64}, crews: []int{2, 4, 8}, starts: 25, stretch: 4,
		blocked: 20_000, herd: 1000, idlers: 1000, waiting: 200, idle: 10 * time.Second,
	}
}

func shortPlan() plan {
	p := fullPlan()
	p.rounds, p.turn, p.kills, p.victim, p.starts, p.stretch = 3, 100*time.Millisecond, 10, 256, 10, 2
	p.herd, p.waiting, p.idle = 200, 50, 3*time.Second
	return p
}

// smokePlan does everything once, to see that it works.
func smokePlan() plan {
	return plan{
		rounds: 1, turn: 5 * time.Millisecond, kills: 1, victim: 8, names: 3000, held: 100,
		crowd: []int{2, 64}, crews: []int{2, 8}, starts: 1, stretch: 1,
		blocked: 400, herd: 12, idlers: 50, waiting: 8, idle: 50 * time.Millisecond,
	}
}
