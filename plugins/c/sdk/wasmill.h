/*
 * wasmill: handlers of Kafka messages in C.
 *
 *     #include "wasmill.h"
 *
 *     static wasmill_verdict handle(const wasmill_message *message, wasmill_outputs *out) {
 *         wasmill_forward(out, message);
 *         return wasmill_ack();
 *     }
 *
 *     WASMILL_HANDLER(.handle = handle);
 *
 * A handler is called once for each message, in offset order for each partition, by one thread. Its static variables
 * live as long as the instance, which is thrown away after a trap or when its partitions move: they are a cache, never
 * a record.
 *
 * What a message shows, and what `wasmill_alloc` gives, is good until `handle` returns. During `init` it is good for as
 * long as the instance, so pointers to it may be kept.
 */
#ifndef WASMILL_H
#define WASMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WASMILL_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#define WASMILL_SENTINEL __attribute__((__sentinel__))
#define WASMILL_NORETURN __attribute__((__noreturn__))
#else
#define WASMILL_PRINTF(text, first)
#define WASMILL_SENTINEL
#define WASMILL_NORETURN
#endif

/* ------------------------------------------------------------------------------------------------------- bytes -- */

/*
 * Bytes that somebody else owns. `data` is NULL if they are absent, which is not the same as empty: a message without a
 * value is a tombstone. They do not end in a NUL.
 */
typedef struct wasmill_bytes {
    const char *data;
    size_t length;
} wasmill_bytes;

/* The bytes of a C string without its NUL; NULL is absent. */
static inline wasmill_bytes wasmill_string(const char *text) {
    wasmill_bytes bytes = {text, text == NULL ? 0 : strlen(text)};
    return bytes;
}

/* Whether bytes are present and equal to those of a C string. */
static inline bool wasmill_equals(wasmill_bytes bytes, const char *text) {
    return bytes.data != NULL && bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0;
}

/* A copy that ends in a NUL, from `wasmill_alloc`. Absent bytes become an empty string. */
char *wasmill_copy_string(wasmill_bytes bytes);

/* How many bytes from the first are UTF-8: all of them if this is `bytes.length`. */
size_t wasmill_utf8_length(wasmill_bytes bytes);

/* ------------------------------------------------------------------------------------------------------ memory -- */

/*
 * Memory aligned to 16 bytes and not cleared, which is taken back by itself when `handle` returns. In `init` it lasts
 * as long as the instance. Never NULL: an instance that runs out of memory traps.
 */
void *wasmill_alloc(size_t size);

/* Text as by `sprintf`, from `wasmill_alloc`. */
char *wasmill_format(const char *format, ...) WASMILL_PRINTF(1, 2);

/* ----------------------------------------------------------------------------------------------------- messages -- */

/* One call's messages. Private: here only so that reading a message is inlined. */
struct wasmill_batch {
    const char *data;
    const uint32_t *headers;
    uint32_t data_length;
    uint32_t header_rows;
    uint32_t source;
    int32_t partition;
};

/* One Kafka message. Its fields are private: use the functions below. */
typedef struct wasmill_message {
    const struct wasmill_batch *batch;
    const uint32_t *row;
} wasmill_message;

/* One header. The name is text by convention, but producers may write any bytes; the value may be absent. */
typedef struct wasmill_header {
    wasmill_bytes name;
    wasmill_bytes value;
} wasmill_header;

/* What a handler says of a message, see `wasmill_ack`. */
typedef const struct wasmill_failure *wasmill_verdict;

/* What `wasmill_timestamp` says of a message that has none. */
#define WASMILL_NO_TIMESTAMP INT64_C(-1)

static inline wasmill_bytes wasmill_private_bytes(const wasmill_message *message, const uint32_t *span) {
    wasmill_bytes bytes = {NULL, 0};
    if (span[1] != UINT32_MAX) {
        bytes.data = message->batch->data + span[0];
        bytes.length = span[1];
    }
    return bytes;
}

static inline int64_t wasmill_private_long(const uint32_t *words) {
    return (int64_t)((uint64_t)words[0] | (uint64_t)words[1] << 32);
}

/* The key. */
static inline wasmill_bytes wasmill_key(const wasmill_message *message) {
    return wasmill_private_bytes(message, message->row);
}

/* The value; absent in a tombstone. */
static inline wasmill_bytes wasmill_value(const wasmill_message *message) {
    return wasmill_private_bytes(message, message->row + 2);
}

/*
 * Stores the value in `*text` if it is UTF-8 and returns NULL; else returns a rejection that says why it is not, for
 * the handler to return.
 */
wasmill_verdict wasmill_text(const wasmill_message *message, wasmill_bytes *text);

/* The number of headers. */
static inline size_t wasmill_header_count(const wasmill_message *message) {
    return message->row[5];
}

/* The header at an index below `wasmill_header_count`, in order. A name may occur more than once. */
static inline wasmill_header wasmill_header_at(const wasmill_message *message, size_t index) {
    const uint32_t *row = message->batch->headers + ((size_t)message->row[4] + index) * 4;
    wasmill_header header;
    header.name = wasmill_private_bytes(message, row);
    header.value = wasmill_private_bytes(message, row + 2);
    return header;
}

/* The value of the last header of that name; absent if there is no such header or it has no value. */
wasmill_bytes wasmill_header_named(const wasmill_message *message, const char *name);

/* The topic it was read from. */
const char *wasmill_topic(const wasmill_message *message);

/* The partition it was read from. */
static inline int32_t wasmill_partition(const wasmill_message *message) {
    return message->batch->partition;
}

/* The offset in its partition. Offsets ascend, with gaps. */
static inline int64_t wasmill_offset(const wasmill_message *message) {
    return wasmill_private_long(message->row + 6);
}

/* Milliseconds since 1970, or WASMILL_NO_TIMESTAMP. */
static inline int64_t wasmill_timestamp(const wasmill_message *message) {
    return wasmill_private_long(message->row + 8);
}

/* 1 the first time, one more after each retry. */
static inline uint32_t wasmill_attempt(const wasmill_message *message) {
    return message->row[10];
}

/* ----------------------------------------------------------------------------------------------------- verdicts -- */

/* Why a message is not acknowledged. From `wasmill_alloc`. */
struct wasmill_failure {
    bool retry;        /* else it is given up */
    uint32_t after_ms; /* a retry waits at least so long */
    wasmill_bytes reason;
};

/* Acknowledges: what was sent for the message is published, and once that is confirmed the message is complete. */
static inline wasmill_verdict wasmill_ack(void) {
    return NULL;
}

/*
 * The message is handed over again, as attempt + 1, after the pipeline's `retry.backoff`; nothing later of its
 * partition is handled before. The reason is as by `sprintf`.
 */
wasmill_verdict wasmill_retry(const char *format, ...) WASMILL_PRINTF(1, 2);

/* As `wasmill_retry`, but not before so many milliseconds. The pipeline's `retry.max_delay` is the most it waits. */
wasmill_verdict wasmill_retry_after(uint32_t ms, const char *format, ...) WASMILL_PRINTF(2, 3);

/* The message is given up for good: to the dead letters, or wherever `on_exhausted` says. */
wasmill_verdict wasmill_reject(const char *format, ...) WASMILL_PRINTF(1, 2);

/* The same two with a reason that is not formatted, and may hold NULs. It is copied. */
wasmill_verdict wasmill_retry_bytes(uint32_t after_ms, wasmill_bytes reason);
wasmill_verdict wasmill_reject_bytes(wasmill_bytes reason);

/* ------------------------------------------------------------------------------------------------------ outputs -- */

/*
 * What is emitted for the message at hand: published, in order, if and when that message is acknowledged.
 *
 * Bytes given to it are copied, those of the message too: a handler might have edited them. Only the functions that
 * take a message (`wasmill_forward`, `wasmill_draft_value_of`, ...) name its bytes by reference. They send what the
 * host handed over and copy nothing.
 */
typedef struct wasmill_outputs wasmill_outputs;

/* An output topic, as the host numbers it, from `wasmill_topic_named`. 0 is the pipeline's default output. */
typedef uint32_t wasmill_topic_number;
#define WASMILL_DEFAULT_TOPIC ((wasmill_topic_number)0)

/* Sends key and value to the default output, with the message's timestamp and no headers. */
void wasmill_send(wasmill_outputs *out, wasmill_bytes key, wasmill_bytes value);

/*
 * Sends a key and a value of `length` bytes, which the caller writes to the place returned, before it uses `out` again:
 * saves the copy of `wasmill_send`.
 */
char *wasmill_send_in_place(wasmill_outputs *out, wasmill_bytes key, size_t length);

/* Sends the message on as it is, headers included, to the default output. */
void wasmill_forward(wasmill_outputs *out, const wasmill_message *message);

/* Sends the message on as it is, to a topic. */
void wasmill_forward_to(wasmill_outputs *out, wasmill_topic_number topic, const wasmill_message *message);

/*
 * An output that needs more than key and value. Without a key it has no key, without a value it is a tombstone. There
 * is one at a time: `wasmill_to` begins it anew. Nothing is emitted before `wasmill_draft_send`.
 */
typedef struct wasmill_draft wasmill_draft;

/* Begins an output to a topic. */
wasmill_draft *wasmill_to(wasmill_outputs *out, wasmill_topic_number topic);

/* Sets the key or the value to a copy. */
void wasmill_draft_key(wasmill_draft *draft, wasmill_bytes key);
void wasmill_draft_value(wasmill_draft *draft, wasmill_bytes value);

/* Sets a value of `length` bytes, which the caller writes to the place returned, before it uses `draft` again. */
char *wasmill_draft_value_in_place(wasmill_draft *draft, size_t length);

/* Sets the key or the value to that of the message, by reference. */
void wasmill_draft_key_of(wasmill_draft *draft, const wasmill_message *message);
void wasmill_draft_value_of(wasmill_draft *draft, const wasmill_message *message);

/* Adds a copy of a header behind those already there. An absent name counts as empty. */
void wasmill_draft_header(wasmill_draft *draft, wasmill_bytes name, wasmill_bytes value);

/* Adds all headers of the message behind those already there, by reference. */
void wasmill_draft_headers_of(wasmill_draft *draft, const wasmill_message *message);

/*
 * Sets the timestamp, in milliseconds since 1970; else it is that of the message. A negative one ends the call as a
 * trap would.
 */
void wasmill_draft_timestamp(wasmill_draft *draft, int64_t ms);

/*
 * Sets the partition; else the key decides, as in Kafka's own clients. A negative one ends the call as a trap would;
 * one that the topic does not have makes the host give the message up.
 */
void wasmill_draft_partition(wasmill_draft *draft, int32_t partition);

/* Emits it. */
void wasmill_draft_send(wasmill_draft *draft);

/* --------------------------------------------------------------------------------------- state and configuration -- */

/* One setting of the pipeline's `config` table, as text. */
typedef struct wasmill_setting {
    const char *key;
    const char *value;
} wasmill_setting;

/* What an instance is told once, before its first message. It lasts as long as the instance. */
typedef struct wasmill_context {
    const char *pipeline; /* its name in wasmill.toml */
    const char *group;    /* the consumer group */
    const char *digest;   /* SHA-256 of the plugin's bytes, in hexadecimal */
    const wasmill_setting *settings; /* sorted by key */
    size_t setting_count;
} wasmill_context;

/*
 * The functions below, down to `wasmill_topic_named`, return an error's text for `init` to return, or NULL if there is
 * none.
 */

/* Refuses settings other than those named, up to a NULL, so that a misspelt one is noticed before the first message. */
const char *wasmill_only(const wasmill_context *context, ...) WASMILL_SENTINEL;

/* The same with an array of names. */
const char *wasmill_only_of(const wasmill_context *context, const char *const *known, size_t count);

/* Stores a setting that must be there in `*value`. */
const char *wasmill_require(const wasmill_context *context, const char *key, const char **value);

/* Stores a setting in `*value` if there is one, and refuses it if it is no whole number. */
const char *wasmill_config_integer(const wasmill_context *context, const char *key, int64_t *value);

/*
 * Stores the number of an output topic in `*topic`. Ask in `init`, so that a topic that the pipeline does not grant
 * keeps it from starting; the text says which ones it does grant. The host is asked once for each name.
 */
const char *wasmill_topic_named(const char *name, wasmill_topic_number *topic);

/* A setting as text; NULL if it is not written. */
const char *wasmill_config(const wasmill_context *context, const char *key);

/* ----------------------------------------------------------------------------------------------------------- log -- */

typedef enum wasmill_level { WASMILL_TRACE, WASMILL_DEBUG, WASMILL_INFO, WASMILL_WARN, WASMILL_ERROR } wasmill_level;

/* Writes a line to the host's log, as by `sprintf`. The host cuts lines and drops what is past the pipeline's limit. */
void wasmill_log(wasmill_level level, const char *format, ...) WASMILL_PRINTF(2, 3);

/* Writes bytes as a line. */
void wasmill_log_bytes(wasmill_level level, wasmill_bytes text);

#define wasmill_trace(...) wasmill_log(WASMILL_TRACE, __VA_ARGS__)
#define wasmill_debug(...) wasmill_log(WASMILL_DEBUG, __VA_ARGS__)
#define wasmill_info(...) wasmill_log(WASMILL_INFO, __VA_ARGS__)
#define wasmill_warn(...) wasmill_log(WASMILL_WARN, __VA_ARGS__)
#define wasmill_error(...) wasmill_log(WASMILL_ERROR, __VA_ARGS__)

/*
 * Writes a line at level error and traps. The call's outputs are dropped, and the batch is handed over again to a new
 * instance, one message at a time; a message that traps alone is given up in the end, with that line in its dead
 * letter. For what cannot be; a message that is wrong is rejected.
 */
void wasmill_panic(const char *format, ...) WASMILL_PRINTF(1, 2) WASMILL_NORETURN;

/* ------------------------------------------------------------------------------------------------------- handler -- */

typedef struct wasmill_handler {
    /*
     * Called once for each instance, before its first message; may be NULL. Returns NULL, or a text that keeps the
     * pipeline from starting and is shown as it is. A test may call it again, so set every static variable in it.
     */
    const char *(*init)(const wasmill_context *context);
    /* Called once for each message. */
    wasmill_verdict (*handle)(const wasmill_message *message, wasmill_outputs *out);
} wasmill_handler;

/* Makes functions the program's handler: `WASMILL_HANDLER(.init = init, .handle = handle);`, once. */
#define WASMILL_HANDLER(...) const wasmill_handler wasmill_program = {__VA_ARGS__}

/* What WASMILL_HANDLER defines. */
extern const wasmill_handler wasmill_program;

#ifdef __cplusplus
}
#endif

#endif
