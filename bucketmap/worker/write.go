package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes the files into a folder, which it makes if need be. Each file
// appears whole or not at all; the tag in map.bin and config.json keeps a Worker
// from starting with files of two exports.
func (b *Bundle) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the Worker's folder: %w", err)
	}
	for _, f := range b.Files {
		if err := writeFile(filepath.Join(dir, f.Name), f.Data); err != nil {
			return fmt.Errorf("write the Worker: %w", err)
		}
	}
	if err := syncFolder(dir); err != nil {
		return fmt.Errorf("write the Worker: %w", err)
	}
	return nil
}

func writeFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	if err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
