package wasmill

import "github.com/wasmill/wasmill/plugins/go/sdk/internal/host"

// Topic is an output topic, as the host numbers it. The zero value is the
// pipeline's default output.
type Topic struct{ number uint32 }

// TopicNamed returns an output topic. Call it in a [Constructor], so that a
// topic which the pipeline does not grant keeps it from starting; the error is
// the host's and says what it does grant. The host is asked once for each name.
func TopicNamed(name string) (Topic, error) {
	number, err := host.TopicNumber(name)
	return Topic{number}, err
}

// Option says more of an output than its key and value.
type Option struct {
	kind    optionKind
	word    uint32
	long    int64
	name    string
	value   []byte
	message *Message
}

// A plain struct and not a function, so that a call with options allocates
// nothing.
type optionKind uint8

const (
	toTopic optionKind = iota
	withHeader
	withHeadersOf
	withTimestamp
	withPartition
)

// To sends to a topic other than the pipeline's default output.
func To(topic Topic) Option { return Option{kind: toTopic, word: topic.number} }

// Header adds a header behind those already there. A nil value means absent.
func Header(name string, value []byte) Option {
	return Option{kind: withHeader, name: name, value: value}
}

// HeadersOf adds the headers of the message behind those already there, as the
// host handed them over.
func HeadersOf(m *Message) Option { return Option{kind: withHeadersOf, message: m} }

// Timestamp sets the timestamp, in milliseconds since 1970; else it is that of
// the message. Sending with a negative one panics.
func Timestamp(ms int64) Option { return Option{kind: withTimestamp, long: ms} }

// Partition sets the partition; else the key decides, as in Kafka's own clients.
// Sending with a negative one panics; one that the topic does not have makes the
// host give the message up.
func Partition(partition int32) Option {
	return Option{kind: withPartition, word: uint32(partition)}
}
