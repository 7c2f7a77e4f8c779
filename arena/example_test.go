package arena_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"lockd/arena"
)

// openExample opens an arena of its own for one example. A program that meets
// others would open a bare name, like "billing", which lives in /dev/shm.
func openExample() (a *arena.Arena, remove func()) {
	dir, err := os.MkdirTemp("", "lockd-example-")
	if err != nil {
		log.Fatal(err)
	}
	a, err = arena.Open(filepath.Join(dir, "billing"), &arena.Options{Label: "invoicing"})
	if err != nil {
		log.Fatal(err)
	}
	return a, func() {
		if err := a.Close(); err != nil {
			log.Fatal(err)
		}
		if err := arena.Remove(a.Path()); err != nil {
			log.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}

func Example() {
	a, remove := openExample()
	defer remove()

	m := a.Mutex("invoice-numbers")
	m.Lock()
	fmt.Println("nobody else on this host holds", m.Name())
	m.Unlock()
	// Output: nobody else on this host holds invoice-numbers
}

func ExampleMutex_LockContext() {
	a, remove := openExample()
	defer remove()

	m := a.Mutex("invoice-numbers")
	m.Lock()
	defer m.Unlock()

	// Whoever holds it, be it this process, is waited for until the context ends.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := m.LockContext(ctx)
	var timeout *arena.TimeoutError
	if errors.As(err, &timeout) {
		fmt.Println(timeout.HolderLabel, "still holds", timeout.Lock)
	}
	fmt.Println(errors.Is(err, arena.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// invoicing still holds invoice-numbers
	// true true
}

// An owner that ends while it holds the lock may leave half-changed what the
// lock protects. Whoever gets the lock next is told, and says when all is well
// again; until then every later owner is told too.
func ExampleMutex_Abandoned() {
	a, remove := openExample()
	defer remove()
	m := a.Mutex("invoice-numbers")

	// Instead of a process that is killed: one that panics with the lock.
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		_ = m.Do(context.Background(), func(context.Context) error { panic("half-way") })
	}()

	m.Lock()
	defer m.Unlock()
	if death, ok := m.Abandoned(); ok {
		fmt.Println("repairing what", death.Label, "left:", death.Cause)
		if err := m.MarkConsistent(); err != nil {
			log.Fatal(err)
		}
	}
	_, ok := m.Abandoned()
	fmt.Println("abandoned:", ok)
	// Output:
	// recovered: half-way
	// repairing what invoicing left: panicked
	// abandoned: false
}

func ExampleMutex_Do() {
	a, remove := openExample()
	defer remove()

	m := a.Mutex("invoice-numbers")
	last := 41
	err := m.Do(context.Background(), func(context.Context) error {
		last++
		if last > 9999 {
			return errors.New("out of numbers")
		}
		return nil
	})
	fmt.Println(last, err)
	// Output: 42 <nil>
}
