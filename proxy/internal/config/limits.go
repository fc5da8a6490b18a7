package config

import (
	"time"

	"drover/internal/config"
)

// Timeouts are the longest waits.
type Timeouts struct {
	// Connect is for making one connection to an upstream, TLS included. The
	// wait for a free one is upstream.queue_timeout.
	Connect time.Duration `yaml:"connect" bounds:"1ms..24h"`
	// FirstByte is from the request sent to the answer's head.
	FirstByte time.Duration `yaml:"first_byte" bounds:"1ms..24h"`
	// Idle is between two bytes of a body, either way.
	Idle time.Duration `yaml:"idle" bounds:"1ms..24h"`
	// Body is for a client to send a request's whole body.
	Body time.Duration `yaml:"body" bounds:"1ms..24h"`
	// Total is for one request, from its first byte to its answer's last.
	Total time.Duration `yaml:"total" bounds:"1ms..24h"`
	// Tunnel is between two bytes of an upgraded connection, either way. Total
	// does not bound these.
	Tunnel time.Duration `yaml:"tunnel" bounds:"1ms..24h"`
	// Header is for a client to send a request's head.
	Header time.Duration `yaml:"header" bounds:"1ms..24h"`
	// TLSHandshake is for a client's handshake.
	TLSHandshake time.Duration `yaml:"tls_handshake" bounds:"1ms..24h"`
	// KeepAlive is for how long a client's idle connection is kept.
	KeepAlive time.Duration `yaml:"keep_alive" bounds:"1ms..24h"`
	// UpstreamKeepAlive is for how long an idle upstream connection is kept:
	// shorter than what the application servers do.
	UpstreamKeepAlive time.Duration `yaml:"upstream_keep_alive" bounds:"1ms..24h"`
	// Linger is for how long the rest of an unwanted body is read away before
	// the connection is closed, so that the client sees the answer.
	Linger time.Duration `yaml:"linger" bounds:"0s..1m"`
}

// Limits bound what clients can take.
type Limits struct {
	// HeaderBytes is how long a request's or an answer's head may be.
	HeaderBytes config.Bytes `yaml:"header_bytes" bounds:"4KiB..1MiB"`
	// Headers is how many fields a head may have.
	Headers int `yaml:"headers" bounds:"16..4096"`
	// RequestLine is how long a request's first line may be: no longer than
	// header_bytes, to which the default is lowered.
	RequestLine config.Bytes `yaml:"request_line" bounds:"256..1MiB"`
	// Body is how long a request's body may be.
	Body config.Bytes `yaml:"body" bounds:"0..1048576GiB"`
	// Connections is how many connections clients may have open.
	Connections int `yaml:"connections" bounds:"1..1048576"`
	// ConnectionsPerClient is how many of them one client's address may have. 0:
	// no bound of its own.
	ConnectionsPerClient int `yaml:"connections_per_client" bounds:"0..1048576"`
	// RequestsPerConnection is after how many requests a client's connection is
	// closed. 0: no bound.
	RequestsPerConnection int `yaml:"requests_per_connection" bounds:"0..1073741824"`
	// HTTP2Streams is how many requests one HTTP/2 connection may have under way.
	HTTP2Streams int `yaml:"http2_streams" bounds:"1..65536"`
	// HTTP2Resets is how many requests a minute one HTTP/2 connection may begin
	// and give up, before it is closed. 0: no bound.
	HTTP2Resets int `yaml:"http2_resets" bounds:"0..1048576"`
	// UpstreamConnections is how many connections are open to each upstream.
	UpstreamConnections int `yaml:"upstream_connections" bounds:"1..1048576"`
}

// Hold bounds the queues of requests that are held while their bucket changes
// home.
type Hold struct {
	// RequestsMax is how many requests are held in one bucket.
	RequestsMax int `yaml:"requests_max" bounds:"1..1048576"`
	// Total is how many are held in all.
	Total int `yaml:"total" bounds:"1..1048576"`
	// Bytes is how long the heads of all held requests may be together.
	Bytes config.Bytes `yaml:"bytes" bounds:"1KiB..64GiB"`
	// WaitMax is for how long one request is held.
	WaitMax time.Duration `yaml:"wait_max" bounds:"0s..1m"`
	// ReleaseRate is how many held requests a second go out when holds end.
	ReleaseRate int `yaml:"release_rate" bounds:"1..1073741824"`
}

func defaultTimeouts() Timeouts {
	return Timeouts{
		Connect: time.Second, FirstByte: 30 * time.Second, Idle: time.Minute, Body: time.Hour, Total: time.Hour,
		Tunnel: time.Hour, Header: 10 * time.Second, TLSHandshake: 5 * time.Second, KeepAlive: 75 * time.Second,
		UpstreamKeepAlive: 4 * time.Second, // common application servers close after 5
		Linger:            5 * time.Second,
	}
}

func defaultLimits() Limits {
	return Limits{
		HeaderBytes: 16 * config.KiB, // × 10,000 connections × 2 sides = 320 MiB at worst
		Headers:     256,             // × 64 bytes of index = a head's own size
		RequestLine: 8 * config.KiB,
		Body:        config.GiB, Connections: 10_000,
		HTTP2Streams:        100, // the least that RFC 9113, 6.5.2 recommends
		HTTP2Resets:         600, // a page that is left resets a hundred at once
		UpstreamConnections: 1024,
	}
}

func (l *Limits) complete() {
	if l.RequestLine == defaultLimits().RequestLine {
		l.RequestLine = min(l.RequestLine, l.HeaderBytes)
	}
}
