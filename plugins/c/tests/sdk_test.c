/* What a handler says is what the contract's tables say: the SDK's layout, read back as the host reads it. */
#include "check.h"

typedef wasmill_verdict handle(const wasmill_message *message, wasmill_outputs *out);

#define S(text) wasmill_string(text)
static const wasmill_bytes ABSENT = {NULL, 0};

static const wasmill_header HEADERS[] = {{{"a", 1}, {"1", 1}}, {{"b", 1}, {NULL, 0}}, {{"a", 1}, {"2", 1}}};

static wasmill_sample full(void) {
    return (wasmill_sample){.key = S("k"), .value = S("v"), .headers = HEADERS, .header_count = 3, .timestamp = 77};
}

static wasmill_sample value(const char *text) {
    return (wasmill_sample){.value = S(text)};
}

/* A test of a function. One at a time, as `handler` is where it is. */
static wasmill_test *of(handle *function) {
    static wasmill_handler handler;
    handler = (wasmill_handler){.handle = function};
    return wasmill_test_new(&handler);
}

static wasmill_verdict echo(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_forward(out, message);
    return wasmill_ack();
}

/* ---------------------------------------------------------------------------------------------------- messages -- */

static wasmill_verdict sees_all(const wasmill_message *message, wasmill_outputs *out) {
    (void)out;
    CHECK_BYTES(wasmill_key(message), "k");
    CHECK_BYTES(wasmill_value(message), "v");
    CHECK(wasmill_header_count(message) == 3);
    CHECK_BYTES(wasmill_header_at(message, 1).name, "b");
    CHECK_BYTES(wasmill_header_at(message, 1).value, NULL);
    CHECK_BYTES(wasmill_header_named(message, "a"), "2");
    CHECK_BYTES(wasmill_header_named(message, "b"), NULL);
    CHECK_BYTES(wasmill_header_named(message, "c"), NULL);
    CHECK_TEXT(wasmill_topic(message), "somewhere");
    CHECK(wasmill_partition(message) == 5 && wasmill_offset(message) == INT64_C(1) << 40);
    CHECK(wasmill_timestamp(message) == 77 && wasmill_attempt(message) == 3);
    return wasmill_ack();
}

static void a_message_shows_all_that_was_handed_over(void) {
    wasmill_test *test = of(sees_all);
    wasmill_test_source(test, "somewhere", 5);
    wasmill_sample sample = full();
    sample.offset = INT64_C(1) << 40;
    sample.attempt = 3;
    wasmill_test_message(test, sample);
    CHECK(wasmill_test_run(test)->outcomes[0].kind == WASMILL_ACKED);
    wasmill_test_free(test);
}

static wasmill_verdict as_text(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_bytes text;
    wasmill_verdict failure = wasmill_text(message, &text);
    if (failure != NULL) return failure;
    CHECK(wasmill_timestamp(message) == WASMILL_NO_TIMESTAMP);
    wasmill_forward(out, message);
    return wasmill_ack();
}

static void absent_is_not_empty(void) {
    wasmill_test *test = of(as_text);
    wasmill_test_message(test, (wasmill_sample){0});
    wasmill_test_message(test, (wasmill_sample){.key = S(""), .value = S("")});
    wasmill_test_message(test, value("12345678901\xff"));
    const wasmill_run *run = wasmill_test_run(test);
    CHECK_BYTES(run->outcomes[0].reason, "the value is absent");
    CHECK_BYTES(run->outcomes[2].reason, "the value is not UTF-8 from byte 11");
    CHECK(run->output_count == 1);
    CHECK_BYTES(run->outputs[0].key, "");
    CHECK_BYTES(run->outputs[0].value, "");
    wasmill_test_free(test);

    test = of(echo);
    wasmill_test_message(test, (wasmill_sample){0});
    run = wasmill_test_run(test);
    CHECK_BYTES(run->outputs[0].key, NULL);
    CHECK_BYTES(run->outputs[0].value, NULL);
    wasmill_test_free(test);
}

/* ----------------------------------------------------------------------------------------------------- outputs -- */

static void check_headers(const wasmill_output *output, const char *const *names, size_t count) {
    CHECK(output->header_count == count);
    for (size_t i = 0; i < count; i++) CHECK_BYTES(output->headers[i].name, names[i]);
}

static void a_forward_keeps_everything(void) {
    wasmill_test *test = of(echo);
    wasmill_test_message(test, full());
    wasmill_test_message(test, value("x"));
    const wasmill_run *run = wasmill_test_run(test);
    CHECK(run->output_count == 2 && run->outputs[0].timestamp == 77 && run->outputs[1].message == 1);
    CHECK_BYTES(run->outputs[0].key, "k");
    CHECK_BYTES(run->outputs[0].value, "v");
    check_headers(&run->outputs[0], (const char *const[]){"a", "b", "a"}, 3);
    CHECK_BYTES(run->outputs[0].headers[1].value, NULL);
    CHECK_BYTES(run->outputs[0].headers[2].value, "2");
    CHECK(run->outputs[0].topic == NULL && !run->outputs[0].has_partition && run->outputs[1].header_count == 0);
    wasmill_test_free(test);
}

/* A handler must not do this; if it does, what was edited goes out and what was forwarded does not change. */
static wasmill_verdict edits_its_input(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_bytes value = wasmill_value(message);
    char before = value.data[0];
    ((char *)value.data)[0] = '!';
    wasmill_send(out, ABSENT, value);
    ((char *)value.data)[0] = before;
    wasmill_send(out, ABSENT, value);
    return wasmill_ack();
}

static void bytes_given_are_copied_as_they_are_at_that_moment(void) {
    wasmill_test *test = of(edits_its_input);
    wasmill_test_message(test, value("abc"));
    const wasmill_run *run = wasmill_test_run(test);
    CHECK_BYTES(run->outputs[0].value, "!bc");
    CHECK_BYTES(run->outputs[1].value, "abc");
    wasmill_test_free(test);
}

static wasmill_verdict detailed(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_topic_number topic;
    const char *error = wasmill_topic_named("b", &topic);
    if (error != NULL) return wasmill_reject("%s", error);
    wasmill_draft *draft = wasmill_to(out, topic);
    wasmill_draft_key_of(draft, message);
    memcpy(wasmill_draft_value_in_place(draft, 3), "new", 3);
    wasmill_draft_header(draft, S("first"), S("1"));
    wasmill_draft_headers_of(draft, message);
    wasmill_draft_header(draft, S("last"), ABSENT);
    wasmill_draft_timestamp(draft, INT64_C(5) << 32);
    wasmill_draft_partition(draft, 9);
    wasmill_draft_send(draft);
    return wasmill_ack();
}

static void a_draft_says_all_that_an_output_can_say(void) {
    wasmill_test *test = of(detailed);
    wasmill_test_grant(test, "a");
    wasmill_test_grant(test, "b");
    wasmill_test_message(test, value("before"));
    wasmill_test_message(test, full());
    const wasmill_run *run = wasmill_test_run(test);
    const wasmill_output *output = &run->outputs[1];
    CHECK(run->output_count == 2 && output->message == 1);
    CHECK_TEXT(output->topic, "b");
    CHECK_BYTES(output->key, "k");
    CHECK_BYTES(output->value, "new");
    CHECK(output->timestamp == INT64_C(5) << 32 && output->has_partition && output->partition == 9);
    check_headers(output, (const char *const[]){"first", "a", "b", "a", "last"}, 5);
    CHECK_BYTES(output->headers[3].value, "2");
    CHECK_BYTES(output->headers[4].value, NULL);
    wasmill_test_free(test);

    test = of(detailed);
    wasmill_test_message(test, full());
    CHECK(strncmp(wasmill_test_run(test)->outcomes[0].reason.data, "topic `b` is not granted", 24) == 0);
    wasmill_test_free(test);
}

static wasmill_verdict stamped(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_draft *draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
    wasmill_draft_value(draft, S("abandoned"));
    wasmill_draft_header(draft, S("no"), S("no"));

    draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
    wasmill_draft_headers_of(draft, message);
    wasmill_draft_header(draft, S("x"), wasmill_value(message));
    wasmill_draft_headers_of(draft, message);
    wasmill_draft_header(draft, ABSENT, S(""));
    wasmill_draft_send(draft);

    draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
    wasmill_draft_headers_of(draft, message);
    wasmill_draft_value_of(draft, message);
    wasmill_draft_send(draft);
    return wasmill_ack();
}

static void headers_of_the_message_can_be_followed_by_others(void) {
    wasmill_test *test = of(stamped);
    wasmill_test_message(test, full());
    wasmill_test_message(test, full());
    const wasmill_run *run = wasmill_test_run(test);
    CHECK(run->output_count == 4);
    for (size_t i = 0; i < 4; i += 2) {
        check_headers(&run->outputs[i], (const char *const[]){"a", "b", "a", "x", "a", "b", "a", ""}, 8);
        CHECK_BYTES(run->outputs[i].headers[3].value, "v");
        CHECK_BYTES(run->outputs[i].headers[7].value, "");
        check_headers(&run->outputs[i + 1], (const char *const[]){"a", "b", "a"}, 3);
        CHECK_BYTES(run->outputs[i + 1].value, "v");
    }
    wasmill_test_free(test);
}

enum { DRAFTS = 3000, FORWARDS = 40000 };

static wasmill_verdict many(const wasmill_message *message, wasmill_outputs *out) {
    char padding[1000];
    memset(padding, '.', sizeof padding);
    for (int i = 0; i < DRAFTS; i++) {
        wasmill_bytes number = S(wasmill_format("%d", i));
        wasmill_draft *draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
        wasmill_draft_key(draft, number);
        wasmill_draft_headers_of(draft, message);
        /* An open draft survives what else is sent. */
        if (i % 1000 == 999) wasmill_send(out, ABSENT, S("between"));
        wasmill_draft_header(draft, S("n"), number);
        wasmill_draft_value(draft, (wasmill_bytes){padding, sizeof padding});
        wasmill_draft_send(draft);
    }
    for (int i = 0; i < FORWARDS; i++) wasmill_forward(out, message);
    return wasmill_equals(wasmill_value(message), "bad") ? wasmill_reject("bad") : wasmill_ack();
}

static void more_outputs_than_one_emission_holds_keep_their_order_headers_and_message(void) {
    wasmill_test *test = of(many);
    wasmill_test_message(test, full());
    wasmill_test_message(test, value("bad"));
    wasmill_test_message(test, full());
    const wasmill_run *run = wasmill_test_run(test);
    size_t at = 0;
    CHECK(run->output_count == 2 * (DRAFTS + FORWARDS + 3));
    for (size_t message = 0; message < 3; message += 2) {
        for (int i = 0; i < DRAFTS; i++, at++) {
            if (i % 1000 == 999) CHECK_BYTES(run->outputs[at++].value, "between");
            char number[16];
            snprintf(number, sizeof number, "%d", i);
            CHECK(run->outputs[at].message == message && run->outputs[at].header_count == 4);
            CHECK_BYTES(run->outputs[at].key, number);
            CHECK_BYTES(run->outputs[at].headers[3].value, number);
            CHECK(run->outputs[at].value.length == 1000);
        }
        for (int i = 0; i < FORWARDS; i++, at++) {
            CHECK(run->outputs[at].message == message && run->outputs[at].header_count == 3);
        }
    }
    wasmill_test_free(test);
}

/* ---------------------------------------------------------------------------------------------------- verdicts -- */

static wasmill_verdict picky(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_draft *draft = wasmill_to(out, WASMILL_DEFAULT_TOPIC);
    wasmill_draft_value(draft, wasmill_value(message));
    wasmill_draft_header(draft, S("n"), wasmill_value(message));
    wasmill_draft_send(draft);
    if (wasmill_equals(wasmill_value(message), "wait") && wasmill_attempt(message) < 2) {
        return wasmill_retry_after(30, "attempt %u", (unsigned)wasmill_attempt(message));
    }
    if (wasmill_equals(wasmill_value(message), "bad")) return wasmill_reject_bytes((wasmill_bytes){"is\0\xff", 4});
    return wasmill_ack();
}

static void a_retry_stops_the_batch_and_a_rejection_does_not(void) {
    static const char *const values[] = {"a", "bad", "b", "wait", "c"};
    wasmill_test *test = of(picky);
    for (size_t i = 0; i < 5; i++) wasmill_test_message(test, value(values[i]));
    const wasmill_run *run = wasmill_test_run(test);
    CHECK(run->outcome_count == 5 && run->output_count == 2);
    CHECK(run->outcomes[1].kind == WASMILL_REJECTED && run->outcomes[2].kind == WASMILL_ACKED);
    CHECK(run->outcomes[1].reason.length == 6 && memcmp(run->outcomes[1].reason.data, "is\0\xef\xbf\xbd", 6) == 0);
    CHECK(run->outcomes[3].kind == WASMILL_RETRIED && run->outcomes[3].after_ms == 30);
    CHECK_BYTES(run->outcomes[3].reason, "attempt 1");
    CHECK(run->outcomes[4].kind == WASMILL_NOT_REACHED);
    CHECK_BYTES(run->outputs[1].value, "b");
    CHECK_BYTES(run->outputs[1].headers[0].value, "b");

    wasmill_test_message(test, (wasmill_sample){.value = S("wait"), .attempt = 2});
    CHECK_BYTES(wasmill_test_run(test)->outputs[0].value, "wait");
    wasmill_test_free(test);
}

/* ----------------------------------------------------------------------------------------- state and settings -- */

static int64_t step, count;
static const char *note;
static wasmill_topic_number counts;

static const char *counter_init(const wasmill_context *context) {
    const char *error, *must;
    step = 1;
    count = 0;
    note = wasmill_format("%s of %s", context->pipeline, context->group);
    wasmill_info("starting");
    if ((error = wasmill_only(context, "step", "must", NULL)) != NULL) return error;
    if ((error = wasmill_require(context, "must", &must)) != NULL) return error;
    if ((error = wasmill_config_integer(context, "step", &step)) != NULL) return error;
    return wasmill_topic_named("counts", &counts);
}

static wasmill_verdict counter_handle(const wasmill_message *message, wasmill_outputs *out) {
    (void)message;
    count += step;
    wasmill_draft *draft = wasmill_to(out, counts);
    wasmill_draft_key(draft, S(note));
    wasmill_draft_value(draft, S(wasmill_format("%d", (int)count)));
    wasmill_draft_send(draft);
    wasmill_log_bytes(WASMILL_WARN, S("seen \xff"));
    return wasmill_ack();
}

static const wasmill_handler COUNTER = {.init = counter_init, .handle = counter_handle};

static void state_lives_from_batch_to_batch_and_not_from_instance_to_instance(void) {
    for (int round = 0; round < 2; round++) {
        wasmill_test *test = wasmill_test_new(&COUNTER);
        wasmill_test_pipeline(test, "p", "g");
        wasmill_test_config(test, "step", "10");
        wasmill_test_config(test, "must", "");
        /* Each instance asks for its own topics. */
        wasmill_test_grant(test, round == 0 ? "counts" : "else");
        wasmill_test_grant(test, round == 0 ? "else" : "counts");
        wasmill_test_message(test, value(""));
        wasmill_test_message(test, value(""));
        const wasmill_run *run = wasmill_test_run(test);
        CHECK_BYTES(run->outputs[1].value, "20");
        CHECK_BYTES(run->outputs[1].key, "p of g");
        CHECK_TEXT(run->outputs[1].topic, "counts");
        CHECK(run->log_count == 3 && run->log[0].level == WASMILL_INFO && run->log[2].level == WASMILL_WARN);
        CHECK_BYTES(run->log[0].text, "starting");
        CHECK_BYTES(run->log[2].text, "seen \xef\xbf\xbd");
        wasmill_test_message(test, value(""));
        run = wasmill_test_run(test);
        CHECK_BYTES(run->outputs[0].value, "30");
        CHECK_BYTES(run->outputs[0].key, "p of g");
        wasmill_test_free(test);
    }
}

static void refuses(const char *key, const char *setting, const char *expected) {
    wasmill_test *test = wasmill_test_new(&COUNTER);
    if (key != NULL) wasmill_test_config(test, key, setting);
    if (key != NULL) wasmill_test_config(test, "must", "x");
    CHECK_TEXT(wasmill_test_start(test), expected);
    wasmill_test_free(test);
}

static void an_instance_that_lacks_something_does_not_start(void) {
    refuses("stop", "1", "config `stop` is unknown; hint: this handler knows `step`, `must`");
    refuses(NULL, NULL, "config `must` is missing");
    refuses("step", "1x", "config `step`: `1x` is not usable: not a whole number of 64 bits");
    refuses("step", "99999999999999999999",
            "config `step`: `99999999999999999999` is not usable: not a whole number of 64 bits");
    refuses("step", "1",
            "topic `counts` is not granted; hint: `wasmill_test_grant` names those that are");
}

int main(void) {
    memory_tests();
    a_message_shows_all_that_was_handed_over();
    absent_is_not_empty();
    a_forward_keeps_everything();
    bytes_given_are_copied_as_they_are_at_that_moment();
    a_draft_says_all_that_an_output_can_say();
    headers_of_the_message_can_be_followed_by_others();
    more_outputs_than_one_emission_holds_keep_their_order_headers_and_message();
    a_retry_stops_the_batch_and_a_rejection_does_not();
    state_lives_from_batch_to_batch_and_not_from_instance_to_instance();
    an_instance_that_lacks_something_does_not_start();
    puts("all tests passed");
    return 0;
}
