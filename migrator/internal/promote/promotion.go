package promote

import (
	"encoding/json"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// Promotion is one promotion: its journal's record and what the engine keeps
// in it.
type Promotion struct {
	Record *journal.Record
	Detail
}

// Detail is the part of a promotion that only this package reads.
type Detail struct {
	Shard  bucketmap.ShardName  `json:"shard"`
	Source bucketmap.Datacenter `json:"source"`
	Target bucketmap.Datacenter `json:"target"`
	// Epoch is the shard's before the promotion.
	Epoch bucketmap.Epoch `json:"epoch"`
	// Frozen is the position that the replica had applied before the commit
	// point: every write that was ever acknowledged to a user.
	Frozen string `json:"frozen,omitempty"`
	// FrozenAt is when the freeze that is in force began, by the clock of the
	// migrator; zero when there is none.
	FrozenAt time.Time `json:"frozen_at,omitzero"`
	// Link is how the replica was connected, so that the old primary connects
	// the same way.
	Link database.Link `json:"link"`
	// Alone is set when the promotion was ended without the old primary.
	Alone bool `json:"alone,omitempty"`
	// Lost is set when the old primary was given up before the promotion. Row is
	// then the shard's row on the replica, as the promotion found it.
	Lost bool   `json:"lost,omitempty"`
	Row  oldRow `json:"row,omitzero"`
}

// oldRow is what a lost primary's row was on its replica.
type oldRow struct {
	State fence.State `json:"state"`
	Token string      `json:"token,omitempty"`
}

// lostEpochs is by how much a failover raises the epoch: by one more than a
// promotion does, so that no epoch that a lost primary may have given, unheard
// of, is given again.
const lostEpochs = 2

// up is by how much the promotion raises the epoch.
func (d Detail) up() bucketmap.Epoch {
	if d.Lost {
		return lostEpochs
	}
	return 1
}

// State returns where the promotion is.
func (p *Promotion) State() State { return State(p.Record.State) }

// Load reads a promotion from a record.
func Load(r *journal.Record) (*Promotion, error) {
	p := &Promotion{Record: r}
	if r.Kind != journal.KindPromotion {
		return nil, fmt.Errorf("%s is a %s, not a promotion", r.Move, r.Kind)
	}
	if _, known := Next[State(r.State)]; !known {
		return nil, fmt.Errorf("%s: the journal has state %q, which this program does not know: use the newer migrator", r.Move, r.State)
	}
	if err := json.Unmarshal(r.Detail, &p.Detail); err != nil {
		return nil, fmt.Errorf("%s: the journal's detail: %w", r.Move, err)
	}
	return p, nil
}
