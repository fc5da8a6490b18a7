package testservers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copyBlock is the unit in which copyFile looks for zeros.
const copyBlock = 64 << 10

// copyTree copies the folder source, of folders and regular files alone, to
// target, which must not exist.
//
// Blocks of zeros become holes. A data folder is mostly zeros (the redo log, the
// undo space), so this is quicker than cp, and than a reflink followed by
// the copy-on-write that the server would cause.
func copyTree(source, target string) error {
	buffer := make([]byte, copyBlock)
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		to := filepath.Join(target, relative)
		switch {
		case entry.IsDir():
			return os.Mkdir(to, 0o700)
		case entry.Type().IsRegular():
			return copyFile(path, to, buffer)
		default:
			return fmt.Errorf("copy %s: neither a folder nor a regular file", path)
		}
	})
}

func copyFile(source, target string, buffer []byte) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	zeros := make([]byte, len(buffer))
	var size int64
	for {
		n, err := io.ReadFull(in, buffer)
		if n > 0 && !bytes.Equal(buffer[:n], zeros[:n]) {
			if _, err := out.WriteAt(buffer[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}
