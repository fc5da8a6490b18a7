package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/tools/testservers"
)

// lookAtConsole logs in to the console of a running demo in Chromium, and wants
// the campaign and the grid on it. With DROVER_CONSOLE_PICTURES it takes the
// picture console.png into that folder: README.md has it.
func lookAtConsole(t *testing.T) func(ctx context.Context, url, token string) error {
	t.Helper()
	browser, err := testservers.InstallBrowser(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, url, tokenFile string) error {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return err
		}
		input := map[string]string{"url": url, "token": strings.TrimSpace(string(token))}
		if dir := os.Getenv("DROVER_CONSOLE_PICTURES"); dir != "" {
			input["picture"] = filepath.Join(dir, "console.png")
		}
		return browser.Run(ctx, filepath.Join("testdata", "console.mjs"), input, nil)
	}
}
