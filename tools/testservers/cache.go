package testservers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// cacheFolder makes, if need be, the folder that outlives fleets: templates and
// unpacked packages. A user without a home gets one in the temporary folder.
func cacheFolder() (string, error) {
	if dir := os.Getenv("DROVER_CACHE"); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("DROVER_CACHE: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("DROVER_CACHE: %w", err)
		}
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "drover")
		if err = writable(dir); err == nil {
			return dir, nil
		}
	}
	dir, failure := privateFolder(filepath.Join(os.TempDir(), "drover-cache-"+strconv.Itoa(os.Getuid())))
	if failure != nil {
		return "", fmt.Errorf("no cache folder, set DROVER_CACHE to one: %w", errors.Join(err, failure))
	}
	return dir, nil
}

// writable makes the folder, if need be, and makes a file in it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "probe-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
