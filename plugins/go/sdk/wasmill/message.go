package wasmill

import (
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// The layout of the contract, world `batches` in wit/handler.wit. Rows are as
// long as the host says: a later one may append words.
const (
	rowWords    = 12
	headerWords = 4
	// absent is the length that says so.
	absent = 0xffffffff
)

// empty is present, unlike nil.
var empty = []byte{}

// Message is one Kafka message. It is only valid until the handler returns, and
// so are the slices it gives out: copy what must live longer, for instance with
// bytes.Clone. They are the host's own bytes and to be read; one that was written
// to is sent so by [Outputs.Send], and as it was by [Outputs.Forward].
//
// Of keys and values, nil means absent, which is not the same as empty: an
// absent value is a tombstone.
type Message struct {
	data    []byte
	table   []uint32
	headers []uint32
	stride  int
	row     *[rowWords]uint32

	source    uint32
	partition int32
	// topic is the name behind source once it was asked for.
	topic string
}

// begin prepares for a batch.
func (m *Message) begin(source uint32, partition int32, data []byte, table []uint32, stride, count int) {
	headers := len(table) - stride*count
	if stride < rowWords || headers < 0 || headers%headerWords != 0 {
		// The host speaks another contract, and going on would misread messages.
		panic(fmt.Sprintf("a table of %d words is not %d rows of %d and header rows of %d",
			len(table), count, stride, headerWords))
	}
	if source != m.source {
		m.topic = ""
	}
	m.source, m.partition = source, partition
	m.data, m.table, m.headers, m.stride = data, table, table[stride*count:], stride
}

// at turns to a message of the batch.
func (m *Message) at(index uint32) {
	m.row = (*[rowWords]uint32)(m.table[int(index)*m.stride:])
}

// Key returns the key, or nil if there is none.
func (m *Message) Key() []byte { return m.bytes(m.row[0], m.row[1]) }

// Value returns the value, or nil if there is none.
func (m *Message) Value() []byte { return m.bytes(m.row[2], m.row[3]) }

// Text returns a copy of the value as UTF-8 text. The error is [ErrAbsent] or a
// [*EncodingError].
func (m *Message) Text() (string, error) {
	value := m.Value()
	if value == nil {
		return "", ErrAbsent
	}
	if !utf8.Valid(value) {
		return "", &EncodingError{Byte: validPrefix(value)}
	}
	return string(value), nil
}

// Header returns the value of the last header of that name, as Kafka's own
// clients look it up. It is nil if there is no such header or if it has no
// value.
func (m *Message) Header(name string) []byte {
	rows := m.headerRows()
	for len(rows) > 0 {
		row := rows[len(rows)-headerWords:]
		if string(m.bytes(row[0], row[1])) == name {
			return m.bytes(row[2], row[3])
		}
		rows = rows[:len(rows)-headerWords]
	}
	return nil
}

// Headers returns the names and values of the headers, in order. A name may
// occur more than once and, though text by convention, hold any bytes; a value
// may be nil, which means absent.
func (m *Message) Headers() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rows := m.headerRows(); len(rows) > 0; rows = rows[headerWords:] {
			if !yield(string(m.bytes(rows[0], rows[1])), m.bytes(rows[2], rows[3])) {
				return
			}
		}
	}
}

// Topic returns the name of the topic that the message was read from.
func (m *Message) Topic() string {
	if m.topic == "" {
		m.topic = host.SourceName(m.source)
	}
	return m.topic
}

// Partition returns the partition that the message was read from.
func (m *Message) Partition() int32 { return m.partition }

// Offset returns the offset in the partition. Offsets ascend, with gaps.
func (m *Message) Offset() int64 { return long(m.row[6], m.row[7]) }

// Timestamp returns milliseconds since 1970, and false if the message has no
// timestamp. [time.UnixMilli] makes a time of it.
func (m *Message) Timestamp() (ms int64, present bool) {
	ms = long(m.row[8], m.row[9])
	return ms, ms != -1
}

// Attempt returns 1 the first time, and one more after each retry.
func (m *Message) Attempt() uint32 { return m.row[10] }

// headerSpan returns the first header row and how many there are.
func (m *Message) headerSpan() (first, count uint32) { return m.row[4], m.row[5] }

func (m *Message) headerRows() []uint32 {
	first, count := m.headerSpan()
	return m.headers[first*headerWords : (first+count)*headerWords]
}

func (m *Message) bytes(start, length uint32) []byte {
	switch length {
	case absent:
		return nil
	case 0:
		return empty
	}
	// Without room behind it, so that an append copies.
	end := start + length
	return m.data[start:end:end]
}

func long(low, high uint32) int64 { return int64(uint64(high)<<32 | uint64(low)) }

// ErrAbsent says that a message has no value.
var ErrAbsent = errors.New("the value is absent")

// EncodingError says that a value is not UTF-8.
type EncodingError struct {
	// Byte is the index of the first byte that is not part of UTF-8 text.
	Byte int
}

func (e *EncodingError) Error() string {
	return fmt.Sprintf("the value is not UTF-8 from byte %d", e.Byte)
}

// validPrefix returns how many bytes are UTF-8, from the first.
func validPrefix(text []byte) int {
	valid := 0
	for valid < len(text) {
		r, size := utf8.DecodeRune(text[valid:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		valid += size
	}
	return valid
}
