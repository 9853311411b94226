/* A wasmill handler. Begin here: this one sends every value on in upper case. */
#include "wasmill.h"

#include <string.h>

/* Static variables are the state of an instance. `init` sets all of them. */
static wasmill_bytes suffix;

/* Once for each instance. A text keeps the pipeline from starting and is shown as it is. */
static const char *init(const wasmill_context *context) {
    suffix = wasmill_string(wasmill_config(context, "suffix"));
    return wasmill_only(context, "suffix", NULL);
}

/* Once for each message. Returning what `wasmill_text` returns rejects the message, with the reason in its text. */
static wasmill_verdict handle(const wasmill_message *message, wasmill_outputs *out) {
    wasmill_bytes text;
    wasmill_verdict failure = wasmill_text(message, &text);
    if (failure != NULL) return failure;

    char *upper = wasmill_send_in_place(out, wasmill_key(message), text.length + suffix.length);
    for (size_t i = 0; i < text.length; i++) {
        char letter = text.data[i];
        upper[i] = letter >= 'a' && letter <= 'z' ? letter - ('a' - 'A') : letter;
    }
    if (suffix.length > 0) memcpy(upper + text.length, suffix.data, suffix.length);
    return wasmill_ack();
}

WASMILL_HANDLER(.init = init, .handle = handle);
