package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"drover/tools/demo/internal/ledger"
)

const (
	// answerWaitMax is above the edge's longest hold (5 s) and re-route (2 s)
	// together: a request that is slower failed.
	answerWaitMax = 15 * time.Second
	// answerBytesMax bounds an answer; the application's have some 100 bytes.
	answerBytesMax = 64 << 10
)

// identityHeader names the user.
const identityHeader = "X-User-Id"

// newHTTP returns a client that keeps so many connections, and retries and
// follows nothing.
func newHTTP(connections int) *http.Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableCompression: true,
			MaxIdleConns: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: 20 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       answerWaitMax,
	}
}

// answer is what came of one request.
type answer struct {
	status int // 0: no answer
	header http.Header
	body   []byte
	err    error
}

func (a answer) good() bool { return a.err == nil && a.status/100 == 2 }

// decode reads the body of a good answer.
func (a answer) decode(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("an answer that is no JSON: %w", err)
	}
	return nil
}

// send sends one request. An empty user is a request without one.
func send(ctx context.Context, client *http.Client, method, url, user string, body []byte) answer {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if user != "" {
		request.Header.Set(identityHeader, user)
	}
	if len(body) != 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	a.body, a.err = io.ReadAll(io.LimitReader(response.Body, answerBytesMax))
	return a
}

// added is the application's answer to steps.
type added struct {
	Total      int64  `json:"total"`
	Instance   string `json:"instance"`
	Datacenter string `json:"datacenter"`
	Shard      string `json:"shard"`
}

// stepsPath is where steps are added.
const stepsPath = "/1/user/-/steps"

// stepsURL is where a write goes, with how long its transaction is to stay open.
func stepsURL(base string, think time.Duration) string {
	url := base + stepsPath
	if think > 0 {
		url += fmt.Sprintf("?think_ms=%d", think.Milliseconds())
	}
	return url
}

// stepsBody is a write as the application takes it.
func stepsBody(w *ledger.Write, date string) []byte {
	return fmt.Appendf(nil, `{"request_id":%q,"day":%q,"steps":%d}`, w.ID, date, w.Steps)
}
