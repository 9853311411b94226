package host

import (
	"errors"
	"strings"
	"unsafe"
)

// This file speaks the canonical ABI of world `batches` in wit/handler.wit by
// hand, and is the only one of the SDK with unsafe in it. What it takes for
// granted is what a host that checked the component's type guarantees:
//
//   - a pointer and a length given to an export, or written into a return
//     area, came from cabi_realloc with that length and alignment and the
//     memory was filled; strings are UTF-8
//   - an import only reads what it is given, and only during the call
//   - exports are not re-entered, except cabi_realloc from within an import

//go:wasmimport wasmill:handler/outcome@0.1.0 emit
func emit(data unsafe.Pointer, dataLen uint32, table unsafe.Pointer, tableLen, stride, count uint32)

//go:wasmimport wasmill:handler/outcome@0.1.0 fail
func fail(message, some, retryAfter uint32, reason string)

//go:wasmimport wasmill:handler/log@0.1.0 write
func write(level uint32, text string)

//go:wasmimport wasmill:handler/topics@0.1.0 number
func number(name string, result unsafe.Pointer)

//go:wasmimport wasmill:handler/topics@0.1.0 source-name
func sourceName(source uint32, result unsafe.Pointer)

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTimeGet(id uint32, precision uint64, result unsafe.Pointer) uint32

// Emit is the import outcome.emit.
func Emit(data []byte, table []uint32, stride, count uint32) {
	emit(unsafe.Pointer(unsafe.SliceData(data)), uint32(len(data)),
		unsafe.Pointer(unsafe.SliceData(table)), uint32(len(table)), stride, count)
}

// Reject is the import outcome.fail without a delay.
func Reject(message uint32, reason string) {
	fail(message, 0, 0, valid(reason))
}

// Retry is the import outcome.fail with a delay in milliseconds.
func Retry(message, after uint32, reason string) {
	fail(message, 1, after, valid(reason))
}

// Log is the import log.write.
func Log(level uint32, text string) {
	write(level, valid(text))
}

// valid makes a Go string, which may hold any bytes, one of the contract.
func valid(text string) string {
	return strings.ToValidUTF8(text, "\uFFFD")
}

// numbers are the topics asked for so far.
var numbers = map[string]uint32{}

// TopicNumber is the import topics.number, asked once for each name.
func TopicNumber(name string) (uint32, error) {
	if known, ok := numbers[name]; ok {
		return known, nil
	}
	area := &results.number
	number(valid(name), unsafe.Pointer(area))
	if uint8(area[0]) != 0 {
		return 0, errors.New(take(area[1], area[2]))
	}
	numbers[strings.Clone(name)] = area[1]
	return area[1], nil
}

// SourceName is the import topics.source-name.
func SourceName(source uint32) string {
	area := &results.sourceName
	sourceName(source, unsafe.Pointer(area))
	return take(area[0], area[1])
}

// results is where functions that return more than a number put it. An address
// is a word of 32 bits here, while a Go pointer takes 64.
var results struct {
	number     [3]uint32 // result<u32, string>
	sourceName [2]uint32 // string
	init       [3]uint32 // result<_, string>
	clock      uint64    // nanoseconds, not looked at
}

// refusal is the text that results.init points to.
var refusal string

var instance Instance

//go:wasmexport init
func initInstance(
	pipeline unsafe.Pointer, pipelineLen uint32, group unsafe.Pointer, groupLen uint32,
	digest unsafe.Pointer, digestLen uint32, settings unsafe.Pointer, settingsLen uint32,
) unsafe.Pointer {
	context := Context{
		Pipeline: text(pipeline, pipelineLen),
		Group:    text(group, groupLen),
		Digest:   text(digest, digestLen),
		Settings: make([]Setting, settingsLen),
	}
	for i, words := range unsafe.Slice((*[4]uint32)(settings), settingsLen) {
		context.Settings[i] = Setting{Key: textAt(words[0], words[1]), Value: textAt(words[2], words[3])}
	}
	memory.Reset()
	started, err := Start(nil, context)
	memory.Reset() // what imports answered meanwhile
	if err != nil {
		refusal = valid(err.Error())
		at := uintptr(unsafe.Pointer(unsafe.StringData(refusal)))
		results.init = [3]uint32{1, uint32(at), uint32(len(refusal))}
	}
	instance = started
	return unsafe.Pointer(&results.init)
}

//go:wasmexport handle
func handle(
	source uint32, partition int32, data unsafe.Pointer, dataLen uint32,
	table unsafe.Pointer, tableLen, stride, count uint32,
) uint32 {
	// Nothing takes these lists back before Reset, and the host does not write
	// to what it has handed over.
	reached := instance.Handle(source, partition,
		unsafe.Slice((*byte)(data), dataLen), unsafe.Slice((*uint32)(table), tableLen), int(stride), int(count))
	memory.Reset()
	return reached
}

// text copies a string of the host's.
func text(at unsafe.Pointer, length uint32) string {
	return strings.Clone(unsafe.String((*byte)(at), length))
}

// textAt is text for an address that the host wrote into memory.
func textAt(at, length uint32) string {
	return text(unsafe.Add(nil, at), length)
}

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldLen, align, length uint32) unsafe.Pointer {
	// An allocation may run the garbage collector, which reads the clock, and
	// during cabi_realloc no component may call its host. Between these two
	// calls wasmill's adapter repeats the last reading instead of asking.
	const stop, goOn = 101, 100
	clockTimeGet(stop, 0, unsafe.Pointer(&results.clock))
	place := memory.Allocate(int(align), int(length))
	if oldLen > 0 {
		copy(place, unsafe.Slice((*byte)(old), oldLen))
	}
	clockTimeGet(goOn, 0, unsafe.Pointer(&results.clock))
	return unsafe.Pointer(unsafe.SliceData(place))
}

// memory is what the host was given to write to.
var memory Arena

// take copies a string that the host answered with and gives back its memory.
func take(at, length uint32) string {
	copied := textAt(at, length)
	memory.ResetOthers()
	return copied
}
