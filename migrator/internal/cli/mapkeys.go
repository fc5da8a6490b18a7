package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/migrator/internal/config"
)

// keygenResult is what migrator map keygen prints as JSON.
type keygenResult struct {
	PrivateFile string `json:"private_file"`
	PublicFile  string `json:"public_file"`
	Public      string `json:"public"` // base64 of the 32 bytes
}

func (a *app) mapKeygen() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "keygen --out NAME",
		Short: "Make a key pair that signs maps",
		Long: `Make a key pair that signs maps: NAME.key is the private half, for
map.sign_key_file of the migrator, which nobody else may read; NAME.pub the
public half, for the proxies. Both are PEM. Neither is ever overwritten.

Proxies with a public key refuse every map that is not signed by its private
half. To begin: publish once with the private key, then give the proxies the
public one.`,
		Example: `  migrator map keygen --out /etc/drover/map-2026`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return fmt.Errorf("%w: give --out NAME", errUsage)
			}
			r, err := keygen(out)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(r)
			}
			a.printf("%s is the private key: map.sign_key_file of the migrator\n%s is the public key, for the proxies: %s\n", r.PrivateFile, r.PublicFile, r.Public)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "the path of both files, without .key and .pub")
	return c
}

func keygen(out string) (*keygenResult, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	r := &keygenResult{PrivateFile: out + ".key", PublicFile: out + ".pub", Public: base64.StdEncoding.EncodeToString(public)}
	if _, err := os.Lstat(r.PublicFile); err == nil {
		return nil, fmt.Errorf("%w: nothing was changed: %s is there already: give another --out", errRefused, r.PublicFile)
	}
	if err := writeNew(r.PrivateFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}), 0o600); err != nil {
		return nil, err
	}
	if err := writeNew(r.PublicFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), 0o644); err != nil {
		return nil, errors.Join(err, os.Remove(r.PrivateFile))
	}
	return r, nil
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: nothing was changed: %s is there already: give another --out", errRefused, path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// verified is what migrator map verify prints of one file as JSON.
type verified struct {
	File        string            `json:"file"`
	Problem     string            `json:"problem,omitempty"`
	Form        string            `json:"form,omitempty"` // text or binary
	Version     bucketmap.Version `json:"version,omitempty"`
	Digest      bucketmap.Digest  `json:"digest,omitzero"`
	Buckets     uint32            `json:"buckets,omitempty"`
	Homeless    uint32            `json:"homeless,omitempty"`
	Shards      int               `json:"shards,omitempty"`
	Whitelisted int               `json:"whitelisted,omitempty"`
	// Signature is "verified", or "not looked at" without --key.
	Signature string `json:"signature,omitempty"`
}

func (a *app) mapVerify() *cobra.Command {
	var keyFiles []string
	c := &cobra.Command{
		Use:     "verify FILE...",
		Aliases: []string{"check"},
		Short:   "Check maps in files, YAML, JSON or binary; no configuration is needed",
		Long: `Check maps in files, YAML, JSON or binary; no configuration is needed.

Every problem of every file is listed, and the exit code is 1 when there is one.
With --key each file must be signed by one of these keys, which only the binary
form can be. Whether a map may come into force here: migrator map push --dry-run.`,
		Example: `  migrator map verify next.yaml
  migrator map verify --key /etc/drover/map-2026.pub map.bin`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := config.LoadPublicKeys(keyFiles)
			if err != nil {
				return fmt.Errorf("%w: --key: %w", errUsage, err)
			}
			results := make([]verified, len(args))
			bad := 0
			for i, path := range args {
				results[i] = verifyMap(cmd, path, keys)
				if results[i].Problem != "" {
					bad++
				}
			}
			if err := a.printVerified(results); err != nil {
				return err
			}
			if bad != 0 {
				return fmt.Errorf("%d of %d maps are not good", bad, len(args))
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&keyFiles, "key", nil, "a file with a public key, of which one must have signed the map (repeat)")
	return c
}

func verifyMap(cmd *cobra.Command, path string, keys []ed25519.PublicKey) verified {
	v := verified{File: path, Form: "text"}
	text, err := readMapText(cmd, path)
	if err != nil {
		v.Problem = err.Error()
		return v
	}
	if binary.Is(text) {
		v.Form = "binary"
	}
	v.Signature = "not looked at"
	var snap *bucketmap.Snapshot
	switch {
	case len(keys) == 0:
		snap, err = decodeMap(path, text)
	case v.Form != "binary":
		err = errors.New("only the binary form can be signed: migrator map export --target binary writes it")
	default:
		snap, err = binary.Decode(text, keys)
		v.Signature = "verified"
	}
	if err == nil {
		err = bucketmap.Guard{}.Check(nil, snap)
	}
	if err != nil {
		v.Problem, v.Signature = err.Error(), ""
		return v
	}
	v.Version, v.Digest, v.Buckets, v.Homeless = snap.Version(), snap.Digest(), snap.Buckets(), snap.Homeless()
	v.Shards, v.Whitelisted = len(snap.Shards()), snap.WhitelistLen()
	return v
}

func (a *app) printVerified(results []verified) error {
	if a.json() {
		return a.printJSON(results)
	}
	for _, v := range results {
		if v.Problem != "" {
			a.printf("%s: not good: %s\n", v.File, v.Problem)
			continue
		}
		a.printf("%s: good (%s): version %d, digest %s, %d buckets (%d without a home), %d shards, %d on the whitelist; signature: %s\n",
			v.File, v.Form, v.Version, v.Digest, v.Buckets, v.Homeless, v.Shards, v.Whitelisted, v.Signature)
	}
	return nil
}
