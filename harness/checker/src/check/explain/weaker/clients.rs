//! What is known of each client.

use hashbrown::HashMap;

use crate::ops::{KeyOps, index};

/// Something for each client of a key, at first its default.
pub(super) enum ByClient<T> {
    /// By number: where clients are no more than operations. Most of what is asked for is in the processor's caches.
    Dense(Vec<T>),
    /// Few of many.
    Sparse(HashMap<u32, T>),
}

impl<T: Clone + Default> ByClient<T> {
    pub(super) fn new(key: &KeyOps) -> ByClient<T> {
        let clients = key.ops.iter().map(|op| index(op.process) + 1).max().unwrap_or(0);
        if clients <= key.ops.len() {
            ByClient::Dense(vec![T::default(); clients])
        } else {
            ByClient::Sparse(HashMap::new())
        }
    }

    /// One client's.
    pub(super) fn of(&mut self, client: u32) -> &mut T {
        match self {
            ByClient::Dense(all) => &mut all[index(client)],
            ByClient::Sparse(all) => all.entry(client).or_default(),
        }
    }
}
