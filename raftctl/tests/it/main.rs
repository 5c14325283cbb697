//! Tests against real processes.
