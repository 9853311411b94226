/* What a handler emits, written straight into the layout of the contract (`outcome.emit` in wit/handler.wit). */
#include "wasmill_internal.h"

#include <string.h>

enum { TIMESTAMP_GIVEN = 1, PARTITION_GIVEN = 2 };

/*
 * Past any of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's
 * output limit, which says so, and not that of its memory.
 */
enum { FLUSH_BYTES = 1 << 20, FLUSH_WORDS = 12 << 14 };

static const wasmill_span NOTHING = {0, WASMILL_ABSENT};

/* Room for `count` more elements, in an inline test and a rare call. */
static void buffer_grow(wasmill_buffer *buffer, size_t count, size_t size) {
    size_t capacity = buffer->capacity * 2;
    if (capacity < buffer->length + count) capacity = buffer->length + count;
    if (capacity < 4096) capacity = 4096;
    buffer->at = wasmill_grow(buffer->at, capacity * size);
    buffer->capacity = capacity;
}

static inline char *add_bytes(wasmill_buffer *buffer, size_t count) {
    if (count > buffer->capacity - buffer->length) buffer_grow(buffer, count, 1);
    char *place = (char *)buffer->at + buffer->length;
    buffer->length += count;
    return place;
}

static inline uint32_t *add_words(wasmill_buffer *buffer, size_t count) {
    if (count > buffer->capacity - buffer->length) buffer_grow(buffer, count, sizeof(uint32_t));
    uint32_t *place = (uint32_t *)buffer->at + buffer->length;
    buffer->length += count;
    return place;
}

static void clear(wasmill_outputs *out) {
    out->data.length = out->rows.length = out->headers.length = 0;
    out->first_byte = out->first_row = out->first_header = 0;
}

void wasmill_outputs_begin(wasmill_outputs *out, const struct wasmill_batch *batch) {
    clear(out);
    out->batch = batch;
    out->draft.open = false;
}

void wasmill_outputs_drop(wasmill_outputs *out) {
    out->data.length = out->first_byte;
    out->rows.length = out->first_row;
    out->headers.length = out->first_header;
}

void wasmill_outputs_flush(wasmill_outputs *out) {
    if (out->rows.length > 0) {
        uint32_t count = (uint32_t)(out->rows.length / WASMILL_ROW);
        if (out->headers.length > 0) {
            uint32_t *place = add_words(&out->rows, out->headers.length);
            memcpy(place, out->headers.at, out->headers.length * sizeof *place);
        }
        wasmill_host_emit((const char *)out->data.at, out->data.length, (const uint32_t *)out->rows.at,
                          out->rows.length, count);
    }
    clear(out);
}

/* Not while a draft is open: its bytes and headers are not part of a row yet. */
static inline void flush_if_large(wasmill_outputs *out) {
    bool words = out->rows.length >= FLUSH_WORDS || out->headers.length >= FLUSH_WORDS;
    if ((words || out->data.length >= FLUSH_BYTES) && !out->draft.open) wasmill_outputs_flush(out);
}

/* Room for own bytes at the end of the data. */
static inline char *put_space(wasmill_outputs *out, size_t length, wasmill_span *span) {
    span->start = (uint32_t)(out->batch->data_length + out->data.length);
    span->length = (uint32_t)length;
    return add_bytes(&out->data, length);
}

static inline wasmill_span put(wasmill_outputs *out, wasmill_bytes bytes) {
    if (bytes.data == NULL) return NOTHING;
    wasmill_span span;
    char *place = put_space(out, bytes.length, &span);
    if (bytes.length > 0) memcpy(place, bytes.data, bytes.length);
    return span;
}

static inline void put_row(wasmill_outputs *out, uint32_t topic, wasmill_span key, wasmill_span value,
                           uint32_t first_header, uint32_t header_count) {
    uint32_t *row = add_words(&out->rows, WASMILL_ROW);
    row[0] = out->message;
    row[1] = topic;
    row[2] = key.start;
    row[3] = key.length;
    row[4] = value.start;
    row[5] = value.length;
    row[6] = first_header;
    row[7] = header_count;
    memset(row + 8, 0, 4 * sizeof *row);
}

void wasmill_send(wasmill_outputs *out, wasmill_bytes key, wasmill_bytes value) {
    flush_if_large(out);
    wasmill_span key_span = put(out, key);
    wasmill_span value_span = put(out, value);
    put_row(out, WASMILL_DEFAULT_TOPIC, key_span, value_span, 0, 0);
}

char *wasmill_send_in_place(wasmill_outputs *out, wasmill_bytes key, size_t length) {
    flush_if_large(out);
    wasmill_span key_span = put(out, key), value_span;
    char *place = put_space(out, length, &value_span);
    put_row(out, WASMILL_DEFAULT_TOPIC, key_span, value_span, 0, 0);
    return place;
}

void wasmill_forward_to(wasmill_outputs *out, wasmill_topic_number topic, const wasmill_message *message) {
    flush_if_large(out);
    const uint32_t *row = message->row;
    wasmill_span key = {row[0], row[1]}, value = {row[2], row[3]};
    put_row(out, topic, key, value, row[4], row[5]);
}

void wasmill_forward(wasmill_outputs *out, const wasmill_message *message) {
    wasmill_forward_to(out, WASMILL_DEFAULT_TOPIC, message);
}

wasmill_draft *wasmill_to(wasmill_outputs *out, wasmill_topic_number topic) {
    wasmill_draft *draft = &out->draft;
    draft->open = false;
    flush_if_large(out);
    memset(draft->row, 0, sizeof draft->row);
    draft->out = out;
    draft->open = true;
    draft->inherits = false;
    draft->row[0] = out->message;
    draft->row[1] = topic;
    draft->row[3] = draft->row[5] = WASMILL_ABSENT;
    return draft;
}

static void set_span(wasmill_draft *draft, int column, wasmill_span span) {
    draft->row[column] = span.start;
    draft->row[column + 1] = span.length;
}

void wasmill_draft_key(wasmill_draft *draft, wasmill_bytes key) {
    set_span(draft, 2, put(draft->out, key));
}

void wasmill_draft_value(wasmill_draft *draft, wasmill_bytes value) {
    set_span(draft, 4, put(draft->out, value));
}

char *wasmill_draft_value_in_place(wasmill_draft *draft, size_t length) {
    wasmill_span span;
    char *place = put_space(draft->out, length, &span);
    set_span(draft, 4, span);
    return place;
}

void wasmill_draft_key_of(wasmill_draft *draft, const wasmill_message *message) {
    wasmill_span key = {message->row[0], message->row[1]};
    set_span(draft, 2, key);
}

void wasmill_draft_value_of(wasmill_draft *draft, const wasmill_message *message) {
    wasmill_span value = {message->row[2], message->row[3]};
    set_span(draft, 4, value);
}

/*
 * Adds rows of the input as they are: their starts lie below the length of the input's data, which means the same bytes
 * in both tables.
 */
static void copy_header_rows(wasmill_outputs *out, uint32_t first, uint32_t count) {
    size_t words = (size_t)count * WASMILL_HEADER_ROW;
    if (words == 0) return;
    uint32_t *place = add_words(&out->headers, words);
    memcpy(place, out->batch->headers + (size_t)first * WASMILL_HEADER_ROW, words * sizeof *place);
}

/* Makes the headers so far rows of this call, so that others can follow them. */
static void own_headers(wasmill_draft *draft) {
    wasmill_outputs *out = draft->out;
    uint32_t *row = draft->row;
    if (row[7] > 0 && !draft->inherits) return;
    uint32_t first = row[6];
    row[6] = (uint32_t)(out->batch->header_rows + out->headers.length / WASMILL_HEADER_ROW);
    copy_header_rows(out, first, row[7]);
    draft->inherits = false;
}

void wasmill_draft_header(wasmill_draft *draft, wasmill_bytes name, wasmill_bytes value) {
    wasmill_outputs *out = draft->out;
    own_headers(draft);
    if (name.data == NULL) name = wasmill_string("");
    wasmill_span name_span = put(out, name);
    wasmill_span value_span = put(out, value);
    uint32_t *row = add_words(&out->headers, WASMILL_HEADER_ROW);
    row[0] = name_span.start;
    row[1] = name_span.length;
    row[2] = value_span.start;
    row[3] = value_span.length;
    draft->row[7]++;
}

void wasmill_draft_headers_of(wasmill_draft *draft, const wasmill_message *message) {
    uint32_t first = message->row[4], count = message->row[5];
    if (draft->row[7] == 0) {
        draft->row[6] = first;
        draft->row[7] = count;
        draft->inherits = true;
    } else {
        own_headers(draft);
        copy_header_rows(draft->out, first, count);
        draft->row[7] += count;
    }
}

void wasmill_draft_timestamp(wasmill_draft *draft, int64_t ms) {
    draft->row[8] = (uint32_t)ms;
    draft->row[9] = (uint32_t)((uint64_t)ms >> 32);
    draft->row[11] |= TIMESTAMP_GIVEN;
}

void wasmill_draft_partition(wasmill_draft *draft, int32_t partition) {
    draft->row[10] = (uint32_t)partition;
    draft->row[11] |= PARTITION_GIVEN;
}

void wasmill_draft_send(wasmill_draft *draft) {
    memcpy(add_words(&draft->out->rows, WASMILL_ROW), draft->row, sizeof draft->row);
    draft->open = false;
}
