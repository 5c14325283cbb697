//! Tests against real processes.

mod storage;
