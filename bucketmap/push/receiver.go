package push

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"drover/bucketmap"
)

const (
	// putsMax bounds the maps that are read and decoded at once: each takes a
	// few times BodyMax at worst.
	putsMax = 4
	// waitsMax bounds the questions that are kept open; more are answered at
	// once.
	waitsMax = 64
	// waitMax bounds how long one is kept open.
	waitMax = 60 * time.Second
)

// ReceiverOptions are those of a Receiver. A zero field has its default.
type ReceiverOptions struct {
	// Proxy is this proxy's id.
	Proxy string
	// Offer puts a map in force and returns nil once no request goes out by
	// the one before, or why it is refused. nil: the map is given to Watch's
	// caller, and Ack says what became of it. It is called for one map at a
	// time, and not interrupted when the client goes away.
	Offer func(ctx context.Context, next *bucketmap.Snapshot) error
	// Current returns the map in force, nil for none; deltas are applied to
	// it. nil: the newest map that this Receiver saw come into force. With it,
	// a proxy that began with its last good map takes deltas at once.
	Current func() *bucketmap.Snapshot
	// Keys, when there are any, are those of which one must have signed every
	// map. YAML carries no signature and is then refused.
	Keys []ed25519.PublicKey
	// Token, when not empty, is wanted of every request.
	Token string
	// BodyMax is the largest body in bytes. 64 MiB, above the largest map in
	// its form for people: 2^20 buckets of about 40 bytes.
	BodyMax int64
	// BodyWait bounds how long a client may take to send one. 30 s.
	BodyWait time.Duration
	// ForceWait bounds how long a map may take to come into force. 10 s.
	ForceWait time.Duration
}

// Receiver is a proxy's end: an http.Handler for PUT /map and GET /map/ack,
// and the proxy's source of maps.
type Receiver struct {
	options ReceiverOptions
	handler http.Handler
	token   [sha256.Size]byte
	puts    chan struct{} // slots of putsMax
	waits   chan struct{} // slots of waitsMax
	turn    chan struct{} // held while one map is offered

	mu struct {
		sync.Mutex
		newest *bucketmap.Snapshot // the newest map given, nil for none
		good   *bucketmap.Snapshot // the newest of them that came into force
		given  uint64              // counts what was given to watchers as newest
		failed error               // the last PUT that could not be used
		fails  uint64              // counts them
		ack    bucketmap.Ack
		acks   uint64 // counts Ack's calls
		// changed is closed, and made anew, at every change of the above.
		changed chan struct{}
	}
}

var (
	_ bucketmap.Source = (*Receiver)(nil)
	_ http.Handler     = (*Receiver)(nil)
)

// NewReceiver returns a proxy's end. It starts no goroutine.
func NewReceiver(options ReceiverOptions) (*Receiver, error) {
	if !bucketmap.ValidName(options.Proxy) {
		return nil, fmt.Errorf("receive maps: proxy id %q: want a name of up to %d letters, digits, '.', '_' or '-'",
			options.Proxy, bucketmap.NameMax)
	}
	for i, key := range options.Keys {
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("receive maps: key %d has %d bytes: an Ed25519 public key has %d", i+1, len(key), ed25519.PublicKeySize)
		}
	}
	setDefault(&options.BodyMax, 64<<20)
	setDefault(&options.BodyWait, 30*time.Second)
	setDefault(&options.ForceWait, 10*time.Second)
	r := &Receiver{
		options: options,
		token:   sha256.Sum256([]byte(options.Token)),
		puts:    make(chan struct{}, putsMax),
		waits:   make(chan struct{}, waitsMax),
		turn:    make(chan struct{}, 1),
	}
	r.mu.ack = bucketmap.Ack{Proxy: options.Proxy}
	r.mu.changed = make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+mapPath, r.putMap)
	mux.HandleFunc("GET "+ackPath, r.getAck)
	mux.HandleFunc(mapPath, notAllowed(http.MethodPut))
	mux.HandleFunc(ackPath, notAllowed(http.MethodGet))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, &refusal{http.StatusNotFound, rulePath, errors.New("nothing is here"),
			"send PUT " + mapPath + " or GET " + ackPath}, nil)
	})
	r.handler = mux
	return r, nil
}

func notAllowed(method string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", method)
		refuse(w, &refusal{http.StatusMethodNotAllowed, ruleMethod, errors.New("this method does nothing here"), "use " + method}, nil)
	}
}

// ServeHTTP answers PUT /map and GET /map/ack. It may be mounted for these
// two paths or for all.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.options.Token != "" && !r.hasToken(req) {
		closeAfter(w)
		w.Header().Set("WWW-Authenticate", `Bearer realm="drover"`)
		refuse(w, &refusal{http.StatusUnauthorized, ruleToken, errors.New("the token is wanted"), "send Authorization: Bearer TOKEN"}, nil)
		return
	}
	r.handler.ServeHTTP(w, req)
}

func (r *Receiver) hasToken(req *http.Request) bool {
	scheme, given, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	// Sums, so that the comparison takes as long for every length.
	got := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(got[:], r.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// refusal is why a request is not done.
type refusal struct {
	status int
	rule   bucketmap.Rule
	err    error
	remedy string
}

// closeAfter ends the connection after the answer to a request of which the
// body was not read: else the server would wait for it.
func closeAfter(w http.ResponseWriter) { w.Header().Set("Connection", "close") }

// refuse answers with the refusal; ack, when not nil, says what the proxy runs.
func refuse(w http.ResponseWriter, why *refusal, ack *bucketmap.Ack) {
	body := wireRefusal{Rule: why.rule, Error: why.err.Error(), Remedy: why.remedy}
	if ack != nil {
		wire := toWire(*ack)
		body.Ack = &wire
	}
	writeJSON(w, why.status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // a time out of the range of JSON
		status, text = http.StatusInternalServerError, []byte(`{"rule":"unspecified","error":"the answer cannot be written","remedy":"check the proxy's clock"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}
