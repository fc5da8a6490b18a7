package replicate

import (
	"context"
	"errors"
	"fmt"

	"drover/migrator/internal/database"
)

// ErrFamily is returned for servers of which no replica is made here. MySQL tells
// of no snapshot where in its binlog it is, unless every write waits meanwhile,
// and compares no replica at such a place. Its own clone plugin makes a replica
// better than a dump would.
var ErrFamily = errors.New("no replica of this server is made or compared here")

// family refuses servers of MySQL, with what makes the replica there.
func (e *Engine) family(ctx context.Context, servers ...*database.Server) error {
	for _, server := range servers {
		d, err := server.Dialect(ctx)
		if err != nil {
			return err
		}
		if d.MySQL() {
			return fmt.Errorf("%w: %s is MySQL %s; make it by the clone plugin, as docs/promotion.md says; "+
				"migrator shard promote looks at the replica itself", ErrFamily, server.Name(), d.Version)
		}
	}
	return nil
}
