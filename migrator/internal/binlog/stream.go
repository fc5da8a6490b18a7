package binlog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"drover/migrator/internal/database"
)

// ErrUnreadable is the class of what the stream cannot pass on without loss.
// Trying again does not help.
var ErrUnreadable = errors.New("the binlog cannot be followed")

// Row is one row: a value a column, nil for NULL, ready to be a parameter of a
// statement.
type Row []any

// Change is one row change. Before is nil for an insert, After for a delete.
type Change struct {
	Table         *database.Table
	Before, After Row
}

// Transaction is everything that one transaction did to the chosen tables;
// often nothing.
type Transaction struct {
	GTID    database.GTID
	Changes []Change
}

const (
	// heartbeat makes the server speak when it has nothing to say, so that a
	// dead connection is told from an idle server.
	heartbeat = 1 * time.Second
	// readTimeout ends a connection on which not even heartbeats arrive.
	readTimeout = 5 * time.Second
	// reconnectMax bounds how long a broken connection is opened again and
	// again before the stream gives up.
	reconnectMax = 60 * time.Second
	// eventsAhead bounds the events decoded and not yet taken.
	eventsAhead = 1024
)

// Stream follows one server.
type Stream struct {
	server   *database.Server
	tables   map[string]*database.Table
	position database.Position // after the last whole transaction
}

// NewStream follows server from a position on. The description of the tables
// must be that of the server.
func NewStream(server *database.Server, tables []*database.Table, from database.Position) *Stream {
	s := &Stream{server: server, tables: map[string]*database.Table{}, position: from.Clone()}
	for _, t := range tables {
		s.tables[t.Name] = t
	}
	return s
}

// Run sends every transaction after the position to out until ctx ends or the
// stream cannot go on. It returns ctx's error, or what stopped it.
func (s *Stream) Run(ctx context.Context, out chan<- Transaction) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, 2*time.Second
	var broken time.Time
	for {
		before := s.position.String()
		err := s.follow(ctx, out)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrUnreadable) {
			return fmt.Errorf("binlog of %s at %s: %w", s.server.Name(), s.position, err)
		}
		if s.position.String() != before || broken.IsZero() {
			broken = time.Now()
			wait.Reset()
		}
		if time.Since(broken) > reconnectMax {
			return fmt.Errorf("binlog of %s at %s: the connection could not be kept for %s: %w",
				s.server.Name(), s.position, reconnectMax, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// follow reads one connection until it breaks.
func (s *Stream) follow(ctx context.Context, out chan<- Transaction) error {
	host, port, err := s.server.HostPort()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	id, err := randomServerID()
	if err != nil {
		return err
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID:                id,
		Flavor:                  mysql.MariaDBFlavor,
		Host:                    host,
		Port:                    port,
		User:                    s.server.Account.User,
		Password:                s.server.Account.Password,
		Charset:                 "utf8mb4",
		TimestampStringLocation: time.UTC,
		HeartbeatPeriod:         heartbeat,
		ReadTimeout:             readTimeout,
		DisableRetrySync:        true, // its own retries say nothing; Run does it
		VerifyChecksum:          true,
		EventCacheCount:         eventsAhead,
		Logger:                  slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	defer syncer.Close()
	set, err := mysql.ParseMariadbGTIDSet(s.position.String())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	streamer, err := syncer.StartSyncGTID(set)
	if err != nil {
		return classify(err)
	}
	tx := &assembler{stream: s}
	for {
		event, err := streamer.GetEvent(ctx)
		if err != nil {
			return classify(err)
		}
		done, err := tx.add(event)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		select {
		case out <- tx.current:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.position.Advance(tx.current.GTID)
		tx.current = Transaction{}
	}
}

// The server's errors after which reconnecting is of no use: it has purged the
// position (1236), or the account may not read (1045, 1227).
const (
	erMasterFatal    = 1236
	erAccessDenied   = 1045
	erSpecificAccess = 1227
)

func classify(err error) error {
	var server *mysql.MyError
	if errors.As(err, &server) {
		switch server.Code {
		case erMasterFatal:
			return fmt.Errorf("%w: %w; raise expire_logs_days or begin the move again", ErrUnreadable, err)
		case erAccessDenied, erSpecificAccess:
			return fmt.Errorf("%w: %w; grant REPLICATION SLAVE to the migrator's account", ErrUnreadable, err)
		}
	}
	return err
}

// randomServerID picks the id of a replica that nobody else is: two replicas
// with one id throw each other out. 31 random bits, above the ids that people
// give.
func randomServerID() (uint32, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("binlog: random server id: %w", err)
	}
	return binary.LittleEndian.Uint32(b[:]) | 1<<31, nil
}
