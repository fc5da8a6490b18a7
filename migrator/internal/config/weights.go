package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"go.yaml.in/yaml/v3"

	"drover/bucketmap"
	"drover/migrator/internal/move"
)

// weightsBytesMax bounds the weights: 1,048,576 buckets, each with a line of its
// own, are 20 MB.
const weightsBytesMax = 32 << 20

// LoadWeights reads the users per bucket: ranges of buckets and the users of
// each bucket in them; no bucket is in two of them. Buckets that the file does not
// name have no users. An empty path gives nil: every bucket counts as one.
func LoadWeights(path string) (func(bucketmap.BucketID) uint64, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(f, weightsBytesMax+1))
	if err == nil && len(text) > weightsBytesMax {
		err = fmt.Errorf("longer than %d bytes: name ranges of buckets that have about as many users", weightsBytesMax)
	}
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	users, err := weights(text)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	return func(b bucketmap.BucketID) uint64 { return users[b] }, nil
}

// weights takes the library's nodes: to decode a million buckets into a map, this
// library and the other one compare each key with every other.
func weights(text []byte) (map[bucketmap.BucketID]uint64, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty: leave the key weights out when the users are not known")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document: want one")
	}
	top := document.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf(`line %d: want ranges with their users, such as "0-99": 200`, top.Line)
	}
	users := make(map[bucketmap.BucketID]uint64, len(top.Content)/2)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		buckets, err := move.ParseBuckets(key.Value, bucketmap.BucketsMax)
		if key.Kind != yaml.ScalarNode || err != nil {
			return nil, fmt.Errorf("line %d: %q: want buckets, such as 17 or 0-99: %w", key.Line, key.Value, err)
		}
		n, err := strconv.ParseUint(value.Value, 10, 64)
		if value.Kind != yaml.ScalarNode || err != nil {
			return nil, fmt.Errorf("line %d: %s has %q users: want a number", value.Line, key.Value, value.Value)
		}
		for _, b := range buckets {
			if _, twice := users[b]; twice {
				return nil, fmt.Errorf("line %d: bucket %d stands further up: want each once", key.Line, b)
			}
			users[b] = n
		}
	}
	return users, nil
}
