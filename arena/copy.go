package arena

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/robust"
)

// openNamed opens the arena of this name to be looked at.
func openNamed(name string) (fd int, path string, err error) {
	if path, err = Path(name); err == nil {
		fd, err = openToRead(path)
	}
	return fd, path, err
}

func openToRead(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.ENOENT, unix.ENOTDIR:
			return -1, fmt.Errorf("arena: %w: %s", ErrNotExist, path)
		case unix.ELOOP:
			return -1, fmt.Errorf("arena: %w: %s is a symbolic link; name the file itself", ErrUnsafeFile, path)
		case unix.ENXIO:
			return -1, fmt.Errorf("arena: %w: %s is not a regular file", ErrNotArena, path)
		case unix.EACCES, unix.EPERM:
			return -1, fmt.Errorf("arena: %w to read %s: %w", ErrPermission, path, err)
		default:
			return -1, fmt.Errorf("arena: open %s: %w", path, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("arena: stat %s: %w", path, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			unix.Close(fd)
			return -1, fmt.Errorf("arena: %w: %s is not a regular file", ErrNotArena, path)
		}
		return fd, nil
	}
}

// largestImage is as much as the largest arena has; what a file has beyond it
// is nobody's.
const largestImage = segmentsStart + maxSegments*segmentSize

// copyFile copies the part of the file that its header says is in use, or what
// there is of it. It starts again if the file grew under it.
func copyFile(fd int) (image []byte, size int64, err error) {
	for {
		if size, err = sizeOf(fd); err != nil {
			return nil, 0, err
		}
		// A load from a hole of somebody else's file would fill it.
		start := make(picture, beginning)
		if n, err := unix.Pread(fd, start, 0); err != nil || !start[:n].beginsAsArena() {
			return start[:max(n, 0)], size, err
		}
		if image, err = withMapped(fd, size, copyUsed); err != nil {
			return nil, 0, err
		}
		if uint64(len(image)) >= neededBy(image) {
			return image, size, nil
		}
		if now, err := sizeOf(fd); err != nil || now <= size {
			return image, size, err
		}
	}
}

// neededBy is how many bytes the arena has that begins with head.
func neededBy(head picture) uint64 {
	segments := head.word32(atSegments)
	if !head.beginsAsArena() || head.word32(atVersion) != formatVersion || segments > maxSegments {
		return uint64(len(head))
	}
	return segmentsStart + uint64(segments)*segmentSize
}

func sizeOf(fd int) (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Size, err
}

// copyUsed copies whole words of what the header says is in use. The header is
// copied once, and first: the file may be growing. What is cut off meanwhile is
// missing at the end of the copy.
func copyUsed(words []atomic.Uint64) []byte {
	header := copyWords(nil, words[:min(len(words), headerSize/8)])
	used := min(uint64(len(words)), max(neededBy(header), headerSize)/8)
	image := append(make([]byte, 0, used*8), header...)
	return copyWords(image, words[len(image)/8:max(used, uint64(len(image)/8))])
}

// withMapped calls copying with the first size bytes of the file, in whole words.
func withMapped(fd int, size int64, copying func([]atomic.Uint64) []byte) ([]byte, error) {
	if size <= 0 {
		return nil, nil
	}
	mapped, err := unix.Mmap(fd, 0, int(min(size, largestImage)), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	defer unix.Munmap(mapped)
	return copying(wordsOf(mapped)), nil
}

// wordsOf is the one cast of the reading side.
//
// SAFETY: a mapping begins at a page, so the words are aligned; only whole
// words inside of it are made; the result is not used after the mapping is
// gone. Others write the words meanwhile: every access is an atomic load. The
// mapping is read-only, so that a store would fault.
func wordsOf(mapped []byte) []atomic.Uint64 {
	return unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(mapped))), len(mapped)/8)
}

// copyWords appends the words to image. A load of what the file does not have
// any more faults, which the runtime turns into a panic; then the copy ends
// before that page.
func copyWords(image []byte, words []atomic.Uint64) (copied []byte) {
	copied = image
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil && !faultedIn(r, words) {
			panic(r)
		}
	}()
	const step = pageSize / 8
	for at := 0; at < len(words); at += step {
		page := copied
		for i := range words[at:min(at+step, len(words))] {
			page = binary.LittleEndian.AppendUint64(page, words[at+i].Load())
		}
		copied = page
	}
	return copied
}

func faultedIn(r any, words []atomic.Uint64) bool {
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok || len(words) == 0 {
		return false
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(words)))
	return fault.Addr() >= first && fault.Addr() < first+uintptr(len(words))*8
}

// judgeAll says which of the members in the image are gone. A member whose
// entry changed between copy and verdict may have left in order: of it nothing
// is known.
func judgeAll(fd int, image []byte) (v verdicts) {
	s, _ := picture(image).decodeHeader()
	if s == nil || !s.readable {
		return v
	}
	s.picture.decodeMembers(s, &v)
	bytes := robust.Bytes{FD: fd, Base: livenessBase}
	for i := range s.Members {
		m := &s.Members[i]
		v[m.Index] = m.judge(func() robust.Verdict { return bytes.Probe(int(m.Index)) })
	}
	size, err := sizeOf(fd)
	if err != nil {
		return verdicts{}
	}
	again, err := withMapped(fd, min(size, segmentsStart), func(words []atomic.Uint64) []byte {
		return copyWords(nil, words)
	})
	if err != nil {
		return verdicts{}
	}
	for _, m := range s.Members {
		state := membersStart + uint64(m.Index)*memberSize
		if v[m.Index] == robust.Gone && picture(again).word64(state) != s.picture.word64(state) {
			v[m.Index] = robust.Unknown
		}
	}
	return v
}

// judge asks about a member as the members ask about each other. Of one that
// is joining only the byte is known.
func (m *MemberInfo) judge(probe func() robust.Verdict) robust.Verdict {
	if m.NoByte {
		probe = nil
	}
	return robust.Judge(m.Identity, probe, m.ByteOnly || m.Phase != PhaseLive)
}
