/*
 * Runs a handler in an ordinary program for this machine, without the host:
 *
 *     wasmill_test *test = wasmill_test_new(&wasmill_program);
 *     wasmill_test_config(test, "suffix", "!");
 *     wasmill_test_message(test, (wasmill_sample){.value = wasmill_string("hello")});
 *     const wasmill_run *run = wasmill_test_run(test);
 *     assert(run->outcomes[0].kind == WASMILL_ACKED);
 *     assert(wasmill_equals(run->outputs[0].value, "HELLO!"));
 *     wasmill_test_free(test);
 *
 * What it does not show is what only the sandbox does: limits, deadlines, and that a trap ends the instance.
 * `wasmill_panic` prints its text and aborts the program. Use one test at a time.
 */
#ifndef WASMILL_TESTING_H
#define WASMILL_TESTING_H

#include "wasmill.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A handler about to be tested, its context, and the messages for its next batch. */
typedef struct wasmill_test wasmill_test;

/* A message to hand over. Whatever is left out is absent: no key, no value, no headers. */
typedef struct wasmill_sample {
    wasmill_bytes key;
    wasmill_bytes value;
    const wasmill_header *headers;
    size_t header_count;
    int64_t offset;    /* 0: one more than that of the message before, from 0 */
    int64_t timestamp; /* milliseconds since 1970; 0: none */
    uint32_t attempt;  /* 0: 1 */
} wasmill_sample;

/* What became of a message. */
typedef enum wasmill_outcome_kind {
    WASMILL_ACKED,
    WASMILL_RETRIED,
    WASMILL_REJECTED,
    WASMILL_NOT_REACHED /* an earlier message asked for a retry: it is handed over again, its attempt unchanged */
} wasmill_outcome_kind;

typedef struct wasmill_outcome {
    wasmill_outcome_kind kind;
    uint32_t after_ms;    /* of a retry */
    wasmill_bytes reason; /* of a retry or rejection, with a NUL behind it */
} wasmill_outcome;

/* A message to be published. */
typedef struct wasmill_output {
    size_t message;    /* the index of the message it was sent for */
    const char *topic; /* NULL: the pipeline's default output */
    bool has_partition;
    int32_t partition;
    int64_t timestamp; /* the one set, else the message's, or WASMILL_NO_TIMESTAMP */
    wasmill_bytes key; /* this and the others: with a NUL behind them if they are not absent */
    wasmill_bytes value;
    const wasmill_header *headers;
    size_t header_count;
} wasmill_output;

typedef struct wasmill_log_line {
    wasmill_level level;
    wasmill_bytes text; /* with a NUL behind it */
} wasmill_log_line;

/* What became of a batch; valid until the test runs again or is freed. */
typedef struct wasmill_run {
    const wasmill_outcome *outcomes; /* one for each message, in order */
    size_t outcome_count;
    const wasmill_output *outputs; /* what would be published, in order: outputs of acknowledged messages */
    size_t output_count;
    const wasmill_log_line *log; /* in the first batch of an instance also the lines of `init` */
    size_t log_count;
} wasmill_run;

wasmill_test *wasmill_test_new(const wasmill_handler *handler);
void wasmill_test_free(wasmill_test *test);

/* Adds a setting, as in the pipeline's `config` table. */
void wasmill_test_config(wasmill_test *test, const char *key, const char *value);

/* Grants an output topic, as in the pipeline's `output.topics`. */
void wasmill_test_grant(wasmill_test *test, const char *topic);

/* Names the pipeline and its group; else both are `test`. */
void wasmill_test_pipeline(wasmill_test *test, const char *pipeline, const char *group);

/* Says where the messages come from; else it is partition 0 of `input`. */
void wasmill_test_source(wasmill_test *test, const char *topic, int32_t partition);

/* Adds a message to the next batch. What it points to is copied. */
void wasmill_test_message(wasmill_test *test, wasmill_sample sample);

/* Starts the handler. NULL, or what its `init` refused with. */
const char *wasmill_test_start(wasmill_test *test);

/* Hands over the messages added since the last run as one batch. Starts the handler first; aborts if it refuses. */
const wasmill_run *wasmill_test_run(wasmill_test *test);

#ifdef __cplusplus
}
#endif

#endif
