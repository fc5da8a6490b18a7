package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	node "go.yaml.in/yaml/v3"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/yaml"
)

const (
	// stdin is the name by which an argument means standard input.
	stdin = "-"
	// mapFileBytesMax bounds a map in a file: a million buckets, each with a home
	// and an epoch of its own, take about 30 MB.
	mapFileBytesMax = 64 << 20
)

// readMapText reads a map's file, or standard input.
func readMapText(cmd *cobra.Command, path string) ([]byte, error) {
	if path == stdin {
		return readBounded(cmd.InOrStdin(), "standard input")
	}
	return readFileBounded(path)
}

func readFileBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	defer f.Close() // read only: nothing to lose
	return readBounded(f, path)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, mapFileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUsage, name, err)
	}
	if len(text) > mapFileBytesMax {
		return nil, fmt.Errorf("%w: %s has more than %d bytes: a map has at most so many", errUsage, name, mapFileBytesMax)
	}
	return text, nil
}

// readMapFile reads a map in YAML, JSON or binary.
func readMapFile(path string) (*bucketmap.Snapshot, error) {
	text, err := readFileBounded(path)
	if err != nil {
		return nil, err
	}
	return decodeMap(path, text)
}

// decodeMap tells the forms apart by the first bytes. A signature is not looked
// at: whoever gives the file answers for it, as for one in YAML.
func decodeMap(name string, text []byte) (*bucketmap.Snapshot, error) {
	var snap *bucketmap.Snapshot
	var err error
	switch {
	case binary.IsDelta(text):
		err = errors.New("this is what changes from one map to another: give a whole map")
	case binary.Is(text):
		snap, err = binary.Decode(text, nil)
	default:
		snap, err = yaml.Decode(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUsage, name, err)
	}
	return snap, nil
}

// decodeNext is decodeMap for a map that is to be published. One in YAML or JSON
// that has no version, or version 0, gets the one that is next.
func decodeNext(name string, text []byte, next bucketmap.Version) (*bucketmap.Snapshot, error) {
	snap, err := decodeMap(name, text)
	var invalid *bucketmap.InvalidError
	if !errors.As(err, &invalid) || binary.Is(text) {
		return snap, err
	}
	// It is a document of the right kind: where the decoder gave up earlier, the
	// error is another one.
	if !slices.ContainsFunc(invalid.Problems, func(p bucketmap.Problem) bool {
		return p.Key == "version" || strings.HasSuffix(p.Key, ": version")
	}) {
		return nil, err
	}
	completed, ok := withVersion(text, next)
	if !ok {
		return nil, err
	}
	return decodeMap(name, completed)
}

// withVersion returns the document with a version where it has none or 0, and
// says whether that was so. Lines keep their numbers.
func withVersion(text []byte, version bucketmap.Version) ([]byte, bool) {
	var doc node.Node
	if err := node.Unmarshal(text, &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != node.MappingNode {
		return nil, false
	}
	root := doc.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "version" {
			continue
		}
		value := root.Content[i+1]
		at, ok := offset(text, value.Line, value.Column)
		if value.Kind != node.ScalarNode || value.Value != "0" || value.Style != 0 || !ok {
			return nil, false
		}
		return splice(text, at, 1, fmt.Sprint(version)), true
	}
	if root.Style&node.FlowStyle != 0 {
		at, ok := offset(text, root.Line, root.Column)
		if !ok || text[at] != '{' {
			return nil, false
		}
		comma := ","
		if len(root.Content) == 0 {
			comma = ""
		}
		return splice(text, at+1, 0, fmt.Sprintf(`"version": %d%s `, version, comma)), true
	}
	if len(root.Content) == 0 {
		return nil, false
	}
	return fmt.Appendf(bytes.Clone(text), "\n%sversion: %d\n", strings.Repeat(" ", root.Content[0].Column-1), version), true
}

func splice(text []byte, at, remove int, insert string) []byte {
	return slices.Concat(text[:at], []byte(insert), text[at+remove:])
}

// offset finds a place by its line and column, both from 1, the column in
// characters.
func offset(text []byte, line, column int) (int, bool) {
	at := 0
	for ; line > 1; line-- {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			return 0, false
		}
		at += end + 1
	}
	for range text[at:] { // at most so many characters
		if column <= 1 {
			return at, at < len(text)
		}
		size := 1
		for at+size < len(text) && text[at+size]&0xC0 == 0x80 {
			size++
		}
		at += size
		column--
	}
	return 0, false
}
