package arena

import (
	"fmt"
	"runtime"
	"strings"
)

// reportLeak is called when the collector has found that nobody has the
// Session any more. What it holds stays held.
func reportLeak(s *session) {
	if s.state.Load() == sessionClosed {
		return
	}
	var names list
	for _, h := range s.held.list {
		if h.mode == ofRanges && len(h.more.ranges.Held()) == 0 {
			continue
		}
		names.add(h.cell.name)
	}
	if names.count == 0 {
		s.hide()
		return
	}
	s.core.log.Error("a session was lost without Close; what it holds stays held until the process ends or closes the arena",
		"session", s.number, "label", s.options.Label, "made", sourceOf(s.made), "holds", names.String())
}

// callerOf is where a caller stands.
func callerOf(skip int) uintptr {
	var pc [1]uintptr
	runtime.Callers(skip+1, pc[:])
	return pc[0]
}

// sourceOf names a place in the source.
func sourceOf(pc uintptr) string {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return fmt.Sprintf("%s:%d", frame.File, frame.Line)
}

// takenAt is where in the source a session's user stands: the first frame
// outside of the session's own methods.
func takenAt() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "arena.(*Session).") && !strings.Contains(frame.Function, "arena.(*session).") &&
			!strings.Contains(frame.Function, "arena.(*holdings).") && !strings.HasSuffix(frame.Function, "arena.takenAt") {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
		if !more {
			return ""
		}
	}
}
