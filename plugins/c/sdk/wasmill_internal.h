/*
 * What the SDK's own sources share: memory, text, the outputs' state, and the host's imports, which are real in
 * `wasmill_abi.c` and recorded in `wasmill_testing.c`. Not for handlers.
 */
#ifndef WASMILL_INTERNAL_H
#define WASMILL_INTERNAL_H

#include "wasmill.h"

#include <stdarg.h>

/* Words of a message's and of an output's row, and of a header's (wit/handler.wit). Later hosts may append columns. */
enum { WASMILL_ROW = 12, WASMILL_HEADER_ROW = 4 };

/* The length that says "absent". */
#define WASMILL_ABSENT UINT32_MAX

/* ------------------------------------------------------------------------------------------------------- memory -- */

/*
 * Bump allocation, taken back all at once. The chunks stay for the next round; if it took several, the next round has
 * one as large as all of them, so that a steady stream of batches settles in one place.
 */
typedef struct wasmill_arena {
    struct wasmill_chunk *chunk; /* the newest, with a link to the one before */
    size_t used;                 /* bytes given away of `chunk` */
    size_t wanted;               /* how large the next chunk should be at least */
} wasmill_arena;

/* Aligned to 16: copies of some KiB are many times slower between places that lie a few bytes off each other. */
void *wasmill_arena_allocate(wasmill_arena *arena, size_t size);
void wasmill_arena_reset(wasmill_arena *arena);
void wasmill_arena_free(wasmill_arena *arena);

/* `malloc`'s and `realloc`'s memory, never NULL. */
void *wasmill_grow(void *old, size_t size);

/* What lasts as long as the instance: its context and what `init` allocates. */
extern wasmill_arena wasmill_lasting;

/* Where `wasmill_alloc` allocates: `wasmill_lasting` during `init`, else what is reset after each message. */
extern wasmill_arena *wasmill_current;

/* --------------------------------------------------------------------------------------------------------- text -- */

char *wasmill_arena_string(wasmill_arena *arena, wasmill_bytes bytes);

/* Text as by `vsprintf`, from `wasmill_alloc`. */
wasmill_bytes wasmill_format_list(const char *format, va_list arguments);

/* The same bytes if they are UTF-8, else a copy with U+FFFD for what is not: the host takes nothing else for a text. */
wasmill_bytes wasmill_lossy(wasmill_bytes bytes);

/* The texts, up to a NULL, one behind the other; from `wasmill_alloc`. Spares the SDK itself the use of `printf`. */
char *wasmill_join(const char *first, ...) WASMILL_SENTINEL;

/* ------------------------------------------------------------------------------------------------------ outputs -- */

/* Elements of one size, in memory that is kept from batch to batch. */
typedef struct wasmill_buffer {
    void *at;
    size_t length;
    size_t capacity;
} wasmill_buffer;

/* Start and length of bytes: below the length of the batch's data in the batch, else behind it in `outputs.data`. */
typedef struct wasmill_span {
    uint32_t start;
    uint32_t length;
} wasmill_span;

struct wasmill_draft {
    wasmill_outputs *out;
    uint32_t row[WASMILL_ROW];
    bool open;
    bool inherits; /* the row refers to the message's own header rows */
};

struct wasmill_outputs {
    const struct wasmill_batch *batch;
    wasmill_buffer data;    /* bytes */
    wasmill_buffer rows;    /* words */
    wasmill_buffer headers; /* words */
    uint32_t message;       /* the message at hand, and where its outputs begin: */
    size_t first_byte;
    size_t first_row;
    size_t first_header;
    wasmill_draft draft;
};

void wasmill_outputs_begin(wasmill_outputs *out, const struct wasmill_batch *batch);
/* Turns to a message. Inlined, as it is paid for each one. */
static inline void wasmill_outputs_at(wasmill_outputs *out, uint32_t message) {
    out->message = message;
    out->first_byte = out->data.length;
    out->first_row = out->rows.length;
    out->first_header = out->headers.length;
    out->draft.open = false;
}
/* Forgets what was emitted for the message at hand, as far as it is not with the host already, who drops the rest. */
void wasmill_outputs_drop(wasmill_outputs *out);
/* Hands the outputs so far to the host. */
void wasmill_outputs_flush(wasmill_outputs *out);

/* ------------------------------------------------------------------------------------------------------ handler -- */

/* Calls `init`. NULL, or what it refused with. The context lasts as long as the instance. */
const char *wasmill_start(const wasmill_handler *handler, const wasmill_context *context);

/* Takes a handler through a batch; returns how many messages were reached. */
uint32_t wasmill_handle(const wasmill_handler *handler, const struct wasmill_batch *batch, const uint32_t *rows,
                        uint32_t stride, uint32_t count);

/* Forgets all that is kept from call to call. Only a test meets a second host. */
void wasmill_forget(void);

/* ----------------------------------------------------------------------------------------------------- the host -- */

void wasmill_host_emit(const char *data, size_t length, const uint32_t *table, size_t words, uint32_t count);
void wasmill_host_fail(uint32_t message, const struct wasmill_failure *failure);
void wasmill_host_log(wasmill_level level, wasmill_bytes text);
/* True, and the number; or false, and the error's text from `wasmill_alloc`. */
bool wasmill_host_topic_number(wasmill_bytes name, uint32_t *number, const char **error);
/* From `wasmill_lasting`. */
const char *wasmill_host_source_name(uint32_t source);
void wasmill_host_trap(void) WASMILL_NORETURN;

#endif
