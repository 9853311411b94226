#pragma once

#include "wasmill.hpp"

#include <string>

/// The object is the state of an instance.
struct MyHandler {
    std::string suffix;

    /// Once for each instance. An error keeps the pipeline from starting and is shown as it is.
    static wasmill::Result<MyHandler> init(const wasmill::Context& context);

    /// Once for each message. Returning an error rejects the message, with its text as the reason.
    wasmill::Verdict handle(const wasmill::Message& message, wasmill::Outputs& out);
};
