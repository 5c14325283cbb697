//! The operations that make a contradiction one: with each read the write that it saw, with each link of a block the cas,
//! and with each write of unknown outcome somebody who saw it.

use super::clusters::{Clusters, Role, Source, role};
use super::source_op;
use crate::check::direct::verify::is_certain;
use crate::ops::{KeyOps, index};

/// Collects them.
pub(super) struct Core<'a> {
    pub(super) key: &'a KeyOps,
    pub(super) clusters: &'a Clusters,
    ops: Vec<u32>,
}

impl<'a> Core<'a> {
    pub(super) fn new(key: &'a KeyOps, clusters: &'a Clusters) -> Core<'a> {
        Core { key, clusters, ops: Vec::new() }
    }

    pub(super) fn add(&mut self, id: u32) {
        if !self.ops.contains(&id) {
            self.ops.push(id);
        }
    }

    pub(super) fn add_source(&mut self, source: Source) {
        if let Some(id) = source_op(source) {
            self.add(id);
        }
    }

    /// The clusters from one to another one further on in the same block.
    pub(super) fn add_chain(&mut self, from: Source, to: Source) {
        for source in self.clusters.chain(from) {
            self.add_source(source);
            if source == to {
                break;
            }
        }
    }

    /// The operations, with proof that those of unknown outcome happened.
    pub(super) fn finish(mut self) -> Vec<u32> {
        let mut next = 0;
        while let Some(&id) = self.ops.get(next) {
            next += 1;
            // Operations of unknown outcome that saw each other prove nothing.
            let is_proof = |other: u32| {
                is_certain(&self.key.ops[index(other)]) && self.saw(other) == Some(id + 1)
            };
            let is_seen = self.ops.iter().any(|&other| is_proof(other));
            if let (false, Some(&observer)) = (is_seen, self.clusters.seen_by.get(&(id + 1))) {
                self.add(observer);
            }
        }
        self.ops
    }

    /// The cluster whose value an operation saw.
    fn saw(&self, id: u32) -> Option<Source> {
        match role(&self.key.ops[index(id)]) {
            Role::Observer(word) | Role::Swap { expect: word, .. } => {
                Some(self.clusters.source(word))
            }
            Role::Writer(_) | Role::Free | Role::Nothing | Role::Foreign => None,
        }
    }
}
