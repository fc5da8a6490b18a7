package parity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/internal/parity"
)

const (
	// askMax bounds the asking of one proxy.
	askMax = 5 * time.Second
	// answerMax bounds a report: 256 classes of 128 + 128 fields and 1,024
	// examples of 16 differences are less at their worst.
	answerMax = 64 << 20
	// shownMax is how much of an answer that is no report an error shows.
	shownMax = 200
	// asksMax is how many proxies are asked at a time.
	asksMax = 16
)

// Client asks proxies.
type Client struct {
	HTTP  *http.Client
	Token string // of their admin servers; empty: none
}

// Missing is a proxy that gave no report.
type Missing struct {
	Proxy string `json:"proxy"` // its admin server's address
	Error string `json:"error"`
}

// Collected is what the proxies say.
type Collected struct {
	Report  parity.Report            `json:"report"` // of all that answered
	Proxies map[string]parity.Report `json:"-"`      // by the address of the admin server
	Missing []Missing                `json:"missing,omitempty"`
}

// Collect asks every proxy, by the base addresses of their admin servers.
func (c *Client) Collect(ctx context.Context, proxies []string) Collected {
	type asked struct {
		report parity.Report
		err    error
	}
	answers := make([]asked, len(proxies))
	var group errgroup.Group
	group.SetLimit(asksMax)
	for i, base := range proxies {
		group.Go(func() error {
			answers[i].report, answers[i].err = c.ask(ctx, base)
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them fails
	all := Collected{Proxies: map[string]parity.Report{}}
	for i, base := range proxies {
		if err := answers[i].err; err != nil {
			all.Missing = append(all.Missing, Missing{base, err.Error()})
			continue
		}
		all.Proxies[base] = answers[i].report
	}
	all.merge()
	return all
}

func (c *Collected) merge() {
	var reports []parity.Report
	for _, r := range c.Proxies {
		reports = append(reports, r)
	}
	slices.SortFunc(reports, func(a, b parity.Report) int { return a.At.Compare(b.At) })
	c.Report = parity.Merge(reports)
}

// After returns what was counted since before. A proxy that began anew
// meanwhile, or was not there, counts with all that it has.
func (c Collected) After(before Collected) Collected {
	proxies := map[string]parity.Report{}
	for base, r := range c.Proxies {
		if then, ok := before.Proxies[base]; ok {
			r = r.After(then)
		}
		proxies[base] = r
	}
	c.Proxies = proxies
	c.merge()
	return c
}

func (c *Client) ask(ctx context.Context, base string) (parity.Report, error) {
	var r parity.Report
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/mirror", nil)
	if err != nil {
		return r, err
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, answerMax+1))
	switch {
	case err != nil:
		return r, fmt.Errorf("its report broke off: %w", err)
	case len(text) > answerMax:
		return r, fmt.Errorf("an answer of more than %d bytes: is this the admin server of a proxy?", answerMax)
	case response.StatusCode == http.StatusNotFound:
		return r, errors.New("it has no /mirror: this proxy is too old, or this is not its admin server")
	case response.StatusCode == http.StatusUnauthorized:
		return r, errors.New("it wants a token: set map.canary.token_file, or map.push.token_file with the store push")
	case response.StatusCode != http.StatusOK:
		return r, fmt.Errorf("it answered %d %.*q", response.StatusCode, shownMax, text)
	}
	if err := json.Unmarshal(text, &r); err != nil || r.At.IsZero() {
		return parity.Report{}, fmt.Errorf("its answer is no report: %.*q: is this the admin server of a proxy?", shownMax, text)
	}
	r.Finish() // its figures follow from its counts, whatever it says
	return r, nil
}
