// Package host is the border between this SDK and whoever runs it: the host's
// imports and exports in wasm, the stand-in of package wasmilltest elsewhere.
// Both have the same functions, so nothing else here asks where it runs.
package host

// Context is what an instance is told once, before its first message.
type Context struct {
	Pipeline, Group, Digest string
	// Settings are sorted by key.
	Settings []Setting
}

// Setting is one entry of the pipeline's config table.
type Setting struct{ Key, Value string }

// Instance is a started handler.
type Instance interface {
	// Handle takes the handler through a batch in the layout of the contract
	// and returns how many messages it reached. It keeps neither list.
	Handle(source uint32, partition int32, data []byte, table []uint32, stride, count int) uint32
}

// Start makes an instance. Package wasmill sets it. handler is its Constructor,
// a type that this package cannot name, or nil for the registered one.
var Start func(handler any, context Context) (Instance, error)
