// Package tests holds what the SDK promises: what a handler says is what the
// contract's tables say, read back as the host reads them.
package tests

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmilltest"
)

func full() wasmilltest.Message {
	return wasmilltest.Message{
		Key:       []byte("k"),
		Value:     []byte("v"),
		Headers:   []wasmilltest.Header{{Name: "a", Value: []byte("1")}, {Name: "b"}, {Name: "a", Value: []byte("2")}},
		Timestamp: 77,
	}
}

func run(t *testing.T, handler wasmill.HandlerFunc, messages ...wasmilltest.Message) wasmilltest.Run {
	t.Helper()
	return wasmilltest.Host{Grant: []string{"a", "b"}}.Run(t, wasmilltest.Func(handler), messages...)
}

func echo(m *wasmill.Message, out *wasmill.Outputs) error {
	out.Forward(m)
	return nil
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func names(output wasmilltest.Output) string {
	var names []string
	for _, header := range output.Headers {
		names = append(names, header.Name)
	}
	return strings.Join(names, " ")
}

func TestAForwardKeepsEverything(t *testing.T) {
	run := run(t, echo, full(), wasmilltest.Text("x"))
	equal(t, run.Outputs, []wasmilltest.Output{
		{Message: 0, Partition: -1, Timestamp: 77, Key: []byte("k"), Value: []byte("v"), Headers: full().Headers},
		{Message: 1, Partition: -1, Value: []byte("x")},
	})
}

func TestAnAbsentKeyOrValueIsNotAnEmptyOne(t *testing.T) {
	copied := func(m *wasmill.Message, out *wasmill.Outputs) error {
		out.Send(m.Key(), m.Value())
		return nil
	}
	for _, handler := range []wasmill.HandlerFunc{echo, copied} {
		run := run(t, handler, wasmilltest.Message{}, wasmilltest.Message{Key: []byte{}, Value: []byte{}})
		equal(t, run.Outputs, []wasmilltest.Output{
			{Message: 0, Partition: -1},
			{Message: 1, Partition: -1, Key: []byte{}, Value: []byte{}},
		})
	}
}

func TestEditedBytesAreSentAndForwardedOnesAreNot(t *testing.T) {
	run := run(t, func(m *wasmill.Message, out *wasmill.Outputs) error {
		value := m.Value()
		value[0] = 'X'
		out.Send(nil, value)
		value[0] = 'Y'
		out.Send(nil, value[:1])
		out.Forward(m)
		return nil
	}, wasmilltest.Text("abc"))
	equal(t, run.Values(), []string{"Xbc", "Y", "abc"})
}

func TestABufferCanBeUsedAgain(t *testing.T) {
	run := run(t, func(_ *wasmill.Message, out *wasmill.Outputs) error {
		var text []byte
		for i := range 3 {
			text = strconv.AppendInt(text[:0], int64(i), 10)
			out.Send(text, text, wasmill.Header(string(text), text))
		}
		return nil
	}, full())
	equal(t, run.Values(), []string{"0", "1", "2"})
	equal(t, run.Outputs[1].Headers, []wasmilltest.Header{{Name: "1", Value: []byte("1")}})
}

func TestAnAppendToAValueDoesNotReachItsNeighbour(t *testing.T) {
	run := run(t, func(m *wasmill.Message, out *wasmill.Outputs) error {
		_ = append(m.Key(), "overwritten"...)
		out.Send(m.Key(), m.Value())
		return nil
	}, full())
	equal(t, run.Values(), []string{"v"})
}

func TestOptionsSayAllThatAnOutputCanSay(t *testing.T) {
	run := run(t, func(m *wasmill.Message, out *wasmill.Outputs) error {
		topic, err := wasmill.TopicNamed("b")
		if err != nil {
			return err
		}
		out.Send(m.Key(), []byte("new"), wasmill.To(topic), wasmill.Header("first", []byte("1")),
			wasmill.HeadersOf(m), wasmill.Header("last", nil), wasmill.Timestamp(5<<32), wasmill.Partition(9))
		return nil
	}, wasmilltest.Text("before"), full())
	headers := slices.Concat([]wasmilltest.Header{{Name: "first", Value: []byte("1")}}, full().Headers,
		[]wasmilltest.Header{{Name: "last"}})
	equal(t, run.Outputs[1], wasmilltest.Output{
		Message: 1, Topic: "b", Partition: 9, Timestamp: 5 << 32,
		Key: []byte("k"), Value: []byte("new"), Headers: headers,
	})
}

func TestHeadersOfTheMessageCanBeFollowedByOthers(t *testing.T) {
	stamp := func(m *wasmill.Message, out *wasmill.Outputs) error {
		out.Send(nil, nil, wasmill.HeadersOf(m), wasmill.Header("x", m.Value()), wasmill.HeadersOf(m), wasmill.Header("y", []byte{}))
		out.Forward(m, wasmill.Header("z", nil))
		out.Send(nil, nil, wasmill.HeadersOf(m))
		return nil
	}
	run := run(t, stamp, full(), full())
	for i := 0; i < len(run.Outputs); i += 3 {
		equal(t, names(run.Outputs[i]), "a b a x a b a y")
		equal(t, run.Outputs[i].Headers[3].Value, []byte("v"))
		equal(t, run.Outputs[i].Headers[7].Value, []byte{})
		equal(t, names(run.Outputs[i+1]), "a b a z")
		equal(t, names(run.Outputs[i+2]), "a b a")
	}
}

func TestMoreOutputsThanOneEmissionHoldsKeepTheirOrder(t *testing.T) {
	padding := bytes.Repeat([]byte("."), 1000)
	many := func(m *wasmill.Message, out *wasmill.Outputs) error {
		for i := range 3000 {
			number := []byte(strconv.Itoa(i))
			out.Send(number, padding, wasmill.HeadersOf(m), wasmill.Header("n", number))
		}
		for range 40_000 {
			out.Forward(m)
		}
		return nil
	}
	run := run(t, many, full(), full())
	equal(t, len(run.Outputs), 2*43_000)
	for i, output := range run.Outputs {
		last := output.Headers[len(output.Headers)-1]
		want := wasmilltest.Header{Name: "a", Value: []byte("2")}
		if i%43_000 < 3000 {
			want = wasmilltest.Header{Name: "n", Value: []byte(strconv.Itoa(i % 43_000))}
		}
		if output.Message != i/43_000 || !reflect.DeepEqual(last, want) {
			t.Fatal(i, output.Message, last)
		}
	}
}

func TestOutputsOfAMessageThatIsNotAcknowledgedAreDropped(t *testing.T) {
	picky := func(m *wasmill.Message, out *wasmill.Outputs) error {
		out.Forward(m, wasmill.Header("seen", m.Value()))
		out.Send(m.Value(), m.Value())
		if m.Attempt() > 1 {
			return errors.New("no")
		}
		return nil
	}
	bad := wasmilltest.Message{Value: []byte("bad"), Attempt: 2}
	run := run(t, picky, wasmilltest.Text("a"), bad, wasmilltest.Text("b"))
	equal(t, run.Values(), []string{"a", "a", "b", "b"})
	equal(t, run.Outputs[2].Headers, []wasmilltest.Header{{Name: "seen", Value: []byte("b")}})
}

func TestANegativePartitionOrTimestampRejects(t *testing.T) {
	for _, option := range []wasmill.Option{wasmill.Partition(-1), wasmill.Timestamp(-1)} {
		run := run(t, func(m *wasmill.Message, out *wasmill.Outputs) error {
			out.Forward(m, wasmill.Header("n", nil), option)
			return nil
		}, full())
		equal(t, run.Verdicts[0].Kind, wasmilltest.Rejected)
		equal(t, len(run.Outputs), 0)
	}
}

func TestSendingAllocatesNothing(t *testing.T) {
	value := []byte("value")
	var allocations float64
	run(t, func(m *wasmill.Message, out *wasmill.Outputs) error {
		allocations = testing.AllocsPerRun(100, func() {
			out.Forward(m)
			out.Send(m.Key(), value, wasmill.HeadersOf(m), wasmill.Header("n", value), wasmill.Partition(1))
			m.Header("a")
		})
		return nil
	}, full())
	// The buffers grow a few times, which is none on average.
	equal(t, allocations, 0.0)
}
