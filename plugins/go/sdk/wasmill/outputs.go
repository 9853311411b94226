package wasmill

import (
	"fmt"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// Past either of these the outputs so far go to the host: a handler that sends
// without end then meets the pipeline's output limit, which says so, and not
// that of its memory.
const (
	flushBytes = 1 << 20
	flushWords = rowWords * 16 << 10
)

// Flags of an output's row.
const (
	timestampGiven = 1
	partitionGiven = 2
)

// firstBytes is how much room for data there is at first. From 32 KiB on Go
// aligns to a page, and copies between ends that are aligned alike are fast.
const firstBytes = 64 << 10

// Outputs collects what is to be published for a message, if and when it is
// acknowledged, in the order of the calls. Everything given to it is copied, so
// buffers can be used again at once.
type Outputs struct {
	data          []byte
	rows, headers []uint32

	// What the batch has: numbers below these lengths refer to it.
	inputBytes, inputHeaders uint32
	// The header rows themselves.
	input []uint32

	message uint32
	// Lengths of the three lists where the message began.
	dataMark, rowsMark, headersMark int
}

// Send sends key and value, of which nil means absent: without a value it is a
// tombstone. Without options it goes to the pipeline's default output, with the
// message's timestamp and no headers, and the key decides on the partition.
//
// Mind that some functions return nil for nothing at all, such as
// bytes.TrimSpace and append([]byte(nil), empty...).
func (o *Outputs) Send(key, value []byte, options ...Option) {
	row := row{o.message, 0, 0, absent, 0, absent}
	row[2], row[3] = o.put(key)
	row[4], row[5] = o.put(value)
	o.apply(&row, options)
}

// Forward sends the message on: key, value and headers as the host handed them
// over, whatever the handler did to the slices it got. Nothing is copied. Options
// change the rest of it, and add headers behind those of the message.
func (o *Outputs) Forward(m *Message, options ...Option) {
	in := m.row
	o.apply(&row{o.message, 0, in[0], in[1], in[2], in[3], in[4], in[5]}, options)
}

// row is an output in the layout of the contract: message, topic, key, value,
// headers (start and length each), timestamp (low and high word), partition,
// flags.
type row [rowWords]uint32

func (o *Outputs) apply(row *row, options []Option) {
	for i := range options {
		option := &options[i]
		switch option.kind {
		case toTopic:
			row[1] = option.word
		case withHeader:
			o.ownHeaders(row)
			name := o.end()
			o.data = append(o.data, option.name...)
			value, length := o.put(option.value)
			o.headers = append(o.headers, name, uint32(len(option.name)), value, length)
			row[7]++
		case withHeadersOf:
			if row[7] == 0 {
				row[6], row[7] = option.message.headerSpan()
				break
			}
			o.ownHeaders(row)
			o.headers = append(o.headers, option.message.headerRows()...)
			row[7] += option.message.row[5]
		case withTimestamp:
			if option.long < 0 {
				panic(fmt.Sprintf("wasmill: an output's timestamp %d is before 1970", option.long))
			}
			row[8], row[9] = uint32(option.long), uint32(option.long>>32)
			row[11] |= timestampGiven
		case withPartition:
			if int32(option.word) < 0 {
				panic(fmt.Sprintf("wasmill: an output's partition %d is below 0", int32(option.word)))
			}
			row[10] = option.word
			row[11] |= partitionGiven
		}
	}
	o.rows = append(o.rows, row[:]...)
	if len(o.data) >= flushBytes || len(o.rows) >= flushWords {
		o.flush()
	}
}

// ownHeaders makes the headers so far rows of this call, so that others can
// follow them. Rows of the input are copied as they are: their starts lie below
// the length of the input, which means the same bytes in both tables.
func (o *Outputs) ownHeaders(row *row) {
	if row[7] > 0 && row[6] >= o.inputHeaders {
		return
	}
	next := o.inputHeaders + uint32(len(o.headers)/headerWords)
	if row[7] > 0 {
		first := row[6] * headerWords
		o.headers = append(o.headers, o.input[first:first+row[7]*headerWords]...)
	}
	row[6] = next
}

// put copies bytes that may be absent and returns their start and length.
func (o *Outputs) put(bytes []byte) (start, length uint32) {
	if bytes == nil {
		return 0, absent
	}
	start = o.end()
	o.data = append(o.data, bytes...)
	return start, uint32(len(bytes))
}

// end is where the next byte goes, as the contract counts.
func (o *Outputs) end() uint32 { return o.inputBytes + uint32(len(o.data)) }

// begin prepares for a batch of so many bytes and these header rows.
func (o *Outputs) begin(bytes int, headers []uint32) {
	if o.data == nil {
		o.data = make([]byte, 0, firstBytes)
	}
	o.inputBytes, o.inputHeaders, o.input = uint32(bytes), uint32(len(headers)/headerWords), headers
	o.clear()
}

// at turns to a message of the batch.
func (o *Outputs) at(message uint32) {
	o.message = message
	o.dataMark, o.rowsMark, o.headersMark = len(o.data), len(o.rows), len(o.headers)
}

// drop forgets what was sent for the message, as far as the host does not have
// it yet; the host forgets the rest.
func (o *Outputs) drop() {
	o.data, o.rows, o.headers = o.data[:o.dataMark], o.rows[:o.rowsMark], o.headers[:o.headersMark]
}

// flush hands the outputs so far to the host.
func (o *Outputs) flush() {
	if len(o.rows) > 0 {
		count := uint32(len(o.rows) / rowWords)
		o.rows = append(o.rows, o.headers...)
		host.Emit(o.data, o.rows, rowWords, count)
	}
	o.clear()
}

func (o *Outputs) clear() {
	o.data, o.rows, o.headers = o.data[:0], o.rows[:0], o.headers[:0]
	o.dataMark, o.rowsMark, o.headersMark = 0, 0, 0
}
