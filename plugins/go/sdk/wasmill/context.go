package wasmill

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

// Context is what an instance is told once, before its first message. Not which
// topics and partitions: an instance may serve several.
type Context struct{ context host.Context }

// Pipeline returns the pipeline's name in wasmill.toml.
func (c *Context) Pipeline() string { return c.context.Pipeline }

// Group returns the consumer group that the pipeline belongs to.
func (c *Context) Group() string { return c.context.Group }

// Digest returns the SHA-256 of the handler's file, in hexadecimal.
func (c *Context) Digest() string { return c.context.Digest }

// Config returns a setting of the pipeline's config table, as text, and whether
// it is written there.
func (c *Context) Config(key string) (value string, present bool) {
	for _, setting := range c.context.Settings {
		if setting.Key == key {
			return setting.Value, true
		}
	}
	return "", false
}

// Require returns a setting that must be there, or an error that names it.
func (c *Context) Require(key string) (string, error) {
	value, present := c.Config(key)
	if !present {
		return "", fmt.Errorf("config `%s` is missing", key)
	}
	return value, nil
}

// ParseConfig returns a setting as parse reads it, and fallback if it is not
// written. A setting that parse refuses is an error that shows it as typed.
//
//	limit, err := wasmill.ParseConfig(ctx, "limit", strconv.Atoi, 100)
//	pause, err := wasmill.ParseConfig(ctx, "pause", time.ParseDuration, time.Second)
func ParseConfig[T any](c *Context, key string, parse func(string) (T, error), fallback T) (T, error) {
	text, present := c.Config(key)
	if !present {
		return fallback, nil
	}
	value, err := parse(text)
	if err != nil {
		return fallback, fmt.Errorf("config `%s`: `%s` is not usable: %w", key, text, err)
	}
	return value, nil
}

// Only refuses settings other than these, so that a misspelt one is noticed
// before the first message.
func (c *Context) Only(known ...string) error {
	for _, setting := range c.context.Settings {
		switch {
		case slices.Contains(known, setting.Key):
		case len(known) == 0:
			return fmt.Errorf("config `%s` is unknown; this handler has no settings", setting.Key)
		default:
			return fmt.Errorf("config `%s` is unknown; hint: this handler knows `%s`",
				setting.Key, strings.Join(known, "`, `"))
		}
	}
	return nil
}
