package binary_test

import (
	"crypto/ed25519"
	"fmt"
	"log"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/yaml"
)

func Example() {
	current, err := yaml.Decode([]byte(`
version: 3
buckets: 1024
default: {mode: pinned, datacenter: legacy}
datacenters: [legacy, cloud]
shards:
  alpha: {datacenter: legacy}
  beta: {datacenter: cloud}
homes:
  alpha: [0-1023]
`))
	if err != nil {
		log.Fatal(err)
	}
	// A key of one's own comes from a file, by ParsePrivateKey.
	sign, err := binary.ParsePrivateKey("QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=")
	if err != nil {
		log.Fatal(err)
	}
	keys := []ed25519.PublicKey{sign.Public().(ed25519.PublicKey)}

	// The publisher, and a reader that has nothing yet.
	whole := binary.Append(nil, current, sign)
	reader, err := binary.Decode(whole, keys)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d of %d buckets in %d bytes\n", reader.Version(), reader.Buckets(), len(whole))

	// The next version, and the same reader.
	draft := current.Edit()
	if err := draft.SetHome(17, 17, "beta"); err != nil {
		log.Fatal(err)
	}
	draft.Epochs[17] = 2
	next, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	small := binary.AppendDelta(nil, binary.MakeDelta(current, next), sign)
	delta, err := binary.DecodeDelta(small, keys)
	if err != nil {
		log.Fatal(err)
	}
	if reader, err = delta.Apply(reader); err != nil {
		log.Fatal(err)
	}
	home, _ := reader.Home(bucketmap.BucketID(17))
	fmt.Printf("version %d in %d bytes: bucket 17 is on %s\n", reader.Version(), len(small), home.Name)
	fmt.Println(reader.Digest() == next.Digest())
	// Output:
	// version 3 of 1024 buckets in 165 bytes
	// version 4 in 218 bytes: bucket 17 is on beta
	// true
}
