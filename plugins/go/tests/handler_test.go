package tests

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/plugins/go/sdk/log"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmilltest"
)

// here begins the names of this package's functions in a stack.
const here = "github.com/wasmill/wasmill/plugins/go/sdk/tests"

func TestAMessageShowsAllThatWasHandedOver(t *testing.T) {
	message := full()
	message.Offset, message.Attempt = 1<<40, 3
	host := wasmilltest.Host{Topic: "somewhere", Partition: 5}
	run := host.Run(t, wasmilltest.Func(func(m *wasmill.Message, _ *wasmill.Outputs) error {
		equal(t, string(m.Key())+string(m.Value()), "kv")
		var headers []wasmilltest.Header
		for name, value := range m.Headers() {
			headers = append(headers, wasmilltest.Header{Name: name, Value: value})
		}
		equal(t, headers, full().Headers)
		equal(t, m.Header("a"), []byte("2"))
		equal(t, m.Header("b") == nil && m.Header("c") == nil, true)
		equal(t, m.Topic(), "somewhere")
		equal(t, m.Partition(), int32(5))
		equal(t, m.Offset(), int64(1<<40))
		equal(t, m.Attempt(), uint32(3))
		ms, present := m.Timestamp()
		equal(t, present, true)
		equal(t, ms, int64(77))
		return nil
	}), message)
	equal(t, run.Verdicts, []wasmilltest.Verdict{wasmilltest.Ack()})
}

func TestWhatIsAbsentSaysSo(t *testing.T) {
	run := run(t, func(m *wasmill.Message, _ *wasmill.Outputs) error {
		_, present := m.Timestamp()
		equal(t, present, false)
		equal(t, m.Key() == nil && m.Value() == nil, true)
		_, err := m.Text()
		return err
	}, wasmilltest.Message{})
	equal(t, run.Verdicts[0], wasmilltest.Reject("the value is absent"))
}

func TestTextNamesTheFirstByteThatIsNone(t *testing.T) {
	text := func(m *wasmill.Message, _ *wasmill.Outputs) error {
		text, err := m.Text()
		var encoding *wasmill.EncodingError
		if err == nil {
			err = errors.New(text)
		} else if !errors.As(err, &encoding) {
			t.Error(err)
		}
		return err
	}
	// The replacement character itself is text, a cut-off or overlong one is not.
	run := run(t, text, wasmilltest.Text(""), wasmilltest.Text("ü\uFFFDx\xff"), wasmilltest.Text("ab\xc3"),
		wasmilltest.Text("\xc0\x80"), wasmilltest.Text("\uFFFD"))
	for i, want := range []string{"", "the value is not UTF-8 from byte 6", "the value is not UTF-8 from byte 2",
		"the value is not UTF-8 from byte 0", "\uFFFD"} {
		equal(t, run.Verdicts[i], wasmilltest.Reject(want))
	}
}

func TestWhatIsKeptOfAMessageIsGarbageAfterTheBatch(t *testing.T) {
	var kept []byte
	var copied string
	run(t, func(m *wasmill.Message, _ *wasmill.Outputs) error {
		kept = m.Value()
		copied, _ = m.Text()
		return nil
	}, wasmilltest.Text("abc"))
	equal(t, copied, "abc")
	equal(t, string(kept), "???")
}

func TestARetryStopsTheBatchAndARejectionDoesNot(t *testing.T) {
	instance, err := wasmilltest.Host{}.Start(wasmilltest.Func(func(m *wasmill.Message, out *wasmill.Outputs) error {
		out.Forward(m)
		switch text, _ := m.Text(); {
		case text == "bad":
			return errors.New("is bad")
		case text == "wait" && m.Attempt() < 2:
			return fmt.Errorf("wrapped: %w", wasmill.RetryAfter(30*time.Millisecond, errors.New("not yet")))
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	var messages []wasmilltest.Message
	for _, text := range []string{"a", "bad", "b", "wait", "c"} {
		messages = append(messages, wasmilltest.Text(text))
	}
	run := instance.Handle(messages...)
	equal(t, run.Verdicts, []wasmilltest.Verdict{
		wasmilltest.Ack(), wasmilltest.Reject("is bad"), wasmilltest.Ack(),
		wasmilltest.Retry(30*time.Millisecond, "wrapped: not yet"), {Kind: wasmilltest.NotReached},
	})
	equal(t, run.Values(), []string{"a", "b"})
	messages[3].Attempt = 2
	equal(t, instance.Handle(messages[3:]...).Values(), []string{"wait", "c"})
}

func TestARetryIsOneWhateverItIsMadeOf(t *testing.T) {
	for delay, want := range map[time.Duration]time.Duration{
		-time.Second:     0,
		1:                time.Millisecond,
		time.Millisecond: time.Millisecond,
		time.Second + 1:  1001 * time.Millisecond,
		1 << 62:          (1<<32 - 1) * time.Millisecond,
	} {
		run := run(t, func(*wasmill.Message, *wasmill.Outputs) error {
			return wasmill.RetryAfter(delay, nil)
		}, full())
		equal(t, run.Verdicts[0], wasmilltest.Retry(want, "retry without a reason"))
	}
	cause := errors.New("cause")
	equal(t, errors.Is(wasmill.Retry(cause), cause), true)
}

func TestAPanicRejectsItsMessageAndNoOther(t *testing.T) {
	run := run(t, func(m *wasmill.Message, out *wasmill.Outputs) error {
		out.Forward(m)
		if m.Attempt() == 2 {
			explode(m)
		}
		return nil
	}, wasmilltest.Text("a"), wasmilltest.Message{Value: []byte("x"), Attempt: 2}, wasmilltest.Text("b"),
		wasmilltest.Message{Attempt: 2})
	equal(t, run.Values(), []string{"a", "b"})
	for i, length := range map[int]string{1: "1", 3: "0"} {
		verdict := run.Verdicts[i]
		equal(t, verdict.Kind, wasmilltest.Rejected)
		lines := strings.Split(verdict.Reason, "\n")
		equal(t, lines[0], "panic: runtime error: index out of range [7] with length "+length)
		if len(lines) > 4 || !strings.HasPrefix(lines[1], "\tat "+here+".explode (handler_test.go:") {
			t.Errorf("%q", verdict.Reason)
		}
	}
}

//go:noinline
func explode(m *wasmill.Message) { m.Value()[7] = 1 }

func TestADeepStackIsCut(t *testing.T) {
	var deeper func(n int)
	deeper = func(n int) {
		if n == 0 {
			panic(strings.Repeat("long ", 20_000))
		}
		deeper(n - 1)
	}
	run := run(t, func(*wasmill.Message, *wasmill.Outputs) error { deeper(1000); return nil }, full())
	reason := run.Verdicts[0].Reason
	stack := strings.TrimPrefix(reason, "panic: "+strings.Repeat("long ", 20_000))
	if len(stack) == 0 || len(stack) > 4<<10 {
		t.Error(len(stack), len(reason))
	}
}

type counter struct{ step, seen int }

func newCounter(ctx *wasmill.Context) (wasmill.Handler, error) {
	if err := ctx.Only("step", "required"); err != nil {
		return nil, err
	}
	if _, err := ctx.Require("required"); err != nil {
		return nil, err
	}
	step, err := wasmill.ParseConfig(ctx, "step", strconv.Atoi, 1)
	if err != nil {
		return nil, err
	}
	log.Infof("%s/%s counts in steps of %d", ctx.Pipeline(), ctx.Group(), step)
	return &counter{step: step}, nil
}

func (c *counter) Handle(_ *wasmill.Message, out *wasmill.Outputs) error {
	c.seen += c.step
	out.Send(nil, []byte(strconv.Itoa(c.seen)))
	return nil
}

func TestStateLivesFromBatchToBatchAndNotFromInstanceToInstance(t *testing.T) {
	for range 2 {
		host := wasmilltest.Host{
			Pipeline: "p", Group: "g",
			Config: map[string]string{"step": "10", "required": ""},
		}
		instance, err := host.Start(newCounter)
		if err != nil {
			t.Fatal(err)
		}
		run := instance.Handle(full(), full())
		equal(t, run.Values(), []string{"10", "20"})
		equal(t, run.Log, []wasmilltest.Line{{Level: log.Info, Text: "p/g counts in steps of 10"}})
		run = instance.Handle(full())
		equal(t, run.Values(), []string{"30"})
		equal(t, len(run.Log), 0)
	}
}

func TestAnInstanceThatLacksSomethingDoesNotStart(t *testing.T) {
	for want, config := range map[string]map[string]string{
		"config `required` is missing":                                                  {},
		"config `stepp` is unknown; hint: this handler knows `step`, `required`":        {"stepp": "1", "required": ""},
		"config `step`: `x` is not usable: strconv.Atoi: parsing \"x\": invalid syntax": {"step": "x", "required": ""},
	} {
		_, err := wasmilltest.Host{Config: config}.Start(newCounter)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := wasmilltest.Host{Config: map[string]string{"x": ""}}.Start(
		func(ctx *wasmill.Context) (wasmill.Handler, error) { return nil, ctx.Only() })
	equal(t, err.Error(), "config `x` is unknown; this handler has no settings")
	_, err = wasmilltest.Host{}.Start(func(*wasmill.Context) (wasmill.Handler, error) { panic("no luck") })
	equal(t, strings.HasPrefix(err.Error(), "panic: no luck\n\tat "+here+".TestAnInstance"), true)
	_, err = wasmilltest.Host{}.Start(func(*wasmill.Context) (wasmill.Handler, error) { return nil, nil })
	equal(t, err != nil, true)
}

func TestATopicThatIsNotGrantedIsAnError(t *testing.T) {
	constructor := func(*wasmill.Context) (wasmill.Handler, error) {
		topic, err := wasmill.TopicNamed("b")
		return wasmill.HandlerFunc(func(m *wasmill.Message, out *wasmill.Outputs) error {
			out.Forward(m, wasmill.To(topic))
			return nil
		}), err
	}
	_, err := wasmilltest.Host{}.Start(constructor)
	equal(t, strings.HasPrefix(err.Error(), "topic `b` is not granted"), true)
	for _, granted := range [][]string{{"a", "b"}, {"b", "a"}} {
		run := wasmilltest.Host{Grant: granted}.Run(t, constructor, full())
		equal(t, run.Outputs[0].Topic, "b")
	}
}

func TestInstancesInParallelTestsTakeTurns(t *testing.T) {
	for i := range 8 {
		name := strconv.Itoa(i)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 100 {
				run := wasmilltest.Host{Topic: name}.Run(t, wasmilltest.Func(func(m *wasmill.Message, out *wasmill.Outputs) error {
					log.Warnf("%s", m.Topic())
					return nil
				}), full(), full())
				line := wasmilltest.Line{Level: log.Warn, Text: name}
				if !slices.Equal(run.Log, []wasmilltest.Line{line, line}) {
					t.Fatal(run.Log)
				}
			}
		})
	}
}
