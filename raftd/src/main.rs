//! The `raftd` command.

fn main() {}
