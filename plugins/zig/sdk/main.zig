//! The root of the WebAssembly: the exports that the host calls, around the handler's own file. `build.zig` puts it
//! there, so that a handler's file has nothing in it but the handler.

const std = @import("std");
const handler = @import("handler");
const wasmill = @import("wasmill");

const Exports = wasmill.abi.Exports(if (@hasDecl(handler, "Handler")) handler.Handler else handler);

comptime {
    @export(&Exports.cabiRealloc, .{ .name = "cabi_realloc" });
    @export(&Exports.init, .{ .name = "init" });
    @export(&Exports.handle, .{ .name = "handle" });
}

pub const panic = std.debug.FullPanic(wasmill.abi.panic);

/// The host decides which levels it shows.
pub const std_options: std.Options = .{ .logFn = wasmill.log.standard, .log_level = .debug };
