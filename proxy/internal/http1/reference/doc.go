// Package reference reads requests of HTTP/1.1 a second time, for tests alone:
// plainly, from the grammars of RFC 9110, 9112 and 3986, with no regard to
// speed. It shares no line with http1, which must agree with it on every input.
//
// Parse takes all the bytes of a connection and, in this order, until they end
// or one is refused: (1) skips empty lines; (2) reads a request line; (3) reads
// field lines; (4) finds the body's length; (5) reads the body and the trailers.
//
// Where the RFCs leave a choice, the one taken is said beside the code, with its
// section. What is incomplete is refused only where no continuation could mend
// it and the choice says so.
//
// It never reads from a connection, and keeps nothing: anybody may call it
// concurrently.
package reference
