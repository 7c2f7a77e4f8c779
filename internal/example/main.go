package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"lockd/arena"
)

func main() {
	a, err := arena.Open("billing", nil) // /dev/shm/billing, created if missing
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()

	m := a.Mutex("invoice-numbers") // also a sync.Locker: m.Lock(), m.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	err = m.Do(ctx, func(context.Context) error {
		if death, ok := m.Abandoned(); ok {
			log.Printf("pid %d (%s) %v half-way", death.PID, death.Label, death.Cause)
			// look at what it left and repair it; then
			m.MarkConsistent()
		}
		fmt.Println("nobody else on this host numbers invoices now")
		return nil
	})
	if errors.Is(err, arena.ErrTimeout) {
		log.Print(err) // which lock, how long, who holds it
	}
}
