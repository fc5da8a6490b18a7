package tracer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"drover/bucketmap"
)

// door is one proxy, and what its admin server said last.
type door struct {
	Proxy
	index  int
	cursor cursor

	mu struct {
		sync.Mutex
		asked time.Time // when the question was sent
		ack   adminAck
		err   error
	}
}

// adminAck is the answer to GET /map/ack.
type adminAck struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"`
	Digest  string            `json:"digest"`
	Refused bucketmap.Version `json:"refused"`
	Reason  string            `json:"reason"`
	Error   string            `json:"error"`

	at     time.Time // when it was asked for
	digest bucketmap.Digest
}

// ask returns what the proxy's admin server says of its map, not older than
// adminEvery.
func (t *Tracer) ask(ctx context.Context, p *door) (adminAck, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.mu.asked.IsZero() || now.Sub(p.mu.asked) > adminEvery {
		p.mu.asked = now
		p.mu.ack, p.mu.err = t.readAck(ctx, p, now)
	}
	return p.mu.ack, p.mu.err
}

func (t *Tracer) readAck(ctx context.Context, p *door, now time.Time) (adminAck, error) {
	a := adminAck{at: now}
	status, text, err := t.get(ctx, p, "/map/ack")
	if err != nil {
		return a, err
	}
	if err = json.Unmarshal(text, &a); err == nil && a.Digest != "" {
		a.digest, err = bucketmap.ParseDigest(a.Digest)
	}
	switch {
	case err == nil && a.Error != "":
		return a, fmt.Errorf("its admin server answered %d: %.*s", status, whyMax, a.Error)
	case err != nil || status != http.StatusOK || a.Version == 0:
		return a, fmt.Errorf("its admin server answered %d %.*q, and no acknowledgement: is %s the admin server of a proxy?", status, whyMax, text, p.Admin)
	case a.Proxy != p.Name:
		return a, fmt.Errorf("its admin server is that of proxy %.*q: correct tracers.proxies", whyMax, a.Proxy)
	}
	return a, nil
}

// get asks an admin server.
func (t *Tracer) get(ctx context.Context, p *door, path string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adminWaitMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Admin+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if t.options.AdminToken != "" {
		request.Header.Set("Authorization", "Bearer "+t.options.AdminToken)
	}
	response, err := t.admin.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("its admin server: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, adminMax+1))
	if err == nil && len(text) > adminMax {
		err = fmt.Errorf("its admin server answered more than %d bytes", adminMax)
	}
	return response.StatusCode, text, err
}

// passports are those that an admin server shows: of slow and failed requests.
func (t *Tracer) passports(ctx context.Context, p *door) ([]string, error) {
	status, text, err := t.get(ctx, p, "/passports")
	if err != nil {
		return nil, err
	}
	var lines []json.RawMessage
	if err := json.Unmarshal(text, &lines); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("its admin server answered %d %.*q, and no passports", status, whyMax, text)
	}
	texts := make([]string, len(lines))
	for i, line := range lines {
		texts[i] = string(line)
	}
	return texts, nil
}

// passportOf finds the passport of one request: the only one that is not in
// before and is of that method, path and bucket. Nil when there is none, or more.
func passportOf(before, after []string, method, path string, bucket bucketmap.BucketID) json.RawMessage {
	old := map[string]int{}
	for _, line := range before {
		old[line]++
	}
	var found json.RawMessage
	for _, line := range after {
		if old[line] > 0 {
			old[line]--
			continue
		}
		var l struct {
			Method string `json:"method"`
			Path   string `json:"path"`
			Bucket int64  `json:"bucket"`
		}
		if json.Unmarshal([]byte(line), &l) != nil || l.Method != method || l.Path != path || l.Bucket != int64(bucket) {
			continue
		}
		if found != nil { // somebody else sends as this user
			return nil
		}
		found = json.RawMessage(line)
	}
	return found
}
