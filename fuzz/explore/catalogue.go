package explore

import "fmt"

// Situation is a model as it is, and how much of it the short form looks at.
type Situation struct {
	Model *Model
	Short int // states; 0: only the long form
}

// Variant is a broken protocol, which must be found out, and the same
// situation with the sound one.
type Variant struct {
	Protocol, Break string
	Model, Sound    *Model
}

// addVariant is told of a broken variant.
type addVariant func(protocol, what string, broken, sound *Model)

// Found is how a variant was found out.
type Found struct {
	Variant
	Result
}

// VariantStates is in how many states a variant must be found out.
const VariantStates = 500_000

// Find explores a variant until it is found out, or so many states were seen.
func (v Variant) Find(limit int) Found { return Found{v, v.Model.Explore(limit)} }

// IsSound tells whether the sound protocol, in as many states as its variant
// was found out in, is not: else what found the variant out shows nothing.
func (f Found) IsSound() bool { return f.Sound.Explore(f.States).Violation == "" }

// VariantHeader names the columns of a Found.
const VariantHeader = "protocol   broken variant                                      states  steps  what came of it"

func (f Found) String() string {
	what := f.Violation
	if what == "" {
		what = "NOT FOUND OUT"
	}
	return fmt.Sprintf("%-10s %-50s %7d %6d  %s", f.Protocol, f.Break, f.States, len(f.Trace), what)
}

// Situations are what is explored.
func Situations() []Situation {
	rw := []string{"read", "write", "write, downgrade", "upgrade", "read, try upgrade"}
	all := []Situation{
		{NewMutex(MutexSetup{Name: "2 processes, tries, no ticks", Goroutines: []int{1, 1}, Tries: true}), 8_000},
		{NewMutex(MutexSetup{Name: "2 processes, contexts end, no ticks", Goroutines: []int{1, 1}, Cancels: true}), 8_000},
		{NewMutex(MutexSetup{Name: "2 processes, 1 death", Goroutines: []int{1, 1}, Deaths: 1, Ticks: true}), 8_000},
		{NewMutex(MutexSetup{Name: "2 processes, 1 death, tries, settler", Goroutines: []int{1, 1}, Deaths: 1, Ticks: true, Tries: true, Settler: true}), 8_000},
		{NewMutex(MutexSetup{Name: "3 processes, no ticks", Goroutines: []int{1, 1, 1}, Quiet: true}), 8_000},
		{NewMutex(MutexSetup{Name: "3 processes, 2 deaths", Goroutines: []int{1, 1, 1}, Deaths: 2, Ticks: true}), 8_000},
		{NewMutex(MutexSetup{Name: "2 goroutines and 1 process, no ticks", Goroutines: []int{2, 1}, Quiet: true}), 8_000},
		{NewMutex(MutexSetup{Name: "3 goroutines, no ticks", Goroutines: []int{3}, Quiet: true}), 8_000},

		{NewMutex(MutexSetup{Name: "2 processes that doze, 1 death", Goroutines: []int{1, 1}, Deaths: 1, Ticks: true, Doze: true, Quiet: true}), 8_000},
		{NewMutex(MutexSetup{Name: "1 process that dozes, a wake is eaten", Goroutines: []int{1, 1, 1}, Ticks: true, Doze: true, Quiet: true, Eaten: true}), 8_000},
		{NewMutex(MutexSetup{Name: "2 processes that doze, 1 death, contexts end, settler", Goroutines: []int{1, 1}, Deaths: 1, Ticks: true, Doze: true, Cancels: true, Settler: true, Quiet: true}), 8_000},

		{NewNames(NamesSetup{Name: "2 processes, 2 names, 1 slot", Processes: 2, Slots: 1, Names: 2, Last: 3, Fences: 2}), 8_000},
		{NewNames(NamesSetup{Name: "the same, 1 death, settling", Processes: 2, Slots: 1, Names: 2, Last: 3, Fences: 2, Deaths: 1, Settle: true}), 8_000},
		{NewNames(NamesSetup{Name: "3 processes, 2 names, 1 slot, 1 death", Processes: 3, Slots: 1, Names: 2, Last: 2, Fences: 1, Deaths: 1, Settle: true}), 8_000},
		{NewNames(NamesSetup{Name: "2 processes, 2 names, 2 slots, 1 death", Processes: 2, Slots: 2, Names: 2, Last: 2, Fences: 1, Deaths: 1, Settle: true}), 8_000},

		{NewSemaphore(SemaphoreSetup{Name: "2 processes, 1 ticket, no ticks", Processes: 2, Tickets: 1, Most: 1}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "the same, contexts end", Processes: 2, Tickets: 1, Most: 1, Cancels: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, 1 ticket, 1 death", Processes: 2, Tickets: 1, Most: 1, Deaths: 1, Ticks: true, Settle: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, 2 tickets, no ticks", Processes: 2, Tickets: 2, Most: 2}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "3 processes, 1 ticket, no ticks", Processes: 3, Tickets: 1, Most: 1}), 8_000},

		{NewRWMutex(RWMutexSetup{Name: "2 processes, all they can do, no ticks", Processes: 2, Roles: rw}), 8_000},
		{NewRWMutex(RWMutexSetup{Name: "2 processes, contexts end, no ticks", Processes: 2, Roles: rw[:2], Cancels: true}), 8_000},
		{NewRWMutex(RWMutexSetup{Name: "2 processes, 1 death, settling", Processes: 2, Roles: rw, Deaths: 1, Ticks: true, Settle: true}), 8_000},
		{NewRWMutex(RWMutexSetup{Name: "3 processes, no ticks", Processes: 3, Roles: rw[:2]}), 8_000},
		{NewRWMutex(RWMutexSetup{Name: "3 processes, 1 death", Processes: 3, Roles: rw[:2], Deaths: 1, Ticks: true}), 8_000},

		{NewMembers(MembersSetup{Name: "2 processes, 2 entries, 1 death", Processes: 2, Entries: 2, Last: 3, Deaths: 1}), 8_000},
		{NewMembers(MembersSetup{Name: "3 processes, 2 entries, 2 deaths", Processes: 3, Entries: 2, Last: 4, Deaths: 2}), 8_000},
		{NewMembers(MembersSetup{Name: "3 processes, 3 entries, 2 deaths", Processes: 3, Entries: 3, Last: 2, Deaths: 2}), 8_000},
	}
	all = append(all, sizesSituations()...)
	all = append(all, rangesSituations()...)
	all = append(all, sessionsSituations()...)
	all = append(all, cellsSituations()...)
	return append(all, robberySituations()...)
}

// Variants are the broken protocols. Each is one of the situations but for
// what is broken.
func Variants() []Variant {
	var all []Variant
	mutex := func(what string, s MutexSetup) {
		broken := s
		broken.Name, broken.Break = what, what
		s.Name, s.Ticks = "not: "+what, s.Ticks || s.Deaths > 0
		all = append(all, Variant{"mutex", what, NewMutex(broken), NewMutex(s)})
	}
	three := []int{1, 1, 1}
	mutex("W cleared at unlock", MutexSetup{Quiet: true, Once: true, Goroutines: three})
	mutex("cancelled waiter keeps the wake", MutexSetup{Goroutines: []int{2, 1}, Cancels: true, Quiet: true, Once: true})
	mutex("no second wake after W is cleared", MutexSetup{Quiet: true, Once: true, Goroutines: three})
	mutex("no L for those queued", MutexSetup{Quiet: true, Goroutines: []int{2, 1}})
	mutex("unbounded sleep", MutexSetup{Quiet: true, Goroutines: []int{1, 1}, Deaths: 1})
	mutex("S obeyed unasked", MutexSetup{Goroutines: []int{1, 1}, Cancels: true})
	mutex("reclaim without A", MutexSetup{Quiet: true, Goroutines: []int{1, 1}, Deaths: 1, Ticks: true})
	mutex("reclaim by a store", MutexSetup{Quiet: true, Goroutines: []int{1, 1}, Deaths: 1, Ticks: true, Settler: true})

	mutex("one who dozes is woken", MutexSetup{Quiet: true, Goroutines: three, Ticks: true, Doze: true, Eaten: true})

	names := func(what string, s NamesSetup) {
		s.Name, s.Break, s.Processes, s.Names, s.Fences = what, what, 2, 2, 2
		broken := s
		s.Name, s.Break = "not: "+what, ""
		all = append(all, Variant{"names", what, NewNames(broken), NewNames(s)})
	}
	names("newcomer does not look again under the latch", NamesSetup{Slots: 2, Last: 2})
	names("reuse in the same generation", NamesSetup{Slots: 1, Last: 3})
	names("fences begin anew", NamesSetup{Slots: 1, Last: 3})
	names("evict without the word", NamesSetup{Slots: 1, Last: 3})
	names("reclaim trusts its binding", NamesSetup{Slots: 1, Last: 3, Deaths: 1, Settle: true})
	names("no rebuild after a death", NamesSetup{Slots: 2, Last: 2, Deaths: 1, Settle: true})

	semaphore := func(what string, s SemaphoreSetup) {
		s.Name, s.Break, s.Processes = what, what, max(s.Processes, 2)
		s.Tickets, s.Most = max(s.Tickets, 1), max(s.Most, 1)
		broken := s
		s.Name, s.Break = "not: "+what, ""
		all = append(all, Variant{"semaphore", what, NewSemaphore(broken), NewSemaphore(s)})
	}
	semaphore("newcomer does not look again", SemaphoreSetup{})
	semaphore("looks whether anybody waits before it gives back", SemaphoreSetup{})
	semaphore("a busy latch is not asked to look", SemaphoreSetup{})
	semaphore("queues before it says so", SemaphoreSetup{})
	semaphore("mender takes back what was granted", SemaphoreSetup{Deaths: 1, Ticks: true})
	semaphore("no mending after a death", SemaphoreSetup{Deaths: 1, Ticks: true})
	semaphore("a ticket returned by two settlers", SemaphoreSetup{Processes: 3, Deaths: 1, Ticks: true, Settle: true})

	rwmutex := func(what string, s RWMutexSetup) {
		s.Name, s.Break, s.Processes = what, what, max(s.Processes, 2)
		if s.Roles == nil {
			s.Roles = []string{"read", "write"}
		}
		broken := s
		s.Name, s.Break = "not: "+what, ""
		all = append(all, Variant{"rwmutex", what, NewRWMutex(broken), NewRWMutex(s)})
	}
	rwmutex("reader looks at the gate before it adds", RWMutexSetup{})
	rwmutex("writer looks at the cells before it shuts the gate", RWMutexSetup{})
	rwmutex("lets itself in and does not look again", RWMutexSetup{})
	rwmutex("leaves and does not tell the writer", RWMutexSetup{})
	rwmutex("lets in before it opens the gate", RWMutexSetup{})
	rwmutex("the gate is opened before A is set", RWMutexSetup{Processes: 3, Deaths: 1, Ticks: true})

	members := func(what string, s MembersSetup) {
		s.Name, s.Break, s.Deaths = what, what, 1
		s.Processes, s.Entries, s.Last = max(s.Processes, 3), max(s.Entries, 2), max(s.Last, 2)
		broken := s
		s.Name, s.Break = "not: "+what, ""
		all = append(all, Variant{"members", what, NewMembers(broken), NewMembers(s)})
	}
	members("member freed before it is settled", MembersSetup{})
	members("a slot that changes is not looked at again", MembersSetup{Entries: 3, Corpse: true})
	members("reclaim without generation", MembersSetup{Entries: 3, Corpse: true})
	members("entries freed by a store", MembersSetup{Entries: 3, Corpse: true})
	members("a ticket returned by two settlers", MembersSetup{Entries: 3, Corpse: true})
	members("joins before it has locked its byte", MembersSetup{})

	for _, variants := range []func(addVariant){sizesVariants, rangesVariants, sessionsVariants, cellsVariants, robberyVariants} {
		variants(func(protocol, what string, broken, sound *Model) {
			all = append(all, Variant{protocol, what, broken, sound})
		})
	}
	return append(all, ownerVariants()...)
}
