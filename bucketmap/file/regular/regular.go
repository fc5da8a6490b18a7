package regular

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

var (
	// ErrNotRegular is returned for a folder, a pipe, a socket and a device.
	ErrNotRegular = errors.New("want a regular file, or a link to one; put one in its place")
	// ErrTooLarge is returned for a file of more bytes than the bound.
	ErrTooLarge = errors.New("the file is too large; put the right one in its place")
)

// Read returns what the file at path holds, which is bytesMax bytes at most. The
// error of a file that cannot be looked at, opened or read is a *fs.PathError;
// ErrNotRegular and ErrTooLarge come without one.
func Read(path string, bytesMax int64) ([]byte, error) { return Append(nil, path, bytesMax) }

// Append is Read for who reads again and again: it appends to dst, and returns
// the longer slice, or nil with an error.
func Append(dst []byte, path string, bytesMax int64) ([]byte, error) {
	// Looked at before: to open a device can do something.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := check(path, info, bytesMax); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing to lose
	// It may be another one by now.
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := check(path, info, bytesMax); err != nil {
		return nil, err
	}
	// So that nothing is copied while it grows, and the end is found at once.
	return appendAll(slices.Grow(dst, int(info.Size())+bytes.MinRead), f, path, bytesMax)
}

func appendAll(dst []byte, f io.Reader, path string, bytesMax int64) ([]byte, error) {
	begin := len(dst)
	for {
		dst = slices.Grow(dst, 1)
		// One more than the bound, to see what has more.
		n, err := f.Read(dst[len(dst):min(int64(cap(dst)), int64(begin)+bytesMax+1)])
		dst = dst[:len(dst)+n]
		if n := int64(len(dst) - begin); n > bytesMax {
			return nil, tooLarge(path, n, bytesMax)
		}
		switch {
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return nil, err
		}
	}
}

func check(path string, info fs.FileInfo, bytesMax int64) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is %s: %w", path, kind(info.Mode()), ErrNotRegular)
	}
	if info.Size() > bytesMax {
		return tooLarge(path, info.Size(), bytesMax)
	}
	return nil
}

func tooLarge(path string, size, bytesMax int64) error {
	return fmt.Errorf("%s has %d bytes or more, and may have %d: %w", path, size, bytesMax, ErrTooLarge)
}

// kind names what is no regular file.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "something else"
	}
}
