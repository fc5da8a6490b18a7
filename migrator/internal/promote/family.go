package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"drover/migrator/internal/database"
)

// ErrFamily is returned for servers of a family, or of a version, with which a
// promotion is not begun.
var ErrFamily = errors.New("this server is not supported")

// accepts says whether a promotion may be begun with these servers, and returns
// their dialect. What was begun is gone on with whatever the servers are: an
// operator must be able to undo it.
func (e *Engine) accepts(ctx context.Context, servers ...*database.Server) (database.Dialect, error) {
	var first database.Dialect
	for n, server := range servers {
		d, err := server.Dialect(ctx)
		if err != nil {
			return d, err
		}
		switch {
		case d.MySQL() && d.Version.Before(database.MySQLFirst):
			return d, fmt.Errorf("%w: %s is MySQL %s; use %s or newer", ErrFamily, server.Name(), d.Version, database.MySQLFirst)
		case d.MySQL() && !e.AllowMySQL:
			return d, fmt.Errorf("%w: %s is MySQL %s, and promotions are tested with MariaDB; to promote it all the same, "+
				"after a promotion and a return of a copy of it, set promotion.allow_mysql", ErrFamily, server.Name(), d.Version)
		case n != 0 && d.MySQL() != first.MySQL():
			return d, fmt.Errorf("%w: %s is %s, %s is %s; neither can follow the other", ErrFamily, servers[0].Name(), first.Family(), server.Name(), d.Family())
		}
		if n == 0 {
			first = d
		}
	}
	return first, nil
}

// family is accepts as a check. Without it no other check means anything.
func (i *inspection) family(ctx context.Context, servers ...*database.Server) (accepted bool, err error) {
	i.dialect, err = i.accepts(ctx, servers...)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		remedy := "make it possible to check this"
		if errors.Is(err, ErrFamily) {
			remedy = "see docs/promotion.md, MySQL"
		}
		i.refuse(servers[0], CheckFamily, remedy, "%s", err)
		return false, nil
	}
	for _, server := range servers {
		if i.dialect.MySQL() { // of what it should be, nothing is said
			i.warn(server, CheckFamily, "promote and return a copy of it first", "it is MySQL %s, with which promotions are not tested continuously", i.dialect.Version)
		}
	}
	return true, nil
}

// dialectWords are the statements that an operator is told, in the server's dialect.
type dialectWords struct {
	endReplication, followByGTID, noDelay, startAgain, seeLag string
	stopReceiving, netTimeout, startApplying, startReceived   string
	neverStop, forgetErrant                                   string
}

func wordsOf(d database.Dialect) dialectWords {
	if d.MySQL() {
		return dialectWords{
			endReplication: "STOP REPLICA and RESET REPLICA ALL",
			followByGTID:   "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1; START REPLICA",
			noDelay:        "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY=0; START REPLICA SQL_THREAD",
			startAgain:     "put right what stopped it, then START REPLICA; see SHOW REPLICA STATUS",
			seeLag:         "Seconds_Behind_Source in SHOW REPLICA STATUS",
			stopReceiving:  "STOP REPLICA IO_THREAD",
			netTimeout:     "replica_net_timeout",
			startApplying:  "START REPLICA SQL_THREAD",
			neverStop:      ", and never CHANGE REPLICATION SOURCE or RESET REPLICA: what it has received would be thrown away",
			startReceived:  "START REPLICA SQL_THREAD",
			forgetErrant: "execute on the primary, for each of them, SET gtid_next = 'UUID:NUMBER'; BEGIN; COMMIT; SET gtid_next = AUTOMATIC: " +
				"an empty transaction of the same name",
		}
	}
	return dialectWords{
		endReplication: "STOP SLAVE and RESET SLAVE ALL",
		followByGTID:   "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE",
		noDelay:        "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0; START SLAVE",
		startAgain:     "put right what stopped it, then START SLAVE; see SHOW ALL SLAVES STATUS",
		seeLag:         "Seconds_Behind_Master in SHOW ALL SLAVES STATUS",
		stopReceiving:  "STOP SLAVE IO_THREAD",
		netTimeout:     "slave_net_timeout",
		startApplying:  "START SLAVE SQL_THREAD",
		neverStop:      ", and never STOP SLAVE: what it has received would be thrown away",
		startReceived: "if the other thread is running or connecting, START SLAVE SQL_THREAD; if both are stopped, START SLAVE would throw away " +
			"what was received: copy the relay logs first, and apply them with mysqlbinlog",
		forgetErrant: "STOP SLAVE, RESET MASTER, SET GLOBAL gtid_slave_pos back to its old value, START SLAVE",
	}
}

// The variables of semi-synchronous commits: MySQL's plugins have other names
// from 8.0.26 on, and a server has those that it loaded.
var (
	semiSyncPrimary = []string{"rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled"}
	semiSyncReplica = []string{"rpl_semi_sync_slave_enabled", "rpl_semi_sync_replica_enabled"}
)

// firstVariable returns the first of these variables that the server has, with
// its value as SHOW writes it, ON and not 1; no name when it has none.
func firstVariable(ctx context.Context, server *database.Server, names ...string) (name, value string, err error) {
	err = server.DB.QueryRowContext(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('"+strings.Join(names, "','")+"')").Scan(&name, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", nil
	}
	return name, value, err
}
