package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/push"
)

const (
	// canaryPutMax bounds a PUT: a proxy answers when the map is in force.
	canaryPutMax = 15 * time.Second
	canaryAskMax = 5 * time.Second
	// canaryAnswerMax bounds an answer: a proxy's metrics are about 100 KiB.
	canaryAnswerMax = 16 << 20
	canaryShownMax  = 500 // bytes of an answer that is an error
)

// canary is one proxy's admin server.
type canary struct {
	base   string
	client *http.Client
	token  string
	sign   ed25519.PrivateKey
}

// openCanary connects to nothing yet.
func (a *app) openCanary(address string) (*canary, error) {
	base, err := adminBase(address)
	if err != nil {
		return nil, fmt.Errorf("%w: --canary: %w", errUsage, err)
	}
	access := a.cfg.Map.Access()
	token, err := access.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: map.canary.%w", errUsage, err)
	}
	tls, err := access.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("%w: map.canary.%w", errUsage, err)
	}
	sign, err := a.cfg.Map.SignKey()
	if err != nil {
		return nil, fmt.Errorf("%w: map.%w", errUsage, err)
	}
	return &canary{base: base, token: token, sign: sign, client: &http.Client{
		Transport: &http.Transport{TLSClientConfig: tls},
		// A redirect would take the token and the map elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *canary) close() { c.client.CloseIdleConnections() }

// adminBase checks the base URL of an admin server.
func adminBase(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("want the URL of a proxy's admin server: http or https, a host and a port, such as http://10.0.0.1:9901")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// canaryAnswer is an answer of a proxy, in both its forms: an acknowledgement,
// and why there is none.
type canaryAnswer struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"`
	Digest  string            `json:"digest"`
	Refused bucketmap.Version `json:"refused"`
	Reason  string            `json:"reason"`
	Rule    bucketmap.Rule    `json:"rule"`
	Error   string            `json:"error"`
	Remedy  string            `json:"remedy"`
}

func (c *canary) do(ctx context.Context, limit time.Duration, method, path, contentType string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, canaryAnswerMax+1))
	if err == nil && len(text) > canaryAnswerMax {
		err = fmt.Errorf("an answer of more than %d bytes; is this the admin server of a proxy?", canaryAnswerMax)
	}
	return response.StatusCode, text, err
}

// ack asks what the proxy runs.
func (c *canary) ack(ctx context.Context) (bucketmap.Ack, error) {
	status, text, err := c.do(ctx, canaryAskMax, http.MethodGet, "/map/ack", "", nil)
	if err != nil {
		return bucketmap.Ack{}, err
	}
	return readAck(status, text)
}

func readAck(status int, text []byte) (bucketmap.Ack, error) {
	var a canaryAnswer
	if err := json.Unmarshal(text, &a); err != nil || status != http.StatusOK || !bucketmap.ValidName(a.Proxy) {
		if err == nil && a.Error != "" {
			text := a.Error
			if a.Remedy != "" && !strings.Contains(text, a.Remedy) {
				text += "; " + a.Remedy
			}
			return bucketmap.Ack{}, fmt.Errorf("it answered %d (%s): %s", status, a.Rule, text)
		}
		return bucketmap.Ack{}, fmt.Errorf("it answered %d %.*q: is this the admin server of a proxy?", status, canaryShownMax, text)
	}
	ack := bucketmap.Ack{Proxy: a.Proxy, Version: a.Version, Refused: a.Refused, Reason: a.Reason}
	if a.Digest != "" {
		digest, err := bucketmap.ParseDigest(a.Digest)
		if err != nil {
			return bucketmap.Ack{}, fmt.Errorf("its acknowledgement: %w", err)
		}
		ack.Digest = digest
	}
	return ack, nil
}

// put sends a map. With an error, begun says whether the proxy may run it all
// the same, now or in a moment.
func (c *canary) put(ctx context.Context, snap *bucketmap.Snapshot) (begun bool, err error) {
	status, text, err := c.do(ctx, canaryPutMax, http.MethodPut, "/map", push.ContentTypeMap, binary.Append(nil, snap, c.sign))
	if err != nil {
		var dial *net.OpError
		return !errors.As(err, &dial) || dial.Op != "dial", err
	}
	ack, err := readAck(status, text)
	if err != nil {
		return status >= http.StatusInternalServerError || status == http.StatusOK, err
	}
	if ack.Version != snap.Version() || ack.Digest != (bucketmap.Digest{}) && ack.Digest != snap.Digest() {
		return true, fmt.Errorf("it acknowledges version %d, digest %.12s, and not version %d, digest %.12s",
			ack.Version, ack.Digest, snap.Version(), snap.Digest())
	}
	return true, nil
}

// rescue gives the canary the content of the map in force without the store,
// which cannot be published to.
func (c *canary) rescue(ctx context.Context, a *app, bad *bucketmap.Snapshot) error {
	current, err := a.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("the canary keeps version %d: %w", bad.Version(), err)
	}
	draft := current.Edit()
	draft.Version = max(bad.Version(), current.Version()) + 1
	good, err := draft.Snapshot()
	if err == nil {
		_, err = c.put(ctx, good)
	}
	if err != nil {
		return fmt.Errorf("the canary keeps version %d: %w", bad.Version(), err)
	}
	return fmt.Errorf("the canary alone runs the content of before, as version %d", good.Version())
}

// counts are what a proxy has counted since it began.
type counts struct {
	requests, errors float64
}

func (n counts) since(before counts) counts {
	return counts{n.requests - before.requests, n.errors - before.errors}
}

// share is that of the errors among the requests, 0 when there are none.
func (n counts) share() float64 {
	if n.requests <= 0 {
		return 0
	}
	return min(n.errors/n.requests, 1)
}

// The metrics of the edge that are looked at.
const (
	metricEnds      = "drover_proxy_request_ends_total"
	metricResponses = "drover_proxy_responses_total"
)

// counts reads the proxy's metrics: requests, but for those whose client went
// away, and of them the errors: answers of 5xx, answers that broke off, and 421
// to the end.
func (c *canary) counts(ctx context.Context) (counts, error) {
	status, text, err := c.do(ctx, canaryAskMax, http.MethodGet, "/metrics", "", nil)
	if err != nil {
		return counts{}, fmt.Errorf("its metrics: %w", err)
	}
	if status != http.StatusOK {
		return counts{}, fmt.Errorf("its metrics: it answered %d", status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return counts{}, fmt.Errorf("its metrics: %w", err)
	}
	if families[metricEnds] == nil || families[metricResponses] == nil {
		return counts{}, fmt.Errorf("its metrics have no %s or no %s: is this the admin server of a proxy?", metricEnds, metricResponses)
	}
	ends := func(words ...string) float64 { return sum(families[metricEnds], "end", words...) }
	return counts{
		requests: ends() - ends("client_gone"),
		errors:   sum(families[metricResponses], "class", "5xx") + ends("truncated", "misdirected"),
	}, nil
}

// sum adds a counter's values: those with one of the words as their label, or
// all.
func sum(family *dto.MetricFamily, label string, words ...string) float64 {
	total := 0.0
	for _, m := range family.GetMetric() {
		counted := len(words) == 0
		for _, pair := range m.GetLabel() {
			for _, word := range words {
				counted = counted || pair.GetName() == label && pair.GetValue() == word
			}
		}
		if counted {
			total += m.GetCounter().GetValue()
		}
	}
	return total
}
