package arena

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"lockd/internal/proc"
	"lockd/robust"
)

// What is changed in the copy of a whole arena shows as damage.
func TestProblemsOfTickets(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("queue", 7)
	held := acquire(t, s, 6)
	defer release(t, held)
	p := startTicketWaiter(t, a, 3)
	p.Expect("ready")
	p.Send("acquire")
	untilQueued(t, s, 1)
	until(t, "nobody is at the queue", func() bool { return robust.Word(s.binding().slot.word.Load()).IsFree() })
	whole, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	var tickets, request uint64
	whole.picture.records(whole, func(i uint32, r seenRecord) {
		switch {
		case recordKind(r.kind) == recordTickets && whole.picture.word32(recordStart(i)+atTicketFirst) == 0:
			tickets = recordStart(i)
		case recordKind(r.kind) == recordWanted:
			request = recordStart(i)
		}
	})
	const stranger = 9<<48 | 77<<32
	for _, tc := range []struct {
		name string
		at   uint64
		word uint64
		want []string
	}{
		{"whole", tickets + atTicketWords, whole.picture.word64(tickets + atTicketWords), nil},
		{"held by a stranger", tickets + atTicketWords, stranger | 5, []string{"TICKET-OWNER"}},
		{"given to a stranger", tickets + atTicketWords, stranger | uint64(ticketGiven) | 5, []string{"TICKET-OWNER"}},
		{"closed", tickets + atTicketWords + 8, 0, []string{"TICKET-WORD"}},
		{"free in another incarnation", tickets + atTicketWords + 8, uint64(newTicketState(99, 0).free()), []string{"TICKET-WORD"}},
		{"tickets of no slot", tickets + 8, 0, []string{"RECORD-SLOT", "TICKETS-LOST"}},
		{"tickets that are none", tickets, 0, []string{"TICKETS-LOST"}},
		{"a request of a stranger", request, stranger | uint64(recordWanted), []string{"RECORD-OWNER"}},
		{"a request to no semaphore", request + 8, 3 << 32, []string{"RECORD-SLOT"}},
		{"a size that is not there", slotStart(1) + atSlotState, 1<<32 | 11, []string{"TICKET-WORD", "TICKET-WORD", "TICKET-WORD", "TICKET-WORD", "TICKETS-LOST"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			image := bytes.Clone(whole.picture)
			binary.LittleEndian.PutUint64(image[tc.at:], tc.word)
			if got := codesOf(problemsOf(t, image, verdicts{})); !slices.Equal(got, tc.want) {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}

	// The dead: reported once, with what they left.
	v := verdicts{}
	for _, m := range whole.Members {
		if int(m.PID) == p.PID() {
			v[m.Index] = robust.Gone
		}
	}
	if got := codesOf(problemsOf(t, picture(whole.picture), v)); !slices.Equal(got, []string{"member-dead"}) {
		t.Errorf("found %q", got)
	}
}

// A settler that does not get the latch leaves a dead's request in the queue,
// in a record that nobody can claim; who frees the latch takes it out.
func TestSemaphoreSettledWhileLatched(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("queue", 2)
	held := acquire(t, s, 1)
	p := startTicketWaiter(t, a, 2)
	p.Expect("ready")
	p.Send("acquire")
	untilQueued(t, s, 1)
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 1)) })
	untilQueued(t, s, 2)
	kinds := func() map[recordKind]int {
		snapshot, err := ReadSnapshot(a.Path())
		if err != nil {
			t.Fatal(err)
		}
		n := make(map[recordKind]int)
		snapshot.picture.records(snapshot, func(_ uint32, r seenRecord) { n[recordKind(r.kind)]++ })
		return n
	}
	if err := s.latched(t.Context(), func(*desk) {
		p.Kill()
		a.core.settleDead()
		if got := kinds(); got[recordWithdrawn] != 1 || got[recordWanted] != 1 {
			t.Errorf("records: %v", got)
		}
	}); err != nil {
		t.Fatal(err)
	}
	wait()
	if got := kinds(); len(got) != 1 || got[recordTickets] != 1 {
		t.Errorf("records: %v", got)
	}
	release(t, held)
}
