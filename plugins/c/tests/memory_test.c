/* Memory and text, which no handler sees but through what it is given. */
#include "check.h"
#include "json.h"
#include "wasmill_internal.h"

static void allocations_are_aligned_and_do_not_overlap(void) {
    static const size_t sizes[] = {1, 16, 0, 70000, 17, 200000, 3};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    wasmill_arena arena = {0};
    char *places[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        places[i] = wasmill_arena_allocate(&arena, sizes[i]);
        CHECK((uintptr_t)places[i] % 16 == 0);
        memset(places[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < sizes[i]; at++) CHECK(places[i][at] == (char)i);
    }
    wasmill_arena_free(&arena);
}

static void a_steady_stream_settles_in_one_place(void) {
    wasmill_arena arena = {0};
    void *place = NULL;
    for (int round = 0; round < 4; round++) {
        void *first = wasmill_arena_allocate(&arena, 30000);
        wasmill_arena_allocate(&arena, 60000);
        if (round >= 2) CHECK(first == place);
        place = first;
        wasmill_arena_reset(&arena);
    }
    wasmill_arena_free(&arena);
}

static size_t valid(const char *text) {
    return wasmill_utf8_length(wasmill_string(text));
}

static void text_is_utf8_or_the_first_byte_that_is_not_is_named(void) {
    CHECK(valid("") == 0 && valid("abcdefgh") == 8 && valid("12345678\xc3\xa9") == 10);
    CHECK(valid("\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf") == 11);
    CHECK(valid("abc\x80") == 3 && valid("12345678abc\xff") == 11);
    CHECK(valid("\xc1\xbf") == 0 && valid("\xe0\x9f\xbf") == 0 && valid("\xf0\x8f\xbf\xbf") == 0); /* overlong */
    CHECK(valid("\xed\xa0\x80") == 0 && valid("\xf4\x90\x80\x80") == 0 && valid("\xf5\x80\x80\x80") == 0);
    CHECK(valid("a\xc3") == 1 && valid("a\xe2\x82") == 1); /* cut off */
}

/* As many replacements as Rust's and the web's decoders make. */
static void what_is_no_text_is_replaced(void) {
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"a\xff" "b", "a\xef\xbf\xbd" "b"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xe2\x82z", "\xef\xbf\xbdz"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98\x80\xc0\x80", "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_BYTES(wasmill_lossy(wasmill_string(cases[i][0])), cases[i][1]);
    }
}

static void formatted_text_may_be_long(void) {
    CHECK_TEXT(wasmill_format("%s-%d", "a", 1), "a-1");
    char *padded = wasmill_format("%1000d", 7);
    CHECK(strlen(padded) == 1000 && padded[0] == ' ' && padded[999] == '7');
    CHECK_TEXT(wasmill_copy_string((wasmill_bytes){NULL, 0}), "");
}

static void the_scanner_of_the_reference_handler_reads_json(void) {
    static const char *const cases[][2] = {
        {"{\"name\":\"a\"}", "a"},
        {" { \"x\" : [1, -2.5e+3, {\"name\": \"no\"}, true, null] , \"name\" : \"b\" } ", "b"},
        {"{\"name\":\"\\u00e9\\ud83d\\ude00\\u20ac\\n\\\"\"}", "\xc3\xa9\xf0\x9f\x98\x80\xe2\x82\xac\n\""},
        {"{\"n\\u0061me\":\"c\",\"z\":\"other\"}", "c"},
        {"{\"name\":\"first\",\"name\":\"last\"}", "last"},
        {"{\"name\":\"\"}", ""},
        {"{\"name\":1}", NULL},
        {"{\"name\":\"a\"", NULL},
        {"{\"name\":\"a\"}x", NULL},
        {"{\"name\":\"a\",}", NULL},
        {"{\"name\":\"\\ud83d\"}", NULL},
        {"{\"name\":\"\xff\"}", NULL},
        {"{\"name\":\"a\",\"n\":01}", NULL},
        {"[\"name\"]", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_BYTES(json_text(wasmill_string(cases[i][0]), "name"), cases[i][1]);
    }
    CHECK_BYTES(json_text((wasmill_bytes){NULL, 0}, "name"), NULL);
    char deep[1000];
    memset(deep, '[', sizeof deep);
    CHECK_BYTES(json_text((wasmill_bytes){deep, sizeof deep}, "name"), NULL);
}

void memory_tests(void) {
    allocations_are_aligned_and_do_not_overlap();
    a_steady_stream_settles_in_one_place();
    text_is_utf8_or_the_first_byte_that_is_not_is_named();
    what_is_no_text_is_replaced();
    formatted_text_may_be_long();
    the_scanner_of_the_reference_handler_reads_json();
    wasmill_forget();
}
