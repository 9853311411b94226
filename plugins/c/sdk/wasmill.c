/* Messages, verdicts, the context and the log; and the loop that takes a handler through a batch. */
#include "wasmill_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------------------- messages -- */

wasmill_verdict wasmill_text(const wasmill_message *message, wasmill_bytes *text) {
    wasmill_bytes value = wasmill_value(message);
    if (value.data == NULL) return wasmill_reject_bytes(wasmill_string("the value is absent"));
    size_t valid = wasmill_utf8_length(value);
    if (valid < value.length) {
        char digits[24], *digit = digits + sizeof digits - 1;
        *digit = '\0';
        do *--digit = (char)('0' + valid % 10);
        while ((valid /= 10) > 0);
        return wasmill_reject_bytes(wasmill_string(wasmill_join("the value is not UTF-8 from byte ", digit, NULL)));
    }
    *text = value;
    return wasmill_ack();
}

wasmill_bytes wasmill_header_named(const wasmill_message *message, const char *name) {
    wasmill_bytes absent = {NULL, 0};
    size_t count = wasmill_header_count(message);
    if (count == 0) return absent; /* most messages, which need not pay for the name's length */
    size_t length = strlen(name);
    for (size_t i = count; i-- > 0;) {
        wasmill_header header = wasmill_header_at(message, i);
        if (header.name.length == length && memcmp(header.name.data, name, length) == 0) return header.value;
    }
    return absent;
}

/* ------------------------------------------------------------------------------------------------------- topics -- */

/* What the host said of topics, asked once for each. A pipeline has a handful, so a list will do. */
struct known {
    struct known *next;
    const char *name;
    uint32_t number;
};

static struct known *sources, *outputs_known;

static void remember(struct known **list, const char *name, uint32_t number) {
    struct known *known = wasmill_arena_allocate(&wasmill_lasting, sizeof *known);
    known->next = *list;
    known->name = name;
    known->number = number;
    *list = known;
}

const char *wasmill_topic(const wasmill_message *message) {
    uint32_t source = message->batch->source;
    for (struct known *known = sources; known != NULL; known = known->next) {
        if (known->number == source) return known->name;
    }
    const char *name = wasmill_host_source_name(source);
    remember(&sources, name, source);
    return name;
}

const char *wasmill_topic_named(const char *name, wasmill_topic_number *topic) {
    for (struct known *known = outputs_known; known != NULL; known = known->next) {
        if (strcmp(known->name, name) == 0) {
            *topic = known->number;
            return NULL;
        }
    }
    const char *error;
    if (!wasmill_host_topic_number(wasmill_lossy(wasmill_string(name)), topic, &error)) return error;
    remember(&outputs_known, wasmill_arena_string(&wasmill_lasting, wasmill_string(name)), *topic);
    return NULL;
}

/* ----------------------------------------------------------------------------------------------------- verdicts -- */

static wasmill_verdict failure(bool retry, uint32_t after_ms, wasmill_bytes reason) {
    struct wasmill_failure *failure = wasmill_alloc(sizeof *failure);
    failure->retry = retry;
    failure->after_ms = after_ms;
    failure->reason = wasmill_lossy(reason);
    return failure;
}

wasmill_verdict wasmill_retry(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wasmill_bytes reason = wasmill_format_list(format, arguments);
    va_end(arguments);
    return failure(true, 0, reason);
}

wasmill_verdict wasmill_retry_after(uint32_t ms, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wasmill_bytes reason = wasmill_format_list(format, arguments);
    va_end(arguments);
    return failure(true, ms, reason);
}

wasmill_verdict wasmill_reject(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wasmill_bytes reason = wasmill_format_list(format, arguments);
    va_end(arguments);
    return failure(false, 0, reason);
}

static wasmill_verdict failure_bytes(bool retry, uint32_t after_ms, wasmill_bytes reason) {
    wasmill_bytes copy = {wasmill_copy_string(reason), reason.length};
    return failure(retry, after_ms, copy);
}

wasmill_verdict wasmill_retry_bytes(uint32_t after_ms, wasmill_bytes reason) {
    return failure_bytes(true, after_ms, reason);
}

wasmill_verdict wasmill_reject_bytes(wasmill_bytes reason) {
    return failure_bytes(false, 0, reason);
}

/* ------------------------------------------------------------------------------------------------------ context -- */

const char *wasmill_config(const wasmill_context *context, const char *key) {
    for (size_t i = 0; i < context->setting_count; i++) {
        if (strcmp(context->settings[i].key, key) == 0) return context->settings[i].value;
    }
    return NULL;
}

const char *wasmill_require(const wasmill_context *context, const char *key, const char **value) {
    const char *found = wasmill_config(context, key);
    if (found == NULL) return wasmill_join("config `", key, "` is missing", NULL);
    *value = found;
    return NULL;
}

const char *wasmill_config_integer(const wasmill_context *context, const char *key, int64_t *value) {
    const char *text = wasmill_config(context, key);
    if (text == NULL) return NULL;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE) {
        return wasmill_join("config `", key, "`: `", text, "` is not usable: not a whole number of 64 bits", NULL);
    }
    *value = number;
    return NULL;
}

const char *wasmill_only_of(const wasmill_context *context, const char *const *known, size_t count) {
    for (size_t i = 0; i < context->setting_count; i++) {
        const char *key = context->settings[i].key;
        size_t at = 0;
        while (at < count && strcmp(known[at], key) != 0) at++;
        if (at < count) continue;
        if (count == 0) return wasmill_join("config `", key, "` is unknown; this handler has no settings", NULL);
        const char *list = wasmill_join("`", known[0], "`", NULL);
        for (at = 1; at < count; at++) list = wasmill_join(list, ", `", known[at], "`", NULL);
        return wasmill_join("config `", key, "` is unknown; hint: this handler knows ", list, NULL);
    }
    return NULL;
}

const char *wasmill_only(const wasmill_context *context, ...) {
    va_list names;
    size_t count = 0;
    va_start(names, context);
    while (va_arg(names, const char *) != NULL) count++;
    va_end(names);
    const char **known = wasmill_alloc((count + 1) * sizeof *known);
    va_start(names, context);
    for (size_t i = 0; i < count; i++) known[i] = va_arg(names, const char *);
    va_end(names);
    return wasmill_only_of(context, known, count);
}

/* ---------------------------------------------------------------------------------------------------------- log -- */

void wasmill_log_bytes(wasmill_level level, wasmill_bytes text) {
    wasmill_host_log(level, wasmill_lossy(text));
}

void wasmill_log(wasmill_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wasmill_log_bytes(level, wasmill_format_list(format, arguments));
    va_end(arguments);
}

void wasmill_panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wasmill_log_bytes(WASMILL_ERROR, wasmill_format_list(format, arguments));
    va_end(arguments);
    wasmill_host_trap();
}

/* ------------------------------------------------------------------------------------------------------ handler -- */

static wasmill_outputs outputs;

const char *wasmill_start(const wasmill_handler *handler, const wasmill_context *context) {
    if (handler->init == NULL) return NULL;
    wasmill_arena *scratch = wasmill_current;
    wasmill_current = &wasmill_lasting;
    const char *refusal = handler->init(context);
    wasmill_current = scratch;
    return refusal;
}

uint32_t wasmill_handle(const wasmill_handler *handler, const struct wasmill_batch *batch, const uint32_t *rows,
                        uint32_t stride, uint32_t count) {
    /* Narrower rows are another contract, in which every column would be misread. */
    if (stride < WASMILL_ROW) {
        wasmill_host_log(WASMILL_ERROR, wasmill_string("the host's rows are narrower than this SDK needs"));
        wasmill_host_trap();
    }
    wasmill_outputs_begin(&outputs, batch);
    wasmill_message message = {batch, rows};
    uint32_t reached = 0;
    bool stop = false;
    while (reached < count && !stop) {
        wasmill_outputs_at(&outputs, reached);
        wasmill_verdict verdict = handler->handle(&message, &outputs);
        if (verdict != NULL) {
            wasmill_outputs_drop(&outputs);
            wasmill_host_fail(reached, verdict);
            /* Whatever came after a retry would overtake this message; the host would discard it. */
            stop = verdict->retry;
        }
        if (wasmill_current->used > 0) wasmill_arena_reset(wasmill_current);
        message.row += stride;
        reached++;
    }
    wasmill_outputs_flush(&outputs);
    return reached;
}

void wasmill_forget(void) {
    sources = outputs_known = NULL;
    wasmill_arena_reset(wasmill_current);
    wasmill_arena_reset(&wasmill_lasting);
}
