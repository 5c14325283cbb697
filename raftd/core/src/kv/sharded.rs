//! A map whose copies are made at once, and cost memory and time only as the two then change.
//!
//! It is a tree of fixed shape: a root of [`WIDTH`] groups, each of [`WIDTH`] shards, each a map of its own. A key's
//! digest says in which shard it is. All parts are shared between copies; a change copies the group and the shard that
//! it touches, if others hold them too. So a copy costs the root, and the first change of a key after it two small
//! pieces: with a million keys, a shard has some sixty.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hash::Digest;

const WIDTH_BITS: u32 = 7;
const WIDTH: usize = 1 << WIDTH_BITS;

/// A key, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) text: &'a str,
    pub(super) digest: Digest,
}

/// From texts to values.
#[derive(Clone, Debug)]
pub(super) struct Sharded<V> {
    groups: Vec<Arc<Group<V>>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Group<V> {
    shards: Vec<Arc<Shard<V>>>,
    /// Keys in all of them; most groups of a small map have none, and need not be looked through.
    len: usize,
}

type Shard<V> = BTreeMap<Arc<str>, V>;

impl<'a> Key<'a> {
    pub(super) fn of(text: &'a str) -> Key<'a> {
        Key { text, digest: Digest::of(text) }
    }

    /// Which of all shards it is in. The digest's low bits alone say little about the last character; a
    /// multiplication brings all of it to the top.
    fn shard(self) -> usize {
        let mixed = self.digest.word().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mixed >> (u64::BITS - 2 * WIDTH_BITS)).expect("a few bits fit")
    }

    /// By this, keys are in the order of [`Sharded::iter`]. Fixed for good: it is the order of the lines in a file.
    pub(super) fn rank(self) -> (usize, &'a str) {
        (self.shard(), self.text)
    }
}

impl<V: Clone> Sharded<V> {
    /// Cheap: all groups and shards are one.
    pub(super) fn new() -> Sharded<V> {
        let shard = Arc::new(Shard::new());
        let group = Arc::new(Group { shards: vec![shard; WIDTH], len: 0 });
        Sharded { groups: vec![group; WIDTH], len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: Key<'_>) -> Option<&V> {
        let shard = key.shard();
        self.groups[shard / WIDTH].shards[shard % WIDTH].get(key.text)
    }

    /// The value, to be changed.
    pub(super) fn get_mut(&mut self, key: Key<'_>) -> Option<&mut V> {
        self.parts_mut(key).1.get_mut(key.text)
    }

    /// Adds a key that is not there yet.
    pub(super) fn insert(&mut self, key: Key<'_>, value: V) {
        let (group_len, shard) = self.parts_mut(key);
        let before = shard.insert(Arc::from(key.text), value);
        assert!(before.is_none(), "{:?} was there already", key.text);
        *group_len += 1;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: Key<'_>) -> Option<V> {
        // Looked up first: what is not there needs no copy.
        self.get(key)?;
        let (group_len, shard) = self.parts_mut(key);
        let removed = shard.remove(key.text)?;
        *group_len -= 1;
        self.len -= 1;
        Some(removed)
    }

    /// Everything, in the order of [`Key::rank`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        let groups = self.groups.iter().filter(|group| group.len > 0);
        groups.flat_map(|group| group.shards.iter()).flat_map(|shard| shard.iter())
    }

    /// The key's shard and the length of its group, both of this copy alone.
    fn parts_mut(&mut self, key: Key<'_>) -> (&mut usize, &mut Shard<V>) {
        let shard = key.shard();
        let group = Arc::make_mut(&mut self.groups[shard / WIDTH]);
        (&mut group.len, Arc::make_mut(&mut group.shards[shard % WIDTH]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many shards two copies do not share.
    fn apart<V>(a: &Sharded<V>, b: &Sharded<V>) -> usize {
        let shards = |map: &Sharded<V>| -> Vec<Arc<Shard<V>>> {
            map.groups.iter().flat_map(|group| group.shards.iter().cloned()).collect()
        };
        shards(a).iter().zip(&shards(b)).filter(|(a, b)| !Arc::ptr_eq(a, b)).count()
    }

    #[test]
    fn change_copies_one_shard_once() {
        let mut map = Sharded::new();
        for i in 0..50_000 {
            map.insert(Key::of(&format!("key-{i}")), 0);
        }
        let copy = map.clone();
        assert_eq!(apart(&map, &copy), 0);
        for n in 1..4 {
            *map.get_mut(Key::of("key-7")).unwrap() = n;
            assert_eq!(apart(&map, &copy), 1);
        }
        assert_eq!(map.remove(Key::of("none")), None);
        assert_eq!(apart(&map, &copy), 1);
        assert_eq!((map.get(Key::of("key-7")), copy.get(Key::of("key-7"))), (Some(&3), Some(&0)));
    }

    #[test]
    fn keys_that_differ_little_are_spread_over_all_shards() {
        let mut counts = vec![0; WIDTH * WIDTH];
        for i in 0..1_000_000 {
            counts[Key::of(&format!("key-{i:012}")).shard()] += 1;
        }
        // 61 on average; 61 + 8 standard deviations.
        assert!(counts.iter().all(|count| (1..125).contains(count)), "{:?}", counts.iter().max());
    }

    #[test]
    fn rank_stays_as_it_was_in_older_builds() {
        // It is the order of lines in snapshot files: those of older builds must stay readable.
        let shards = ["", "x", "y", "key-1", "é"].map(|text| Key::of(text).shard());
        assert_eq!(shards, [15_918, 12_640, 10_416, 15_162, 2_557]);
    }
}
