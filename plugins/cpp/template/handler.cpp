// A wasmill handler. Begin here: this one sends every value on in upper case.
#include "handler.hpp"

wasmill::Result<MyHandler> MyHandler::init(const wasmill::Context& context) {
    if (auto error = context.only({"suffix"})) return *error;
    return MyHandler{.suffix = std::string(context.config("suffix").value_or(""))};
}

wasmill::Verdict MyHandler::handle(const wasmill::Message& message, wasmill::Outputs& out) {
    auto text = message.text();
    if (!text) return text.error();

    std::string upper(*text);
    for (char& letter : upper) {
        if (letter >= 'a' && letter <= 'z') letter -= 'a' - 'A';
    }
    out.send(message.key(), upper + suffix);
    return wasmill::ack();
}

WASMILL_HANDLER(MyHandler);
