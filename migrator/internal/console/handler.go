package console

import (
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"
)

// assets are the page: no build step, nothing from elsewhere.
//
//go:embed assets
var assets embed.FS

// policy lets the page run and show what this server serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// handler answers every request. Nothing but the login page and the page's own
// files is for everybody.
func (s *Server) handler() (http.Handler, error) {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		return nil, err
	}
	login, err := template.ParseFS(files, "login.html")
	if err != nil {
		return nil, err
	}
	page := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if s.door.who(r) == nil {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		http.ServeFileFS(w, r, files, "page.html")
	})
	mux.HandleFunc("GET /assets/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") || strings.HasSuffix(r.URL.Path, ".html") {
			http.NotFound(w, r)
			return
		}
		http.StripPrefix("/assets", page).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		if s.door.who(r) != nil {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		showLogin(w, login, http.StatusOK, "")
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, formBytesMax)
		if err := r.ParseForm(); err != nil {
			showLogin(w, login, http.StatusBadRequest, "The form cannot be read.")
			return
		}
		if !s.door.login(w, r.PostForm.Get("token"), r.PostForm.Get("name")) {
			s.log.Warn("login refused", zapRemote(r.RemoteAddr)...)
			showLogin(w, login, http.StatusUnauthorized, "This is not the token.")
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		s.door.logout(w, r)
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /api/me", s.guarded(s.me))
	mux.HandleFunc("GET /api/grid", s.guarded(func(w http.ResponseWriter, r *http.Request, _ *identity) { s.feed.grid(w, r) }))
	mux.HandleFunc("GET /events", s.guarded(s.events))
	mux.HandleFunc("POST /api/actions/{name}", s.operated(s.act))
	return hardened(http.NewCrossOriginProtection().Handler(mux)), nil
}

// me says who asks, what he may do, and what there is to see.
func (s *Server) me(w http.ResponseWriter, _ *http.Request, who *identity) {
	said := struct {
		Name    string   `json:"name"`
		Role    Role     `json:"role"`
		Csrf    string   `json:"csrf,omitempty"`
		Leave   bool     `json:"leave"` // there is a session to log out of
		Topics  []string `json:"topics"`
		Actions []string `json:"actions"`
	}{Name: who.name, Role: who.role, Topics: []string{topicMap, topicUsers}, Actions: []string{}}
	said.Csrf, said.Leave = who.csrf, who.session != nil
	for _, source := range s.sources {
		said.Topics = append(said.Topics, source.Topic())
	}
	if who.role == Operator {
		for name := range s.actions {
			said.Actions = append(said.Actions, name)
		}
		slices.Sort(said.Actions)
	}
	answerJSON(w, http.StatusOK, said)
}

// hardened puts the headers on every answer.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		// A response that knows no deadline is a test's.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerWaitMax))
		next.ServeHTTP(w, r)
	})
}

func showLogin(w http.ResponseWriter, page *template.Template, code int, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_ = page.Execute(w, problem) // who has gone needs nothing
}
