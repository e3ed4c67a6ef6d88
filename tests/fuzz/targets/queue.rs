#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| identity_mapper::fuzzing::queue(text));
