//! Which block reaches furthest, leaving out one.

/// The latest of some moments, and the latest of another block.
#[derive(Default)]
pub(in crate::check::direct) struct LatestTwo {
    first: Option<(i64, u32)>,
    second: Option<(i64, u32)>,
}

impl LatestTwo {
    /// Another moment of a block.
    pub(in crate::check::direct) fn insert(&mut self, moment: i64, block: u32) {
        let entry = Some((moment, block));
        match self.first {
            Some((_, known)) if known == block => self.first = self.first.max(entry),
            Some((latest, _)) if latest >= moment => {
                if self.second.is_none_or(|(second, _)| second < moment) {
                    self.second = entry;
                }
            }
            _ => {
                self.second = self.first;
                self.first = entry;
            }
        }
    }

    /// A block other than this one with a moment after the given one.
    pub(in crate::check::direct) fn other_after(&self, moment: i64, block: u32) -> Option<u32> {
        let (latest, other) = if self.first.is_some_and(|(_, first)| first == block) {
            self.second?
        } else {
            self.first?
        };
        (latest > moment).then_some(other)
    }
}
