const std = @import("std");
const wasmill = @import("wasmill");

/// `zig build` makes zig-out/bin/handler.wasm.
pub fn build(b: *std.Build) void {
    _ = wasmill.addHandler(b, b.path("handler.zig"));
}
