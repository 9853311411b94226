// A wasmill handler. Begin here: this one sends every value on in upper case.
#include "handler.hpp"

#include <algorithm>

wasmill::Result<MyHandler> MyHandler::init(const wasmill::Context& context) {
    if (auto error = context.only({"suffix"})) return *error;
    return MyHandler{.suffix = std::string(context.config("suffix").value_or(""))};
}

wasmill::Verdict MyHandler::handle(const wasmill::Message& message, wasmill::Outputs& out) {
    auto text = message.text();
    if (!text) return text.error();

    // Room for the value in the output itself; `out.send(key, value)` copies one that is there already.
    auto upper = out.send_in_place(message.key(), text->size() + suffix.size());
    auto end = std::ranges::transform(*text, upper.begin(), [](char letter) -> char {
        return letter >= 'a' && letter <= 'z' ? letter - ('a' - 'A') : letter;
    });
    std::ranges::copy(suffix, end.out);
    return wasmill::ack();
}

WASMILL_HANDLER(MyHandler);
