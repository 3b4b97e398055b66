#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| orchestrator_targets::run("packet", input));
