package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// show writes frames until it is told to end: by a key, a signal, the count,
// or the arena's end.
func (o *observer) show(ctx context.Context, interval time.Duration, count int) int {
	keys, restore := o.t.keyboard()
	if o.t.screen.isTerminal() {
		o.t.stdout.Write([]byte("\x1b[?1049h\x1b[?25l\x1b[?7l")) // another page, no cursor, no wrapping
	}
	var failed error
	for frames := 0; failed == nil; {
		var quit bool
		if quit, failed = o.observe(ctx, interval, keys, frames == 0); quit || failed != nil {
			break
		}
		o.draw(frames)
		if o.t.stdout.err != nil {
			break
		}
		if frames++; frames == count {
			break
		}
	}
	if o.t.screen.isTerminal() {
		o.t.stdout.Write([]byte("\x1b[?7h\x1b[?25h\x1b[?1049l"))
	}
	restore()
	if failed != nil {
		o.t.complain("%v", failed)
		return exitCannotTell
	}
	return exitFine
}

// observe looks for as long as a frame lasts. A key that chooses an order ends
// the frame at once. The first frame is a short one.
func (o *observer) observe(ctx context.Context, interval time.Duration, keys <-chan byte, first bool) (quit bool, err error) {
	if first {
		interval = min(interval, 100*time.Millisecond)
	}
	ticks := time.NewTicker(max(interval/looks, time.Millisecond))
	defer ticks.Stop()
	looked := false // however late this process gets to run
	for end := time.Now().Add(interval); !looked || time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return true, nil
		case key, open := <-keys:
			const ctrlC = 3
			if !open || key == 'q' || key == ctrlC {
				return true, nil
			}
			for i, order := range orders {
				if order.key == key {
					o.order = i
					return false, nil
				}
			}
		case <-ticks.C:
			if err := o.look(); err != nil {
				return false, err
			}
			looked = true
		}
	}
	return false, nil
}

// draw writes one frame; on a terminal over the last one, in one piece.
func (o *observer) draw(frames int) {
	var frame bytes.Buffer
	w := bufio.NewWriter(&frame)
	if !o.t.screen.isTerminal() {
		if frames > 0 {
			w.WriteString("\n")
		}
		o.frame(w, o.t.screen, true)
		w.Flush()
		o.t.stdout.Write(frame.Bytes())
		return
	}
	o.t.screen = screenOf(o.t.stdout.to) // its size may have changed
	o.frame(w, o.t.screen, true)
	w.Flush()
	lines := bytes.Split(bytes.TrimSuffix(frame.Bytes(), []byte("\n")), []byte("\n"))
	lines = lines[:min(len(lines), max(1, o.t.screen.height-1))]
	out := []byte("\x1b[H")
	for _, l := range lines {
		// Erased before and not behind: there, the cursor of a full line stands
		// on its last character.
		out = append(append(append(out, "\x1b[K"...), l...), "\r\n"...)
	}
	o.t.stdout.Write(append(out, "\x1b[J"...))
}

// keyboard gives what is typed, key by key, if standard input is a terminal
// and the output goes to one; otherwise nothing ever comes.
func (t *tool) keyboard() (<-chan byte, func()) {
	f, ok := t.stdin.(*os.File)
	if !ok || !t.screen.isTerminal() {
		return nil, func() {}
	}
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, func() {}
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, unix.TCSETS, &raw) != nil {
		return nil, func() {}
	}
	keys := make(chan byte)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(keys)
		one := make([]byte, 1)
		for {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(poll, 100)
			select {
			case <-done:
				return
			default:
			}
			if n == 0 || err == unix.EINTR {
				continue
			}
			if n, err := unix.Read(fd, one); err != nil || n == 0 {
				return
			}
			select {
			case keys <- one[0]:
			case <-done:
				return
			}
		}
	}()
	return keys, func() {
		close(done)
		<-ended
		unix.IoctlSetTermios(fd, unix.TCSETS, before)
	}
}
