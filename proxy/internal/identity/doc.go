// Package identity finds the user id of a request.
//
// Find, in this order:
//
//  1. tries the sources in the order in which they were configured;
//  2. leaves out a source that does not believe the peer: an identity header
//     and a bucket header are believed of a trusted peer only, everything
//     else of everybody, since it decides only where a request goes and not
//     what it may do, or (a token) proves itself;
//  3. goes on to the next source where this one holds no id: the value is
//     absent or empty, the path segment is "-" (which means "me"), the token
//     does not verify;
//  4. ends at the first source that holds one. An id that is there and cannot
//     be used is an error of class ErrUnusable, which is DESIGN's bad_user: no
//     later source is asked, since it could name another user.
//
// An id is bytes, compared exactly. A header's and a cookie's are taken as
// they came: nothing is decoded, unquoted, trimmed or folded, since the
// application must see the same user. A path's and a query's are
// percent-decoded, once, after the split; what goes upstream is not changed.
//
// A token's keys are read in the background, by Run. The request path never
// waits for the network: a token whose key is not known is no user now, and
// asks Run for a refresh. Verified tokens are remembered until they expire or
// the keys change.
//
// The package never makes a user of a token that it could not verify, never
// replaces good keys by none, and never normalizes a path: dot segments and
// doubled slashes are segments like any other.
//
// Headers that could pass for an identity header and are not believed must not
// reach the application: Owns says which they are.
//
// Find, Owns and EqualFold may be called by any number of goroutines, each
// with a Request and a Found of its own. Load and Run are for one goroutine,
// in this order; Find may be called meanwhile.
package identity
