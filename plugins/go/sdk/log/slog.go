package log

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// NewHandler returns a handler for package log/slog, which writes lines as
// slog.TextHandler does, without time and level: the host has its own. Levels
// below slog.LevelDebug are [Trace]. Lines below level are left out.
//
//	slog.SetDefault(slog.New(log.NewHandler(slog.LevelInfo)))
func NewHandler(level slog.Leveler) slog.Handler {
	line := &line{}
	options := slog.HandlerOptions{Level: level, ReplaceAttr: withoutLevel}
	return &slogHandler{slog.NewTextHandler(&line.buffer, &options), line}
}

// line is where the text handler puts a line, one at a time.
type line struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

type slogHandler struct {
	slog.Handler
	line *line
}

func (h *slogHandler) Handle(ctx context.Context, record slog.Record) error {
	h.line.mutex.Lock()
	defer h.line.mutex.Unlock()
	h.line.buffer.Reset()
	record.Time = time.Time{}
	if err := h.Handler.Handle(ctx, record); err != nil {
		return err
	}
	Write(fromSlog(record.Level), string(bytes.TrimSuffix(h.line.buffer.Bytes(), []byte("\n"))))
	return nil
}

func (h *slogHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &slogHandler{h.Handler.WithAttrs(attributes), h.line}
}

func (h *slogHandler) WithGroup(name string) slog.Handler {
	return &slogHandler{h.Handler.WithGroup(name), h.line}
}

// withoutLevel drops slog's own attribute, and not one that happens to have the
// same name.
func withoutLevel(groups []string, attribute slog.Attr) slog.Attr {
	if _, own := attribute.Value.Any().(slog.Level); own && len(groups) == 0 && attribute.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return attribute
}

func fromSlog(level slog.Level) Level {
	switch {
	case level < slog.LevelDebug:
		return Trace
	case level < slog.LevelInfo:
		return Debug
	case level < slog.LevelWarn:
		return Info
	case level < slog.LevelError:
		return Warn
	}
	return Error
}
