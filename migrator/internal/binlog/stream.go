package binlog

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"drover/internal/pause"
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
	// At is when the server logged it, by the server's clock, to a second.
	At time.Time
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
	// eventsAhead and bytesAhead bound the events decoded and not yet taken. An
	// event is of 8 KiB unless one row is larger; it is of max_allowed_packet at
	// most, and then the only one.
	eventsAhead = 1024
	bytesAhead  = 64 << 20
	// TransactionMax bounds the rows of one transaction, which is in memory
	// whole until it is applied: a million rows of 256 bytes. Rows that Keep
	// does not want do not count. See Stream.Bound.
	TransactionMax = 256 << 20
)

// Stream follows one server.
type Stream struct {
	server   *database.Server
	tables   map[string]*followed
	position database.Position // after the last whole transaction
	keep     func(t *database.Table, deciding any) bool
	// fold says that the server takes names that differ in case for one, and
	// writes them in lower case.
	fold           bool
	transactionMax int
}

// NewStream follows server from a position on. The description of the tables
// must be that of the server.
func NewStream(server *database.Server, tables []*database.Table, from database.Position) *Stream {
	s := &Stream{server: server, tables: map[string]*followed{}, position: from.Clone(), transactionMax: TransactionMax}
	for _, t := range tables {
		s.tables[t.Name] = newFollowed(t)
	}
	return s
}

// Keep makes the stream drop, before they cost anything, the changes whose
// value in the column that decides the bucket is not wanted, neither before nor
// after. Of these no other value is looked at: one that cannot be read concerns
// nobody. It must be called before Run.
func (s *Stream) Keep(wanted func(t *database.Table, deciding any) bool) *Stream {
	s.keep = wanted
	return s
}

// Bound sets how many bytes the kept rows of one transaction may take, in the
// place of TransactionMax; 0 leaves it. It must be called before Run.
func (s *Stream) Bound(transactionMax int) *Stream {
	if transactionMax != 0 {
		s.transactionMax = transactionMax
	}
	return s
}

// kept says whether a row as go-mysql decoded it is wanted.
func (s *Stream) kept(t *followed, raw []any) (bool, error) {
	if s.keep == nil {
		return true, nil
	}
	deciding, err := t.decide(raw)
	return err == nil && s.keep(t.Table, deciding), err
}

// table finds the chosen table that a row event is of, nil if it is of another.
func (s *Stream) table(m *replication.TableMapEvent) *followed {
	if s.fold {
		if !strings.EqualFold(string(m.Schema), s.server.Database) {
			return nil
		}
		for name, t := range s.tables {
			if strings.EqualFold(string(m.Table), name) {
				return t
			}
		}
		return nil
	}
	if string(m.Schema) != s.server.Database {
		return nil
	}
	return s.tables[string(m.Table)]
}

// isChosen says whether a name in a statement may be that of a chosen table.
func (s *Stream) isChosen(name string) bool {
	for known := range s.tables {
		if sameName(name, known) {
			return true
		}
	}
	return false
}

// Run sends every transaction after the position to out until ctx ends or the
// stream cannot go on. It returns ctx's error, or what stopped it.
func (s *Stream) Run(ctx context.Context, out chan<- Transaction) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, 2*time.Second
	var broken time.Time
	for {
		before := s.position.String()
		err := s.connect(ctx, out)
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
		if err := pause.For(ctx, wait.NextBackOff()); err != nil {
			return err
		}
	}
}

// connect asks how the server compares names, and reads one connection until it
// breaks.
func (s *Stream) connect(ctx context.Context, out chan<- Transaction) error {
	folds, err := s.server.Variable(ctx, "lower_case_table_names")
	if err != nil {
		return err
	}
	s.fold = folds != "0"
	host, port, err := s.server.HostPort()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	id, err := randomServerID()
	if err != nil {
		return err
	}
	reading, cancel := context.WithCancel(ctx)
	d := newDecoder(s)
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID:                id,
		Flavor:                  database.MariaDB().Flavor,
		Host:                    host,
		Port:                    port,
		User:                    s.server.Account.User,
		Password:                s.server.Account.Password,
		Charset:                 "utf8mb4",
		TimestampStringLocation: time.UTC,
		HeartbeatPeriod:         heartbeat,
		ReadTimeout:             readTimeout,
		DisableRetrySync:        true, // its own retries say nothing; Run does it
		DiscardGTIDSet:          true, // it would copy one for each transaction
		VerifyChecksum:          true,
		EventCacheCount:         eventsAhead,
		RowsEventDecodeFunc: func(e *replication.RowsEvent, data []byte) error {
			return d.decode(reading, e, data)
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	defer syncer.Close()
	defer cancel() // before Close, which waits for the decoder
	set, err := mysql.ParseMariadbGTIDSet(s.position.String())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	streamer, err := syncer.StartSyncGTID(set)
	if err != nil {
		return classify(err)
	}
	return s.read(ctx, streamer, d, out)
}

// read takes events until there are no more, and passes transactions on.
func (s *Stream) read(ctx context.Context, streamer *replication.BinlogStreamer, d *decoder, out chan<- Transaction) error {
	tx := &assembler{stream: s}
	for {
		event, err := streamer.GetEvent(ctx)
		if err != nil {
			return cmp.Or(d.failure(), classify(err))
		}
		done, err := tx.add(event)
		d.taken(event)
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
