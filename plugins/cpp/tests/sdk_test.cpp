// What the C++ layer adds: types, and that nothing is lost between them and the C SDK, which has tests of its own.
#include "wasmill_testing.hpp"

#include <cstdio>
#include <cstdlib>
#include <functional>

using namespace std::chrono_literals;
using namespace wasmill;
using namespace wasmill::testing;

#define CHECK(...)                                                                           \
    do {                                                                                     \
        if (!(__VA_ARGS__)) {                                                                \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #__VA_ARGS__); \
            std::exit(1);                                                                    \
        }                                                                                    \
    } while (0)

/// A handler that does what a test says.
struct Function {
    static inline std::function<Verdict(const Message&, Outputs&)> function;

    Verdict handle(const Message& message, Outputs& out) { return function(message, out); }
};

static Harness<Function> of(std::function<Verdict(const Message&, Outputs&)> function) {
    Function::function = std::move(function);
    return {};
}

static Sample full() {
    return {.key = "k", .value = "v", .headers = {{"a", "1"}, {"b", std::nullopt}, {"a", "2"}}, .timestamp = 77};
}

static void a_message_shows_all_that_was_handed_over() {
    auto sample = full();
    sample.offset = std::int64_t(1) << 40;
    sample.attempt = 3;
    auto run = of([](const Message& message, Outputs&) {
                   CHECK(message.key() == "k" && message.value() == "v" && *message.text() == "v");
                   CHECK(message.headers().size() == 3 && !message.headers().empty());
                   std::string names;
                   for (auto [name, value] : message.headers()) names.append(name).append(value.value_or("-"));
                   CHECK(names == "a1b-a2");
                   CHECK(message.header("a") == "2" && !message.header("b") && !message.header("c"));
                   CHECK(message.topic() == "somewhere" && message.partition() == 5);
                   CHECK(message.offset() == std::int64_t(1) << 40 && message.attempt() == 3);
                   CHECK(message.timestamp() == Timestamp(77ms));
                   return ack();
               }).source("somewhere", 5).message(sample).run();
    CHECK(run.outcomes == std::vector<Outcome>{{}});
}

static void absent_is_not_empty() {
    auto run = of([](const Message& message, Outputs& out) -> Verdict {
                   CHECK(!message.timestamp());
                   out.send(message.key(), message.value());
                   // A view of nothing is present all the same.
                   out.send(std::string_view(), {});
                   auto text = message.text();
                   if (!text) return text.error();
                   return ack();
               }).message({}).message({.key = "", .value = ""}).message({.value = "a\xff"}).run();
    CHECK(run.outcomes[0] == Outcome{.kind = WASMILL_REJECTED, .reason = "the value is absent"});
    CHECK(run.outcomes[2] == Outcome{.kind = WASMILL_REJECTED, .reason = "the value is not UTF-8 from byte 1"});
    CHECK(run.outputs == std::vector<Output>{{.message = 1, .key = "", .value = ""}, {.message = 1, .key = ""}});
}

static void an_output_says_all_that_it_can_say() {
    auto run = of([](const Message& message, Outputs& out) -> Verdict {
                   auto topic = Topic::named("b");
                   if (!topic) return topic.error();
                   out.to(*topic).key("key").value_of(message).header("x", {}).headers_of(message)
                       .timestamp(Timestamp(9ms)).partition(4).send();
                   out.to({}).key_of(message).value("own").send();
                   out.forward(message, *topic);
                   out.forward(message);
                   return ack();
               }).grant("a").grant("b").message(full()).run();
    auto headers = full().headers, more = headers;
    more.insert(more.begin(), {"x", std::nullopt});
    CHECK(run.outputs == std::vector<Output>{
        {.topic = "b", .partition = 4, .timestamp = Timestamp(9ms), .key = "key", .value = "v", .headers = more},
        {.timestamp = Timestamp(77ms), .key = "k", .value = "own"},
        {.topic = "b", .timestamp = Timestamp(77ms), .key = "k", .value = "v", .headers = headers},
        {.timestamp = Timestamp(77ms), .key = "k", .value = "v", .headers = headers},
    });
    auto refused = of([](const Message&, Outputs&) -> Verdict { return Topic::named("c").error(); }).message({}).run();
    CHECK(refused.outcomes[0].reason.starts_with("topic `c` is not granted"));
}

static void a_retry_waits_and_stops_the_batch() {
    auto run = of([](const Message& message, Outputs&) {
                   if (message.value() == "bad") return reject(std::string("is\0bad", 6));
                   if (message.value() == "wait") return retry("not yet", 30ms);
                   return ack();
               }).message({.value = "bad"}).message({.value = "wait"}).message({.value = "c"}).run();
    CHECK(run.outcomes == std::vector<Outcome>{
        {.kind = WASMILL_REJECTED, .reason = std::string("is\0bad", 6)},
        {.kind = WASMILL_RETRIED, .after = 30ms, .reason = "not yet"},
        {.kind = WASMILL_NOT_REACHED},
    });
    auto longest = of([](const Message&, Outputs&) { return retry("later", 10000h); }).message({}).run();
    CHECK(longest.outcomes[0].after == std::chrono::milliseconds(UINT32_MAX));
}

/// State, and an object that can only be moved.
class Counter {
public:
    static Result<Counter> init(const Context& context) {
        if (auto error = context.only({"step", "must"})) return *error;
        auto must = context.require("must");
        if (!must) return must.error();
        auto step = context.parse<int>("step");
        if (!step) return step.error();
        log::info("made");
        return Counter(step->value_or(1), std::string(context.pipeline()));
    }

    Verdict handle(const Message&, Outputs& out) {
        *count_ += step_;
        out.send(pipeline_, std::to_string(*count_));
        return ack();
    }

private:
    Counter(int step, std::string pipeline) : step_(step), pipeline_(std::move(pipeline)) {}

    int step_;
    std::string pipeline_;
    std::unique_ptr<int> count_ = std::make_unique<int>(0);
};

static void state_lives_from_batch_to_batch_and_not_from_instance_to_instance() {
    for (int round = 0; round < 2; round++) {
        Harness<Counter> harness;
        harness.pipeline("p", "g").config("step", "10").config("must", "x");
        auto run = harness.message({}).message({}).run();
        CHECK(run.outputs[1].value == "20" && run.outputs[1].key == "p");
        CHECK(run.log.size() == 1 && run.log[0].first == WASMILL_INFO && run.log[0].second == "made");
        run = harness.message({}).run();
        CHECK(run.outputs.size() == 1 && run.outputs[0].value == "30" && run.log.empty());
    }
}

static void an_instance_that_lacks_something_does_not_start() {
    CHECK(Harness<Counter>().start() == "config `must` is missing");
    CHECK(Harness<Counter>().config("x", "").start() == "config `x` is unknown; hint: this handler knows `step`, `must`");
    CHECK(Harness<Counter>().config("must", "").config("step", "1x").start() ==
          "config `step`: `1x` is not usable: not a whole number in range");
}

int main() {
    a_message_shows_all_that_was_handed_over();
    absent_is_not_empty();
    an_output_says_all_that_it_can_say();
    a_retry_waits_and_stops_the_batch();
    state_lives_from_batch_to_batch_and_not_from_instance_to_instance();
    an_instance_that_lacks_something_does_not_start();
    std::puts("all tests passed");
}
