//go:build !wasip1

package host

import (
	"errors"
	"os"
)

// Imports are the host's functions. A table or text is only valid during the
// call.
type Imports interface {
	Emit(data []byte, table []uint32, stride, count uint32)
	Reject(message uint32, reason string)
	Retry(message, after uint32, reason string)
	Log(level uint32, text string)
	TopicNumber(name string) (uint32, error)
	SourceName(source uint32) string
}

// Current is the host outside of wasm: package wasmilltest sets it while a
// handler runs, and is nobody otherwise.
var Current Imports = nobody{}

func Emit(data []byte, table []uint32, stride, count uint32) {
	Current.Emit(data, table, stride, count)
}

func Reject(message uint32, reason string) { Current.Reject(message, reason) }

func Retry(message, after uint32, reason string) { Current.Retry(message, after, reason) }

func Log(level uint32, text string) { Current.Log(level, text) }

func TopicNumber(name string) (uint32, error) { return Current.TopicNumber(name) }

func SourceName(source uint32) string { return Current.SourceName(source) }

// nobody is there while no test runs a handler. Only a line for the log can
// come at such a time.
type nobody struct{}

func (nobody) Emit([]byte, []uint32, uint32, uint32) {}
func (nobody) Reject(uint32, string)                 {}
func (nobody) Retry(uint32, uint32, string)          {}
func (nobody) Log(_ uint32, text string)             { os.Stderr.WriteString(text + "\n") }
func (nobody) SourceName(uint32) string              { return "" }

func (nobody) TopicNumber(string) (uint32, error) {
	return 0, errors.New("no host; hint: package wasmilltest runs a handler outside of wasm")
}
