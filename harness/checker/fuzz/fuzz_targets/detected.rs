#![no_main]

use libfuzzer_sys::fuzz_target;

mod read;

fuzz_target!(|data: &[u8]| read::read(data, None));
