/* Bytes and text: UTF-8, formatting, and the memory they are put in. */
#include "wasmill_internal.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, LEAST_CHUNK = 16 << 10 };

struct wasmill_chunk {
    struct wasmill_chunk *before;
    size_t capacity;
    alignas(ALIGNMENT) char bytes[];
};

wasmill_arena wasmill_lasting;
static wasmill_arena scratch;
wasmill_arena *wasmill_current = &scratch;

void *wasmill_grow(void *old, size_t size) {
    void *new = realloc(old, size);
    if (new == NULL) {
        wasmill_host_log(WASMILL_ERROR, wasmill_string("out of memory"));
        wasmill_host_trap();
    }
    return new;
}

void *wasmill_arena_allocate(wasmill_arena *arena, size_t size) {
    if (size > SIZE_MAX - 2 * sizeof(struct wasmill_chunk) - ALIGNMENT) size = SIZE_MAX / 2;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (arena->chunk == NULL || size > arena->chunk->capacity - arena->used) {
        size_t capacity = arena->wanted > LEAST_CHUNK ? arena->wanted : LEAST_CHUNK;
        if (capacity < size) capacity = size;
        struct wasmill_chunk *chunk = wasmill_grow(NULL, sizeof *chunk + capacity);
        chunk->before = arena->chunk;
        chunk->capacity = capacity;
        arena->chunk = chunk;
        arena->used = 0;
    }
    void *place = arena->chunk->bytes + arena->used;
    arena->used += size;
    return place;
}

void wasmill_arena_free(wasmill_arena *arena) {
    size_t capacity = 0;
    while (arena->chunk != NULL) {
        struct wasmill_chunk *chunk = arena->chunk;
        capacity += chunk->capacity;
        arena->chunk = chunk->before;
        free(chunk);
    }
    arena->used = 0;
    arena->wanted = capacity;
}

void wasmill_arena_reset(wasmill_arena *arena) {
    if (arena->chunk != NULL && arena->chunk->before != NULL) wasmill_arena_free(arena);
    arena->used = 0;
}

void *wasmill_alloc(size_t size) {
    return wasmill_arena_allocate(wasmill_current, size);
}

char *wasmill_arena_string(wasmill_arena *arena, wasmill_bytes bytes) {
    char *text = wasmill_arena_allocate(arena, bytes.length + 1);
    if (bytes.length > 0) memcpy(text, bytes.data, bytes.length);
    text[bytes.length] = '\0';
    return text;
}

char *wasmill_copy_string(wasmill_bytes bytes) {
    return wasmill_arena_string(wasmill_current, bytes);
}

wasmill_bytes wasmill_format_list(const char *format, va_list arguments) {
    char small[256];
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    if (length < 0) length = 0, small[0] = '\0';
    char *text = wasmill_alloc((size_t)length + 1);
    if ((size_t)length < sizeof small) {
        memcpy(text, small, (size_t)length + 1);
    } else {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    wasmill_bytes bytes = {text, (size_t)length};
    return bytes;
}

char *wasmill_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wasmill_bytes text = wasmill_format_list(format, arguments);
    va_end(arguments);
    return (char *)text.data;
}

char *wasmill_join(const char *first, ...) {
    va_list texts;
    size_t length = 0;
    va_start(texts, first);
    for (const char *text = first; text != NULL; text = va_arg(texts, const char *)) length += strlen(text);
    va_end(texts);
    char *joined = wasmill_alloc(length + 1), *end = joined;
    va_start(texts, first);
    for (const char *text = first; text != NULL; text = va_arg(texts, const char *)) {
        size_t part = strlen(text);
        memcpy(end, text, part);
        end += part;
    }
    va_end(texts);
    *end = '\0';
    return joined;
}

/*
 * The length of the character that `bytes` begin with, or 0 if they do not begin with one; `*wrong` is then how many of
 * them one U+FFFD stands for: the part that a character could have begun with (as Unicode recommends).
 */
static size_t character(const unsigned char *bytes, size_t length, size_t *wrong) {
    unsigned char first = bytes[0];
    *wrong = 1;
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    /* No overlong forms, no surrogates, nothing past U+10FFFF: all decided by the second byte. */
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < size; i++) {
        if (i >= length || bytes[i] < low || bytes[i] > high) {
            *wrong = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return size;
}

size_t wasmill_utf8_length(wasmill_bytes bytes) {
    const unsigned char *at = (const unsigned char *)bytes.data;
    size_t i = 0, wrong;
    while (i < bytes.length) {
        /* Most text is ASCII: eight bytes at a time. */
        uint64_t eight;
        while (bytes.length - i >= sizeof eight) {
            memcpy(&eight, at + i, sizeof eight);
            if (eight & UINT64_C(0x8080808080808080)) break;
            i += sizeof eight;
        }
        if (i == bytes.length) break;
        size_t size = character(at + i, bytes.length - i, &wrong);
        if (size == 0) break;
        i += size;
    }
    return i;
}

wasmill_bytes wasmill_lossy(wasmill_bytes bytes) {
    size_t valid = wasmill_utf8_length(bytes);
    if (valid == bytes.length) return bytes;
    /* A replacement is three bytes for at least one. */
    char *text = wasmill_alloc(valid + (bytes.length - valid) * 3);
    size_t length = 0, wrong;
    while (bytes.length > 0) {
        valid = wasmill_utf8_length(bytes);
        memcpy(text + length, bytes.data, valid);
        length += valid;
        bytes.data += valid;
        bytes.length -= valid;
        if (bytes.length == 0) break;
        character((const unsigned char *)bytes.data, bytes.length, &wrong);
        memcpy(text + length, "\xef\xbf\xbd", 3);
        length += 3;
        bytes.data += wrong;
        bytes.length -= wrong;
    }
    wasmill_bytes replaced = {text, length};
    return replaced;
}
