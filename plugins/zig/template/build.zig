const std = @import("std");
const wasmill = @import("wasmill");

/// `zig build` makes zig-out/bin/handler.wasm, `zig build test` runs the tests in handler.zig.
pub fn build(b: *std.Build) void {
    _ = wasmill.addHandler(b, b.path("handler.zig"));
}
