// `make test` runs this on your machine, without the host.
#undef NDEBUG
#include "handler.hpp"
#include "wasmill_testing.hpp"

#include <cassert>
#include <cstdio>

using wasmill::testing::Harness;
using wasmill::testing::Outcome;

static void sends_upper_case_with_the_suffix() {
    auto run = Harness<MyHandler>().config("suffix", "!").message({.key = "k", .value = "hello"}).run();
    assert(run.outcomes[0].acknowledged());
    assert(run.outputs.size() == 1);
    assert(run.outputs[0].key == "k");
    assert(run.outputs[0].value == "HELLO!");
}

static void rejects_what_is_no_text() {
    auto run = Harness<MyHandler>().message({.value = "\xff"}).run();
    assert((run.outcomes[0] == Outcome{.kind = WASMILL_REJECTED, .reason = "the value is not UTF-8 from byte 0"}));
    assert(run.outputs.empty());
}

static void refuses_a_misspelt_setting() {
    assert(Harness<MyHandler>().config("sufix", "!").start().has_value());
}

int main() {
    sends_upper_case_with_the_suffix();
    rejects_what_is_no_text();
    refuses_a_misspelt_setting();
    std::puts("3 tests passed");
}
