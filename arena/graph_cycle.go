package arena

// Walks through the graph, along who is in whose way.

// tangle tells which of the stuck lie on a cycle, each being looked at once
// however often one asks: thousands may wait one behind the other for those few
// who do. It is good until somebody is stuck no more.
type tangle struct {
	graph *waitGraph
	stuck []bool

	met    int
	number []int  // by actor: when it was met, from 1
	lowest []int  // the first met that it leads back to, as far as was seen
	open   []bool // it may lead back to one that was met earlier
	tied   []bool // it lies on a cycle
	path   []int  // those who are open, in the order in which they were met
}

func (g *waitGraph) tangle(stuck []bool) *tangle {
	n := len(g.actors)
	return &tangle{graph: g, stuck: stuck, number: make([]int, n), lowest: make([]int, n), open: make([]bool, n), tied: make([]bool, n)}
}

// has tells whether an actor lies on a cycle.
func (k *tangle) has(i int) bool {
	if k.stuck[i] && k.number[i] == 0 {
		k.search(i)
	}
	return k.tied[i]
}

// tangleStep is an actor on the way, and who of those in its way are to be looked
// at yet.
type tangleStep struct {
	at   int
	next []int
}

// search is Tarjan's, for parts of a graph that are strongly connected.
func (k *tangle) search(from int) {
	for way := []tangleStep{k.enter(from)}; len(way) > 0; {
		step := &way[len(way)-1]
		if len(step.next) > 0 {
			j := step.next[0]
			step.next = step.next[1:]
			if k.number[j] == 0 {
				way = append(way, k.enter(j))
			} else if k.open[j] {
				k.lowest[step.at] = min(k.lowest[step.at], k.number[j])
			}
			continue
		}
		i := step.at
		if way = way[:len(way)-1]; len(way) > 0 {
			before := way[len(way)-1].at
			k.lowest[before] = min(k.lowest[before], k.lowest[i])
		}
		if k.lowest[i] == k.number[i] {
			k.leave(i)
		}
	}
}

func (k *tangle) enter(i int) tangleStep {
	k.met++
	k.number[i], k.lowest[i], k.open[i] = k.met, k.met, true
	k.path = append(k.path, i)
	step := tangleStep{at: i}
	k.graph.eachBlocker(i, k.stuck, func(j int, _ Mode) bool {
		k.tied[i] = k.tied[i] || j == i
		step.next = append(step.next, j)
		return true
	})
	return step
}

// leave ends a part: all who were met from i on lead to each other.
func (k *tangle) leave(i int) {
	for alone := true; ; alone = false {
		j := k.path[len(k.path)-1]
		k.path = k.path[:len(k.path)-1]
		k.open[j] = false
		k.tied[j] = k.tied[j] || !alone || j != i
		if j == i {
			return
		}
	}
}

// cycle returns the shortest cycle among the stuck that begins and ends at
// actor i, without naming i twice; nil if there is none.
func (g *waitGraph) cycle(i int, stuck []bool) []int {
	if !stuck[i] {
		return nil
	}
	from := map[int]int{}
	for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
		at, closed := queue[0], false
		g.eachBlocker(at, stuck, func(j int, _ Mode) bool {
			if closed = j == i; closed {
				return false
			}
			if _, met := from[j]; !met {
				from[j] = at
				queue = append(queue, j)
			}
			return true
		})
		if closed {
			path := []int{at}
			for at != i {
				at = from[at]
				path = append(path, at)
			}
			for l, r := 0, len(path)-1; l < r; l, r = l+1, r-1 {
				path[l], path[r] = path[r], path[l]
			}
			return path
		}
	}
	return nil
}

// closure returns, of the stuck, all that actor i waits for, directly or not,
// and itself: what a verdict on it rests on.
func (g *waitGraph) closure(i int, stuck []bool) []int {
	met := map[int]bool{i: true}
	all := []int{i}
	for k := 0; k < len(all); k++ {
		g.eachBlocker(all[k], stuck, func(j int, _ Mode) bool {
			if !met[j] {
				met[j] = true
				all = append(all, j)
			}
			return true
		})
	}
	return all
}

// heldAs returns how actor j stands in the way of actor i.
func (g *waitGraph) heldAs(i, j int, stuck []bool) (mode Mode) {
	g.eachBlocker(i, stuck, func(actor int, held Mode) bool {
		if actor != j {
			return true
		}
		mode = held
		return mode == 0 // a holding says more than a place in a queue
	})
	return mode
}
