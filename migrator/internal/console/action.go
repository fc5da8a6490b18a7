package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const (
	// actionBytesMax bounds what a button sends: 1,000 user ids in hexadecimal.
	actionBytesMax = 1 << 20
	// actionTextMax bounds a reason and a confirmation.
	actionTextMax = 1000
)

// Action is something that an operator may do from the page.
type Action interface {
	// Name is a word with hyphens, such as "whitelist-add": the last part of its
	// address.
	Name() string
	// Confirm reads the arguments, and returns the word that the operator must have
	// typed. Its error says what is wrong with them.
	Confirm(arguments json.RawMessage) (word string, err error)
	// Do does it, in somebody's name. What it returns is shown, as JSON. An error
	// that is ErrRefused says that nothing was changed.
	Do(ctx context.Context, by By, arguments json.RawMessage) (result any, err error)
}

// By says who does something, and why.
type By struct{ Who, Why string }

// ErrRefused is the class of what an action refuses with nothing changed.
var ErrRefused = errors.New("refused")

// press is the body of a button's request.
type press struct {
	// Typed is what the operator has typed to confirm it.
	Typed     string          `json:"typed"`
	Why       string          `json:"why"`
	Arguments json.RawMessage `json:"arguments"`
}

// act serves one press of a button. Who may not press it has been sent away.
func (s *Server) act(w http.ResponseWriter, r *http.Request, who *identity) {
	action, ok := s.actions[r.PathValue("name")]
	if !ok {
		answerError(w, http.StatusNotFound, fmt.Errorf("there is no action %q", r.PathValue("name")))
		return
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		answerError(w, http.StatusUnsupportedMediaType, errors.New("send application/json"))
		return
	}
	var p press
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, actionBytesMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		answerError(w, http.StatusBadRequest, fmt.Errorf("the request cannot be read: %w", err))
		return
	}
	if len(p.Why) > actionTextMax || len(p.Typed) > actionTextMax {
		answerError(w, http.StatusBadRequest, fmt.Errorf("a reason has %d bytes at most", actionTextMax))
		return
	}
	word, err := action.Confirm(p.Arguments)
	if err != nil {
		answerError(w, http.StatusBadRequest, err)
		return
	}
	if p.Typed != word {
		answerError(w, http.StatusConflict, fmt.Errorf("type %q to confirm; nothing was changed", word))
		return
	}
	// What was begun is not broken off because the browser has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.actMax)
	defer cancel()
	result, err := action.Do(ctx, By{Who: who.name, Why: p.Why}, p.Arguments)
	s.log.Info("action", zapAction(action.Name(), who.name, p.Why, err)...)
	switch {
	case errors.Is(err, ErrRefused):
		answerError(w, http.StatusConflict, err)
	case err != nil:
		answerError(w, http.StatusBadGateway, err)
	default:
		answerJSON(w, http.StatusOK, result)
	}
}

func answerError(w http.ResponseWriter, code int, err error) {
	answerJSON(w, code, map[string]string{"error": err.Error()})
}

func answerJSON(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // who has gone needs nothing
}
