#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coshift_tests::fuzz::import(bytes));
