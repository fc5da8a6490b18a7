package main

// difference compares what a user was told with the rows at the user's home: of
// the acknowledged requests, how many have a row, and how many steps were
// counted. Each request counts one step, in the transaction of its row.
func difference(acked, rows, steps uint64) (lost, doubled uint64) {
	lost = acked - min(acked, rows, steps)
	return lost, max(rows, steps, acked) - acked
}
