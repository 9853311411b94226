;; A module as a compiler for WASI preview 1 leaves it: no component type, and imports of that interface. Its `init` tries
;; them and traps where one answers what it must not, or leaves memory changed that is not its own.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (data (i32.const 100) "hello\n\ffrest")
  (func $sure (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; Now, by the clock of that number, with the bytes behind the answer watched.
  (func $now (param $clock i32) (result i64)
    (i64.store (i32.const 56) (i64.const 0x1122334455667788))
    (call $sure (i32.eqz (call $clock (local.get $clock) (i64.const 0) (i32.const 48))))
    (call $sure (i64.eq (i64.load (i32.const 56)) (i64.const 0x1122334455667788)))
    (i64.load (i32.const 48)))

  (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (local $wall i64)
    ;; Two pieces in one write: "hello\n" and bytes that are no text.
    (i32.store (i32.const 16) (i32.const 100))
    (i32.store (i32.const 20) (i32.const 6))
    (i32.store (i32.const 24) (i32.const 106))
    (i32.store (i32.const 28) (i32.const 5))
    (i64.store (i32.const 36) (i64.const 0x1122334455667788))
    (call $sure (i32.eqz (call $fd_write (i32.const 1) (i32.const 16) (i32.const 2) (i32.const 32))))
    (call $sure (i32.eq (i32.load (i32.const 32)) (i32.const 11)))
    (call $sure (i64.eq (i64.load (i32.const 36)) (i64.const 0x1122334455667788)))
    ;; Nothing but standard output and error can be written to.
    (call $sure (i32.eq (call $fd_write (i32.const 3) (i32.const 16) (i32.const 2) (i32.const 32)) (i32.const 8)))

    (local.set $wall (call $now (i32.const 0)))
    (call $sure WALL)
    (call $sure (i64.lt_u (call $now (i32.const 1)) (call $now (i32.const 1))))
    ;; From 101 to 100 the host is not asked and time stands.
    (drop (call $clock (i32.const 101) (i64.const 0) (i32.const 48)))
    (call $sure (i64.eq (call $now (i32.const 1)) (call $now (i32.const 1))))
    (drop (call $clock (i32.const 100) (i64.const 0) (i32.const 48)))
    (local.set $wall (call $now (i32.const 1)))

    ;; A timer of a millisecond, and a subscription to a file, which never comes.
    (i64.store (i32.const 200) (i64.const 7))
    (i32.store8 (i32.const 208) (i32.const 0))
    (i32.store (i32.const 216) (i32.const 1))
    (i64.store (i32.const 224) (i64.const 1000000))
    (i32.store16 (i32.const 240) (i32.const 0))
    (i64.store (i32.const 248) (i64.const 9))
    (i32.store8 (i32.const 256) (i32.const 1))
    (call $sure (i32.eqz (call $poll (i32.const 200) (i32.const 400) (i32.const 2) (i32.const 500))))
    (call $sure (i32.eq (i32.load (i32.const 500)) (i32.const 1)))
    (call $sure (i64.eq (i64.load (i32.const 400)) (i64.const 7)))
    (call $sure (i64.ge_u (i64.sub (call $now (i32.const 1)) (local.get $wall)) (i64.const 1000000)))

    (call $sure (i32.eqz (call $random (i32.const 600) (i32.const 13))))
    (call $sure (i64.ne (i64.load (i32.const 600)) (i64.const 0)))
    (call $sure (i64.ne (i64.load (i32.const 600)) (i64.load (i32.const 605))))
    (call $sure (i32.eqz (i32.load8_u (i32.const 613))))
    (call $sure (i32.eqz (call $environ (i32.const 700) (i32.const 704))))
    (call $sure (i64.eqz (i64.load (i32.const 700))))
    (call $sure (i32.eq (i32.const 2)
      (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 5) (i32.const 0) (i64.const 0) (i64.const 0)
        (i32.const 0) (i32.const 700))))
    (i32.const 0))

  (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local.get 7)))
