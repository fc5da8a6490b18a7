package main

import (
	"time"

	"drover/internal/config"
	"drover/shardlib"
)

// Configuration is the YAML file's; flags change it.
type Configuration struct {
	Listen     string `yaml:"listen"`
	Datacenter string `yaml:"datacenter"`
	Instance   string `yaml:"instance"`
	MapDir     string `yaml:"map_dir"` // of the map's file store
	Shards     string `yaml:"shards"`  // path of the shard list
	Account    struct {
		User     string `yaml:"user"`
		Password string `yaml:"password"`
	} `yaml:"account"`
	Fence     string        `yaml:"fence"`
	MapWait   time.Duration `yaml:"map_wait"`
	DrainWait time.Duration `yaml:"drain_wait"`
	Retries   int           `yaml:"retries"`
	LogLevel  string        `yaml:"log_level"`
}

// The values of fence: who keeps the application from writing where a bucket's
// home is not.
const (
	fenceLibrary = "library" // shardlib does
	fenceTrigger = "trigger" // the triggers on the tables do; the application is as it always was
	fenceOff     = "off"     // nobody does, and a move loses writes: for demonstrations
)

func defaults() Configuration {
	return Configuration{
		Listen:    "127.0.0.1:8080",
		Instance:  "sampleapp",
		Fence:     fenceLibrary,
		MapWait:   2 * time.Second,
		DrainWait: 10 * time.Second,
		Retries:   3,
		LogLevel:  "info",
	}
}

func (c Configuration) validate() error {
	var p config.Problems
	p.Address("listen", c.Listen)
	p.Want(c.Datacenter != "", "datacenter", c.Datacenter, "the name of the own datacenter")
	p.Want(c.Instance != "", "instance", c.Instance, "a name")
	p.Want(c.MapDir != "", "map_dir", c.MapDir, "a folder")
	p.Want(c.Shards != "", "shards", c.Shards, "the path of a shard list")
	p.Want(c.Account.User != "", "account.user", c.Account.User, "a database account")
	p.Want(c.Fence == fenceLibrary || c.Fence == fenceTrigger || c.Fence == fenceOff, "fence", c.Fence, "library, trigger or off")
	p.Lasting("map_wait", c.MapWait, 0, time.Minute)
	p.Lasting("drain_wait", c.DrainWait, 0, 10*time.Minute)
	p.Between("retries", int64(c.Retries), 0, shardlib.RetriesMax)
	return p.Err()
}
