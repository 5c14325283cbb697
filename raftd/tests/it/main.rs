//! Tests against real processes, and of the source tree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod members;
mod rest;
mod smoke;
mod snapshots;
mod standing;
mod storage;
mod support;
mod tidy;
mod transfer;
