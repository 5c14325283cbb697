#![no_main]

use history_checker::formats::Format;
use libfuzzer_sys::fuzz_target;

mod read;

fuzz_target!(|data: &[u8]| read::read(data, Some(Format::Operations)));
