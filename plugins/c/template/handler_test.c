/* `make test` runs this on your machine, without the host. */
#undef NDEBUG
#include "wasmill_testing.h"

#include <assert.h>
#include <stdio.h>

static void sends_upper_case_with_the_suffix(void) {
    wasmill_test *test = wasmill_test_new(&wasmill_program);
    wasmill_test_config(test, "suffix", "!");
    wasmill_test_message(test, (wasmill_sample){.key = wasmill_string("k"), .value = wasmill_string("hello")});
    const wasmill_run *run = wasmill_test_run(test);
    assert(run->outcomes[0].kind == WASMILL_ACKED);
    assert(run->output_count == 1);
    assert(wasmill_equals(run->outputs[0].key, "k"));
    assert(wasmill_equals(run->outputs[0].value, "HELLO!"));
    wasmill_test_free(test);
}

static void rejects_what_is_no_text(void) {
    wasmill_test *test = wasmill_test_new(&wasmill_program);
    wasmill_test_message(test, (wasmill_sample){.value = wasmill_string("\xff")});
    const wasmill_run *run = wasmill_test_run(test);
    assert(run->outcomes[0].kind == WASMILL_REJECTED);
    assert(wasmill_equals(run->outcomes[0].reason, "the value is not UTF-8 from byte 0"));
    assert(run->output_count == 0);
    wasmill_test_free(test);
}

static void refuses_a_misspelt_setting(void) {
    wasmill_test *test = wasmill_test_new(&wasmill_program);
    wasmill_test_config(test, "sufix", "!");
    assert(wasmill_test_start(test) != NULL);
    wasmill_test_free(test);
}

int main(void) {
    sends_upper_case_with_the_suffix();
    rejects_what_is_no_text();
    refuses_a_misspelt_setting();
    puts("3 tests passed");
    return 0;
}
