// Package config reads the configuration files of Drover's programs.
//
// A program, in this order: (1) makes its config struct with every default
// set; (2) calls Load or Decode, which changes the keys that the file has and
// nothing else; (3) validates into a Problems, which reports everything that
// is wrong at once.
//
// An unknown key is an error with its line: a key with a typing mistake must
// not silently mean its default. Error texts carry no line of the file, since
// a file can hold tokens. The package reads no environment and writes nothing.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
)

// fileBytesMax bounds a configuration file: far above any that a person
// writes, far below what would hurt.
const fileBytesMax = 4 << 20

// Load decodes the YAML file at path into config, a pointer to a struct that
// holds the defaults. It may have 4 MiB.
func Load(path string, config any) error { return LoadMax(path, fileBytesMax, config) }

// LoadMax is Load of a file that a program may have written, of bytesMax at most.
func LoadMax(path string, bytesMax int, config any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the configuration: %w", err)
	}
	defer f.Close() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(f, int64(bytesMax)+1))
	if err != nil {
		return fmt.Errorf("read the configuration %s: %w", path, err)
	}
	if err := DecodeMax(text, bytesMax, config); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Decode decodes one YAML document into config, as Load does.
func Decode(text []byte, config any) error { return DecodeMax(text, fileBytesMax, config) }

// DecodeMax is Decode of bytesMax at most.
func DecodeMax(text []byte, bytesMax int, config any) error {
	if len(text) > bytesMax {
		return fmt.Errorf("longer than %d bytes", bytesMax)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	switch err := decoder.Decode(config); {
	case errors.Is(err, io.EOF):
		return errors.New("the configuration is empty")
	case err != nil:
		return errors.New(yaml.FormatError(err, false, false))
	}
	var second any
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return errors.New("more than one document: want one")
	}
	return nil
}
