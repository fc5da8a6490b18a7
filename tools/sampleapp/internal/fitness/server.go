package fitness

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"drover/bucketmap"
	"drover/shardlib"
)

// Store is what the handlers need of the data.
type Store interface {
	Add(ctx context.Context, user bucketmap.UserID, r Request) (Added, error)
	Day(ctx context.Context, user bucketmap.UserID, day string) (Day, error)
	Profile(ctx context.Context, user bucketmap.UserID) (json.RawMessage, error)
}

// Server has the HTTP handlers.
type Server struct {
	Library *shardlib.Library
	Store   Store
	Place   Place // its own; the shard is each request's
	// MapWait bounds the wait for a map as new as the proxy's.
	MapWait time.Duration
}

// The headers of the proxy's that an application needs.
const (
	headerUser    = "Drover-User"
	headerVersion = "Drover-Map-Version"
	// headerJob names the user of a job that calls an instance by itself.
	headerJob = "X-User-Id"
)

const (
	bodyBytesMax   = 64 << 10
	thinkMax       = 5 * time.Second
	stepsMax       = 1_000_000
	requestIDMax   = 64 // the column's
	retryAfterSecs = "1"
)

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /1/user/-/steps", s.forUser(s.add))
	mux.HandleFunc("GET /1/user/-/steps/{day}", s.forUser(s.day))
	mux.HandleFunc("GET /1/user/-/profile", s.forUser(s.profile))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

type userHandler func(w http.ResponseWriter, r *http.Request, user bucketmap.UserID)

// forUser finds the user and waits for the map.
func (s *Server) forUser(next userHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get(headerUser)
		if user == "" {
			user = r.Header.Get(headerJob)
		}
		if user == "" || len(user) > bucketmap.UserIDMax {
			reply(w, http.StatusUnauthorized, problem{Error: "no user: send " + headerUser + " or " + headerJob})
			return
		}
		if text := r.Header.Get(headerVersion); text != "" {
			version, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				reply(w, http.StatusBadRequest, problem{Error: headerVersion + " is not a number"})
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), s.MapWait)
			err = s.Library.AtLeast(ctx, bucketmap.Version(version))
			cancel()
			if err != nil {
				w.Header().Set("Retry-After", retryAfterSecs)
				reply(w, http.StatusServiceUnavailable, problem{Error: err.Error(), Outcome: notCommitted})
				return
			}
		}
		next(w, r, bucketmap.UserID(user))
	}
}

func (s *Server) add(w http.ResponseWriter, r *http.Request, user bucketmap.UserID) {
	var request Request
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		reply(w, http.StatusBadRequest, problem{Error: err.Error()})
		return
	}
	if text := r.URL.Query().Get("think_ms"); text != "" {
		ms, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			reply(w, http.StatusBadRequest, problem{Error: "think_ms: want a whole number"})
			return
		}
		request.Think = min(time.Duration(ms)*time.Millisecond, thinkMax)
	}
	switch {
	case len(request.ID) < 1 || len(request.ID) > requestIDMax:
		reply(w, http.StatusBadRequest, problem{Error: "request_id: want 1 to 64 bytes"})
		return
	case !validDay(request.Day):
		reply(w, http.StatusBadRequest, problem{Error: "day: want YYYY-MM-DD"})
		return
	case request.Steps < 0 || request.Steps > stepsMax:
		reply(w, http.StatusBadRequest, problem{Error: "steps: want 0 to 1000000"})
		return
	}
	added, err := s.Store.Add(r.Context(), user, request)
	if err != nil {
		s.fail(w, err)
		return
	}
	added.Instance, added.Datacenter = s.Place.Instance, s.Place.Datacenter
	reply(w, http.StatusOK, added)
}

func (s *Server) day(w http.ResponseWriter, r *http.Request, user bucketmap.UserID) {
	day := r.PathValue("day")
	if !validDay(day) {
		reply(w, http.StatusBadRequest, problem{Error: "day: want YYYY-MM-DD"})
		return
	}
	d, err := s.Store.Day(r.Context(), user, day)
	if err != nil {
		s.fail(w, err)
		return
	}
	reply(w, http.StatusOK, d)
}

func (s *Server) profile(w http.ResponseWriter, r *http.Request, user bucketmap.UserID) {
	p, err := s.Store.Profile(r.Context(), user)
	if err != nil {
		s.fail(w, err)
		return
	}
	reply(w, http.StatusOK, p)
}

func validDay(day string) bool {
	_, err := time.Parse(time.DateOnly, day)
	return err == nil
}

// problem is the body of an answer that is not a success.
type problem struct {
	Error string `json:"error"`
	// Outcome is unknown when the request may have been carried out: repeat it
	// with the same request id. Not committed: it was not.
	Outcome string `json:"outcome,omitempty"`
}

const (
	notCommitted   = "not_committed"
	outcomeUnknown = "unknown"
)

func (s *Server) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, shardlib.ErrNotHome):
		w.Header().Set(headerVersion, strconv.FormatUint(uint64(s.Library.MapVersion()), 10))
		reply(w, http.StatusMisdirectedRequest, problem{Error: err.Error(), Outcome: notCommitted})
	case errors.Is(err, shardlib.ErrOutcomeUnknown):
		reply(w, http.StatusInternalServerError, problem{Error: err.Error(), Outcome: outcomeUnknown})
	default:
		w.Header().Set("Retry-After", retryAfterSecs)
		reply(w, http.StatusServiceUnavailable, problem{Error: err.Error(), Outcome: notCommitted})
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that went away is nobody's error
}
