// Package slo judges whether users are well: error ratio and latency, for each
// datacenter, and for those who were just moved against those who were not.
package slo
