/*
 * World `batches` of wit/handler.wit as the component model's canonical ABI passes it to a core module, by hand: two
 * exports and five imports over integers, strings and lists of integers. `wasmill build` adds the component's type.
 *
 * What is relied on is what a host guarantees that checked that type: a pointer and length that it gives come from
 * `cabi_realloc` and are filled, strings are UTF-8, an import reads what it is given only during the call, and there is
 * one thread, which does not enter an export while it is in one.
 */
#ifdef __wasm__

#include "wasmill_internal.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(interface, name) \
    __attribute__((import_module("wasmill:handler/" interface "@0.1.0"), import_name(name))) extern

IMPORT("outcome", "emit")
void import_emit(const char *data, size_t length, const uint32_t *table, size_t words, uint32_t stride, uint32_t count);
IMPORT("outcome", "fail")
void import_fail(uint32_t message, int32_t is_retry, uint32_t after_ms, const char *reason, size_t length);
IMPORT("log", "write")
void import_log(uint32_t level, const char *text, size_t length);

/* A `string` in memory, and a `result<u32, string>`. */
struct string {
    char *text;
    size_t length;
};
struct number {
    uint8_t is_error;
    union {
        uint32_t number;
        struct string error;
    } of;
};

IMPORT("topics", "number")
void import_number(const char *name, size_t length, struct number *result);
IMPORT("topics", "source-name")
void import_source_name(uint32_t source, struct string *result);

/* Where a batch is put. */
static wasmill_arena input;

/* Only then the host allocates for a batch and for nothing else. */
static bool between_batches;

/* While it does, a component may call nobody, not even to say that memory is short. */
static bool allocating;

EXPORT("cabi_realloc")
void *wasmill_export_realloc(void *old, size_t old_length, size_t alignment, size_t length) {
    (void)alignment; /* nothing in the contract is aligned to more than 16 */
    void *new = (void *)16;
    allocating = true;
    if (between_batches) {
        new = wasmill_arena_allocate(&input, length);
        if (old_length > 0) memcpy(new, old, old_length < length ? old_length : length);
    } else if (length > 0) {
        /* During a call an adapter for WASI may ask for memory that it keeps, so that is not the arena's. */
        new = wasmill_grow(old_length > 0 ? old : NULL, length);
    }
    allocating = false;
    return new;
}

/* A string of the host's as a string of C's, which lasts. */
static const char *lasting_string(const char *text, size_t length) {
    wasmill_bytes bytes = {text, length};
    return wasmill_arena_string(&wasmill_lasting, bytes);
}

struct setting {
    struct string key;
    struct string value;
};

EXPORT("init")
const void *wasmill_export_init(const char *pipeline, size_t pipeline_length, const char *group, size_t group_length,
                                const char *digest, size_t digest_length, const struct setting *given,
                                size_t setting_count) {
    static wasmill_context context;
    /* A `result<_, string>`. */
    static struct {
        uint8_t is_error;
        const char *text;
        size_t length;
    } result;
    wasmill_setting *settings = wasmill_arena_allocate(&wasmill_lasting, setting_count * sizeof *settings);
    for (size_t i = 0; i < setting_count; i++) {
        settings[i].key = lasting_string(given[i].key.text, given[i].key.length);
        settings[i].value = lasting_string(given[i].value.text, given[i].value.length);
    }
    context.pipeline = lasting_string(pipeline, pipeline_length);
    context.group = lasting_string(group, group_length);
    context.digest = lasting_string(digest, digest_length);
    context.settings = settings;
    context.setting_count = setting_count;

    const char *refusal = wasmill_start(&wasmill_program, &context);
    if (refusal != NULL) {
        wasmill_bytes text = wasmill_lossy(wasmill_string(refusal));
        result.is_error = 1;
        result.text = text.data;
        result.length = text.length;
    }
    between_batches = true;
    return &result;
}

EXPORT("handle")
uint32_t wasmill_export_handle(uint32_t source, int32_t partition, const char *data, size_t data_length,
                               const uint32_t *table, size_t table_words, uint32_t stride, uint32_t count) {
    between_batches = false;
    size_t row_words = (size_t)stride * count;
    struct wasmill_batch batch = {
        .data = data_length > 0 ? data : "", /* an empty key is not at NULL */
        .headers = table + row_words,
        .data_length = (uint32_t)data_length,
        .header_rows = (uint32_t)((table_words - row_words) / WASMILL_HEADER_ROW),
        .source = source,
        .partition = partition,
    };
    uint32_t reached = wasmill_handle(&wasmill_program, &batch, table, stride, count);
    wasmill_arena_reset(&input);
    between_batches = true;
    return reached;
}

void wasmill_host_emit(const char *data, size_t length, const uint32_t *table, size_t words, uint32_t count) {
    import_emit(data, length, table, words, WASMILL_ROW, count);
}

void wasmill_host_fail(uint32_t message, const struct wasmill_failure *failure) {
    import_fail(message, failure->retry, failure->after_ms, failure->reason.data, failure->reason.length);
}

void wasmill_host_log(wasmill_level level, wasmill_bytes text) {
    if (!allocating) import_log((uint32_t)level, text.data, text.length);
}

bool wasmill_host_topic_number(wasmill_bytes name, uint32_t *number, const char **error) {
    struct number result;
    import_number(name.data, name.length, &result);
    if (!result.is_error) {
        *number = result.of.number;
        return true;
    }
    wasmill_bytes text = {result.of.error.text, result.of.error.length};
    *error = wasmill_copy_string(text);
    if (text.length > 0) free(result.of.error.text);
    return false;
}

const char *wasmill_host_source_name(uint32_t source) {
    struct string result;
    import_source_name(source, &result);
    const char *name = lasting_string(result.text, result.length);
    if (result.length > 0) free(result.text);
    return name;
}

void wasmill_host_trap(void) {
    __builtin_trap();
}

#endif
