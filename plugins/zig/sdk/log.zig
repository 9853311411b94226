//! Log lines. They appear in the host's log with the pipeline, lane and plugin they came from; the host cuts, escapes
//! and counts them, and drops what is past the pipeline's limit. Text that is not UTF-8 is made so.
//!
//! In WebAssembly `std.log` ends up here too; a unit test sees only what is written through this file.

const std = @import("std");
const host = @import("host.zig");

/// How important a line is, in the contract's order.
pub const Level = enum(u32) { trace, debug, info, warn, err };

/// The finest grain.
pub fn trace(comptime format: []const u8, args: anytype) void {
    write(.trace, format, args);
}

/// For whoever looks for a mistake.
pub fn debug(comptime format: []const u8, args: anytype) void {
    write(.debug, format, args);
}

/// Worth reading in normal operation.
pub fn info(comptime format: []const u8, args: anytype) void {
    write(.info, format, args);
}

/// Something is odd, but handled.
pub fn warn(comptime format: []const u8, args: anytype) void {
    write(.warn, format, args);
}

/// Something went wrong.
pub fn err(comptime format: []const u8, args: anytype) void {
    write(.err, format, args);
}

/// Writes a line at a level. Lines longer than 4 KiB are cut, which the host would do anyway.
pub fn write(level: Level, comptime format: []const u8, args: anytype) void {
    var buffer: [4096]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&buffer);
    writer.print(format, args) catch {}; // Full: what fitted is written.
    host.log(level, writer.buffered());
}

/// For `std.Options.logFn`.
pub fn standard(
    comptime level: std.log.Level,
    comptime scope: @EnumLiteral(),
    comptime format: []const u8,
    args: anytype,
) void {
    const ours: Level = switch (level) {
        .err => .err,
        .warn => .warn,
        .info => .info,
        .debug => .debug,
    };
    write(ours, if (scope == .default) format else "(" ++ @tagName(scope) ++ ") " ++ format, args);
}
