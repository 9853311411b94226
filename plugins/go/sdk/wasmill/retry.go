package wasmill

import (
	"math"
	"time"
)

// RetryError asks for a message to be handed over again. A handler may wrap it
// further: errors.As decides, and the reason is the text of the outermost error.
type RetryError struct {
	// After is the least time until then, in whole milliseconds, rounded up.
	// The pipeline's retry.backoff is the least, and its retry.max_delay the
	// most that it waits.
	After time.Duration
	// Err says why.
	Err error
}

// Error returns the text of Err.
func (e *RetryError) Error() string {
	if e.Err == nil {
		return "retry without a reason"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }

// Retry returns an error with which a handler asks for the message again, after
// the pipeline's retry.backoff and with its attempt one higher. Nothing later of
// the partition is handled before. After retry.attempts the message is given up.
//
// It is never nil, not even if err is.
func Retry(err error) error { return RetryAfter(0, err) }

// RetryAfter is [Retry], but not before delay has passed.
func RetryAfter(delay time.Duration, err error) error {
	return &RetryError{After: delay, Err: err}
}

// milliseconds rounds up, within what the contract can say.
func milliseconds(delay time.Duration) uint32 {
	if delay <= 0 {
		return 0
	}
	ms := (delay-1)/time.Millisecond + 1
	return uint32(min(ms, math.MaxUint32))
}
