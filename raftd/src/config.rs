//! `cluster.toml`, checked on load.
