/* Says what does not hold, and where, and ends the tests. */
#ifndef CHECK_H
#define CHECK_H

#include "wasmill_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* Compares bytes with a C string, or with NULL for absent. */
#define CHECK_BYTES(bytes, expected) check_bytes(bytes, expected, __FILE__, __LINE__)

static inline void check_bytes(wasmill_bytes bytes, const char *expected, const char *file, int line) {
    if (expected == NULL ? bytes.data == NULL : wasmill_equals(bytes, expected)) return;
    fprintf(stderr, "%s:%d: expected `%s`, found `%.*s`\n", file, line, expected == NULL ? "(absent)" : expected,
            bytes.data == NULL ? 8 : (int)bytes.length, bytes.data == NULL ? "(absent)" : bytes.data);
    exit(1);
}

#define CHECK_TEXT(text, expected) CHECK_BYTES(wasmill_string(text), expected)

/* In memory_test.c. */
void memory_tests(void);

#endif
