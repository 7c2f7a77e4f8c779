package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// inspectOnce shows the inspector's view of the arena, in the middle of the
// kills, when m holds the lock half-way through a write and all others wait.
func (d *demo) inspectOnce(ctx context.Context, arena string, m *member, killed, waiting int) error {
	if killed != (d.kills+1)/2 {
		return nil
	}
	if d.inspector == "" {
		d.say("%s(the inspector's view is left out: no --inspect PATH was given)", indent)
		return nil
	}
	d.say("%sPid %d (%s) now holds the lock half-way through a write, %d wait.\n%slockd-inspect locks %s:\n",
		indent, m.pid(), label(m.number), waiting, indent, arena)
	var out, errors bytes.Buffer
	cmd := exec.CommandContext(ctx, d.inspector, "locks", arena)
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(errors.Bytes()))
	}
	for line := range strings.Lines(out.String()) {
		d.say("%s%s%s", indent, indent, strings.TrimRight(line, "\n"))
	}
	d.say("")
	if !strings.Contains(out.String(), strconv.Itoa(m.pid())) {
		return fmt.Errorf("the inspector does not name the owner, pid %d", m.pid())
	}
	return nil
}
