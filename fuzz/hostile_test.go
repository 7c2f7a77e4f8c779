package fuzz

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/internal/proc"
)

func init() {
	// scribbler: arena. It writes over the file whatever comes to its mind,
	// often what is there elsewhere, until it is killed.
	roles["scribbler"] = func(args []string) {
		file, _, err := shared(args[0])
		if err != nil {
			proc.Say("%v", err)
			return
		}
		proc.Say("scribbles")
		change := make(changes, changeSize)
		for n := 0; ; n++ {
			binary.LittleEndian.PutUint64(change, rand.Uint64())
			binary.LittleEndian.PutUint16(change[8:], uint16(rand.Uint32()))
			change[1] = byte(1 + rand.IntN(7))
			if n%256 == 0 {
				change[1] = 9 // then it is refused at the door, mostly
			}
			change.apply(0, file)
			if n%16 == 0 {
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			}
		}
	}
}

// A process that may write the file writes over it, all the time, while others
// attach, use it and leave: they are refused, or told nonsense, no worse.
func TestHostileMember(t *testing.T) {
	rounds := 16
	if testing.Short() {
		rounds = 3
	}
	var uses, refused atomic.Int32
	// On a busy machine few uses fit into a round.
	began := time.Now()
	for round := 0; round < rounds || refused.Load() > uses.Load()/2 && time.Since(began) < proc.Soon; round++ {
		path := shmPath(t)
		put(t, path, image(t, uint8(round)))
		p := proc.Start(t, "scribbler", []string{path})
		p.Expect("scribbles")
		for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until); {
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					if uses.Add(1); !use(t, path, nil, false) {
						refused.Add(1)
					}
				})
			}
			all.Wait()
			if rand.IntN(4) == 0 { // else nobody would get far any more
				whole, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				whole.WriteAt(image(t, uint8(round))[64:], 64)
				whole.Close()
			}
		}
		p.Kill()
	}
	t.Logf("used %d times, refused %d times", uses.Load(), refused.Load())
	if refused.Load() > uses.Load()/2 {
		t.Error("most uses ended at the door")
	}
}
