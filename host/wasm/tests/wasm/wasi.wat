;; What the first byte of the first value says, done through WASI.
(module
  (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $after (param i64) (result i32)))
  (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.3" "[method]pollable.ready" (func $ready (param i32) (result i32)))
  (import "wasi:io/poll@0.2.3" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "wasi:io/poll@0.2.3" "poll" (func $poll (param i32 i32 i32)))
  (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
  (import "wasi:cli/stderr@0.2.3" "get-stderr" (func $stderr (result i32)))
  (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
  (import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))
  (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
  (import "wasi:random/random@0.2.3" "get-random-bytes" (func $random (param i64 i32)))
  (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))
  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.const 16))
  (func $handle (export "handle")
    (param i32 i32) (param $data i32) (param $bytes i32) (param i32 i32 i32) (param $count i32) (result i32)
    (local $what i32) (local $one i32) (local $two i32)
    (local.set $what (i32.load8_u (local.get $data)))
    ;; s: sleep for an hour
    (if (i32.eq (local.get $what) (i32.const 115)) (then (call $block (call $after (i64.const 3600000000000)))))
    ;; n: nap for 5 ms, in a poll beside an hour's sleep
    (if (i32.eq (local.get $what) (i32.const 110)) (then
      (local.set $one (call $after (i64.const 3600000000000)))
      (local.set $two (call $after (i64.const 5000000)))
      (i32.store (i32.const 200) (local.get $one))
      (i32.store (i32.const 204) (local.get $two))
      (call $poll (i32.const 200) (i32.const 2) (i32.const 300))
      ;; Exactly the second one is ready.
      (if (i32.ne (i32.load (i32.const 304)) (i32.const 1)) (then unreachable))
      (if (i32.ne (i32.load (i32.load (i32.const 300))) (i32.const 1)) (then unreachable))
      (if (call $ready (local.get $one)) (then unreachable))
      (call $drop_pollable (local.get $one))
      (call $drop_pollable (local.get $two))))
    ;; p: poll for nothing
    (if (i32.eq (local.get $what) (i32.const 112)) (then (call $poll (i32.const 200) (i32.const 0) (i32.const 300))))
    ;; t: timers without end
    (if (i32.eq (local.get $what) (i32.const 116)) (then (loop $again (drop (call $after (i64.const 1))) (br $again))))
    ;; w: write all of it to standard output, e: to standard error
    (if (i32.eq (local.get $what) (i32.const 119))
      (then (call $write (call $stdout) (local.get $data) (local.get $bytes) (i32.const 300))))
    (if (i32.eq (local.get $what) (i32.const 101))
      (then (call $write (call $stderr) (local.get $data) (local.get $bytes) (i32.const 300))))
    ;; x: exit, X: all of it to standard error before that; T: the same before a trap
    (if (i32.or (i32.eq (local.get $what) (i32.const 84)) (i32.eq (local.get $what) (i32.const 88)))
      (then (call $write (call $stderr) (local.get $data) (local.get $bytes) (i32.const 300))))
    (if (i32.eq (local.get $what) (i32.const 84)) (then unreachable))
    (if (i32.eq (i32.or (local.get $what) (i32.const 32)) (i32.const 120)) (then (call $exit (i32.const 1))))
    ;; r: a terabyte of chance, c: sixteen bytes of it, twice
    (if (i32.eq (local.get $what) (i32.const 114)) (then (call $random (i64.const 1099511627776) (i32.const 300))))
    (if (i32.eq (local.get $what) (i32.const 99)) (then
      (call $random (i64.const 16) (i32.const 300))
      (call $random (i64.const 16) (i32.const 400))
      (if (i32.ne (i32.load (i32.const 304)) (i32.const 16)) (then unreachable))
      (if (i64.eq (i64.load (i32.load (i32.const 300))) (i64.load (i32.load (i32.const 400)))) (then unreachable))))
    ;; v: look for variables and directories
    (if (i32.eq (local.get $what) (i32.const 118)) (then
      (call $environment (i32.const 300))
      (call $directories (i32.const 400))
      (if (i32.load (i32.const 304)) (then unreachable))
      (if (i32.load (i32.const 404)) (then unreachable))))
    (global.set $free (i32.const 65536))
    (local.get $count)))
