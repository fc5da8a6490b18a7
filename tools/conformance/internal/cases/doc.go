// Package cases is the suite's table: what an HTTP/1.1 proxy must do, must not
// do and may do, one row a sentence.
//
// The rows are in files named for their group or for a part of it. A row's
// Want allows every choice that the RFC leaves; its Drover check, where there
// is one, is the narrower contract of Drover: no byte of a head is forgiven.
//
// Table builds the table anew at each call: who calls it owns what it returns.
// The package opens no connection.
package cases
