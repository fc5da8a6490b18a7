package replicate

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"drover/shardlib/fence"
)

// kind is what a definition makes.
type kind string

const (
	kindSchema   kind = "database"
	kindSequence kind = "sequence"
	kindTable    kind = "table"
	kindRoutine  kind = "routine" // functions, procedures, packages
	kindView     kind = "view"
	kindTrigger  kind = "trigger"
	kindEvent    kind = "event"
)

// object is one definition, as the server writes it: bytes, in the character
// set in which it was made.
type object struct {
	kind         kind
	schema, name string
	create       string
	// mode, client, collation and zone are those of the session that made it.
	mode, client, collation, zone string
	definer                       string // of an event
	rows                          int64  // of a table, about
}

func (o object) String() string { return fmt.Sprintf("%s %s.%s", o.kind, o.schema, o.name) }

// counter is the next number of an AUTO_INCREMENT, which is no part of what a
// table is.
var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// eventState is what a replica has otherwise.
var eventState = regexp.MustCompile(` (ENABLE|DISABLE ON SLAVE|DISABLE) (COMMENT |DO )`)

// comparable is what must be the same on both servers.
func (o object) comparable() string {
	text := o.create
	switch o.kind {
	case kindTable:
		text = counter.ReplaceAllString(text, "")
	case kindEvent:
		text = eventState.ReplaceAllString(text, " $2")
	case kindSequence, kindSchema, kindRoutine, kindView, kindTrigger:
	}
	return strings.Join([]string{text, o.mode, o.client, o.collation, o.zone}, "\x00")
}

// readSchema reads every definition of a server, in the order in which they can
// be made.
func readSchema(ctx context.Context, s *session) ([]object, error) {
	schemas, err := userSchemas(ctx, s.conn)
	if err != nil {
		return nil, err
	}
	if err := s.exec(ctx, "SET SESSION sql_quote_show_create=1", "SET SESSION character_set_results=NULL"); err != nil {
		return nil, err
	}
	var all []object
	for _, schema := range schemas {
		found, err := readOneSchema(ctx, s, schema)
		if err != nil {
			return nil, fmt.Errorf("%s: definitions of %s: %w", s.server.Name(), schema, err)
		}
		all = append(all, found...)
	}
	order := []kind{kindSchema, kindSequence, kindTable, kindRoutine, kindView, kindTrigger, kindEvent}
	slices.SortStableFunc(all, func(a, b object) int {
		return cmp.Compare(slices.Index(order, a.kind), slices.Index(order, b.kind))
	})
	return all, nil
}

func readOneSchema(ctx context.Context, s *session, schema string) ([]object, error) {
	shown, err := lines(ctx, s.conn, "SHOW CREATE DATABASE "+fence.Quote(schema))
	if err != nil {
		return nil, err
	}
	all := []object{{kind: kindSchema, schema: schema, name: schema, create: shown[0]["Create Database"]}}
	for _, read := range []struct{ list, args string }{
		{"SELECT TABLE_NAME AS name, TABLE_TYPE AS type, TABLE_ROWS AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE <> 'TEMPORARY' ORDER BY TABLE_NAME", ""},
		{"SELECT ROUTINE_NAME AS name, ROUTINE_TYPE AS type, 0 AS n FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? ORDER BY ROUTINE_TYPE, ROUTINE_NAME", ""},
		{"SELECT TRIGGER_NAME AS name, 'TRIGGER' AS type, 0 AS n FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ? " +
			"ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER", ""},
		{"SELECT EVENT_NAME AS name, 'EVENT' AS type, 0 AS n FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? ORDER BY EVENT_NAME", ""},
	} {
		listed, err := lines(ctx, s.conn, read.list, schema)
		if err != nil {
			return nil, err
		}
		for _, line := range listed {
			o, err := readObject(ctx, s, schema, line["name"], line["type"])
			if err != nil {
				return nil, err
			}
			_, _ = fmt.Sscan(line["n"], &o.rows) // an estimate, and NULL for a view
			all = append(all, o)
		}
	}
	return all, nil
}

// shows are, by information_schema's word, the word of SHOW CREATE and the
// columns of the answer that have the text.
var shows = map[string]struct {
	kind         kind
	word, column string
}{
	"BASE TABLE":       {kindTable, "TABLE", "Create Table"},
	"SYSTEM VERSIONED": {kindTable, "TABLE", "Create Table"},
	"SEQUENCE":         {kindSequence, "SEQUENCE", "Create Table"},
	"VIEW":             {kindView, "VIEW", "Create View"},
	"FUNCTION":         {kindRoutine, "FUNCTION", "Create Function"},
	"PROCEDURE":        {kindRoutine, "PROCEDURE", "Create Procedure"},
	"PACKAGE":          {kindRoutine, "PACKAGE", "Create Package"},
	"PACKAGE BODY":     {kindRoutine, "PACKAGE BODY", "Create Package Body"},
	"TRIGGER":          {kindTrigger, "TRIGGER", "SQL Original Statement"},
	"EVENT":            {kindEvent, "EVENT", "Create Event"},
}

func readObject(ctx context.Context, s *session, schema, name, word string) (object, error) {
	show, known := shows[word]
	if !known {
		return object{}, fmt.Errorf("%s is a %s, which is not known here", name, word)
	}
	shown, err := lines(ctx, s.conn, "SHOW CREATE "+show.word+" "+full(schema, name))
	if err != nil {
		return object{}, err
	}
	if len(shown) != 1 || shown[0][show.column] == "" {
		return object{}, fmt.Errorf("%s %s: the server does not show how it was made: grant the migrator's account SELECT and SHOW VIEW on *.*", word, name)
	}
	row := shown[0]
	o := object{kind: show.kind, schema: schema, name: name, create: row[show.column], mode: row["sql_mode"],
		client: row["character_set_client"], collation: row["collation_connection"], zone: row["time_zone"]}
	if show.kind == kindEvent {
		err = s.conn.QueryRowContext(ctx, "SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? AND EVENT_NAME = ?", schema, name).Scan(&o.definer)
	}
	return o, err
}

// changed names the definitions in which two readings differ.
func changed(a, b []object) []string {
	of := map[string]string{}
	for _, o := range a {
		of[o.String()] = o.comparable()
	}
	var found []string
	for _, o := range b {
		text, ok := of[o.String()]
		if !ok || text != o.comparable() {
			found = append(found, o.String())
		}
		delete(of, o.String())
	}
	for name := range of {
		found = append(found, name)
	}
	slices.Sort(found)
	return found
}
