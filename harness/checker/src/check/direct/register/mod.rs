//! Registers and cas-registers whose values tell who wrote them (zones, after Gibbons and Korach 1997).
//!
//! A value that was written once, with everybody who saw it, is a *cluster*: in any order these operations stand
//! together, the write first. Another cluster comes wholly before or after. With `f` the earliest return in a cluster and
//! `s` its latest call, A has to come before B if `f(A) < s(B)`. Sorted by the smaller of `f` and `s`, each comes after
//! all that have to come before it, unless two have to come before each other; then no order exists.
//!
//! A cas that succeeded is last in the cluster of the value that it expected and first in that of its new one, so it
//! links them to a *block* of clusters that stand together in this sequence. Blocks have `f` and `s` as clusters have.
//!
//! A write that nobody saw is a cluster of its own if it was acknowledged, and may be left out otherwise: no one can
//! tell. One of unknown outcome that somebody saw did happen, and never returned.
//!
//! What saw a value that several may have written, as deletes do, contradicts if another value certainly came after all
//! of these. Otherwise a good guess which one it was may still give an order.

mod choice;
mod clusters;
mod conflicts;
mod core;
mod latest;
mod several;

use self::clusters::{Clusters, Source};
pub(super) use self::clusters::{Role, role};
pub(super) use self::latest::LatestTwo;
use super::Contradictions;
use super::place::insert_free;
use crate::ops::{KeyOps, index};

/// An order of all clusters, if each value that was seen tells who wrote it or a good guess can be made.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    let mut clusters = Clusters::of(key);
    if clusters.is_foreign || !clusters.broken.is_empty() {
        return None;
    }
    if clusters.is_ambiguous {
        clusters = Clusters::with_choice(key, choice::choose(key, &clusters)?);
        if clusters.is_ambiguous || !clusters.broken.is_empty() {
            return None;
        }
    }
    let (order, _) = clusters.in_order(key);
    Some(insert_free(key, order, clusters.free))
}

/// What contradicts in clusters and between them.
pub(super) fn contradictions(key: &KeyOps, found: &mut Contradictions) {
    let clusters = Clusters::of(key);
    if !clusters.is_foreign {
        conflicts::find(key, &clusters, found);
    }
}

/// The operation that is a cluster's source, unless that is the initial value.
fn source_op(source: Source) -> Option<u32> {
    source.checked_sub(1)
}

fn source_call(key: &KeyOps, source: Source) -> Option<crate::ops::Position> {
    source_op(source).map(|op| key.ops[index(op)].call)
}
