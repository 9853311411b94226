// Package wasmill is for writing wasmill handlers: functions over Kafka
// messages that run sandboxed in wasmill.
//
//	package main
//
//	import (
//		"bytes"
//
//		"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
//	)
//
//	func init() {
//		wasmill.Handle(func(m *wasmill.Message, out *wasmill.Outputs) error {
//			out.Send(m.Key(), bytes.ToUpper(m.Value()))
//			return nil
//		})
//	}
//
//	func main() {}
//
// A handler is called once for each message, in offset order for each
// partition, and never for two at a time. It returns nil to acknowledge the
// message, [Retry] to have it again later, and any other error to reject it.
// [Register] makes handlers with state and configuration.
//
// An instance serves one or more partitions and is thrown away after a trap or
// when its partitions move, so its state is a cache: nothing that must survive
// may live only there.
//
// Package log writes to the host's log, package wasmilltest runs a handler in
// an ordinary test.
package wasmill

import (
	"errors"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// Handler handles messages.
type Handler interface {
	// Handle handles one message. Neither the message nor the outputs may be
	// used after it has returned.
	//
	// A nil error acknowledges the message: what was sent for it is published.
	// Otherwise nothing of that is published, and the message is handed over
	// again ([Retry], [RetryAfter]) or given up for good (any other error,
	// with its text as the reason). A panic is recovered and rejects the
	// message with its text and stack.
	Handle(m *Message, out *Outputs) error
}

// HandlerFunc is a Handler without state.
type HandlerFunc func(m *Message, out *Outputs) error

// Handle calls f.
func (f HandlerFunc) Handle(m *Message, out *Outputs) error { return f(m, out) }

// Constructor makes a Handler, once for each instance, before its first
// message. An error keeps the pipeline from starting and is shown as it is.
type Constructor = func(ctx *Context) (Handler, error)

var registered Constructor

// Handle makes f the handler of this program. Call it, or [Register], once, in
// an init function: main does not run in a handler.
func Handle(f HandlerFunc) {
	Register(func(*Context) (Handler, error) { return f, nil })
}

// Register makes what constructor returns the handler of this program. Call it,
// or [Handle], once, in an init function: main does not run in a handler.
func Register(constructor Constructor) {
	if registered != nil {
		panic("wasmill: a program has one handler, and a second one was registered")
	}
	registered = constructor
}

func init() {
	host.Start = func(handler any, context host.Context) (host.Instance, error) {
		constructor, given := handler.(Constructor)
		if !given {
			constructor = registered
		}
		return start(constructor, &Context{context})
	}
}

func start(constructor Constructor, ctx *Context) (running host.Instance, err error) {
	if constructor == nil {
		return nil, errors.New("no handler; hint: call wasmill.Handle or wasmill.Register in an init function")
	}
	defer func() {
		if value := recover(); value != nil {
			running, err = nil, errors.New(panicText(value))
		}
	}()
	handler, err := constructor(ctx)
	if err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, errors.New("the handler's constructor returned neither a handler nor an error")
	}
	return &instance{handler: handler}, nil
}
