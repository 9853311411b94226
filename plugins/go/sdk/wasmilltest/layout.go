//go:build !wasip1

package wasmilltest

import (
	"maps"
	"slices"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// The layout of the contract, see world `batches` in wit/handler.wit.
const (
	rowWords    = 12
	headerWords = 4
	absent      = 0xffffffff
	// inputStride is more than needed, as a later host's might be.
	inputStride = rowWords + 1
)

func (h Host) context() host.Context {
	context := host.Context{Pipeline: h.Pipeline, Group: h.Group, Digest: h.Digest}
	for _, key := range slices.Sorted(maps.Keys(h.Config)) {
		context.Settings = append(context.Settings, host.Setting{Key: key, Value: h.Config[key]})
	}
	return context
}

// input is a batch as the contract lays it out.
type input struct {
	messages []Message
	data     []byte
	rows     []uint32
	headers  [][headerWords]uint32
}

// layOut lays messages out; next is the offset of the first one that does not
// say, and afterwards that of the next.
func layOut(messages []Message, next *int64) *input {
	in := &input{messages: messages}
	for _, message := range messages {
		offset, timestamp, first := message.Offset, message.Timestamp, len(in.headers)
		if offset == 0 {
			offset = *next
		}
		*next = offset + 1
		if timestamp == 0 {
			timestamp = -1
		}
		key, value := in.put(message.Key), in.put(message.Value)
		for _, header := range message.Headers {
			// A name is there even if it is empty.
			name, value := in.put(append([]byte{}, header.Name...)), in.put(header.Value)
			in.headers = append(in.headers, [headerWords]uint32{name[0], name[1], value[0], value[1]})
		}
		in.rows = append(in.rows, key[0], key[1], value[0], value[1],
			uint32(first), uint32(len(message.Headers)),
			uint32(offset), uint32(offset>>32), uint32(timestamp), uint32(timestamp>>32),
			max(message.Attempt, 1), 0, 0)
	}
	return in
}

func (in *input) put(bytes []byte) [2]uint32 {
	if bytes == nil {
		return [2]uint32{0, absent}
	}
	start := len(in.data)
	in.data = append(in.data, bytes...)
	return [2]uint32{uint32(start), uint32(len(bytes))}
}

func (in *input) table() []uint32 {
	table := slices.Clone(in.rows)
	for _, header := range in.headers {
		table = append(table, header[:]...)
	}
	return table
}

// emission is one call of emit.
type emission struct {
	// data is that of the input and then that of the call, which is how starts
	// count.
	data  []byte
	table []uint32
	count int
}

// outputs reads an emission as the host does.
func (e *emission) outputs(in *input, granted []string) []Output {
	// As with data: first the input's, then the call's own.
	headers := slices.Clone(in.headers)
	for own := e.table[e.count*rowWords:]; len(own) > 0; own = own[headerWords:] {
		headers = append(headers, [headerWords]uint32(own))
	}
	outputs := make([]Output, e.count)
	for i := range outputs {
		row := [rowWords]uint32(e.table[i*rowWords:])
		output := Output{
			Message:   int(row[0]),
			Partition: -1,
			Timestamp: in.messages[row[0]].Timestamp,
			Key:       e.bytes(row[2], row[3]),
			Value:     e.bytes(row[4], row[5]),
		}
		if row[1] > 0 {
			output.Topic = granted[row[1]-1]
		}
		for _, header := range headers[row[6]:][:row[7]] {
			name, value := e.bytes(header[0], header[1]), e.bytes(header[2], header[3])
			output.Headers = append(output.Headers, Header{string(name), value})
		}
		if row[11]&1 != 0 {
			output.Timestamp = int64(row[9])<<32 | int64(row[8])
		}
		if row[11]&2 != 0 {
			output.Partition = int32(row[10])
		}
		outputs[i] = output
	}
	return outputs
}

func (e *emission) bytes(start, length uint32) []byte {
	if length == absent {
		return nil
	}
	return append([]byte{}, e.data[start:start+length]...)
}
