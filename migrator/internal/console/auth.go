package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Role is what somebody may do.
type Role string

// The roles. A reader sees everything; an operator may press the buttons too.
const (
	Reader   Role = "reader"
	Operator Role = "operator"
)

const (
	// tokenBytesMin is the shortest token: 16 letters and digits of chance are 80
	// bits or more, which nobody tries out over the network.
	tokenBytesMin = 16
	// sessionsMax bounds the logins that are remembered; the oldest goes. × 200
	// bytes.
	sessionsMax = 1000
	// sessionMax is a working day.
	sessionMax = 12 * time.Hour
	// nameMax bounds what somebody calls himself, in bytes.
	nameMax = 64
)

// csrfHeader carries the session's own word with every POST of the page's
// scripts.
const csrfHeader = "Drover-Console-Csrf"

// Access says who may come in.
type Access struct {
	// OperatorToken and ReaderToken let in whoever knows them; empty lets nobody in.
	OperatorToken, ReaderToken string
	// Certificates lets in whoever has a certificate that the server's TLS
	// configuration has verified; Operators are the common names of those who are
	// operators. The others are readers.
	Certificates bool
	Operators    []string
}

// Validate says what is wrong.
func (a Access) Validate() error {
	if a.OperatorToken == "" && a.ReaderToken == "" && !a.Certificates {
		return errors.New("nobody could come in: give a token or an authority for certificates")
	}
	for _, t := range []string{a.OperatorToken, a.ReaderToken} {
		if t != "" && len(t) < tokenBytesMin {
			return fmt.Errorf("a token has %d bytes or more: openssl rand -hex 32 makes one", tokenBytesMin)
		}
	}
	if a.OperatorToken != "" && a.OperatorToken == a.ReaderToken {
		return errors.New("the operators' token and the readers' are the same: every reader would be an operator")
	}
	if len(a.Operators) != 0 && !a.Certificates {
		return errors.New("operators are named by their certificates: give the authority of the certificates too")
	}
	return nil
}

// identity is who has sent a request.
type identity struct {
	name string
	role Role
	// csrf is the word without which a request that a browser sends by itself, with
	// a cookie or a certificate, changes nothing. It is empty for who shows a token
	// with every request, which no browser does by itself.
	csrf string
	// session is nil for who shows a token or a certificate with every request.
	session *session
}

// session is one login. Nothing of it changes.
type session struct {
	id, csrf string
	name     string
	role     Role
	until    time.Time
}

// door lets people in.
type door struct {
	access Access
	secure bool // the page is served by TLS, so the cookie is for TLS alone
	secret []byte
	now    func() time.Time

	mu struct {
		sync.Mutex
		sessions map[string]*session // by id
	}
}

func newDoor(access Access, secure bool, now func() time.Time) *door {
	d := &door{access: access, secure: secure, secret: []byte(rand.Text()), now: now}
	d.mu.sessions = map[string]*session{}
	return d
}

// cookie is the name of the session's cookie. With TLS the browser itself makes
// sure that no other host and no page in clear text has set it.
func (d *door) cookie() string {
	if d.secure {
		return "__Host-drover-console"
	}
	return "drover-console"
}

// roleOf says what a token allows. It takes as long for every token of a length.
func (a Access) roleOf(token string) (Role, bool) {
	got := sha256.Sum256([]byte(token))
	role, ok := Reader, false
	for _, t := range []struct {
		token string
		role  Role
	}{{a.ReaderToken, Reader}, {a.OperatorToken, Operator}} {
		want := sha256.Sum256([]byte(t.token))
		if subtle.ConstantTimeCompare(want[:], got[:]) == 1 && t.token != "" {
			role, ok = t.role, true
		}
	}
	return role, ok
}

// who says who has sent a request, nil for nobody that is known.
func (d *door) who(r *http.Request) *identity {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		if role, known := d.access.roleOf(strings.TrimSpace(token)); known && strings.EqualFold(scheme, "Bearer") {
			return &identity{name: named(r.Header.Get("Drover-Console-Name"), role), role: role}
		}
		return nil // whoever shows a wrong token is not let in by something else
	}
	if c, err := r.Cookie(d.cookie()); err == nil {
		if s := d.session(c.Value); s != nil {
			return &identity{name: s.name, role: s.role, csrf: s.csrf, session: s}
		}
	}
	if d.access.Certificates && r.TLS != nil && len(r.TLS.VerifiedChains) != 0 {
		leaf := r.TLS.VerifiedChains[0][0]
		name := leaf.Subject.CommonName
		role := Reader
		if name != "" && slices.Contains(d.access.Operators, name) {
			role = Operator
		}
		return &identity{name: named(name, role), role: role, csrf: d.wordFor(leaf.Raw)}
	}
	return nil
}

// wordFor is the word of whoever has a certificate: the same for this run.
func (d *door) wordFor(certificate []byte) string {
	sum := hmac.New(sha256.New, d.secret)
	sum.Write(certificate)
	return hex.EncodeToString(sum.Sum(nil))
}

// named makes a name fit for the history.
func named(name string, role Role) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if len(name) > nameMax {
		name = strings.ToValidUTF8(name[:nameMax], "")
	}
	if name = strings.TrimSpace(name); name == "" {
		return string(role)
	}
	return name
}

func (d *door) session(id string) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.mu.sessions[id]
	if s != nil && !s.until.After(d.now()) {
		delete(d.mu.sessions, id)
		return nil
	}
	return s
}

// login begins a session.
func (d *door) login(w http.ResponseWriter, token, name string) bool {
	role, ok := d.access.roleOf(strings.TrimSpace(token))
	if !ok {
		return false
	}
	s := &session{id: rand.Text(), csrf: rand.Text(), name: named(name, role), role: role, until: d.now().Add(sessionMax)}
	d.mu.Lock()
	if len(d.mu.sessions) >= sessionsMax {
		var oldest *session
		for _, other := range d.mu.sessions {
			if oldest == nil || other.until.Before(oldest.until) {
				oldest = other
			}
		}
		delete(d.mu.sessions, oldest.id)
	}
	d.mu.sessions[s.id] = s
	d.mu.Unlock()
	http.SetCookie(w, d.newCookie(s.id, int(sessionMax.Seconds())))
	return true
}

// logout ends the request's session.
func (d *door) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(d.cookie()); err == nil {
		d.mu.Lock()
		delete(d.mu.sessions, c.Value)
		d.mu.Unlock()
	}
	http.SetCookie(w, d.newCookie("", -1))
}

func (d *door) newCookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: d.cookie(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: d.secure, SameSite: http.SameSiteStrictMode}
}

// stillIn says whether who came in once may still be there.
func (s *Server) stillIn(who *identity) bool {
	return who.session == nil || s.door.session(who.session.id) == who.session
}

// known is a handler for those who are let in.
type known func(w http.ResponseWriter, r *http.Request, who *identity)

// guarded sends away who is not let in.
func (s *Server) guarded(next known) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := s.door.who(r)
		if who == nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="drover console"`)
			answerError(w, http.StatusUnauthorized, errors.New("log in, or send Authorization: Bearer TOKEN"))
			return
		}
		next(w, r, who)
	}
}

// operated sends away who is no operator, and a request that a browser may have
// been talked into: one with a cookie or a certificate, but without the word that the page knows.
func (s *Server) operated(next known) http.HandlerFunc {
	return s.guarded(func(w http.ResponseWriter, r *http.Request, who *identity) {
		if who.role != Operator {
			answerError(w, http.StatusForbidden, errors.New("readers may look, and change nothing: log in with the operators' token"))
			return
		}
		if who.csrf != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get(csrfHeader)), []byte(who.csrf)) != 1 {
			answerError(w, http.StatusForbidden, errors.New("the request does not come from the console's page: load it anew"))
			return
		}
		next(w, r, who)
	})
}
