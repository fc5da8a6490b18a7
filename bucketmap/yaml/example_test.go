package yaml_test

import (
	"fmt"
	"log"

	"drover/bucketmap/yaml"
)

func ExampleDecode() {
	snapshot, err := yaml.Decode([]byte(`
version: 3
buckets: 1024
default: {mode: pinned, datacenter: legacy}
datacenters: [legacy, cloud]
shards:
  alpha: {datacenter: legacy}
homes:
  alpha: [0-1023]
whitelist:
  cloud: [12345]
`))
	if err != nil {
		log.Fatal(err)
	}
	text, err := yaml.Encode(snapshot)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(text))

	_, err = yaml.Decode([]byte("version: 3\nbuckets: 0\ndefault: {mode: pinned, datacenter: x}\ndatacenters: []\n"))
	fmt.Println(err)
	// Output:
	// version: 3
	// buckets: 1024
	// default: {mode: pinned, datacenter: legacy}
	// datacenters: [cloud, legacy]
	// shards:
	//   alpha: {datacenter: legacy, epoch: 1}
	// homes:
	//   alpha: ["0-1023"]
	// whitelist:
	//   cloud: ["12345"]
	// invalid map, 2 problem(s); line 2: buckets: 0: want 1 to 1048576; line 3: default.datacenter: "x": want one of the map's datacenters
}
