package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const bodyMax = 64 << 10

// proxied sends writes as users do, through the proxy.
type proxied struct {
	url    string
	client *http.Client
}

func newProxied(address string, writers int) *proxied {
	return &proxied{url: "http://" + address + "/1/user/-/steps",
		client: &http.Client{Timeout: answerMax, Transport: &http.Transport{MaxIdleConnsPerHost: writers, DisableCompression: true}}}
}

func (p *proxied) close() { p.client.CloseIdleConnections() }

func (p *proxied) send(ctx context.Context, e entry) (outcome, error) {
	body := fmt.Sprintf(`{"request_id":%q,"day":%q,"steps":1}`, requestID(e.number), day)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, strings.NewReader(body))
	if err != nil {
		return refused, err
	}
	req.Header.Set("X-User-Id", userID(e.user))
	resp, err := p.client.Do(req)
	if err != nil {
		return unknown, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	if err != nil {
		return unknown, fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return judgeAnswer(resp.StatusCode, text)
}

// judgeAnswer says what an answer makes of a write.
func judgeAnswer(status int, text []byte) (outcome, error) {
	var answer struct {
		Outcome   string `json:"outcome"`
		Duplicate bool   `json:"duplicate"`
	}
	err := json.Unmarshal(text, &answer)
	switch {
	case status == http.StatusOK && err == nil && answer.Duplicate:
		// It was sent once: somebody else sent it again.
		return acknowledged, errors.New("status 200: the application had it already")
	case status == http.StatusOK && err == nil:
		return acknowledged, nil
	case status != http.StatusOK && err == nil && answer.Outcome == "not_committed":
		return refused, fmt.Errorf("status %d: %s", status, text)
	}
	return unknown, fmt.Errorf("status %d: %s", status, text)
}
