/*
 * The reference handler: every SDK has it, and every one must do the same. What it does with a message is the command
 * in the header `do`, or without one in the setting `do`.
 */
#include "wasmill.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

typedef wasmill_verdict command(const wasmill_message *message, wasmill_outputs *out);

static const wasmill_context *settings;
static uint64_t seen;
/* The command of messages without one of their own. */
static wasmill_bytes standing_name;
static command *standing;

static const char *argument(const wasmill_message *message) {
    return wasmill_copy_string(wasmill_header_named(message, "arg"));
}

static wasmill_verdict send_text(wasmill_outputs *out, const char *text) {
    wasmill_bytes no_key = {NULL, 0};
    wasmill_send(out, no_key, wasmill_string(text));
    return wasmill_ack();
}

static wasmill_verdict forward(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_forward(out, message);
    return wasmill_ack();
}

static wasmill_verdict drop(const wasmill_message *message, wasmill_outputs *out) {
    (void)message, (void)out;
    return wasmill_ack();
}

static wasmill_verdict copy(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_draft *draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
    wasmill_draft_key(draft, wasmill_key(message));
    wasmill_draft_value(draft, wasmill_value(message));
    for (size_t i = 0; i < wasmill_header_count(message); i++) {
        wasmill_header header = wasmill_header_at(message, i);
        wasmill_draft_header(draft, header.name, header.value);
    }
    if (wasmill_timestamp(message) != WASMILL_NO_TIMESTAMP) {
        wasmill_draft_timestamp(draft, wasmill_timestamp(message));
    }
    wasmill_draft_partition(draft, wasmill_partition(message));
    wasmill_draft_send(draft);
    return wasmill_ack();
}

static wasmill_verdict upper(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_bytes value = wasmill_value(message);
    if (value.data == NULL) {
        wasmill_send(out, wasmill_key(message), value);
        return wasmill_ack();
    }
    char *place = wasmill_send_in_place(out, wasmill_key(message), value.length);
    for (size_t i = 0; i < value.length; i++) {
        char letter = value.data[i];
        place[i] = letter >= 'a' && letter <= 'z' ? letter - ('a' - 'A') : letter;
    }
    return wasmill_ack();
}

static wasmill_verdict many(const wasmill_message *message, wasmill_outputs *out) {
    unsigned long count = strtoul(argument(message), NULL, 10);
    for (unsigned long i = 0; i < count; i++) send_text(out, wasmill_format("%lu", i));
    return wasmill_ack();
}

static wasmill_verdict to(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_topic_number topic;
    const char *error = wasmill_topic_named(argument(message), &topic);
    if (error != NULL) return wasmill_reject("%s", error);
    wasmill_draft *draft = wasmill_to(out, topic);
    wasmill_draft_key_of(draft, message);
    wasmill_draft_value_of(draft, message);
    wasmill_draft_send(draft);
    return wasmill_ack();
}

static wasmill_verdict tombstone(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_bytes no_value = {NULL, 0};
    wasmill_send(out, wasmill_key(message), no_value);
    return wasmill_ack();
}

static wasmill_verdict empty(const wasmill_message *message, wasmill_outputs *out) {
    (void)message;
    wasmill_bytes absent = {NULL, 0}, present = wasmill_string("");
    wasmill_draft *draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
    wasmill_draft_key(draft, present);
    wasmill_draft_value(draft, present);
    wasmill_draft_header(draft, present, present);
    wasmill_draft_header(draft, wasmill_string("n"), absent);
    wasmill_draft_send(draft);
    return wasmill_ack();
}

static const char *length_of(wasmill_bytes bytes) {
    return bytes.data == NULL ? "absent" : wasmill_format("%zu", bytes.length);
}

static wasmill_verdict describe(const wasmill_message *message, wasmill_outputs *out) {
    int64_t ms = wasmill_timestamp(message);
    const char *timestamp = ms == WASMILL_NO_TIMESTAMP ? "none" : wasmill_format("%lld", (long long)ms);
    const char *text =
        wasmill_format("topic=%s partition=%d offset=%lld timestamp=%s attempt=%u key=%s value=%s headers=",
                       wasmill_topic(message), (int)wasmill_partition(message), (long long)wasmill_offset(message),
                       timestamp, (unsigned)wasmill_attempt(message), length_of(wasmill_key(message)),
                       length_of(wasmill_value(message)));
    for (size_t i = 0; i < wasmill_header_count(message); i++) {
        wasmill_header header = wasmill_header_at(message, i);
        text = wasmill_format("%s%s%s:%s", text, i > 0 ? "," : "", wasmill_copy_string(header.name),
                              length_of(header.value));
    }
    return send_text(out, text);
}

static wasmill_verdict retry(const wasmill_message *message, wasmill_outputs *out) {
    unsigned attempt = wasmill_attempt(message);
    if (attempt >= strtoul(argument(message), NULL, 10)) return forward(message, out);
    wasmill_bytes after = wasmill_header_named(message, "after");
    if (after.data == NULL) return wasmill_retry("attempt %u", attempt);
    return wasmill_retry_after((uint32_t)strtoul(wasmill_copy_string(after), NULL, 10), "attempt %u", attempt);
}

static wasmill_verdict reject(const wasmill_message *message, wasmill_outputs *out) {
    (void)out;
    return wasmill_reject_bytes(wasmill_value(message));
}

static wasmill_verdict log_value(const wasmill_message *message, wasmill_outputs *out) {
    (void)out;
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    const char *name = argument(message);
    for (int level = WASMILL_TRACE; level <= WASMILL_ERROR; level++) {
        if (strcmp(name, levels[level]) != 0) continue;
        wasmill_log_bytes((wasmill_level)level, wasmill_value(message));
        return wasmill_ack();
    }
    return wasmill_reject("no level %s", name);
}

static wasmill_verdict config(const wasmill_message *message, wasmill_outputs *out) {
    const char *key = argument(message), *value = wasmill_config(settings, key);
    return value == NULL ? wasmill_reject("no setting %s", key) : send_text(out, value);
}

static wasmill_verdict context(const wasmill_message *message, wasmill_outputs *out) {
    (void)message;
    return send_text(out, wasmill_format("pipeline=%s group=%s digest=%s", settings->pipeline, settings->group,
                                                  settings->digest));
}

static wasmill_verdict count(const wasmill_message *message, wasmill_outputs *out) {
    (void)message;
    /* This one is counted already. */
    return send_text(out, wasmill_format("%llu", (unsigned long long)(seen - 1)));
}

static wasmill_verdict json(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_bytes name = json_text(wasmill_value(message), "name"), no_key = {NULL, 0};
    if (name.data == NULL) return wasmill_reject("no name");
    wasmill_send(out, no_key, name);
    return wasmill_ack();
}

static wasmill_verdict crash(const wasmill_message *message, wasmill_outputs *out) {
    (void)out;
    wasmill_panic("%s", wasmill_copy_string(wasmill_value(message)));
}

#define COMMAND(name, function) {{name, sizeof name - 1}, function}

/* NULL: there is none of that name. */
static command *command_named(wasmill_bytes name) {
    static const struct {
        wasmill_bytes name;
        command *run;
    } commands[] = {
        COMMAND("forward", forward), COMMAND("drop", drop),         COMMAND("copy", copy),
        COMMAND("upper", upper),     COMMAND("many", many),         COMMAND("to", to),
        COMMAND("empty", empty),     COMMAND("describe", describe), COMMAND("tombstone", tombstone),
        COMMAND("retry", retry),     COMMAND("reject", reject),     COMMAND("log", log_value),
        COMMAND("config", config),   COMMAND("context", context),   COMMAND("count", count),
        COMMAND("json", json),       COMMAND("crash", crash),
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (name.length != commands[i].name.length) continue;
        if (memcmp(name.data, commands[i].name.data, name.length) == 0) return commands[i].run;
    }
    return NULL;
}

static const char *init(const wasmill_context *context) {
    settings = context;
    seen = 0;
    const char *name = wasmill_config(context, "do");
    standing_name = wasmill_string(name == NULL ? "forward" : name);
    standing = command_named(standing_name);
    return wasmill_config(context, "fail");
}

static wasmill_verdict handle(const wasmill_message *message, wasmill_outputs *out) {
    seen++;
    wasmill_bytes name = wasmill_header_named(message, "do");
    command *run = standing;
    if (name.data == NULL) {
        name = standing_name;
    } else {
        run = command_named(name);
    }
    if (run == NULL) return wasmill_reject("unknown command %s", wasmill_copy_string(name));
    return run(message, out);
}

WASMILL_HANDLER(.init = init, .handle = handle);
