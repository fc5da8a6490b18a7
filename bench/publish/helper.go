package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// helperMax bounds the end of a helper.
const helperMax = 10 * time.Second

// helper is this program once more, as a process that does one thing: what it
// does is then in nobody else's way but for the processors. It gets a line of
// JSON for each question and answers with one.
type helper struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *json.Decoder
}

// reply is a helper's answer, or why there is none.
type reply[A any] struct {
	Answer A      `json:"answer"`
	Error  string `json:"error,omitempty"`
}

// startHelper starts one with a subcommand.
func startHelper(idle bool, args ...string) (*helper, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &helper{cmd: exec.Command(program, args...)} //nolint:noctx // stop ends it, in order
	h.cmd.Stderr = os.Stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %v: %w", args, err)
	}
	h.answers = json.NewDecoder(bufio.NewReader(stdout))
	if idle {
		if err := makeIdle(h.cmd.Process.Pid); err != nil {
			return nil, errors.Join(err, h.stop())
		}
	}
	return h, nil
}

// idleRounds bounds the looks for threads that were made meanwhile.
const idleRounds = 10

// makeIdle has every thread of a process run only where a processor has nothing
// else to do (SCHED_IDLE, see sched(7)); threads that it makes later inherit it.
func makeIdle(pid int) error {
	done := map[string]bool{}
	for range idleRounds {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("make process %d idle: %w", pid, err)
		}
		before := len(done)
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil || done[thread.Name()] {
				continue
			}
			err = unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("make process %d idle: %w", pid, err)
			}
			done[thread.Name()] = true
		}
		if len(done) == before {
			return nil
		}
	}
	return fmt.Errorf("make process %d idle: it makes threads without end", pid)
}

// ask puts a question to a helper and waits for the answer. A ctx that ends
// ends the helper.
func ask[A any](ctx context.Context, h *helper, question any) (answer A, err error) {
	defer context.AfterFunc(ctx, func() { _ = h.cmd.Process.Kill() })()
	var r reply[A]
	if err = json.NewEncoder(h.stdin).Encode(question); err == nil {
		err = h.answers.Decode(&r)
	}
	switch {
	case ctx.Err() != nil:
		return answer, ctx.Err()
	case err != nil:
		return answer, fmt.Errorf("%s: %w", h.cmd.Args[1], err)
	case r.Error != "":
		return answer, fmt.Errorf("%s: %s", h.cmd.Args[1], r.Error)
	}
	return r.Answer, nil
}

// stop ends the helper, which sees that there are no more questions.
func (h *helper) stop() error {
	late := time.AfterFunc(helperMax, func() { _ = h.cmd.Process.Kill() })
	defer late.Stop()
	_ = h.stdin.Close() // closed already where the helper has ended
	return h.cmd.Wait()
}

// serve is the helper's side: it answers until there are no more questions.
func serve[Q, A any](in io.Reader, out io.Writer, answer func(Q) (A, error)) error {
	questions, replies := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q Q
		switch err := questions.Decode(&q); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		var r reply[A]
		var err error
		if r.Answer, err = answer(q); err != nil {
			r.Error = err.Error()
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}
