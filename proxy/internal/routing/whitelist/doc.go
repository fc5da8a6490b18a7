// Package whitelist reads whitelisted users from a file of this machine and
// keeps up with it: for lists that are too long for the map, or that another
// system writes.
//
// The file has one user id a line, in the text form of bucketmap.ParseUserID:
// the id itself, or hex: and its bytes. Empty lines and lines that begin with #
// are left out; an id that begins with # is written with hex:, and so is one
// with blanks at an end or with bytes that cannot be printed. All users have one
// datacenter. A user whom the map lists, too, has the map's.
//
// A File works in this order: (1) Load reads the file before the first client;
// (2) Run watches its folder and looks again every Recheck, and at once after
// Reload; (3) a file that has changed is read once it has stayed the same for
// Settle, so that one which is half written is not taken for the whole; (4) a
// list that is right as a whole is given to Swap.
//
// What is not right as a whole, a line that is no id, more ids than IDsMax, a
// file that is gone after it was there, is refused: the users of before stay,
// a metric counts it, and the log names the line. A file that was never there
// is nobody.
//
// The package never writes, never opens what is no plain file, and holds no
// more than the list in force and the one that is being read.
//
// Read may be called by any number of goroutines, and so may Reload. Load comes
// before Run, and each is called once.
package whitelist
