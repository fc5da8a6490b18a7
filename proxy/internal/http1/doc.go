// Package http1 reads the framing of HTTP/1.1 messages to the letter of RFC
// 9112: heads, chunked bodies, trailers.
//
// A reader of requests must, in this order: (1) Scan what has come, and again
// with more while that gives 0; (2) drop the head that was read; (3) drop Length
// bytes of a body, or Reset a Decoder and Feed it what comes until it is Done;
// (4) begin again. Of answers: the same, with Scan told what was asked. After a
// *Problem or an ErrChunk nothing more can be read: where the next message
// begins is not known.
//
// It takes bytes and gives places in them; it reads from no connection and
// copies nothing but trailers. A message that two readers could understand in
// two ways is a *Problem. A head is scanned as a whole, in one pass: what is not
// yet complete is scanned again when more has come, so who keeps the bytes
// bounds them.
//
// Requests are held to the grammar in every byte, but for two things that no
// reader's framing hangs on: what is seen of ASCII passes in a target, and
// anything but a control character in a chunk's extension. Answers come from
// applications that somebody is responsible for: of them, what could change
// where a message ends is refused, and the rest passes.
//
// The sub-package reference is the same for requests once more, written plainly:
// FuzzFraming holds the two against each other.
//
// Nothing here is safe for concurrent use; the tables are read only.
package http1
