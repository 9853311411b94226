;; World `batches` of wasmill:handler, around a component of world `guest` (wit/guest.wit), which `build.js` puts in the
;; place of the empty one below. `wrap.component` is this file as `wasm-tools parse` writes it.
(component $wrap
  (import "wasmill:handler/types@0.1.0" (instance $types
    (type $setting' (record (field "key" string) (field "value" string)))
    (export "setting" (type $setting (eq $setting')))
    (type $config (list $setting))
    (type $context' (record
      (field "pipeline" string) (field "group" string) (field "digest" string) (field "config" $config)))
    (export "context" (type $context (eq $context')))
  ))
  (import "wasmill:handler/log@0.1.0" (instance $log
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "write" (func (param "level" $level) (param "text" string)))
  ))
  (import "wasmill:handler/topics@0.1.0" (instance $topics
    (export "number" (func (param "name" string) (result (result u32 (error string)))))
    (export "source-name" (func (param "source" u32) (result string)))
  ))
  (import "wasmill:handler/outcome@0.1.0" (instance $outcome
    (export "emit" (func
      (param "data" (list u8)) (param "table" (list u32)) (param "stride" u32) (param "count" u32)))
    (export "fail" (func (param "message" u32) (param "retry-after" (option u32)) (param "reason" string)))
  ))

  ;; Memory for what is handed over in a call. All of it is taken back when the call is over.
  (core module $arena
    (memory (export "memory") 1)
    ;; The first words are for results.
    (global $top (mut i32) (i32.const 16))
    (func (export "reset") (global.set $top (i32.const 16)))
    (func (export "allocate") (param $old i32) (param $old-length i32) (param $align i32) (param $length i32) (result i32)
      (local $at i32)
      ;; The next multiple of 16: nothing in the contract is aligned to more.
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (global.set $top (i32.add (local.get $at) (local.get $length)))
      (if (i32.lt_u (global.get $top) (local.get $at)) (then unreachable))
      (block $fits
        (br_if $fits (i64.le_u
          (i64.extend_i32_u (global.get $top))
          (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
        (br_if $fits (i32.ne (i32.const -1) (memory.grow
          (i32.sub
            (i32.wrap_i64 (i64.shr_u (i64.add (i64.extend_i32_u (global.get $top)) (i64.const 65535)) (i64.const 16)))
            (memory.size)))))
        unreachable)
      (memory.copy (local.get $at) (local.get $old) (local.get $old-length))
      (local.get $at))
  )

  ;; UTF-8 for the guest, whose engine has none: a loop in JavaScript takes 100 ns a byte.
  (component $text
    (alias outer $wrap $arena (core module $arena))
    (core instance $arena (instantiate $arena))
    (alias core export $arena "memory" (core memory $memory))
    (alias core export $arena "allocate" (core func $allocate))

    (core module $utf8
      (import "arena" "memory" (memory 1))
      (import "arena" "reset" (func $reset))
      ;; The bytes become the string, where they are.
      (func (export "decode") (param $at i32) (param $length i32) (result i32)
        (i32.store (i32.const 0) (call $valid (local.get $at) (local.get $length)))
        (i32.store (i32.const 4) (local.get $at))
        (i32.store (i32.const 8) (local.get $length))
        (i32.const 0))
      ;; A string is handed over as UTF-8, which is all that is asked for.
      (func (export "encode") (param $at i32) (param $length i32) (result i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $length))
        (i32.const 0))
      (func (export "done") (param i32) (call $reset))
      ;; Whether bytes are UTF-8.
      (func $valid (param $at i32) (param $length i32) (result i32)
        (local $end i32) (local $lead i32) (local $byte i32) (local $more i32)
        (local.set $end (i32.add (local.get $at) (local.get $length)))
        (loop $next
          (if (i32.ge_u (i32.sub (local.get $end) (local.get $at)) (i32.const 8)) (then
            (if (i64.eqz (i64.and (i64.load (local.get $at)) (i64.const 0x8080808080808080))) (then
              (local.set $at (i32.add (local.get $at) (i32.const 8)))
              (br $next)))))
          (if (i32.eq (local.get $at) (local.get $end)) (then (return (i32.const 1))))
          (local.set $lead (i32.load8_u (local.get $at)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $lead) (i32.const 0x80)))
          (if (i32.lt_u (local.get $lead) (i32.const 0xc2)) (then (return (i32.const 0))))
          (if (i32.gt_u (local.get $lead) (i32.const 0xf4)) (then (return (i32.const 0))))
          ;; How many bytes must follow.
          (local.set $more (i32.add (i32.const 1) (i32.add
            (i32.ge_u (local.get $lead) (i32.const 0xe0))
            (i32.ge_u (local.get $lead) (i32.const 0xf0)))))
          (if (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (local.get $more)) (then (return (i32.const 0))))
          ;; The first of them must not make it overlong, a surrogate or more than U+10FFFF.
          (local.set $byte (i32.load8_u (local.get $at)))
          (if (i32.lt_u (local.get $byte)
                (select (i32.const 0xa0)
                  (select (i32.const 0x90) (i32.const 0x80) (i32.eq (local.get $lead) (i32.const 0xf0)))
                  (i32.eq (local.get $lead) (i32.const 0xe0))))
            (then (return (i32.const 0))))
          (if (i32.gt_u (local.get $byte)
                (select (i32.const 0x9f)
                  (select (i32.const 0x8f) (i32.const 0xbf) (i32.eq (local.get $lead) (i32.const 0xf4)))
                  (i32.eq (local.get $lead) (i32.const 0xed))))
            (then (return (i32.const 0))))
          (loop $following
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (local.set $more (i32.sub (local.get $more) (i32.const 1)))
            (br_if $next (i32.eqz (local.get $more)))
            (br_if $following (i32.eq (i32.const 0x80) (i32.and (i32.const 0xc0) (i32.load8_u (local.get $at))))))
          (return (i32.const 0)))
        unreachable)
    )
    (core instance $utf8 (instantiate $utf8 (with "arena" (instance $arena))))
    (alias core export $utf8 "decode" (core func $decode))
    (alias core export $utf8 "encode" (core func $encode))
    (alias core export $utf8 "done" (core func $done))
    (func (export "decode") (param "bytes" (list u8)) (result (option string))
      (canon lift (core func $decode) (memory $memory) (realloc $allocate) (post-return $done)))
    (func (export "encode") (param "text" string) (result (list u8))
      (canon lift (core func $encode) (memory $memory) (realloc $allocate) (post-return $done)))
  )
  (instance $text (instantiate $text))

  ;; The guest. It has no name here: a name would make it larger than empty.
  (component)

  (instance $guest (instantiate 1
    (with "wasmill:handler/log@0.1.0" (instance $log))
    (with "wasmill:handler/topics@0.1.0" (instance $topics))
    (with "wasmill:handler/outcome@0.1.0" (instance $outcome))
    (with "wasmill:javascript/text" (instance $text))
  ))

  ;; Beside the guest, because a component may not call one that it contains.
  (component $adapter
    (type $setting' (record (field "key" string) (field "value" string)))
    (import "setting" (type $setting (eq $setting')))
    (type $config (list $setting))
    (type $context' (record
      (field "pipeline" string) (field "group" string) (field "digest" string) (field "config" $config)))
    (import "context" (type $context (eq $context')))
    (import "start" (func $start
      (param "pipeline" string) (param "group" string) (param "digest" string)
      (param "config" (list (tuple string string))) (result (result (error string)))))
    (import "handle" (func $handle
      (param "source" u32) (param "partition" s32) (param "data" (list u8)) (param "table" (list u8))
      (param "stride" u32) (param "count" u32) (result u32)))

    (alias outer $wrap $arena (core module $arena))
    (core instance $arena (instantiate $arena))
    (alias core export $arena "memory" (core memory $memory))
    (alias core export $arena "allocate" (core func $allocate))

    (core func $start (canon lower (func $start) (memory $memory) (realloc $allocate)))
    (core func $handle (canon lower (func $handle) (memory $memory)))
    (core instance $calls (export "start" (func $start)) (export "handle" (func $handle)))

    (core module $adapter
      (import "guest" "start" (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "guest" "handle" (func $handle (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (import "arena" "reset" (func $reset))
      (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (call $start
          (local.get 0) (local.get 1) (local.get 2) (local.get 3)
          (local.get 4) (local.get 5) (local.get 6) (local.get 7)
          (i32.const 0))
        (i32.const 0))
      (func (export "handle")
        (param $source i32) (param $partition i32) (param $data i32) (param $length i32)
        (param $table i32) (param $words i32) (param $stride i32) (param $count i32) (result i32)
        (call $handle
          (local.get $source) (local.get $partition) (local.get $data) (local.get $length)
          (local.get $table) (i32.shl (local.get $words) (i32.const 2))
          (local.get $stride) (local.get $count))
        (call $reset))
    )
    (core instance $adapter (instantiate $adapter
      (with "guest" (instance $calls))
      (with "arena" (instance $arena))
    ))

    (alias core export $adapter "init" (core func $init))
    (alias core export $adapter "handle" (core func $handle-words))
    (func (export "init") (param "context" $context) (result (result (error string)))
      (canon lift (core func $init) (memory $memory) (realloc $allocate)))
    (func (export "handle")
      (param "source" u32) (param "partition" s32) (param "data" (list u8)) (param "table" (list u32))
      (param "stride" u32) (param "count" u32) (result u32)
      (canon lift (core func $handle-words) (memory $memory) (realloc $allocate)))
  )

  (alias export $types "setting" (type $setting))
  (alias export $types "context" (type $context))
  (alias export $guest "start" (func $start))
  (alias export $guest "handle" (func $handle))
  (instance $adapter (instantiate $adapter
    (with "setting" (type $setting))
    (with "context" (type $context))
    (with "start" (func $start))
    (with "handle" (func $handle))
  ))
  (export "init" (func $adapter "init"))
  (export "handle" (func $adapter "handle"))
)
