;; A handler of world `messages`, written by hand: it sends every value on in upper case (ASCII letters), with its key and
;; headers, and drops messages that have no value. `wasmill build` gives the module the type of the world.
;;
;; Names and types are those of wit/handler.wit in the component model's canonical ABI: a string or list is a start and a
;; length, an option has a word in front that says whether it is there, and what does not fit into one result comes back in
;; memory, at the address that is returned.
(module
  (import "wasmill:handler/log@0.1.0" "write" (func $log (param $level i32) (param $text i32) (param $length i32)))

  ;; Below 1024:  16 what `init` returns   32 what `handle` returns   64 the output   256 a text
  ;; From there on the host puts what it hands over. All of this is 0 until somebody writes it.
  (memory (export "memory") 1)
  (data (i32.const 256) "dropped: no value")
  (global $free (mut i32) (i32.const 1024))

  ;; The host asks for memory before a call. It never asks for more of what it has.
  (func (export "cabi_realloc") (param $old i32) (param $old-length i32) (param $align i32) (param $length i32) (result i32)
    (local $at i32) (local $pages i32)
    ;; The next multiple of 16: nothing in the contract is aligned to more.
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $length)))
    (if (i32.lt_u (global.get $free) (local.get $at)) (then unreachable))
    (local.set $pages (i32.add (i32.shr_u (global.get $free) (i32.const 16)) (i32.const 1)))
    (if (i32.gt_u (local.get $pages) (memory.size))
      (then
        (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1)) (then unreachable))))
    (local.get $at))

  ;; Called once the host has read what was returned: all that was handed over can go.
  (func $forget (param i32) (global.set $free (i32.const 1024)))
  (export "cabi_post_init" (func $forget))
  (export "cabi_post_handle" (func $forget))

  ;; The context is pipeline, group, digest and settings. The result at 16 is `ok`, which is 0.
  (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 16))

  (func (export "handle")
    (param $topic i32) (param $topic-length i32) (param $partition i32) (param $offset i64)
    (param $has-timestamp i32) (param $timestamp i64) (param $attempt i32)
    (param $has-key i32) (param $key i32) (param $key-length i32)
    (param $has-value i32) (param $value i32) (param $value-length i32)
    (param $headers i32) (param $header-count i32)
    (result i32)
    ;; The result at 32: `ok` (0), then a list of outputs, its start and how many. So far none.
    (i32.store (i32.const 36) (i32.const 64))
    (i32.store (i32.const 40) (i32.const 0))
    (if (i32.eqz (local.get $has-value))
      (then
        (call $log (i32.const 1) (i32.const 256) (i32.const 17)) ;; 1: debug
        (return (i32.const 32))))
    (call $upper (local.get $value) (i32.add (local.get $value) (local.get $value-length)))
    ;; The output at 64. Topic, partition and timestamp stay absent: the default topic, by key, as the message has it.
    (i32.store8 (i32.const 104) (local.get $has-key))
    (i32.store (i32.const 108) (local.get $key))
    (i32.store (i32.const 112) (local.get $key-length))
    (i32.store8 (i32.const 116) (i32.const 1))
    (i32.store (i32.const 120) (local.get $value))
    (i32.store (i32.const 124) (local.get $value-length))
    (i32.store (i32.const 128) (local.get $headers))
    (i32.store (i32.const 132) (local.get $header-count))
    (i32.store (i32.const 40) (i32.const 1))
    (i32.const 32))

  ;; In place: what the host has handed over belongs to the handler.
  (func $upper (param $at i32) (param $end i32)
    (local $byte i32)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        ;; 97 to 122: a to z.
        (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
          (then (i32.store8 (local.get $at) (i32.sub (local.get $byte) (i32.const 32)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))))
