// Runs a handler in an ordinary program for this machine, without the host:
//
//     auto run = wasmill::testing::Harness<MyHandler>().config("suffix", "!").message({.value = "hello"}).run();
//     assert(run.outcomes[0].acknowledged());
//     assert(run.outputs[0].value == "HELLO!");
//
// What it does not show is what only the sandbox does: limits, deadlines, and that a trap ends the instance. A trap
// prints its text and aborts the program. Use one harness at a time.
#ifndef WASMILL_TESTING_HPP
#define WASMILL_TESTING_HPP

#include "wasmill.hpp"
#include "wasmill_testing.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace wasmill::testing {

/// Name and value of a header; the value may be absent.
using OwnedHeader = std::pair<std::string, std::optional<std::string>>;

/// A message to hand over. Whatever is left out is absent.
struct Sample {
    std::optional<std::string> key = {};
    std::optional<std::string> value = {};
    std::vector<OwnedHeader> headers = {};
    std::int64_t offset = 0;     ///< 0: one more than that of the message before, from 0
    std::int64_t timestamp = 0;  ///< milliseconds since 1970; 0: none
    std::uint32_t attempt = 1;
};

/// What became of a message.
struct Outcome {
    wasmill_outcome_kind kind = WASMILL_ACKED;
    std::chrono::milliseconds after = {};  ///< of a retry
    std::string reason = {};               ///< of a retry or rejection

    bool acknowledged() const { return kind == WASMILL_ACKED; }
    bool operator==(const Outcome&) const = default;
};

/// A message to be published.
struct Output {
    std::size_t message = 0;                     ///< the index of the message it was sent for
    std::optional<std::string> topic = {};       ///< absent: the pipeline's default output
    std::optional<std::int32_t> partition = {};  ///< if the handler chose one
    std::optional<Timestamp> timestamp = {};     ///< the one set, else the message's
    std::optional<std::string> key = {};
    std::optional<std::string> value = {};
    std::vector<OwnedHeader> headers = {};

    bool operator==(const Output&) const = default;
};

/// What became of a batch.
struct Run {
    std::vector<Outcome> outcomes;  ///< one for each message, in order
    std::vector<Output> outputs;    ///< what would be published, in order
    std::vector<std::pair<wasmill_level, std::string>> log;
};

/// A handler about to be tested, its context, and the messages for its next batch.
template <Handler H>
class Harness {
public:
    /// Adds a setting, as in the pipeline's `config` table.
    Harness& config(const std::string& key, const std::string& value) {
        return wasmill_test_config(test_.get(), key.c_str(), value.c_str()), *this;
    }

    /// Grants an output topic, as in the pipeline's `output.topics`.
    Harness& grant(const std::string& topic) { return wasmill_test_grant(test_.get(), topic.c_str()), *this; }

    /// Names the pipeline and its group; else both are `test`.
    Harness& pipeline(const std::string& pipeline, const std::string& group) {
        return wasmill_test_pipeline(test_.get(), pipeline.c_str(), group.c_str()), *this;
    }

    /// Says where the messages come from; else it is partition 0 of `input`.
    Harness& source(const std::string& topic, std::int32_t partition) {
        return wasmill_test_source(test_.get(), topic.c_str(), partition), *this;
    }

    /// Adds a message to the next batch.
    Harness& message(const Sample& sample) {
        std::vector<wasmill_header> headers;
        for (const auto& [name, value] : sample.headers) headers.push_back({detail::lower(name), lower(value)});
        wasmill_test_message(test_.get(), {.key = lower(sample.key),
                                           .value = lower(sample.value),
                                           .headers = headers.data(),
                                           .header_count = headers.size(),
                                           .offset = sample.offset,
                                           .timestamp = sample.timestamp,
                                           .attempt = sample.attempt});
        return *this;
    }

    /// Starts the handler; what its `init` refused with, if it did.
    std::optional<std::string> start() {
        auto refusal = wasmill_test_start(test_.get());
        return refusal == nullptr ? std::optional<std::string>() : refusal;
    }

    /// Hands over the messages added since the last run as one batch. Starts the handler first; aborts if it refuses.
    Run run() {
        const wasmill_run& raw = *wasmill_test_run(test_.get());
        Run run;
        for (const auto& outcome : std::span(raw.outcomes, raw.outcome_count)) {
            run.outcomes.push_back({.kind = outcome.kind,
                                    .after = std::chrono::milliseconds(outcome.after_ms),
                                    .reason = own(outcome.reason).value_or("")});
        }
        for (const auto& output : std::span(raw.outputs, raw.output_count)) run.outputs.push_back(own(output));
        for (const auto& line : std::span(raw.log, raw.log_count)) run.log.emplace_back(line.level, *own(line.text));
        return run;
    }

private:
    struct Free {
        void operator()(wasmill_test* test) const { wasmill_test_free(test); }
    };

    static wasmill_bytes lower(const std::optional<std::string>& text) {
        return text ? detail::lower(*text) : wasmill_bytes{nullptr, 0};
    }

    static std::optional<std::string> own(wasmill_bytes bytes) {
        auto text = detail::lift(bytes);
        return text ? std::optional<std::string>(*text) : std::nullopt;
    }

    static Output own(const wasmill_output& raw) {
        Output output{.message = raw.message, .key = own(raw.key), .value = own(raw.value)};
        if (raw.topic != nullptr) output.topic = raw.topic;
        if (raw.has_partition) output.partition = raw.partition;
        if (raw.timestamp != WASMILL_NO_TIMESTAMP) {
            output.timestamp = Timestamp(std::chrono::milliseconds(raw.timestamp));
        }
        for (const auto& header : std::span(raw.headers, raw.header_count)) {
            output.headers.emplace_back(*own(header.name), own(header.value));
        }
        return output;
    }

    std::unique_ptr<wasmill_test, Free> test_{wasmill_test_new(&detail::Program<H>::value)};
};

}  // namespace wasmill::testing

#endif
