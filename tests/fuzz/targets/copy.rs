#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| identity_mapper::fuzzing::copy(bytes));
