package variants

import "sync"

// once does each thing once, and answers the same to all who ask.
type once struct {
	mu   sync.Mutex
	done map[string]func() error
}

func newOnce() *once { return &once{done: make(map[string]func() error)} }

func (o *once) do(what string, f func() error) error {
	o.mu.Lock()
	first, ok := o.done[what]
	if !ok {
		first = sync.OnceValue(f)
		o.done[what] = first
	}
	o.mu.Unlock()
	return first()
}
