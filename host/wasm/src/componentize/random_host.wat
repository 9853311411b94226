  ;; Chance as the host has it; needs the capability `random`.
  (import "wasi:random/random@0.2.12" "get-random-u64" (func $random (result i64)))
