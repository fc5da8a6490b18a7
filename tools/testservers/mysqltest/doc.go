//go:build !mysql

// Package mysqltest runs servers of MySQL for tests that are built with the tag
// mysql; without it there is nothing here.
package mysqltest
