package variants

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
)

// A Source is a variant as the sources have it.
type Source struct {
	Name, Package string
	Broken        string // what is broken
}

var (
	constant = regexp.MustCompile(`(?m)^\s*(variant\w+)\s*= false // (.*)$`)
	variable = regexp.MustCompile(`(?m)^\s*(variant\w+)\s*= variant\("([^"]*)"\)$`)
)

// Sources are the variants in the sources of a module.
func Sources(root string) (all []Source, err error) {
	offs, err := filepath.Glob(filepath.Join(root, "*", "variant_off.go"))
	if err != nil {
		return nil, err
	}
	sort.Strings(offs)
	for _, path := range offs {
		off, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		on, err := os.ReadFile(filepath.Join(filepath.Dir(path), "variant_on.go"))
		if err != nil {
			return nil, err
		}
		names := make(map[string]string)
		for _, m := range variable.FindAllSubmatch(on, -1) {
			names[string(m[1])] = string(m[2])
		}
		constants := constant.FindAllSubmatch(off, -1)
		if len(constants) != len(names) {
			return nil, fmt.Errorf("%s has %d variants, %d are switched on", path, len(constants), len(names))
		}
		for _, m := range constants {
			name, ok := names[string(m[1])]
			if !ok {
				return nil, fmt.Errorf("%s: %s cannot be switched on", path, m[1])
			}
			all = append(all, Source{Name: name, Package: filepath.Base(filepath.Dir(path)), Broken: string(m[2])})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no variants in the sources below %s", root)
	}
	return all, nil
}
