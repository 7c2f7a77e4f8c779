//go:build lockd_crash

package arena

import (
	"strconv"
	"strings"
	"sync"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// windowWork is the work of operations that need the points themselves.
var windowWork = map[string]func(*performer){}

func init() {
	// step-victim: path, operation, slots, how, rounds, point.
	roles["step-victim"] = func(args []string) {
		o, how, point := operationNamed(args[1]), args[3], args[5]
		p := &performer{path: args[0], tells: true, others: new(sync.WaitGroup)}
		p.slots, _ = strconv.Atoi(args[2])
		rounds, _ := strconv.Atoi(args[4])
		if o.work == nil {
			o.work = windowWork[o.name]
		}
		var trail trail
		arm := func() {
			crash.Arm(point)
			if point == "" {
				crash.Watch(trail.note)
			}
		}
		if o.opens {
			arm()
		} else {
			p.open()
		}
		switch how {
		case "die":
			o.die(p)
			proc.Say("ready")
			proc.Hear()
		case "early":
			arm()
		}
		o.begin(p)
		proc.Say("ready")
		proc.Hear()
		if how != "early" && !o.opens {
			arm()
		}
		for n := range rounds {
			o.work(p)
			if n < rounds-1 {
				o.end(p)
				o.begin(p)
			}
		}
		if how == "early" && p.hasOpened() {
			p.core().settleDead()
		}
		crash.Arm("")
		crash.Watch(func(string) {})
		o.end(p)
		p.others.Wait()
		if p.hasOpened() {
			must(p.a.Close())
		}
		proc.Say("came %s", trail.String())
		proc.Say("done")
	}
}

// trail is where a process came.
type trail struct {
	mu   sync.Mutex
	came map[string]int
}

func (t *trail) note(point string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.came == nil {
		t.came = make(map[string]int)
	}
	t.came[point]++
}

func (t *trail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for point, n := range t.came {
		b.WriteString(point + ":" + strconv.Itoa(n) + " ")
	}
	return b.String()
}
