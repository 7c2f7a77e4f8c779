package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"lockd/arena"
)

// trust is about arenas that others could have put there.
type trust struct{ owner, world bool }

func (c *trust) flags(f *pflag.FlagSet) {
	f.BoolVar(&c.owner, "other-owner", false, "use an arena that belongs to another user")
	f.BoolVar(&c.world, "world-writable", false, "use an arena that everybody may write")
}

func openOptions(label string, c trust) *arena.Options {
	return &arena.Options{
		Label: label, AllowOtherOwner: c.owner, AllowWorldWritable: c.world,
		Logger: slog.New(slog.DiscardHandler), // what matters here comes back as an error
	}
}

// attach opens an arena that is there, for a moment.
func (t *tool) attach(name, label string, c trust) (*arena.Arena, error) {
	o := openOptions(label, c)
	o.MustExist = true
	a, err := arena.Open(t.path(name), o)
	return a, t.explain(name, err)
}

// explain says of an error of the library what to do next, in the command's words.
func (t *tool) explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, arena.ErrNotExist):
		return fmt.Errorf("no arena named %s; %s", quoted(name), t.arenasThere())
	case errors.Is(err, arena.ErrUnsafeFile):
		return unsafeFile{explained{err}}
	}
	return explained{err}
}

var optionNames = strings.NewReplacer("set Options.AllowOtherOwner", "--other-owner is", "set Options.AllowWorldWritable", "--world-writable is")

// unsafeFile names the flags where the library names its options.
type unsafeFile struct{ explained }

func (e unsafeFile) Error() string {
	return optionNames.Replace(e.explained.Error())
}
