package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// whoMay says which users a file's mode lets read it.
func whoMay(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return "its folder lets only others in"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "root may"
	}
	may := []string{"root"}
	if owner := userName(st.Uid); st.Mode&0o400 != 0 && owner != "root" {
		may = append(may, owner)
	}
	if st.Mode&0o040 != 0 {
		may = append(may, "group "+groupName(st.Gid))
	}
	return fmt.Sprintf("%s may (mode %#o)", strings.Join(may, ", "), st.Mode&0o7777)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return "gid " + id
}

func inodeOf(info os.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
