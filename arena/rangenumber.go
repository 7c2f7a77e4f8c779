package arena

import "sync"

// rangeNumbers tells the holders of this process apart. With the member a number
// is all that says whose a piece is; so none is given to a second holder while
// the first is there, or has lost what it holds, be it after four thousand
// million others.
type rangeNumbers struct {
	mu   sync.Mutex
	last uint32
	used map[uint32]struct{}
}

func (n *rangeNumbers) take() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used == nil {
		n.used = make(map[uint32]struct{})
	}
	for {
		n.last++
		if _, used := n.used[n.last]; !used {
			n.used[n.last] = struct{}{}
			return n.last
		}
	}
}

func (n *rangeNumbers) free(number uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, number)
}
