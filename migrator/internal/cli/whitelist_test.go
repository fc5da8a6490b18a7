package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

func TestWhitelistIsEdited(t *testing.T) {
	d := ready(t)
	d.unchanged(0, []string{"whitelist", "add", "--to", "cloud", "emp-1", "--dry-run"}, "would be 1 added", "nothing was changed")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1", "emp-2", "hex:ff00"}, "3 added", "map version 2")
	list := d.write("ids", "emp-2\r\n\nemp-3\nemp-3\n")
	var r whitelistResult
	d.reads(&r, "whitelist", "add", "--to", "legacy", "--file", list, "emp-1", "--why", "they stay")
	if (r != whitelistResult{Version: 3, Added: 1, Changed: 2, Total: 4}) {
		t.Fatalf("got %+v", r)
	}
	d.want(0, []string{"map", "history"}, "they stay", "whitelist 3 users for cloud")
	d.unchanged(0, []string{"whitelist", "add", "--to", "legacy", "emp-1"}, "1 as they were", "map version 3 stays")
	got := map[string]string{}
	d.reads(&got, "whitelist", "list", "--to", "cloud")
	if len(got) != 1 || got["hex:ff00"] != "cloud" {
		t.Fatalf("got %v", got)
	}
	r = whitelistResult{}
	d.reads(&r, "whitelist", "remove", "emp-1", "nobody", "hex:ff00")
	if (r != whitelistResult{Version: 4, Removed: 2, Unchanged: 1, Total: 2}) {
		t.Fatalf("got %+v", r)
	}
	d.want(0, []string{"whitelist", "list"}, "emp-2", "emp-3")
	d.want(0, []string{"whitelist", "remove", "emp-2", "emp-3"})
	d.want(0, []string{"whitelist", "list"}, "nobody")
}

func TestWhitelistRefusesWrongIDs(t *testing.T) {
	d := ready(t)
	long := d.write("long", strings.Repeat("x", 2000)+"\n")
	many, err := os.Create(d.path("many"))
	must(t, err)
	for i := range whitelistIDsMax + 1 {
		fmt.Fprintln(many, i)
	}
	must(t, many.Close())
	for _, args := range [][]string{
		{"add", "--to", "nowhere", "emp-1"}, {"add", "emp-1"}, {"add", "--to", "cloud"}, {"add", "--to", "cloud", ""},
		{"add", "--to", "cloud", "hex:f"}, {"add", "--to", "cloud", strings.Repeat("x", 257)},
		{"add", "--to", "cloud", "--file", d.path("none")}, {"add", "--to", "cloud", "--file", long},
		{"add", "--to", "cloud", "--file", many.Name()}, {"remove"},
	} {
		d.unchanged(2, append([]string{"whitelist"}, args...))
	}
	longest := d.write("longest", "hex:"+strings.Repeat("ff", bucketmap.UserIDMax)+"\r\n")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "--file", longest}, "1 added")
}

func TestPublishingWaitsForProxiesWhenAsked(t *testing.T) {
	d := ready(t)
	proxy, err := file.Open(d.path("map"), file.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1, Since: time.Now()}))
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1"})
	d.want(1, []string{"whitelist", "add", "--to", "cloud", "emp-2", "--wait", "50ms"}, "version 3 is published", "p1 runs 1")
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 4, Since: time.Now()}))
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-3", "--wait", "20s"}, "map version 4")
}
