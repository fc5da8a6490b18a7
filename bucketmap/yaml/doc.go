// Package yaml is the form of the map for people: a YAML document that is
// pleasant to read, to edit and to compare, and the same as JSON.
//
//	version: 12
//	moved: 600        # the odometer, see bucketmap.Snapshot.Moved
//	buckets: 1024
//	default: {mode: auto, source: legacy, target: cloud, datacenter: legacy}
//	datacenters: [cloud, legacy]
//	shards:
//	  alpha: {datacenter: legacy, epoch: 1}
//	homes:            # shard: ranges of buckets
//	  alpha: ["0-511", "600"]
//	whitelist:        # datacenter: user ids
//	  cloud: [emp-1, "hex:ff00"]
//	epochs: {"17": 2} # of buckets that ever moved; ranges too, "17-40": 2
//	holds:
//	  - {buckets: "17", move: m-1, until: 2026-11-21T10:00:00.123Z}
//
// A pinned default is {mode: pinned, datacenter: legacy}. A hold has a shard
// instead of buckets when it covers a whole shard. What is empty may be left
// out: a moved of 0, shards, homes, whitelist, epochs, holds, and a shard's epoch of 1. A
// user id that is not printable UTF-8, or that begins with "hex:", is "hex:"
// and its bytes in hexadecimal.
//
// Decode first tries what Encode writes, to the byte: a proxy reads that while
// it serves requests, a version after the other. A document that is anything
// else is read in this order: (1) bounds: length, UTF-8, no control
// characters, no directives, how many values there can be; (2) the library's
// tree, from which mappings, sequences and scalars of one line are admitted,
// nested as deep as a map is and no deeper, and no anchors, aliases, tags,
// nulls or second document; a scalar is its text, whatever type YAML takes it
// for; (3) the tree to a draft; (4) the draft's own check. It reports every
// problem of steps 3 and 4 at once, as a [bucketmap.InvalidError] whose keys
// carry the line.
//
// The library is go.yaml.in/yaml/v3, because its time and memory grow with the
// input's length and no faster: at most 236 bytes allocated for a byte of
// input, over 25,000 hostile patterns of 200 kB. Its one quadratic input, many
// %TAG directives, step 1 refuses. github.com/goccy/go-yaml v1.19.2 took 6 GB
// for 40,000 keys; v4 of this one four times the memory for a map in JSON.
//
// The package never guesses: an unknown key, a key twice, a value of another
// kind, overlapping ranges are errors. It never keeps comments: Encode writes
// what the map says, always the same bytes for the same map.
//
// All functions may be called concurrently.
package yaml
