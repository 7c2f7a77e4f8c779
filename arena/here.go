package arena

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// Here runs f while it holds a lock of its own for this place in the source:
// the package, the function, and the line within the function, so that the
// lock stays the same one when code above the function changes. Every process
// built from the same function shares it. Otherwise it is as [Mutex.Do].
func (a *Arena) Here(ctx context.Context, f func(context.Context) error) error {
	var pc [1]uintptr
	if runtime.Callers(2, pc[:]) == 0 {
		return fmt.Errorf("arena: %w: the caller of Here is unknown", ErrName)
	}
	name := placeName(pc[0])
	if strings.HasPrefix(name, runtimePlace) {
		return fmt.Errorf("arena: %w: Here was called by the Go runtime (a go or defer statement), which is no place of its own; call it from a function literal", ErrName)
	}
	return a.Mutex(name).Do(ctx, f)
}

// runtimePlace begins the name of a place in the Go runtime.
const runtimePlace = "here:runtime."

var placeNames sync.Map // pc → name

// placeName names a place in the source, like "here:pkg/path.Type.Method+12".
func placeName(pc uintptr) string {
	if name, ok := placeNames.Load(pc); ok {
		return name.(string)
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	name := fmt.Sprintf("here:%s+%d", frame.Function, frame.Line-startLine(frame))
	if len(name) > MaxName {
		// The end tells more than the beginning.
		name = "here:…" + strings.ToValidUTF8(name[len(name)-MaxName+len("here:…"):], "")
	}
	placeNames.Store(pc, name)
	return name
}

// startLine is the line on which the frame's function begins. Package runtime
// knows it of every frame but tells it to package pprof only; of a function
// that was inlined there is no other way to learn it. Should the field go, the
// place falls back to the line of the function's first instruction, and of an
// inlined function to the line in the file.
func startLine(frame runtime.Frame) int {
	if field := reflect.ValueOf(frame).FieldByName("startLine"); field.IsValid() && field.CanInt() && field.Int() > 0 {
		return int(field.Int())
	}
	if frame.Func == nil {
		return 0
	}
	_, line := frame.Func.FileLine(frame.Func.Entry())
	return line
}
