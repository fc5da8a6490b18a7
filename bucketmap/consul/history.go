package consul

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

// pageDigits is how many digits of a version the records of one request have
// in common: a request has 100 records at most.
const pageDigits = 10

// versions returns the versions of the history, in order.
func (s *Store) versions(ctx context.Context) ([]bucketmap.Version, error) {
	prefix := s.key(historyName, "")
	keys, err := retry(ctx, func(ctx context.Context) ([]string, error) {
		q := &api.QueryOptions{RequireConsistent: true}
		keys, meta, err := s.client.KV().Keys(prefix, "", q.WithContext(ctx))
		if err == nil && meta.ResultsFilteredByACLs {
			err = s.denied(fmt.Errorf("it shows not every key below %s", prefix))
		}
		return keys, err
	})
	if err != nil {
		return nil, err
	}
	var versions []bucketmap.Version
	for _, key := range keys {
		if version, ok := s.versionOf(key); ok {
			versions = append(versions, version)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

// versionOf parses the key of a record.
func (s *Store) versionOf(key string) (bucketmap.Version, bool) {
	number, err := strconv.ParseUint(strings.TrimPrefix(key, s.key(historyName, "")), 10, 64)
	version := bucketmap.Version(number)
	return version, err == nil && key == s.historyKey(version)
}

// History returns the record of every version, the newest first.
func (s *Store) History(ctx context.Context) ([]bucketmap.Record, error) {
	bounded, end, err := s.begin(ctx, loadMax)
	if err != nil {
		return nil, err
	}
	defer end()
	records, err := s.history(bounded)
	if err != nil {
		return nil, fmt.Errorf("history of the map: %w", s.explainLoad(ctx, err))
	}
	return records, nil
}

func (s *Store) history(ctx context.Context) ([]bucketmap.Record, error) {
	versions, err := s.versions(ctx)
	if err != nil {
		return nil, err
	}
	var prefixes []string
	for _, version := range versions {
		prefix := s.historyKey(version)
		prefixes = append(prefixes, prefix[:len(prefix)-len("000000000000")+pageDigits])
	}
	prefixes = slices.Compact(prefixes)
	pages := make([][]bucketmap.Record, len(prefixes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMax)
	for i, prefix := range prefixes {
		group.Go(func() (err error) {
			pages[i], err = s.historyPage(ctx, prefix)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	records := slices.Concat(pages...)
	slices.Reverse(records)
	return records, nil
}

// historyPage returns the records whose keys begin so, in order.
func (s *Store) historyPage(ctx context.Context, prefix string) ([]bucketmap.Record, error) {
	pairs, err := retry(ctx, func(ctx context.Context) (api.KVPairs, error) {
		q := &api.QueryOptions{RequireConsistent: true}
		pairs, _, err := s.client.KV().List(prefix, q.WithContext(ctx))
		return pairs, err
	})
	if err != nil {
		return nil, err
	}
	var records []bucketmap.Record
	for _, pair := range pairs {
		version, ok := s.versionOf(pair.Key)
		if !ok {
			continue
		}
		d, err := s.parseHistoric(pair, version)
		if err != nil {
			return nil, err
		}
		records = append(records, d.record())
	}
	slices.SortFunc(records, func(a, b bucketmap.Record) int { return int(int64(a.Version) - int64(b.Version)) })
	return records, nil
}
