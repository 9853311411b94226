//go:build !wasip1

// Package wasmilltest runs a handler in an ordinary test. Nothing is stood in
// for but the host:
//
//	func TestUpper(t *testing.T) {
//		host := wasmilltest.Host{Config: map[string]string{"suffix": "!"}}
//		run := host.Run(t, newUpper, wasmilltest.Text("hello"))
//		if got := run.Values(); !slices.Equal(got, []string{"HELLO!"}) {
//			t.Error(got, run.Verdicts)
//		}
//	}
//
// Limits, deadlines and traps exist only in the sandbox: `wasmill invoke` shows
// those.
package wasmilltest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
	"github.com/wasmill/wasmill/plugins/go/sdk/log"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
)

// Host says what the host would. The zero value will do.
type Host struct {
	// Config are the settings of the pipeline's config table.
	Config map[string]string
	// Grant are the output topics beside the default one.
	Grant []string
	// Pipeline, Group and Digest are told to the handler.
	Pipeline, Group, Digest string
	// Topic is where messages come from, and "input" if it is empty.
	Topic string
	// Partition is that of the messages.
	Partition int32
}

// Message is a message to hand over.
type Message struct {
	// Key and Value are absent if they are nil.
	Key, Value []byte
	Headers    []Header
	// Offset is one more than that of the message before if it is 0.
	Offset int64
	// Timestamp is in milliseconds since 1970; 0 means none.
	Timestamp int64
	// Attempt is 1 if it is 0.
	Attempt uint32
}

// Header is a header of a message or an output. A nil value is absent.
type Header struct {
	Name  string
	Value []byte
}

// Text returns a message with that value and nothing else.
func Text(value string) Message { return Message{Value: []byte(value)} }

// Func makes a handler without state one that Host takes.
func Func(f wasmill.HandlerFunc) wasmill.Constructor {
	return func(*wasmill.Context) (wasmill.Handler, error) { return f, nil }
}

// Run is what became of a batch.
type Run struct {
	// Verdicts says what became of each message, in order.
	Verdicts []Verdict
	// Outputs are what would be published, in order: those of acknowledged
	// messages.
	Outputs []Output
	// Log are the lines written, in order; in the first batch of an instance
	// also those of its constructor.
	Log []Line
}

// Values returns the values of the outputs as text, in order.
func (r Run) Values() []string {
	values := make([]string, len(r.Outputs))
	for i, output := range r.Outputs {
		values[i] = string(output.Value)
	}
	return values
}

// Acknowledged reports whether every message was.
func (r Run) Acknowledged() bool {
	for _, verdict := range r.Verdicts {
		if verdict != Ack() {
			return false
		}
	}
	return true
}

// Verdict says what became of a message. Verdicts can be compared with ==.
type Verdict struct {
	Kind Kind
	// After is the least time until a retry.
	After time.Duration
	// Reason is the text of a retry or a rejection.
	Reason string
}

// Kind is what kind of verdict it is.
type Kind int

// The kinds of verdicts.
const (
	// Acknowledged messages are done with.
	Acknowledged Kind = iota
	// Retried messages are handed over again.
	Retried
	// Rejected messages are given up.
	Rejected
	// NotReached messages are handed over again, their attempt unchanged,
	// because an earlier one asked for a retry.
	NotReached
)

// Ack is the verdict of an acknowledged message.
func Ack() Verdict { return Verdict{} }

// Retry is the verdict of a message that is handed over again.
func Retry(after time.Duration, reason string) Verdict { return Verdict{Retried, after, reason} }

// Reject is the verdict of a message that is given up.
func Reject(reason string) Verdict { return Verdict{Rejected, 0, reason} }

// String is for people.
func (v Verdict) String() string {
	switch v.Kind {
	case Acknowledged:
		return "ack"
	case Retried:
		return fmt.Sprintf("retry after %s: %s", v.After, v.Reason)
	case Rejected:
		return "reject: " + v.Reason
	}
	return "not reached"
}

// Output is a message to be published.
type Output struct {
	// Message is the index in the batch of the message it was sent for.
	Message int
	// Topic is empty for the pipeline's default output.
	Topic string
	// Partition is -1 if the key decides.
	Partition int32
	// Timestamp is the one set, or else that of the message, in milliseconds
	// since 1970; 0 means none.
	Timestamp int64
	// Key and Value are nil if they are absent.
	Key, Value []byte
	Headers    []Header
}

// Line is a line of the log.
type Line struct {
	Level log.Level
	Text  string
}

// turn is held while a handler runs: there is one host.Current, so that tests
// which run in parallel take turns.
var turn sync.Mutex

// Instance is a started handler, for tests of more than one batch.
type Instance struct {
	running  host.Instance
	recorder *recorder
	next     int64
	in       Host
}

// Start starts a handler. The error is that of its constructor.
func (h Host) Start(handler wasmill.Constructor) (*Instance, error) {
	if h.Topic == "" {
		h.Topic = "input"
	}
	instance := &Instance{recorder: &recorder{granted: h.Grant, topic: h.Topic}, in: h}
	defer instance.recorder.enter()()
	running, err := host.Start(handler, h.context())
	instance.running = running
	return instance, err
}

// Run starts a handler and hands it the messages as one batch. The test fails if
// the handler does not start.
func (h Host) Run(t testing.TB, handler wasmill.Constructor, messages ...Message) Run {
	t.Helper()
	instance, err := h.Start(handler)
	if err != nil {
		t.Fatalf("the handler does not start: %v", err)
	}
	return instance.Handle(messages...)
}

// Handle hands over a batch. Slices that the handler keeps of it are filled with
// question marks afterwards, as the host would fill them with other messages.
func (i *Instance) Handle(messages ...Message) Run {
	defer i.recorder.enter()()
	input := layOut(messages, &i.next)
	// A copy: what a handler does to it is no business of the host's.
	data := slices.Clone(input.data)
	reached := i.running.Handle(0, i.in.Partition, data, input.table(), inputStride, len(messages))
	for at := range data {
		data[at] = '?'
	}
	return i.recorder.run(input, int(reached))
}
