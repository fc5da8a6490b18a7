package cli

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/bucketmap/binary"
	"drover/bucketmap/yaml"
)

// outside runs a command that needs no configuration.
func outside(args ...string) ran {
	var out, errOut bytes.Buffer
	code := Run(context.Background(), Environment{Args: args, Out: &out, Err: &errOut})
	return ran{code, out.String(), errOut.String()}
}

const smallMap = "version: 3\nbuckets: 4\ndefault: {mode: pinned, datacenter: a}\ndatacenters: [a, b]\nshards:\n  x: {datacenter: a}\nhomes:\n  x: [\"0-3\"]\n"

func TestKeygenMakesAPairAndOverwritesNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "map")
	if r := outside("map", "keygen", "--out", name); r.code != 0 {
		t.Fatal(r)
	}
	info, err := os.Stat(name + ".key")
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the private key has mode %v", info.Mode())
	}
	before, err := os.ReadFile(name + ".key")
	must(t, err)
	if r := outside("map", "keygen", "--out", name); r.code != 3 || !strings.Contains(r.err, "is there already") {
		t.Fatal(r)
	}
	must(t, os.Remove(name+".key"))
	if r := outside("map", "keygen", "--out", name); r.code != 3 {
		t.Fatal(r)
	}
	if _, err := os.Stat(name + ".key"); !os.IsNotExist(err) {
		t.Error("half a pair was made")
	}
	private, err := binary.ParsePrivateKey(string(before))
	must(t, err)
	public, err := loadKeys(name + ".pub")
	must(t, err)
	if !public[0].Equal(private.Public()) {
		t.Error("the two are no pair")
	}
	if r := outside("map", "keygen"); r.code != 2 {
		t.Fatal(r)
	}
	if r := outside("map", "keygen", "--out", filepath.Join(name, "no", "folder")); r.code != 1 {
		t.Fatal(r)
	}
}

func TestVerifyListsEveryProblemAndChecksSignatures(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	snap, err := yaml.Decode([]byte(smallMap))
	must(t, err)
	key, other := filepath.Join(dir, "key"), filepath.Join(dir, "other")
	for _, name := range []string{key, other} {
		if r := outside("map", "keygen", "--out", name); r.code != 0 {
			t.Fatal(r)
		}
	}
	text, err := os.ReadFile(key + ".key")
	must(t, err)
	private, err := binary.ParsePrivateKey(string(text))
	must(t, err)
	good, signed := write("good.yaml", smallMap), write("signed.bin", string(binary.Append(nil, snap, private)))
	unsigned := write("unsigned.bin", string(binary.Append(nil, snap, nil)))
	broken := write("broken.yaml", strings.Replace(smallMap, "datacenter: a}\n", "datacenter: q}\n", 2))
	spoilt, forged := binary.Append(nil, snap, nil), binary.Append(nil, snap, private)
	spoilt[len(spoilt)/2] ^= 1
	forged[len(forged)-1] ^= 1
	empty := write("empty.yaml", strings.Split(smallMap, "homes:")[0])
	for _, c := range []struct {
		code  int
		args  []string
		words []string
	}{
		{0, []string{good, signed, unsigned}, []string{"good (text): version 3", "good (binary)", snap.Digest().String(), "not looked at"}},
		{0, []string{"--key", other + ".pub", "--key", key + ".pub", signed}, []string{"signature: verified"}},
		{1, []string{"--key", other + ".pub", signed}, []string{"not good", "signed with key"}},
		{1, []string{"--key", key + ".pub", unsigned}, []string{"not good"}},
		{1, []string{"--key", key + ".pub", good}, []string{"only the binary form can be signed"}},
		{1, []string{broken, good, filepath.Join(dir, "none")}, []string{"default.datacenter", "good (text)", "no such file", "2 of 3 maps"}},
		{1, []string{write("spoilt.bin", string(spoilt))}, []string{"not good"}},
		{1, []string{"--key", key + ".pub", write("forged.bin", string(forged))}, []string{"not good"}},
		{1, []string{empty}, []string{"none of its 4 buckets has a home"}},
		{1, []string{dir}, []string{"not good"}},
		{2, nil, nil},
		{2, []string{"--key", good, good}, []string{"--key"}},
	} {
		r := outside(append([]string{"map", "verify"}, c.args...)...)
		for _, word := range c.words {
			if !strings.Contains(r.out+r.err, word) {
				t.Errorf("%v: %q is not in\n%s%s", c.args, word, r.out, r.err)
			}
		}
		if r.code != c.code {
			t.Errorf("%v: code %d, want %d\n%s%s", c.args, r.code, c.code, r.out, r.err)
		}
	}
}

func TestExportWritesEveryTarget(t *testing.T) {
	d := ready(t)
	d.keys("sign")
	d.configure("{store: file, dir: map, sign_key_file: sign.key}")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1"})
	out := d.path("out")
	for _, c := range []struct {
		args []string
		file string
	}{
		{[]string{"haproxy", "--header", "X-Id", "--trusted", "10.0.0.0/8,192.168.0.0/16", "--backend", "cloud=be", "--section", "mine"}, "drover.cfg"},
		{[]string{"nginx", "--prefix", "d_"}, "drover.conf"},
		{[]string{"worker", "--upstream", "legacy=https://a.example.com", "--upstream", "cloud=https://b.example.com", "--cookie", "uid",
			"--failover", "legacy=cloud", "--path", "/1/user/{id}"}, "worker.mjs"},
		{[]string{"yaml"}, "map.yaml"},
		{[]string{"json"}, "map.json"},
		{[]string{"binary"}, "map.bin"},
	} {
		d.want(0, append([]string{"map", "export", "--out", out, "--target"}, c.args...), "map version 2", "is in "+out)
		if info, err := os.Stat(filepath.Join(out, c.file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", c.file, err)
		}
	}
	d.want(0, []string{"map", "diff", "2", filepath.Join(out, "map.json")}, "no difference")
	d.want(0, []string{"map", "verify", "--key", d.path("sign.pub"), filepath.Join(out, "map.bin")}, "verified")
	var r exported
	d.reads(&r, "map", "export", "1", "--target", "yaml", "--out", out)
	if r.Version != 1 || r.Path != filepath.Join(out, "map.yaml") {
		t.Errorf("got %+v", r)
	}
	d.want(3, []string{"map", "export", "1", "--target", "haproxy", "--out", out}) // older than what is there
	entries, err := os.ReadDir(out)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".map") || !e.IsDir() && e.Type()&fs.ModeType != 0 {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

func TestExportRefusesWhatTheTargetCannotUse(t *testing.T) {
	d := ready(t)
	out := d.path("out")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "hex:0a"})
	d.want(3, []string{"map", "export", "--target", "haproxy", "--out", out}, "refused")
	d.want(0, []string{"map", "export", "--target", "haproxy", "--out", out, "--allow-loss"}, "1 whitelisted users cannot be known")
	for _, args := range [][]string{
		{"--target", "haproxy"}, {"--out", out}, {"--target", "cobol", "--out", out}, {"--target", "worker", "--out", out},
		{"--target", "yaml", "--out", out, "--cookie", "uid"}, {"--target", "nginx", "--out", out, "--section", "x"},
		{"--target", "haproxy", "--out", out, "--header", "A", "--header", "B"}, {"--target", "haproxy", "--out", out, "--trusted", "10.0.0.1"},
		{"--target", "worker", "--out", out, "--failover", "legacy"}, {"9", "--target", "yaml", "--out", out}, {d.path("none"), "--target", "yaml", "--out", out},
	} {
		d.want(2, append([]string{"map", "export"}, args...))
	}
}
