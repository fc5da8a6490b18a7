package cases

import (
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// webSocket is a client's opening handshake.
func webSocket(more ...string) string {
	return Get("/ws", append([]string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, more...)...)
}

// switching is the origin's agreement.
const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// upgrades are about WebSocket, and about what is no WebSocket.
func upgrades() []Case {
	agreed := []Reply{{AtBody: switching}}
	open := All(Answers(1), Status(0, 101), Field(0, "Upgrade", "websocket"), Field(0, "Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
	settings := "HTTP2-Settings: AAMAAABkAAQAAP__"
	return []Case{
		{Name: "websocket-opens", RFC: "6455 4", Why: "the handshake passes both ways", Send: webSocket(), Replies: agreed, Want: All(open, GotValue(0, "Upgrade", "websocket"), GotValue(0, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), Kept())},
		{Name: "websocket-connection-field", RFC: "9110 7.8", Why: "Connection says upgrade both ways", Send: webSocket(), Replies: agreed, Want: All(open, hasToken(0, "Connection", "upgrade"), gotToken(0, "Connection", "upgrade"))},
		{Name: "websocket-bytes-both-ways", RFC: "6455 5", Why: "behind the handshake every byte passes", Replies: agreed,
			Steps: []Step{Send(webSocket()), AwaitText("\r\n\r\n"), Send("\x81\x85mask-ping"), AwaitOriginText("ping"), OriginSends("\x81\x04pong"), AwaitText("pong")}, Want: open},
		{Name: "websocket-bytes-with-the-answer", RFC: "6455 4.1", Why: "bytes right behind the 101 are the protocol's", Send: webSocket(), Replies: []Reply{{AtBody: switching + "\x81\x05hello"}}, Want: All(open, tunnelHas("hello"))},
		{Name: "websocket-bytes-in-chunks", RFC: "6455 5", Why: "bytes pass at once, not when a buffer is full", Replies: agreed,
			Steps: []Step{Send(webSocket()), AwaitText("\r\n\r\n"), OriginSends("a1"), AwaitText("a1"), OriginSends("b2"), AwaitText("b2"), Send("c3"), AwaitOriginText("c3"), Send("d4"), AwaitOriginText("c3d4")}, Want: open},
		{Name: "websocket-origin-closes", RFC: "6455 7.1.1", Why: "the origin's end is the client's", Replies: agreed,
			Steps: []Step{Send(webSocket()), AwaitText("\r\n\r\n"), OriginSends("bye"), AwaitText("bye"), OriginEnds(Close), AwaitClosed()}, Want: All(open, Closed())},
		{Name: "websocket-client-closes", RFC: "6455 7.1.1", Why: "the client's end is the origin's", Replies: agreed, Steps: []Step{Send(webSocket()), AwaitText("\r\n\r\n"), Leave(), AwaitGone()}, Want: open},
		{Name: "websocket-client-resets", RFC: "6455 7.1.1", Why: "the client's end is the origin's", Replies: agreed, Steps: []Step{Send(webSocket()), AwaitText("\r\n\r\n"), LeaveByReset(), AwaitGone()}, Want: open},
		{Name: "websocket-refused", RFC: "6455 4.2.2", Why: "an origin may answer with anything else", Send: webSocket(), Replies: reply("no", "HTTP/1.1 403 Forbidden", length2), Want: All(Answers(1), Status(0, 403), Body(0, "no"))},
		{Name: "websocket-refused-then-request", RFC: "9110 7.8", Why: "behind a refused upgrade the connection speaks HTTP", Replies: []Reply{Answer("HTTP/1.1 426 Upgrade Required", length2, "", "no"), Answer(ok, length2, "", "ok")},
			Steps: []Step{Send(webSocket()), AwaitAnswer(0, 1), Send(Get("/second"))}, Answers: 2, Want: Any(All(Answers(2), Status(0, 426), Status(1, 200), Body(1, "ok")), All(Answers(1), Status(0, 426), Closed()))},
		{Name: "websocket-refused-by-200", RFC: "9110 7.8", Why: "an origin may ignore an upgrade; what follows is HTTP", Send: webSocket() + Get("/second"), Answers: 2, Want: Any(All(Answers(2), Status(0, 200), Status(1, 200), Requests(2)), All(Answers(1), Status(0, 200)))},
		{Name: "websocket-with-list", RFC: "9110 7.8", Why: "Connection may name more than upgrade", Send: Get("/ws", "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), Replies: agreed, Want: open},
		{Name: "websocket-in-1.0", RFC: "9110 7.8", Why: "an upgrade in a 1.0 request is ignored", Send: Head("GET /ws HTTP/1.0", host, "Connection: Upgrade", "Upgrade: websocket"), Want: Any(Refused(), Passed(GotNo(0, "Upgrade")))},
		{Name: "websocket-not-named-by-connection", RFC: "9110 7.8", Why: "Upgrade counts only when Connection names it", Send: Get("/ws", "Upgrade: websocket"), Want: Any(Refused(), Passed(GotNo(0, "Upgrade"))), Drover: Any(Refused(), Passed(GotNo(0, "Upgrade")))},
		{Name: "h2c-not-passed", RFC: "9110 7.8", Why: "an upgrade to h2c would hide requests from the proxy", Send: Get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings), Want: Passed(GotNo(0, "Upgrade"))},
		{Name: "h2c-settings-not-passed", RFC: "7540 3.2.1", Why: "HTTP2-Settings is of one connection", Send: Get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings), Want: Passed(GotNo(0, "HTTP2-Settings"))},
		{Name: "h2c-without-connection-not-passed", RFC: "9110 7.8", Why: "not even when Connection does not name it", Send: Get("/", "Upgrade: h2c", settings), Want: Passed(GotNo(0, "Upgrade"))},
		{Name: "h2c-in-a-list-not-passed", RFC: "9110 7.8", Why: "not even in one list with websocket", Send: Get("/", "Connection: Upgrade", "Upgrade: websocket, h2c"), Want: Any(Refused(), Passed(noToken(0, "Upgrade", "h2c")))},
		{Name: "tls-upgrade", RFC: "2817 3.1", Why: "TLS is offered anew, with its Connection, or not at all", Send: Get("/", "Connection: Upgrade", "Upgrade: TLS/1.0"), Want: Passed(Any(GotNo(0, "Upgrade"), gotToken(0, "Connection", "upgrade")))},
	}
}

// tunnelHas wants bytes behind a 101.
func tunnelHas(text string) Check {
	return func(r *Result) error {
		if f := r.Clients[0].Finals[0]; !strings.Contains(f.Body, text) {
			return unwanted("behind the 101", f.Body)
		}
		return nil
	}
}

// hasToken wants a token in a list field of an answer.
func hasToken(i int, name, token string) Check {
	return func(r *Result) error {
		if f := r.Clients[0].Finals[i]; !f.HasToken(name, token) {
			return unwanted(name, "without "+token)
		}
		return nil
	}
}

// gotToken wants a token in a list field at the origin.
func gotToken(i int, name, token string) Check {
	return func(r *Result) error {
		if len(r.Requests) <= i || !r.Requests[i].HasToken(name, token) {
			return unwanted(name, "without "+token+", at the origin")
		}
		return nil
	}
}

// noToken wants a token to be in no list field of the name at the origin.
func noToken(i int, name, token string) Check {
	has := gotToken(i, name, token)
	return func(r *Result) error {
		if has(r) == nil {
			return unwanted(name, token+", at the origin")
		}
		return nil
	}
}
