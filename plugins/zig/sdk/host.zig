//! The other side: the host's imports in WebAssembly, the test harness's recorder elsewhere. Both take the same calls,
//! so that nothing else in this SDK asks where it runs.

const std = @import("std");
const builtin = @import("builtin");
const Level = @import("log.zig").Level;
const Recorder = @import("testing/Recorder.zig");

const in_wasm = builtin.cpu.arch.isWasm();

/// The imports as the canonical ABI lowers them. The host only reads what it is given, and only during the call; what
/// it returns it puts into memory from `cabi_realloc`.
const imports = struct {
    extern "wasmill:handler/outcome@0.1.0" fn emit(
        data: [*]const u8,
        data_len: usize,
        table: [*]const u32,
        table_len: usize,
        stride: u32,
        count: u32,
    ) void;
    extern "wasmill:handler/outcome@0.1.0" fn fail(
        message: u32,
        has_retry_after: u32,
        retry_after_ms: u32,
        reason: [*]const u8,
        reason_len: usize,
    ) void;
    extern "wasmill:handler/log@0.1.0" fn write(level: u32, text: [*]const u8, text_len: usize) void;
    extern "wasmill:handler/topics@0.1.0" fn number(name: [*]const u8, name_len: usize, result: *[3]u32) void;
    extern "wasmill:handler/topics@0.1.0" fn @"source-name"(source: u32, result: *[2]u32) void;
};

/// Emits outputs: `count` rows of `stride` words in `table`, then header rows.
pub fn emit(data: []const u8, table: []const u32, stride: u32, count: u32) void {
    if (!in_wasm) return Recorder.current.?.emit(data, table, stride, count);
    imports.emit(data.ptr, data.len, table.ptr, table.len, stride, count);
}

/// Says that a message is not acknowledged: a retry with `retry_after_ms`, else a rejection.
pub fn fail(message: u32, retry_after_ms: ?u32, reason: []const u8) void {
    const text: Text = .of(reason);
    defer text.deinit();
    if (!in_wasm) return Recorder.current.?.fail(message, retry_after_ms, text.bytes);
    imports.fail(message, @intFromBool(retry_after_ms != null), retry_after_ms orelse 0, text.bytes.ptr, text.bytes.len);
}

/// Writes a log line.
pub fn log(level: Level, line: []const u8) void {
    const text: Text = .of(line);
    defer text.deinit();
    if (!in_wasm) return Recorder.current.?.log(level, text.bytes);
    imports.write(@backingInt(level), text.bytes.ptr, text.bytes.len);
}

/// A topic's number, or the host's text on why there is none.
pub const Number = union(enum) { granted: u32, refused: []const u8 };

/// Asks for an output topic's number. A refusal's text is good until the call of `init` or `handle` ends.
pub fn topicNumber(name: []const u8) Number {
    const text: Text = .of(name);
    defer text.deinit();
    if (!in_wasm) return Recorder.current.?.topicNumber(text.bytes);
    var result: [3]u32 = undefined;
    imports.number(text.bytes.ptr, text.bytes.len, &result);
    // The tag is one byte; the host leaves the other three of its word as they were.
    return if (@as(u8, @truncate(result[0])) == 0) .{ .granted = result[1] } else .{ .refused = string(result[1..3]) };
}

/// Asks for a source topic's name. It is good until the call of `init` or `handle` ends.
pub fn sourceName(source: u32) []const u8 {
    if (!in_wasm) return Recorder.current.?.source;
    var result: [2]u32 = undefined;
    imports.@"source-name"(source, &result);
    return string(&result);
}

fn string(pair: *const [2]u32) []const u8 {
    return if (pair[1] == 0) "" else @as([*]const u8, @ptrFromInt(pair[0]))[0..pair[1]];
}

/// Bytes that may go where the contract wants a string: the host ends a call that hands over anything but UTF-8.
const Text = struct {
    bytes: []const u8,
    owned: bool = false,

    const allocator = if (in_wasm) std.heap.wasm_allocator else std.heap.page_allocator;

    fn of(bytes: []const u8) Text {
        if (std.unicode.utf8ValidateSlice(bytes)) return .{ .bytes = bytes };
        const lossy = std.fmt.allocPrint(allocator, "{f}", .{std.unicode.fmtUtf8(bytes)}) catch
            return .{ .bytes = "(no memory for a text that is not UTF-8)" };
        return .{ .bytes = lossy, .owned = true };
    }

    fn deinit(text: Text) void {
        if (text.owned) allocator.free(text.bytes);
    }
};
