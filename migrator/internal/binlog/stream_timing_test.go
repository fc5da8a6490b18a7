package binlog

import (
	"fmt"
	"testing"

	"drover/migrator/internal/database"
)

// benchmarkRows are what BenchmarkStream reads, over and over.
const benchmarkRows = 200_000

// BenchmarkStream reads and converts row changes from a real server's binlog:
// a half of them inserts, the other updates and deletes, in transactions of one
// row and of many. It reports row changes a second.
func BenchmarkStream(b *testing.B) {
	w := newWorld(b)
	w.exec("CREATE TABLE steps (bucket INT UNSIGNED NOT NULL, user_id VARBINARY(64) NOT NULL, day DATE NOT NULL, steps BIGINT NOT NULL, "+
		"at TIMESTAMP(3) NOT NULL, note VARCHAR(100), PRIMARY KEY (user_id, day))", "SET GLOBAL sync_binlog = 0")
	table := w.describe("steps", "user_id")
	for name, size := range map[string]int{"transactions of 20": 20, "transactions of 5000": 5000} {
		from := w.end()
		for first := 0; first < benchmarkRows/2; first += size {
			w.exec(fmt.Sprintf("INSERT INTO steps SELECT seq %% 64, CONCAT('user-', seq), '2026-01-01', seq, NOW(3), REPEAT('x', 40) FROM seq_%d_to_%d", first, first+size-1),
				"BEGIN", fmt.Sprintf("UPDATE steps SET steps = steps + 1 WHERE steps %% 2 = 0 AND day = '2026-01-01' LIMIT %d", size/2),
				fmt.Sprintf("DELETE FROM steps LIMIT %d", size), "COMMIT")
		}
		for kept, keep := range map[string]func(*database.Table, any) bool{
			"all": nil, "none": func(*database.Table, any) bool { return false }} {
			b.Run(name+"/"+kept, func(b *testing.B) {
				b.ReportAllocs()
				total := 0
				for b.Loop() {
					s := NewStream(w.server, []*database.Table{table}, from)
					s.keep = keep
					if err := w.read(s, func(tx Transaction) { total += len(tx.Changes) }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
