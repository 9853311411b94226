// The reference handler: every SDK has it, and every one must do the same. What it does with a message is the command
// in the header `do`, or without one in the setting `do`.
#include "wasmill.hpp"

#include "json.h"  // the C reference handler's

#include <cstdlib>
#include <string>

using namespace std::string_literals;
using wasmill::Bytes;
using wasmill::Message;
using wasmill::Outputs;
using wasmill::Verdict;

namespace {

std::string length_of(Bytes bytes) {
    return bytes ? std::to_string(bytes->size()) : "absent";
}

std::string describe(const Message& message) {
    auto timestamp = message.timestamp();
    auto text = "topic=" + std::string(message.topic()) + " partition=" + std::to_string(message.partition()) +
                " offset=" + std::to_string(message.offset()) +
                " timestamp=" + (timestamp ? std::to_string(timestamp->time_since_epoch().count()) : "none") +
                " attempt=" + std::to_string(message.attempt()) + " key=" + length_of(message.key()) +
                " value=" + length_of(message.value()) + " headers=";
    bool first = true;
    for (auto [name, value] : message.headers()) {
        if (!std::exchange(first, false)) text += ',';
        text.append(name).append(":").append(length_of(value));
    }
    return text;
}

unsigned long number(const std::string& text) {
    return std::strtoul(text.c_str(), nullptr, 10);
}

}  // namespace

class Reference {
public:
    static wasmill::Result<Reference> init(const wasmill::Context& context) {
        if (auto reason = context.config("fail")) return wasmill::Error{std::string(*reason)};
        return Reference(context);
    }

    Verdict handle(const Message& message, Outputs& out) {
        auto before = seen_++;
        auto command = message.header("do").value_or(standing_);
        auto argument = [&] { return std::string(message.header("arg").value_or("")); };

        if (command == "forward") return forward(message, out);
        if (command == "drop") return wasmill::ack();
        if (command == "copy") return copy(message, out);
        if (command == "upper") return upper(message, out);
        if (command == "many") {
            auto count = number(argument());
            for (unsigned long i = 0; i < count; i++) out.send({}, std::to_string(i));
            return wasmill::ack();
        }
        if (command == "to") {
            auto topic = wasmill::Topic::named(argument());
            if (!topic) return topic.error();
            out.to(*topic).key_of(message).value_of(message).send();
            return wasmill::ack();
        }
        if (command == "tombstone") {
            out.send(message.key(), {});
            return wasmill::ack();
        }
        if (command == "empty") {
            out.to({}).key("").value("").header("", "").header("n", {}).send();
            return wasmill::ack();
        }
        if (command == "describe") return send(out, describe(message));
        if (command == "retry") {
            if (message.attempt() >= number(argument())) return forward(message, out);
            std::chrono::milliseconds after(number(std::string(message.header("after").value_or("0"))));
            return wasmill::retry("attempt " + std::to_string(message.attempt()), after);
        }
        if (command == "reject") return wasmill::reject(message.value().value_or(""));
        if (command == "log") return log(message, argument());
        if (command == "config") {
            auto value = context_.config(argument());
            return value ? send(out, *value) : wasmill::reject("no setting " + argument());
        }
        if (command == "context") {
            return send(out, "pipeline="s.append(context_.pipeline()).append(" group=").append(context_.group())
                                 .append(" digest=").append(context_.digest()));
        }
        if (command == "count") return send(out, std::to_string(before));
        if (command == "json") {
            auto name = json_text(wasmill::detail::lower(message.value()), "name");
            return name.data != nullptr ? send(out, {name.data, name.length}) : wasmill::reject("no name");
        }
        if (command == "crash") wasmill::panic(std::string(message.value().value_or("")));
        return wasmill::reject("unknown command " + std::string(command));
    }

private:
    explicit Reference(const wasmill::Context& context)
        : context_(context), standing_(context.config("do").value_or("forward")) {}

    static Verdict send(Outputs& out, std::string_view text) {
        out.send({}, text);
        return wasmill::ack();
    }

    static Verdict forward(const Message& message, Outputs& out) {
        out.forward(message);
        return wasmill::ack();
    }

    static Verdict copy(const Message& message, Outputs& out) {
        auto draft = out.to({});
        draft.key(message.key()).value(message.value()).partition(message.partition());
        for (auto [name, value] : message.headers()) draft.header(name, value);
        if (auto timestamp = message.timestamp()) draft.timestamp(*timestamp);
        draft.send();
        return wasmill::ack();
    }

    static Verdict upper(const Message& message, Outputs& out) {
        auto value = message.value();
        if (!value) {
            out.send(message.key(), {});
            return wasmill::ack();
        }
        auto place = out.send_in_place(message.key(), value->size());
        std::ranges::transform(*value, place.begin(), [](char letter) -> char {
            return letter >= 'a' && letter <= 'z' ? letter - ('a' - 'A') : letter;
        });
        return wasmill::ack();
    }

    static Verdict log(const Message& message, std::string_view level) {
        auto text = message.value().value_or("");
        if (level == "trace") return wasmill::log::trace(text), wasmill::ack();
        if (level == "debug") return wasmill::log::debug(text), wasmill::ack();
        if (level == "info") return wasmill::log::info(text), wasmill::ack();
        if (level == "warn") return wasmill::log::warn(text), wasmill::ack();
        if (level == "error") return wasmill::log::error(text), wasmill::ack();
        return wasmill::reject("no level " + std::string(level));
    }

    wasmill::Context context_;
    /** The command of messages without one of their own. */
    std::string standing_;
    std::uint64_t seen_ = 0;
};

WASMILL_HANDLER(Reference);
