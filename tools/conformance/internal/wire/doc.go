// Package wire reads HTTP/1.1 messages from the bytes of a connection, to
// judge them: nothing is forgiven silently.
//
// A reader keeps all bytes that came and calls Request or Answer on them after
// each read, in this order: (1) the head; (2) the framing that it declares; (3)
// the body, as far as it is there; (4) the trailers. Whatever another reader
// could understand in another way is noted as a flaw of the message, and
// reading goes on by the reading of RFC 9112, 6.3.
//
// The package opens no connection and keeps no state. Its functions may be
// called concurrently; a Message aliases nothing of the bytes it was read from.
package wire
