// Package passport keeps one request's timestamps, one stamp a state, and
// writes one line for each request worth a line.
//
// The protocol: (1) Office.Open when the request's head is here; (2) Stamp at
// each change of state, by the table Next; (3) the exported fields are filled
// as they become known; (4) Close, once, when the last byte of the answer is
// written. After Close the passport belongs to another request.
//
// A passport is used by one goroutine at a time and takes no lock. Stamps are
// monotonic. A line is written for requests that failed or were slow, and for
// a sample of the others; the slow and failed ones are also kept in a ring
// that the admin server shows. A line never holds a user id, a query, a header
// or a body: of the user it says the bucket.
//
// An Office may be used by any number of goroutines.
package passport
