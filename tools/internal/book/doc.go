// Package book is the ledger: what each client asked for, what it was told, and
// whether the databases agree.
//
// It shares no code with the mover. Its protocol: (1) a client takes an id with
// Begin before it connects; (2) it says with End what it was told: acknowledged,
// refused, or unknown when COMMIT went out and no answer came back; (3) when
// every client has ended, Audit compares the rows of all servers with the
// entries, Owners looks for two owners of one bucket and for writes under an
// epoch that was over, Linear asks whether each user's history is that of one
// register, and Stalls measures how long a bucket could not be written.
//
// Begin and End may be called concurrently; the others once the clients have
// ended.
package book
