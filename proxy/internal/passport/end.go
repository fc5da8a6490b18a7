package passport

// The ways in which a request ends.
const (
	EndAnswered     = "answered"      // by the application, to the last byte
	EndRefused      = "refused"       // by the edge: the client's request is at fault
	EndFailed       = "failed"        // by the edge: no upstream answered
	EndMisdirected  = "misdirected"   // 421 to the end
	EndTruncated    = "truncated"     // the upstream broke off its answer
	EndClientGone   = "client_gone"   // before the answer was written
	EndUnrouted     = "unrouted"      // no map yet
	EndPanicked     = "panicked"      // a bug of the edge
	EndShuttingDown = "shutting_down" // cut off at the end of a drain
)

// Ends lists every end.
func Ends() []string {
	return []string{EndAnswered, EndRefused, EndFailed, EndMisdirected, EndTruncated, EndClientGone, EndUnrouted,
		EndPanicked, EndShuttingDown}
}

// Who says who ended a request: the first letter of its code.
type Who byte

// Who ends requests.
const (
	WhoNobody        Who = '-'
	WhoClient        Who = 'C'
	WhoClientTimeout Who = 'c'
	WhoServer        Who = 'S'
	WhoServerTimeout Who = 's'
	WhoProxy         Who = 'P'
	WhoResource      Who = 'R'
	WhoDrain         Who = 'D'
	WhoInternal      Who = 'I'
)

// Where says where a request was when it ended: the second letter.
type Where byte

// Where requests end.
const (
	WhereNowhere    Where = '-'
	WhereHead       Where = 'R'
	WhereBody       Where = 'B'
	WhereHeld       Where = 'H'
	WhereQueue      Where = 'Q'
	WhereConnecting Where = 'C'
	WhereSending    Where = 'S'
	WhereWaiting    Where = 'W'
	WhereData       Where = 'D'
)

// letter is one row of the tables in docs/passport.md.
type letter struct {
	letter  byte
	meaning string
}

var whos = []letter{
	{byte(WhoNobody), "nobody: the answer was written to its end"},
	{byte(WhoClient), "the client broke off"},
	{byte(WhoClientTimeout), "the client did not send, or did not read, in time"},
	{byte(WhoServer), "the application refused the connection, broke off or answered what is no answer"},
	{byte(WhoServerTimeout), "the application did not take the connection or answer in time"},
	{byte(WhoProxy), "the edge refused: the request is at fault, or past a limit, or there is no map"},
	{byte(WhoResource), "the edge ran out of something: connections, places in a queue, memory"},
	{byte(WhoDrain), "the edge is being stopped"},
	{byte(WhoInternal), "a bug of the edge"},
}

var wheres = []letter{
	{byte(WhereNowhere), "after the end"},
	{byte(WhereHead), "the request's head: being read, identified, decided"},
	{byte(WhereBody), "the request's body was still coming"},
	{byte(WhereHeld), "held, or waiting for a newer map after a 421"},
	{byte(WhereQueue), "waiting for one of the upstream's connections"},
	{byte(WhereConnecting), "connecting to the upstream"},
	{byte(WhereSending), "the request was going upstream"},
	{byte(WhereWaiting), "waiting for the answer's head"},
	{byte(WhereData), "the answer was going to the client"},
}

// EndCode says in two letters who ended a request, and where it was then.
type EndCode [2]byte

// Code returns a code.
func Code(who Who, where Where) EndCode { return EndCode{byte(who), byte(where)} }

// Who returns the first letter.
func (c EndCode) Who() Who { return Who(c[0]) }

// Where returns the second letter.
func (c EndCode) Where() Where { return Where(c[1]) }

// String returns the two letters.
func (c EndCode) String() string { return string(c[:]) }

// Fail says how the request ends, by whom, and takes where from the state that
// it is in: so it comes before the stamp of the edge's own answer.
func (p *Passport) Fail(end string, who Who) {
	p.End, p.Code = end, Code(who, p.where(int(p.stamped)-1))
}

// code returns the code of a request that has ended without Fail. Its answer
// was the edge's own, unless it ended while an answer was written.
func (p *Passport) code() EndCode {
	last := int(p.stamped) - 1
	for last > 0 && p.stamps[last].state() == Done {
		last--
	}
	switch p.End {
	case EndAnswered, "":
		return Code(WhoNobody, WhereNowhere)
	case EndTruncated:
		return Code(WhoServer, p.where(last))
	case EndClientGone:
		return Code(WhoClient, p.where(last))
	case EndShuttingDown:
		return Code(WhoDrain, p.where(last))
	}
	for last > 0 && p.stamps[last].state() == Responding {
		last--
	}
	switch p.End {
	case EndFailed, EndMisdirected:
		return Code(WhoServer, p.where(last))
	case EndPanicked:
		return Code(WhoInternal, p.where(last))
	default:
		return Code(WhoProxy, p.where(last))
	}
}

// where says where the request was at its stamp number i.
func (p *Passport) where(i int) Where {
	switch p.stamps[max(i, 0)].state() {
	case Identifying, Deciding:
		return WhereHead
	case Receiving:
		if i > 0 {
			return WhereBody
		}
		return WhereHead
	case Holding, Rerouting:
		return WhereHeld
	case Connecting:
		if p.InQueue {
			return WhereQueue
		}
		return WhereConnecting
	case Sending:
		return WhereSending
	case Waiting:
		return WhereWaiting
	case Responding:
		return WhereData
	default:
		return WhereNowhere
	}
}
