//! How a handler is built. A project's `build.zig` calls `addHandler`; nothing else here is for use.

const std = @import("std");

/// Where `zig build` puts what `addHandler` makes.
pub const file_name = "handler";

/// What `addHandler` has made, for a project that wants more: `root.addImport(..)` gives the handler another module.
pub const Handler = struct {
    /// The handler as the host runs it.
    root: *std.Build.Module,
    /// The same file for this machine, which is what `zig build test` runs.
    native_root: *std.Build.Module,
};

/// Adds the two steps of a project: `zig build` makes `zig-out/bin/handler.wasm`, `zig build test` runs the tests of
/// `root_source_file` on this machine. The WebAssembly is optimized but keeps its safety checks, unless
/// `-Doptimize=` says otherwise.
pub fn addHandler(b: *std.Build, root_source_file: std.Build.LazyPath) Handler {
    const optimize = b.option(std.builtin.Optimize, "optimize", "How the WebAssembly is optimized (default: safe)");
    const target = b.resolveTargetQuery(.{
        .cpu_arch = .wasm32,
        .os_tag = .freestanding,
        .cpu_features_add = std.Target.wasm.featureSet(&.{ .simd128, .bulk_memory }),
    });
    const sdk = b.dependencyFromBuildZig(@This(), .{});

    const handler = module(b, sdk, root_source_file, target, optimize orelse .safe);
    const wasm = b.addExecutable(.{
        .name = file_name,
        .root_module = b.createModule(.{
            .root_source_file = sdk.path("main.zig"),
            .target = target,
            .optimize = optimize orelse .safe,
            // Debug information is ten times the code; function names, which backtraces show, are kept.
            .strip = false,
            .imports = &.{
                .{ .name = "handler", .module = handler },
                .{ .name = "wasmill", .module = handler.import_table.get("wasmill").? },
            },
        }),
    });
    // A library without a caller: the host calls what main.zig exports.
    wasm.entry = .disabled;
    wasm.rdynamic = true;
    wasm.stack_size = 1 << 20;
    b.installArtifact(wasm);

    const native = module(b, sdk, root_source_file, b.resolveTargetQuery(.{}), .debug);
    const run = b.addRunArtifact(b.addTest(.{ .root_module = native }));
    b.step("test", "Run the handler's tests on this machine").dependOn(&run.step);

    return .{ .root = handler, .native_root = native };
}

fn module(
    b: *std.Build,
    sdk: *std.Build.Dependency,
    root_source_file: std.Build.LazyPath,
    target: std.Build.ResolvedTarget,
    optimize: std.builtin.Optimize,
) *std.Build.Module {
    const wasmill = b.createModule(.{
        .root_source_file = sdk.path("wasmill.zig"),
        .target = target,
        .optimize = optimize,
    });
    return b.createModule(.{
        .root_source_file = root_source_file,
        .target = target,
        .optimize = optimize,
        .imports = &.{.{ .name = "wasmill", .module = wasmill }},
    });
}

/// The SDK alone builds nothing: see `addHandler`.
pub fn build(_: *std.Build) void {}
