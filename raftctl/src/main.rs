//! The `raftctl` command.

fn main() {}
