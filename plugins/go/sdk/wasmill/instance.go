package wasmill

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// instance takes a handler through batches. Its message and outputs are used
// again for each message, so that one that is not looked at costs next to
// nothing.
type instance struct {
	handler Handler
	message Message
	out     Outputs
}

// Handle implements host.Instance.
func (in *instance) Handle(
	source uint32, partition int32, data []byte, table []uint32, stride, count int,
) (reached uint32) {
	in.message.begin(source, partition, data, table, stride, count)
	in.out.begin(len(data), in.message.headers)
	for done := false; !done; {
		reached, done = in.run(reached, uint32(count))
	}
	in.out.flush()
	return reached
}

// run handles messages from next on, until the last one, a retry or a panic,
// which it turns into a rejection. It returns how many were reached and whether
// that was all: one deferred call for each panic is cheaper than one for each
// message.
func (in *instance) run(next, count uint32) (reached uint32, done bool) {
	reached = next
	defer func() {
		if value := recover(); value != nil {
			in.out.drop()
			host.Reject(reached, panicText(value))
			reached++
			done = false
		}
	}()
	for reached < count {
		in.message.at(reached)
		in.out.at(reached)
		if err := in.handler.Handle(&in.message, &in.out); err != nil && in.fail(reached, err) {
			// Whatever came after would overtake this message; the host would
			// discard it.
			return reached + 1, true
		}
		reached++
	}
	return reached, true
}

// fail says that a message is not acknowledged, and reports whether it is to be
// handed over again.
func (in *instance) fail(message uint32, err error) bool {
	in.out.drop()
	var retry *RetryError
	if errors.As(err, &retry) {
		host.Retry(message, milliseconds(retry.After), err.Error())
		return true
	}
	host.Reject(message, err.Error())
	return false
}

// mostStack is how many bytes of a stack are shown.
const mostStack = 4 << 10

// panicText describes a panic. It is called by the deferred function that
// recovered it, while its stack is still there; frames of the runtime above it
// and of the loop below it are left out.
func panicText(value any) string {
	var text strings.Builder
	fmt.Fprint(&text, "panic: ", value)
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	for stack, more := 0, true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasPrefix(frame.Function, "runtime.") {
			continue
		}
		if frame.Function == thisPackage+"(*instance).run" || frame.Function == thisPackage+"start" {
			break
		}
		line := fmt.Sprintf("\n\tat %s (%s:%d)", frame.Function, filepath.Base(frame.File), frame.Line)
		if stack += len(line); stack > mostStack {
			break
		}
		text.WriteString(line)
	}
	return text.String()
}

// thisPackage begins the names of this package's functions in a stack.
const thisPackage = "github.com/wasmill/wasmill/plugins/go/sdk/wasmill."
