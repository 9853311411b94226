// A wasmill handler. Begin here: this one sends every value on in upper case.
package main

import (
	"strings"

	"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
)

func init() { wasmill.Register(newMyHandler) }

// main does not run in a handler, but Go wants one.
func main() {}

type myHandler struct{ suffix string }

// newMyHandler is called once for each instance. An error keeps the pipeline
// from starting and is shown as it is.
func newMyHandler(ctx *wasmill.Context) (wasmill.Handler, error) {
	if err := ctx.Only("suffix"); err != nil {
		return nil, err
	}
	suffix, _ := ctx.Config("suffix")
	return &myHandler{suffix}, nil
}

// Handle is called once for each message. An error rejects the message, with its
// text as the reason.
func (h *myHandler) Handle(m *wasmill.Message, out *wasmill.Outputs) error {
	text, err := m.Text()
	if err != nil {
		return err
	}
	out.Send(m.Key(), []byte(strings.ToUpper(text)+h.suffix))
	return nil
}
