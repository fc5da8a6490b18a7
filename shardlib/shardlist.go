package shardlib

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"drover/bucketmap"
)

// ShardList says where the servers are. The primary of a shard is its server
// in the datacenter that the map says the shard lives in, so a promotion
// changes the map and never the list.
//
//	database: app
//	shards:
//	  alpha: {legacy: "10.1.0.5:3306"}
//	  beta:  {legacy: "10.1.0.6:3306", cloud: "10.2.0.6:3306"} # in the cloud: a replica, until a promotion
//	caches:
//	  legacy: ["10.1.0.9:11211"]
//	  cloud:  ["10.2.0.9:11211"]
//
// The order of a datacenter's caches places the keys: it must be the same in
// every process.
type ShardList struct {
	Database string                                                  `yaml:"database"`
	Shards   map[bucketmap.ShardName]map[bucketmap.Datacenter]string `yaml:"shards"`
	Caches   map[bucketmap.Datacenter][]string                       `yaml:"caches"`
}

// shardListBytesMax bounds a file: 65,534 shards with two servers each take
// about 6 MB.
const shardListBytesMax = 16 << 20

// LoadShardList reads and checks a file.
func LoadShardList(path string) (ShardList, error) {
	f, err := os.Open(path)
	if err != nil {
		return ShardList{}, fmt.Errorf("shard list: %w", err)
	}
	defer f.Close() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(f, shardListBytesMax+1))
	if err != nil {
		return ShardList{}, fmt.Errorf("shard list: %w", err)
	}
	list, err := ParseShardList(text)
	if err != nil {
		return ShardList{}, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// ParseShardList reads and checks YAML. An unknown key is an error.
func ParseShardList(text []byte) (ShardList, error) {
	if len(text) > shardListBytesMax {
		return ShardList{}, fmt.Errorf("shard list: more than %d bytes", shardListBytesMax)
	}
	var list ShardList
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	switch err := decoder.Decode(&list); {
	case errors.Is(err, io.EOF):
		return ShardList{}, errors.New("shard list: it is empty")
	case err != nil:
		return ShardList{}, fmt.Errorf("shard list: %s", yaml.FormatError(err, false, false))
	}
	var second any
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return ShardList{}, errors.New("shard list: more than one document: want one")
	}
	if err := list.Validate(); err != nil {
		return ShardList{}, err
	}
	return list, nil
}

// Validate reports every problem at once.
func (l ShardList) Validate() error {
	var problems []error
	add := func(key, value, bound string) {
		problems = append(problems, fmt.Errorf("%s: %s: want %s", key, value, bound))
	}
	if l.Database == "" || len(l.Database) > 64 {
		add("database", strconv.Quote(l.Database), "a name of 1 to 64 characters")
	}
	if len(l.Shards) == 0 {
		add("shards", "none", "one or more")
	}
	owner := map[string]string{} // address → key
	for _, shard := range slices.Sorted(maps.Keys(l.Shards)) {
		servers := l.Shards[shard]
		if len(servers) == 0 {
			add(fmt.Sprintf("shards.%s", shard), "no server", "one in each datacenter the shard may live in")
		}
		for _, dc := range slices.Sorted(maps.Keys(servers)) {
			key, address := fmt.Sprintf("shards.%s.%s", shard, dc), servers[dc]
			if !validAddress(address) {
				add(key, strconv.Quote(address), "host:port")
			} else if other, taken := owner[address]; taken {
				// Two shards on one server would share the shard's fence row.
				add(key, address, "another server than "+other)
			}
			owner[address] = key
		}
	}
	for _, dc := range slices.Sorted(maps.Keys(l.Caches)) {
		for i, address := range l.Caches[dc] {
			key := fmt.Sprintf("caches.%s[%d]", dc, i)
			if !validAddress(address) {
				add(key, strconv.Quote(address), "host:port")
			}
			if slices.Contains(l.Caches[dc][:i], address) {
				add(key, address, "each server once")
			}
		}
	}
	if len(problems) != 0 {
		return fmt.Errorf("shard list: %d problem(s): %w", len(problems), errors.Join(problems...))
	}
	return nil
}

func validAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && n != 0 && host != "" && !strings.ContainsAny(host, " /?@()")
}

// Address returns the shard's server in a datacenter, host:port.
func (l ShardList) Address(shard bucketmap.ShardName, dc bucketmap.Datacenter) (string, bool) {
	address, ok := l.Shards[shard][dc]
	return address, ok
}
