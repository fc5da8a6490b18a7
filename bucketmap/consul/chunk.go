package consul

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// writeBase writes the full encoding of a map as chunks, and returns what names
// them. A chunk that is there is written again: it may be damaged.
func (s *Store) writeBase(ctx context.Context, snapshot *bucketmap.Snapshot) (base, error) {
	data := binary.Append(nil, snapshot, s.options.Sign)
	b := base{Version: snapshot.Version(), Size: len(data), Signer: s.signer()}
	if b.Size > chunksMax*chunkSize {
		return base{}, fmt.Errorf("%w: the map has %d bytes, and Consul is given %d at most; shorten the whitelist, or use another store", errBadChange, b.Size, chunksMax*chunkSize)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMax)
	for len(data) > 0 {
		chunk := data[:min(len(data), chunkSize)]
		data = data[len(chunk):]
		name := chunkName(chunk)
		b.Chunks = append(b.Chunks, name)
		group.Go(func() error { return s.put(ctx, s.chunkKey(name), chunk) })
	}
	if err := group.Wait(); err != nil {
		return base{}, err
	}
	return b, nil
}

// signer names the key that this store signs with.
func (s *Store) signer() string {
	if s.options.Sign == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(s.options.Sign.Public().(ed25519.PublicKey))
}

// readBase loads and verifies the full encoding that b names.
func (s *Store) readBase(ctx context.Context, b base) (*bucketmap.Snapshot, error) {
	data := make([]byte, b.Size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMax)
	for i, name := range b.Chunks {
		part := data[i*chunkSize : min((i+1)*chunkSize, b.Size)]
		group.Go(func() error { return s.readChunk(ctx, b, name, part) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	snapshot, err := binary.Decode(data, s.options.Keys)
	if err != nil {
		return nil, refuseCode(b.Version, fmt.Sprintf("the full encoding of version %d", b.Version), err)
	}
	if snapshot.Version() != b.Version {
		return nil, refuse(bucketmap.RuleHash, b.Version, fmt.Errorf("the chunks of version %d have version %d", b.Version, snapshot.Version()), remedyRestore)
	}
	return snapshot, nil
}

// readChunk fills part with the chunk of that name.
func (s *Store) readChunk(ctx context.Context, b base, name string, part []byte) error {
	good := func(value []byte) bool { return len(value) == len(part) && chunkName(value) == name }
	key := s.chunkKey(name)
	pair, err := s.getImmutable(ctx, key, good)
	switch {
	case err != nil:
		return err
	case pair == nil:
		return refuse(bucketmap.RuleUnreadable, b.Version, fmt.Errorf("%s, a chunk of version %d, is missing", key, b.Version), remedyRestore)
	case !good(pair.Value):
		return refuse(bucketmap.RuleHash, b.Version,
			fmt.Errorf("%s, a chunk of version %d, has %d bytes that are not what its name says, want %d", key, b.Version, len(pair.Value), len(part)), remedyRestore)
	}
	copy(part, pair.Value)
	return nil
}
