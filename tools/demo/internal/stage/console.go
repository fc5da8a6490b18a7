package stage

import (
	"context"
	"crypto/rand"
)

// startConsole serves the console, on loopback, to those who have a token; tracers
// go out from it all the time.
func (s *Stage) startConsole(ctx context.Context) error {
	s.options.Log("starting the console")
	var readers string
	for name, path := range map[string]*string{"operators.token": &s.ConsoleToken, "readers.token": &readers} {
		var err error
		if *path, err = s.write(name, "%s\n", rand.Text()); err != nil {
			return err
		}
	}
	p, err := s.onFreePorts(ctx, 1, func(ports []string) (*Program, string, error) {
		s.Console = "http://" + ports[0] + "/"
		args := append(s.MigratorCommand(), "serve", "--listen", ports[0], "--token-file", s.ConsoleToken, "--reader-token-file", readers, "--trace")
		p, err := s.start("console", nil, nil, args...)
		return p, s.Console, err
	})
	if err == nil {
		s.programs = append(s.programs, p)
	}
	return err
}
