// Package passport keeps one request's timestamps, one stamp a state, and
// writes one line for each request worth a line.
//
// The protocol: (1) Office.Begin when the request's head is here, or BeginAt
// with its first byte's time when the head is still coming; (2) Stamp at each
// change of state, by the table Next; (3) the fields are filled as they become
// known; (4) Fail, before the edge answers by itself or gives up; (5)
// Office.End, once, when the last byte of the answer is written. Until the
// next Begin the passport may still be read, but for the slices that alias the
// connection's buffer.
//
// A passport lives where its owner wants it: in a connection's state, used
// again for each request, or in the office's pool (Open and Close). It is used
// by one goroutine at a time and takes no lock; nothing that an answered
// request asks of it allocates. Stamps are monotonic. Those past the bound are
// counted and lose no time.
//
//	states.go    the states and the table of the transitions
//	passport.go  what a request carries, and its stamps
//	times.go     what the stamps add up to; the edge's own time
//	end.go       how a request ended: a word, and a code of two letters
//	office.go    begin, end, and which requests leave a line
//	line.go      the line
//
// For the own time to be what it says, the edge stamps (1) Identifying when the
// head is read to its end; (2) Connecting when it has decided; (3) Sending when
// it has a connection; (4) Receiving when its first write is done and more of
// the body is to come; (5) Waiting behind the last write; (6) Responding when
// the read that completed the answer's head has returned; and Done behind the
// last write to the client. It calls HeadSent behind the first one, if another
// follows, and Parked for each wait within (1), (2), (3) and (6).
//
// A line is written for requests that failed or were slow, and for a sample of
// the others; the slow and failed ones are also kept in a ring that the admin
// server shows. A line never holds a user id, a query, a header or a body: of
// the user it says the bucket.
//
// An Office may be used by any number of goroutines.
package passport
