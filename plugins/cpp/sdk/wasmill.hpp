// wasmill: handlers of Kafka messages in C++20, over the C SDK.
//
//     #include "wasmill.hpp"
//
//     struct Forward {
//         wasmill::Verdict handle(const wasmill::Message& message, wasmill::Outputs& out) {
//             out.forward(message);
//             return wasmill::ack();
//         }
//     };
//
//     WASMILL_HANDLER(Forward);
//
// A handler is called once for each message, in offset order for each partition, by one thread. Its object lives as
// long as the instance, which is thrown away after a trap or when its partitions move: it is a cache, never a record.
// No exceptions are thrown or caught; what can fail says so in its result.
#ifndef WASMILL_HPP
#define WASMILL_HPP

#include "wasmill.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace wasmill {

/// Bytes that somebody else owns. Absent is not empty: a message without a value is a tombstone.
using Bytes = std::optional<std::string_view>;

/// Milliseconds since 1970.
using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;

namespace detail {

inline wasmill_bytes lower(Bytes bytes) {
    if (!bytes) return {nullptr, 0};
    // An empty view may point to nothing, and is not absent for that.
    return {bytes->data() == nullptr ? "" : bytes->data(), bytes->size()};
}

inline Bytes lift(wasmill_bytes bytes) {
    return bytes.data == nullptr ? Bytes() : std::string_view(bytes.data, bytes.length);
}

}  // namespace detail

/// Why something failed. As the result of `handle` it rejects the message, as that of `init` it keeps the pipeline from
/// starting.
struct Error {
    std::string text;
};

/// A value, or why there is none.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : value_(std::move(value)) {}
    Result(Error error) : error_(std::move(error)) {}

    /// Whether there is a value.
    explicit operator bool() const { return value_.has_value(); }

    /// The value. Traps with the error's text if there is none.
    T& operator*() { return check(), *value_; }
    const T& operator*() const { return check(), *value_; }
    T* operator->() { return check(), &*value_; }
    const T* operator->() const { return check(), &*value_; }

    /// The error; empty if there is a value.
    const Error& error() const { return error_; }

private:
    void check() const {
        if (!value_) wasmill_panic("%s", error_.text.c_str());
    }

    std::optional<T> value_;
    Error error_;
};

/// What a handler says of a message: `ack()`, `retry(...)`, `reject(...)` or an `Error`, which rejects.
class [[nodiscard]] Verdict {
public:
    explicit Verdict(wasmill_verdict verdict) : verdict_(verdict) {}
    Verdict(const Error& error) : verdict_(wasmill_reject_bytes(detail::lower(error.text))) {}

    wasmill_verdict get() const { return verdict_; }

private:
    wasmill_verdict verdict_;
};

/// Acknowledges: what was sent for the message is published, and once that is confirmed the message is complete.
inline Verdict ack() {
    return Verdict(nullptr);
}

/// The message is handed over again, as attempt + 1, after the pipeline's `retry.backoff`; nothing later of its
/// partition is handled before. Not before `after` has passed; the pipeline's `retry.max_delay` is the most it waits.
inline Verdict retry(std::string_view reason, std::chrono::milliseconds after = {}) {
    auto ms = std::clamp<std::int64_t>(after.count(), 0, UINT32_MAX);
    return Verdict(wasmill_retry_bytes(static_cast<std::uint32_t>(ms), detail::lower(reason)));
}

/// The message is given up for good: to the dead letters, or wherever `on_exhausted` says.
inline Verdict reject(std::string_view reason) {
    return Verdict(wasmill_reject_bytes(detail::lower(reason)));
}

/// One header. The name is text by convention, but producers may write any bytes.
struct Header {
    std::string_view name;
    Bytes value;
};

/// The headers of a message, in order: a range of `Header`. A name may occur more than once.
class Headers {
public:
    class Iterator {
    public:
        using value_type = Header;
        using difference_type = std::ptrdiff_t;

        Iterator() = default;
        Iterator(const wasmill_message* message, std::size_t index) : message_(message), index_(index) {}

        Header operator*() const {
            auto header = wasmill_header_at(message_, index_);
            return {detail::lift(header.name).value_or(""), detail::lift(header.value)};
        }
        Iterator& operator++() { return ++index_, *this; }
        Iterator operator++(int) { return {message_, index_++}; }
        bool operator==(const Iterator&) const = default;

    private:
        const wasmill_message* message_ = nullptr;
        std::size_t index_ = 0;
    };

    explicit Headers(const wasmill_message* message) : message_(message) {}

    Iterator begin() const { return {message_, 0}; }
    Iterator end() const { return {message_, size()}; }
    std::size_t size() const { return wasmill_header_count(message_); }
    bool empty() const { return size() == 0; }
    Header operator[](std::size_t index) const { return *Iterator(message_, index); }

private:
    const wasmill_message* message_;
};

/// One Kafka message. Everything it shows is good until `handle` returns.
class Message {
public:
    explicit Message(const wasmill_message* message) : message_(message) {}

    /// The key.
    Bytes key() const { return detail::lift(wasmill_key(message_)); }

    /// The value; absent in a tombstone.
    Bytes value() const { return detail::lift(wasmill_value(message_)); }

    /// The value if it is UTF-8; else an error that says from which byte it is not, or that it is absent.
    Result<std::string_view> text() const {
        wasmill_bytes text;
        if (auto failure = wasmill_text(message_, &text)) return Error{std::string(*detail::lift(failure->reason))};
        return *detail::lift(text);
    }

    /// The headers, in order.
    Headers headers() const { return Headers(message_); }

    /// The value of the last header of that name; absent if there is no such header or it has no value.
    Bytes header(std::string_view name) const {
        for (auto index = headers().size(); index-- > 0;) {
            if (auto header = headers()[index]; header.name == name) return header.value;
        }
        return {};
    }

    /// The topic it was read from.
    std::string_view topic() const { return wasmill_topic(message_); }

    /// The partition it was read from.
    std::int32_t partition() const { return wasmill_partition(message_); }

    /// The offset in its partition. Offsets ascend, with gaps.
    std::int64_t offset() const { return wasmill_offset(message_); }

    /// The timestamp, if it has one.
    std::optional<Timestamp> timestamp() const {
        auto ms = wasmill_timestamp(message_);
        if (ms == WASMILL_NO_TIMESTAMP) return {};
        return Timestamp(std::chrono::milliseconds(ms));
    }

    /// 1 the first time, one more after each retry.
    std::uint32_t attempt() const { return wasmill_attempt(message_); }

    const wasmill_message* get() const { return message_; }

private:
    const wasmill_message* message_;
};

/// An output topic. The one made without a name is the pipeline's default output.
class Topic {
public:
    Topic() = default;

    /// An output topic by name. Ask in `init`, so that a topic that the pipeline does not grant keeps it from starting;
    /// the error says which ones it does grant. The host is asked once for each name.
    static Result<Topic> named(const std::string& name) {
        Topic topic;
        if (auto error = wasmill_topic_named(name.c_str(), &topic.number_)) return Error{error};
        return topic;
    }

    wasmill_topic_number get() const { return number_; }

private:
    wasmill_topic_number number_ = WASMILL_DEFAULT_TOPIC;
};

/// An output that is being put together. Without a key it has no key, without a value it is a tombstone. Nothing is
/// emitted before `send`, and only one can be in work at a time.
class [[nodiscard]] Draft {
public:
    explicit Draft(wasmill_draft* draft) : draft_(draft) {}

    /// Sets the key or the value to a copy.
    Draft& key(Bytes key) { return wasmill_draft_key(draft_, detail::lower(key)), *this; }
    Draft& value(Bytes value) { return wasmill_draft_value(draft_, detail::lower(value)), *this; }

    /// Sets the key or the value to that of the message, by reference: nothing is copied.
    Draft& key_of(const Message& message) { return wasmill_draft_key_of(draft_, message.get()), *this; }
    Draft& value_of(const Message& message) { return wasmill_draft_value_of(draft_, message.get()), *this; }

    /// Adds a copy of a header behind those already there.
    Draft& header(std::string_view name, Bytes value) {
        return wasmill_draft_header(draft_, detail::lower(name), detail::lower(value)), *this;
    }

    /// Adds all headers of the message behind those already there, by reference.
    Draft& headers_of(const Message& message) { return wasmill_draft_headers_of(draft_, message.get()), *this; }

    /// Sets the timestamp; else it is that of the message. One before 1970 ends the call as a trap would.
    Draft& timestamp(Timestamp timestamp) {
        return wasmill_draft_timestamp(draft_, timestamp.time_since_epoch().count()), *this;
    }

    /// Sets the partition; else the key decides, as in Kafka's own clients. A negative one ends the call as a trap
    /// would; one that the topic does not have makes the host give the message up.
    Draft& partition(std::int32_t partition) { return wasmill_draft_partition(draft_, partition), *this; }

    /// Emits it.
    void send() { wasmill_draft_send(draft_); }

private:
    wasmill_draft* draft_;
};

/// What is emitted for the message at hand: published, in order, if and when that message is acknowledged.
///
/// Bytes given to it are copied, those of the message too. Only what takes a message (`forward`, `value_of`) names its
/// bytes by reference, and copies nothing.
class Outputs {
public:
    explicit Outputs(wasmill_outputs* outputs) : outputs_(outputs) {}

    /// Sends key and value to the default output, with the message's timestamp and no headers.
    void send(Bytes key, Bytes value) { wasmill_send(outputs_, detail::lower(key), detail::lower(value)); }

    /// Sends a key and a value of `length` bytes, which the caller writes to the place returned before it uses the
    /// outputs again: saves the copy of `send`.
    std::span<char> send_in_place(Bytes key, std::size_t length) {
        return {wasmill_send_in_place(outputs_, detail::lower(key), length), length};
    }

    /// Sends the message on as it is, headers included, to the default output or to a topic.
    void forward(const Message& message, Topic topic = {}) {
        wasmill_forward_to(outputs_, topic.get(), message.get());
    }

    /// Begins an output to a topic.
    Draft to(Topic topic) { return Draft(wasmill_to(outputs_, topic.get())); }

private:
    wasmill_outputs* outputs_;
};

/// What an instance is told once, before its first message. What it shows lasts as long as the instance.
class Context {
public:
    explicit Context(const wasmill_context* context) : context_(context) {}

    /// The pipeline's name in wasmill.toml, and its consumer group.
    std::string_view pipeline() const { return context_->pipeline; }
    std::string_view group() const { return context_->group; }

    /// SHA-256 of the plugin's bytes, in hexadecimal.
    std::string_view digest() const { return context_->digest; }

    /// A setting of the pipeline's `config` table, as text.
    std::optional<std::string_view> config(const std::string& key) const {
        auto value = wasmill_config(context_, key.c_str());
        return value == nullptr ? std::optional<std::string_view>() : value;
    }

    /// A setting that must be there.
    Result<std::string_view> require(const std::string& key) const {
        const char* value = nullptr;
        if (auto error = wasmill_require(context_, key.c_str(), &value)) return Error{error};
        return std::string_view(value);
    }

    /// A setting as a whole number; no value if it is not written.
    template <std::integral T>
        requires(!std::same_as<T, bool>)
    Result<std::optional<T>> parse(const std::string& key) const {
        auto text = config(key);
        if (!text) return std::optional<T>();
        T number{};
        auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
        if (error == std::errc() && end == text->data() + text->size()) return std::optional<T>(number);
        return Error{"config `" + key + "`: `" + std::string(*text) + "` is not usable: not a whole number in range"};
    }

    /// Refuses settings other than these, so that a misspelt one is noticed before the first message.
    std::optional<Error> only(std::initializer_list<const char*> known) const {
        auto error = wasmill_only_of(context_, known.begin(), known.size());
        return error == nullptr ? std::optional<Error>() : Error{error};
    }

private:
    const wasmill_context* context_;
};

/// Lines for the host's log. The host cuts them and drops what is past the pipeline's limit.
namespace log {

inline void trace(std::string_view text) { wasmill_log_bytes(WASMILL_TRACE, detail::lower(text)); }
inline void debug(std::string_view text) { wasmill_log_bytes(WASMILL_DEBUG, detail::lower(text)); }
inline void info(std::string_view text) { wasmill_log_bytes(WASMILL_INFO, detail::lower(text)); }
inline void warn(std::string_view text) { wasmill_log_bytes(WASMILL_WARN, detail::lower(text)); }
inline void error(std::string_view text) { wasmill_log_bytes(WASMILL_ERROR, detail::lower(text)); }

}  // namespace log

/// Writes a line at level error and traps: for what cannot be. A message that is wrong is rejected.
[[noreturn]] inline void panic(const std::string& text) {
    wasmill_panic("%s", text.c_str());
}

/// A type with `Verdict handle(const Message&, Outputs&)`. It is made by its `static Result<H> init(const Context&)` if
/// it has one, else by its default constructor.
template <class H>
concept Handler = requires(H& handler, const Message& message, Outputs& out) {
    { handler.handle(message, out) } -> std::same_as<Verdict>;
};

namespace detail {

/// A handler's type as the C SDK sees it.
template <Handler H>
struct Program {
    // Not an object of its own, which would be destroyed at exit, for nothing.
    static inline H* instance = nullptr;

    static const char* init(const wasmill_context* raw) {
        delete std::exchange(instance, nullptr);
        if constexpr (requires(const Context& context) { H::init(context); }) {
            Result<H> made = H::init(Context(raw));
            if (!made) return wasmill_copy_string(lower(made.error().text));
            instance = new H(std::move(*made));
        } else {
            instance = new H();
        }
        return nullptr;
    }

    static wasmill_verdict handle(const wasmill_message* message, wasmill_outputs* raw) {
        Outputs out(raw);
        return instance->handle(Message(message), out).get();
    }

    static constexpr wasmill_handler value = {.init = init, .handle = handle};
};

}  // namespace detail
}  // namespace wasmill

#if defined(__wasm__) && defined(_LIBCPP_VERSION)
// libc++ says here why it aborts, of an index out of range for one. Its own way is standard error, which would bring
// files in; this way the text is in the log, and in the dead letter.
#define WASMILL_LIBRARY_ABORT                                                                      \
    void std::__libcpp_verbose_abort(const char* format, ...)                                      \
        noexcept(noexcept(std::__libcpp_verbose_abort(""))) {                                      \
        char text[512];                                                                            \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        std::vsnprintf(text, sizeof text, format, arguments);                                      \
        va_end(arguments);                                                                         \
        wasmill_panic("%s", text);                                                                 \
    }
#else
#define WASMILL_LIBRARY_ABORT
#endif

/// Makes a type the program's handler: `WASMILL_HANDLER(MyHandler);`, once.
#undef WASMILL_HANDLER
#define WASMILL_HANDLER(...) \
    WASMILL_LIBRARY_ABORT    \
    constinit const wasmill_handler wasmill_program = ::wasmill::detail::Program<__VA_ARGS__>::value

#endif
