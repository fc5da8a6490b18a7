package replicate

import (
	"context"
	"fmt"
	"strings"

	"drover/shardlib/fence"
)

// defaultMode is that of the sessions of package database, in which tables are
// made: a default of 0000-00-00 is taken as it is.
const defaultMode = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"

// define makes what the objects say, in their order, in a session of the
// replica.
func define(ctx context.Context, s *session, objects []object) error {
	var later []object // views that use one that is not there yet
	for _, o := range objects {
		err := defineOne(ctx, s, o)
		if err != nil && o.kind == kindView {
			later = append(later, o)
			continue
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", o, err)
		}
	}
	// Each round makes one view or more.
	for len(later) != 0 {
		var still []object
		var failure error
		for _, o := range later {
			if err := defineOne(ctx, s, o); err != nil {
				still, failure = append(still, o), fmt.Errorf("make %s: %w; if it is broken on the primary too, mend or drop it there", o, err)
			}
		}
		if len(still) == len(later) {
			return failure
		}
		later = still
	}
	return nil
}

func defineOne(ctx context.Context, s *session, o object) error {
	if o.kind == kindSchema {
		return s.exec(ctx, "DROP DATABASE IF EXISTS "+fence.Quote(o.schema), o.create) // it is empty, or of this run
	}
	client, collation, mode, zone := "utf8mb4", "utf8mb4_general_ci", defaultMode, "+00:00"
	if o.client != "" {
		client, collation = o.client, o.collation
	}
	if o.kind != kindTable && o.kind != kindSequence && o.kind != kindView {
		mode = o.mode
	}
	if o.zone != "" {
		zone = o.zone
	}
	statements := []string{
		"USE " + fence.Quote(o.schema),
		"SET SESSION character_set_client=" + client, "SET SESSION collation_connection=" + collation,
		"SET SESSION time_zone='" + zone + "'", "SET SESSION sql_mode='" + mode + "'",
		o.create,
	}
	if o.kind == kindEvent {
		// Not before the promotion, and then by hand: docs/promotion.md.
		user, host, _ := cutLast(o.definer, "@")
		statements = append(statements, "ALTER DEFINER="+fence.Quote(user)+"@"+fence.Quote(host)+" EVENT "+fence.Quote(o.name)+" DISABLE ON SLAVE")
	}
	err := s.exec(ctx, statements...)
	if back := s.exec(ctx, "SET NAMES binary", "SET SESSION time_zone='+00:00'", "SET SESSION sql_mode='STRICT_ALL_TABLES,"+defaultMode+"'"); err == nil {
		err = back
	}
	return err
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}
