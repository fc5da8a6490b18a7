package testservers

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"drover/internal/pause"
)

const (
	replicateWaitMax = 30 * time.Second
	replicatePoll    = 10 * time.Millisecond
)

// ReplicateFrom makes the server a read-only replica of the primary, by GTID,
// and waits until it is connected and applies. It does not wait until it has
// caught up.
//
// A fresh server replays the primary's whole binary log: all of them start from
// one template, whose binary log is empty. A server with transactions of its own
// goes on from its last one, which is right if the primary has those too (it was
// this server's replica), and an error if not.
//
// read_only is set as an operator would set it, so it does not outlive a
// restart; MariaDBOptions.Config can set it for good. Replication does go on
// after a restart.
func (m *MariaDB) ReplicateFrom(ctx context.Context, primary *MariaDB) error {
	ctx, cancel := context.WithTimeoutCause(ctx, replicateWaitMax, fmt.Errorf("not replicating after %v", replicateWaitMax))
	defer cancel()
	source := fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', "+
		"MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos", primary.Host(), primary.Port(), AccountReplica, Password)
	if err := m.Exec(ctx,
		"STOP SLAVE",
		"SET GLOBAL read_only = 1",
		"SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos",
		source,
		"START SLAVE",
	); err != nil {
		return fmt.Errorf("replicate from %s: %w", primary.name, err)
	}
	for {
		status, err := m.replicaStatus(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("replicate %s from %s: %w", m.name, primary.name, err)
		case status["Slave_IO_Running"] == "Yes" && status["Slave_SQL_Running"] == "Yes":
			return nil
		case status["Slave_IO_Running"] == "No" && status["Last_IO_Error"] != "":
			return fmt.Errorf("replicate %s from %s: %s", m.name, primary.name, status["Last_IO_Error"])
		case status["Slave_SQL_Running"] == "No" && status["Last_SQL_Error"] != "":
			return fmt.Errorf("replicate %s from %s: %s", m.name, primary.name, status["Last_SQL_Error"])
		}
		if pause.For(ctx, replicatePoll) != nil {
			return fmt.Errorf("replicate %s from %s: %w (receives: %s %s, applies: %s %s)", m.name, primary.name, context.Cause(ctx),
				status["Slave_IO_Running"], status["Last_IO_Error"], status["Slave_SQL_Running"], status["Last_SQL_Error"])
		}
	}
}

// replicaStatus returns the row of SHOW SLAVE STATUS by column; empty if the
// server is no replica.
func (m *MariaDB) replicaStatus(ctx context.Context) (map[string]string, error) {
	status := make(map[string]string)
	err := m.onRoot(ctx, func(connection *sql.Conn) error {
		rows, err := connection.QueryContext(ctx, "SHOW SLAVE STATUS")
		if err != nil {
			return err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(targets...); err != nil {
				return err
			}
			for i, column := range columns {
				status[column] = values[i].String
			}
		}
		return rows.Err()
	})
	return status, err
}
