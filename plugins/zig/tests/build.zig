const std = @import("std");
const wasmill = @import("wasmill");

/// `zig build test` runs the SDK's tests.
pub fn build(b: *std.Build) void {
    _ = wasmill.addHandler(b, b.path("tests.zig"));
}
