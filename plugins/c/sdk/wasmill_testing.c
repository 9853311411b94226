/* The testing helper: lays out batches as the host does, stands in for its imports, and reads emissions as it does. */
#ifndef __wasm__

#include "wasmill_testing.h"
#include "wasmill_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adds to an array of some type, which grows to the double whenever its length is a power of two. */
#define PUSH(list, count, item) \
    do { \
        if (((count) & ((count) - 1)) == 0) (list) = wasmill_grow((list), ((count) * 2 + 1) * sizeof *(list)); \
        (list)[(count)++] = (item); \
    } while (0)

/* One call of `emit`, as it was made. */
struct emission {
    char *data;
    size_t length;
    uint32_t *table;
    uint32_t count;
};

/* One call of `fail`, as it was made. */
struct failure {
    uint32_t message;
    wasmill_outcome outcome;
};

struct wasmill_test {
    const wasmill_handler *handler;
    wasmill_context context;
    wasmill_setting *settings;
    bool started;
    bool has_run;
    const char *topic;
    int32_t partition;
    const char **granted;
    size_t granted_count;

    wasmill_arena kept;     /* as long as the test */
    wasmill_arena of_batch; /* samples that are not handed over yet */
    wasmill_arena of_run;   /* what `run` shows */
    wasmill_sample *samples;
    size_t sample_count;
    int64_t next_offset;

    struct emission *emissions;
    size_t emission_count;
    struct failure *failures;
    size_t failure_count;
    wasmill_log_line *log;
    size_t log_count;
    wasmill_outcome *outcomes;
    wasmill_output *outputs;
    wasmill_run run;
};

/* The test that is running. */
static wasmill_test *current;

static void expect(bool holds, const char *else_text) {
    if (holds) return;
    fprintf(stderr, "%s\n", else_text);
    abort();
}

static wasmill_bytes copy(wasmill_arena *arena, wasmill_bytes bytes) {
    if (bytes.data != NULL) bytes.data = wasmill_arena_string(arena, bytes);
    return bytes;
}

static const char *copy_string(wasmill_arena *arena, const char *text) {
    return copy(arena, wasmill_string(text)).data;
}

/* -------------------------------------------------------------------------------------------------- preparation -- */

wasmill_test *wasmill_test_new(const wasmill_handler *handler) {
    wasmill_test *test = wasmill_grow(NULL, sizeof *test);
    memset(test, 0, sizeof *test);
    test->handler = handler;
    test->context.pipeline = test->context.group = "test";
    test->context.digest = "0000000000000000000000000000000000000000000000000000000000000000";
    test->topic = "input";
    return test;
}

void wasmill_test_config(wasmill_test *test, const char *key, const char *value) {
    wasmill_setting setting = {copy_string(&test->kept, key), copy_string(&test->kept, value)};
    size_t at = test->context.setting_count;
    PUSH(test->settings, test->context.setting_count, setting);
    /* Sorted, as the host hands them over. */
    for (; at > 0 && strcmp(test->settings[at - 1].key, key) > 0; at--) test->settings[at] = test->settings[at - 1];
    test->settings[at] = setting;
    test->context.settings = test->settings;
}

void wasmill_test_grant(wasmill_test *test, const char *topic) {
    PUSH(test->granted, test->granted_count, copy_string(&test->kept, topic));
}

void wasmill_test_pipeline(wasmill_test *test, const char *pipeline, const char *group) {
    test->context.pipeline = copy_string(&test->kept, pipeline);
    test->context.group = copy_string(&test->kept, group);
}

void wasmill_test_source(wasmill_test *test, const char *topic, int32_t partition) {
    test->topic = copy_string(&test->kept, topic);
    test->partition = partition;
}

void wasmill_test_message(wasmill_test *test, wasmill_sample sample) {
    wasmill_arena *arena = &test->of_batch;
    wasmill_header *headers = wasmill_arena_allocate(arena, (sample.header_count + 1) * sizeof *headers);
    for (size_t i = 0; i < sample.header_count; i++) {
        headers[i].name = copy(arena, sample.headers[i].name);
        headers[i].value = copy(arena, sample.headers[i].value);
    }
    sample.key = copy(arena, sample.key);
    sample.value = copy(arena, sample.value);
    sample.headers = headers;
    PUSH(test->samples, test->sample_count, sample);
}

/* -------------------------------------------------------------------------------------------------- the batch in -- */

/* A batch in the contract's layout. */
struct input {
    struct wasmill_batch batch;
    char *data;
    uint32_t *table;
};

static void put(struct input *input, wasmill_bytes bytes, uint32_t *span) {
    span[0] = 0;
    span[1] = WASMILL_ABSENT;
    if (bytes.data == NULL) return;
    span[0] = input->batch.data_length;
    span[1] = (uint32_t)bytes.length;
    if (bytes.length > 0) memcpy(input->data + span[0], bytes.data, bytes.length);
    input->batch.data_length += (uint32_t)bytes.length;
}

static void put_long(int64_t number, uint32_t *words) {
    words[0] = (uint32_t)number;
    words[1] = (uint32_t)((uint64_t)number >> 32);
}

/* Allocations of the exact size, so that a sanitizer sees what reads past them. */
static struct input lay_out(wasmill_test *test) {
    size_t bytes = 0, header_count = 0, rows = test->sample_count * WASMILL_ROW;
    for (size_t i = 0; i < test->sample_count; i++) {
        const wasmill_sample *sample = &test->samples[i];
        bytes += sample->key.length + sample->value.length;
        header_count += sample->header_count;
        for (size_t h = 0; h < sample->header_count; h++) {
            bytes += sample->headers[h].name.length + sample->headers[h].value.length;
        }
    }
    struct input input = {.data = wasmill_grow(NULL, bytes + (bytes == 0))};
    input.table = wasmill_grow(NULL, (rows + header_count * WASMILL_HEADER_ROW + 1) * sizeof *input.table);
    input.batch.data = input.data;
    input.batch.headers = input.table + rows;
    input.batch.partition = test->partition;
    uint32_t *header = input.table + rows;
    for (size_t i = 0; i < test->sample_count; i++) {
        const wasmill_sample *sample = &test->samples[i];
        uint32_t *row = input.table + i * WASMILL_ROW;
        int64_t offset = sample->offset != 0 ? sample->offset : test->next_offset;
        test->next_offset = offset + 1;
        put(&input, sample->key, row);
        put(&input, sample->value, row + 2);
        row[4] = input.batch.header_rows;
        row[5] = (uint32_t)sample->header_count;
        put_long(offset, row + 6);
        put_long(sample->timestamp != 0 ? sample->timestamp : WASMILL_NO_TIMESTAMP, row + 8);
        row[10] = sample->attempt != 0 ? sample->attempt : 1;
        row[11] = 0;
        for (size_t h = 0; h < sample->header_count; h++, header += WASMILL_HEADER_ROW) {
            put(&input, sample->headers[h].name, header);
            put(&input, sample->headers[h].value, header + 2);
            input.batch.header_rows++;
        }
    }
    return input;
}

/* --------------------------------------------------------------------------------------------- what came of it -- */

static wasmill_bytes read_span(wasmill_test *test, const struct input *input, const struct emission *emission,
                               const uint32_t *span) {
    wasmill_bytes bytes = {NULL, 0};
    if (span[1] == WASMILL_ABSENT) return bytes;
    uint32_t own = input->batch.data_length;
    const char *from = span[0] < own ? input->data + span[0] : emission->data + (span[0] - own);
    size_t limit = span[0] < own ? own - span[0] : emission->length - (span[0] - own);
    expect(span[1] <= limit, "an output refers to bytes that are not there");
    wasmill_bytes there = {from, span[1]};
    return copy(&test->of_run, there);
}

static wasmill_output read_row(wasmill_test *test, const struct input *input, const struct emission *emission,
                               const uint32_t *row) {
    const uint32_t *own_headers = emission->table + (size_t)emission->count * WASMILL_ROW;
    wasmill_header *headers = wasmill_arena_allocate(&test->of_run, (row[7] + 1) * sizeof *headers);
    for (uint32_t i = 0; i < row[7]; i++) {
        uint32_t at = row[6] + i, others = input->batch.header_rows;
        const uint32_t *header = at < others ? input->batch.headers + (size_t)at * WASMILL_HEADER_ROW
                                             : own_headers + (size_t)(at - others) * WASMILL_HEADER_ROW;
        headers[i].name = read_span(test, input, emission, header);
        headers[i].value = read_span(test, input, emission, header + 2);
    }
    expect(row[1] <= test->granted_count, "an output names a topic that there is not");
    wasmill_output output = {
        .message = row[0],
        .topic = row[1] == 0 ? NULL : test->granted[row[1] - 1],
        .has_partition = (row[11] & 2) != 0,
        .partition = (int32_t)row[10],
        .timestamp = wasmill_private_long(row[11] & 1 ? row + 8 : input->table + (size_t)row[0] * WASMILL_ROW + 8),
        .key = read_span(test, input, emission, row + 2),
        .value = read_span(test, input, emission, row + 4),
        .headers = headers,
        .header_count = row[7],
    };
    return output;
}

static void read_outcomes(wasmill_test *test, uint32_t reached) {
    test->outcomes = wasmill_grow(test->outcomes, (test->sample_count + 1) * sizeof *test->outcomes);
    for (size_t i = 0; i < test->sample_count; i++) {
        wasmill_outcome outcome = {.kind = i < reached ? WASMILL_ACKED : WASMILL_NOT_REACHED};
        for (size_t f = 0; f < test->failure_count; f++) {
            if (test->failures[f].message == i) outcome = test->failures[f].outcome;
        }
        test->outcomes[i] = outcome;
    }
    test->run.outcomes = test->outcomes;
    test->run.outcome_count = test->sample_count;
}

static void read_outputs(wasmill_test *test, const struct input *input) {
    test->run.output_count = 0;
    for (size_t e = 0; e < test->emission_count; e++) {
        const struct emission *emission = &test->emissions[e];
        for (uint32_t i = 0; i < emission->count; i++) {
            const uint32_t *row = emission->table + (size_t)i * WASMILL_ROW;
            expect(row[0] < test->sample_count, "an output belongs to a message that there is not");
            if (test->outcomes[row[0]].kind != WASMILL_ACKED) continue;
            PUSH(test->outputs, test->run.output_count, read_row(test, input, emission, row));
        }
    }
    test->run.outputs = test->outputs;
}

const char *wasmill_test_start(wasmill_test *test) {
    wasmill_forget();
    current = test;
    test->started = true;
    return wasmill_start(test->handler, &test->context);
}

const wasmill_run *wasmill_test_run(wasmill_test *test) {
    if (!test->started) {
        const char *refusal = wasmill_test_start(test);
        if (refusal != NULL) fprintf(stderr, "%s\n", refusal);
        expect(refusal == NULL, "the handler's init refused");
    }
    /* Not before the first batch: the lines of `init` belong to it. */
    if (test->has_run) wasmill_arena_reset(&test->of_run);
    test->has_run = true;
    struct input input = lay_out(test);
    uint32_t count = (uint32_t)test->sample_count;
    read_outcomes(test, wasmill_handle(test->handler, &input.batch, input.table, WASMILL_ROW, count));
    read_outputs(test, &input);
    test->run.log = test->log;
    test->run.log_count = test->log_count;

    for (size_t i = 0; i < test->emission_count; i++) {
        free(test->emissions[i].data);
        free(test->emissions[i].table);
    }
    free(input.data);
    free(input.table);
    wasmill_arena_reset(&test->of_batch);
    test->sample_count = test->emission_count = test->failure_count = test->log_count = 0;
    return &test->run;
}

void wasmill_test_free(wasmill_test *test) {
    wasmill_arena_free(&test->kept);
    wasmill_arena_free(&test->of_batch);
    wasmill_arena_free(&test->of_run);
    free(test->settings);
    free(test->granted);
    free(test->samples);
    free(test->emissions);
    free(test->failures);
    free(test->log);
    free(test->outcomes);
    free(test->outputs);
    free(test);
    current = NULL;
}

/* ------------------------------------------------------------------------------------------ the host's imports -- */

void wasmill_host_emit(const char *data, size_t length, const uint32_t *table, size_t words, uint32_t count) {
    struct emission emission = {wasmill_grow(NULL, length + (length == 0)), length,
                         wasmill_grow(NULL, words * sizeof *table), count};
    if (length > 0) memcpy(emission.data, data, length);
    memcpy(emission.table, table, words * sizeof *table);
    PUSH(current->emissions, current->emission_count, emission);
}

void wasmill_host_fail(uint32_t message, const struct wasmill_failure *said) {
    struct failure failure = {.message = message};
    failure.outcome.kind = said->retry ? WASMILL_RETRIED : WASMILL_REJECTED;
    failure.outcome.after_ms = said->after_ms;
    failure.outcome.reason = copy(&current->of_run, said->reason);
    PUSH(current->failures, current->failure_count, failure);
}

void wasmill_host_log(wasmill_level level, wasmill_bytes text) {
    wasmill_log_line line = {level, copy(&current->of_run, text)};
    PUSH(current->log, current->log_count, line);
}

bool wasmill_host_topic_number(wasmill_bytes name, uint32_t *number, const char **error) {
    for (size_t i = 0; i < current->granted_count; i++) {
        if (wasmill_equals(name, current->granted[i])) {
            *number = (uint32_t)i + 1;
            return true;
        }
    }
    *error = wasmill_join("topic `", wasmill_copy_string(name),
                          "` is not granted; hint: `wasmill_test_grant` names those that are", NULL);
    return false;
}

const char *wasmill_host_source_name(uint32_t source) {
    (void)source;
    return current->topic;
}

void wasmill_host_trap(void) {
    if (current->log_count > 0) fprintf(stderr, "%s\n", current->log[current->log_count - 1].text.data);
    abort();
}

#endif
