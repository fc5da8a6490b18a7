package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"drover/bucketmap"
)

// answerMax bounds the answer of a proxy that is read: a Reason can be a list
// of many problems.
const answerMax = 256 << 10

// shownMax bounds what is shown of an answer that is not a Receiver's.
const shownMax = 200

// answer is what a proxy said.
type answer struct {
	status int
	tag    string         // the acknowledgement's tag, empty for none
	ack    *bucketmap.Ack // nil for none
	rule   bucketmap.Rule
	text   string // why not; for an answer that is no acknowledgement
}

// do sends a request and reads the answer. An error says that there was none.
func (s *Store) do(req *http.Request) (answer, error) {
	if s.options.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.options.Token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax+1))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	a := answer{status: resp.StatusCode, tag: resp.Header.Get("ETag"), rule: ruleUnspecified}
	if len(body) > answerMax {
		a.text = fmt.Sprintf("an answer of more than %d bytes; is this the admin address of a proxy?", answerMax)
		return a, nil
	}
	if err := a.read(body); err != nil {
		a.text = fmt.Sprintf("%s (%.*q); is this the admin address of a proxy?", err, shownMax, body)
	}
	return a, nil
}

func (a *answer) read(body []byte) error {
	if a.status == http.StatusNotModified {
		return nil
	}
	if a.status == http.StatusOK {
		var w wireAck
		if err := json.Unmarshal(body, &w); err != nil {
			return fmt.Errorf("the answer is no acknowledgement: %w", err)
		}
		return a.take(w)
	}
	var r wireRefusal
	if err := json.Unmarshal(body, &r); err != nil || r.Error == "" {
		return errors.New("the answer gives no reason that can be read")
	}
	a.rule, a.text = r.Rule, r.Error
	if r.Remedy != "" && !strings.Contains(r.Error, r.Remedy) {
		a.text += ": " + r.Remedy
	}
	if r.Ack == nil {
		return nil
	}
	return a.take(*r.Ack)
}

func (a *answer) take(w wireAck) error {
	ack, err := w.ack()
	if err != nil {
		return err
	}
	a.ack = &ack
	return nil
}

// failure says in words what an answer that is no acknowledgement means.
func (a *answer) failure() error {
	text := a.text
	if text == "" {
		text = "with nothing that was asked for"
	}
	return fmt.Errorf("it answered %d %s: %s", a.status, http.StatusText(a.status), text)
}
