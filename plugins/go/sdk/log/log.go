// Package log writes to the host's log. A line appears there with the pipeline,
// lane and plugin it came from; the host cuts, escapes and counts lines, and
// drops what is past the pipeline's limit.
package log

import (
	"fmt"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// Level is how important a line is.
type Level uint32

// The levels, the least important one first.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// String returns the level's name in lower case.
func (l Level) String() string {
	names := [...]string{"trace", "debug", "info", "warn", "error"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("level %d", uint32(l))
}

// Write writes a line.
func Write(level Level, text string) { host.Log(uint32(min(level, Error)), text) }

// Tracef writes a line at level trace, formatted as by fmt.Sprintf.
func Tracef(format string, args ...any) { Write(Trace, fmt.Sprintf(format, args...)) }

// Debugf writes a line at level debug, formatted as by fmt.Sprintf.
func Debugf(format string, args ...any) { Write(Debug, fmt.Sprintf(format, args...)) }

// Infof writes a line at level info, formatted as by fmt.Sprintf.
func Infof(format string, args ...any) { Write(Info, fmt.Sprintf(format, args...)) }

// Warnf writes a line at level warn, formatted as by fmt.Sprintf.
func Warnf(format string, args ...any) { Write(Warn, fmt.Sprintf(format, args...)) }

// Errorf writes a line at level error, formatted as by fmt.Sprintf.
func Errorf(format string, args ...any) { Write(Error, fmt.Sprintf(format, args...)) }
