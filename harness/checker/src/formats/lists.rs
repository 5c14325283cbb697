//! Lists of texts that go on from the last one: what a key's readers see is mostly what they saw before, and a little more.
//!
//! So what a list has in common with the one before it is compared byte by byte, many at a time, and only the rest is
//! taken apart.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use super::json::Json;
use crate::ops::index;

/// What a read returned, if it is a list of texts without blanks and escapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextList<'a> {
    /// What stands between the brackets.
    text: &'a str,
    /// The number of this list: no other has it. Never 0.
    pub(crate) number: u64,
    /// The list with this number begins with the same items,
    pub(crate) before: u64,
    /// so many of them,
    pub(crate) alike: usize,
    /// which take up so many bytes, without the comma after the last.
    alike_bytes: usize,
}

impl<'a> TextList<'a> {
    /// All items.
    pub(crate) fn items(&self) -> Items<'a> {
        Items(Json::new(self.text))
    }

    /// Those after the ones that are alike.
    pub(crate) fn rest(&self) -> Items<'a> {
        let mut items = self.items();
        items.0.skip(self.alike_bytes);
        items.0.passes(b',');
        items
    }
}

/// The items of a list that was looked through already.
#[derive(Debug)]
pub(crate) struct Items<'a>(Json<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let item = self.0.plain_string()?;
        self.0.passes(b',');
        Some(item)
    }
}

/// The lists that were read last, by their keys: one each, and of keys that share a place only the latest.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// None before the first list.
    places: Vec<Last>,
    hasher: DefaultHashBuilder,
    given: u64,
    /// Of all lists together.
    bytes: usize,
}

/// A list that was read.
#[derive(Clone, Debug, Default)]
struct Last {
    /// 0: none.
    number: u64,
    /// What stood between the brackets.
    text: Vec<u8>,
    /// Where in it each item ends.
    ends: Vec<u32>,
}

/// Keys whose lists are remembered, unless two share a place: many more than are written to at the same time.
const PLACES: usize = 1 << 14;

/// What they may take up; beyond it all are forgotten.
const BYTES_MAX: usize = 32 << 20;

impl Lists {
    /// The list that is next, with what it has in common with the key's last one; otherwise none, and nothing is passed.
    pub(super) fn read<'a>(&mut self, key: &str, json: &mut Json<'a>) -> Option<TextList<'a>> {
        let text = json.rest().strip_prefix('[').filter(|text| text.starts_with('"'))?;
        if self.places.is_empty() {
            self.places.resize(PLACES, Last::default());
        }
        let hash = self.hasher.hash_one(key);
        let last = self.places.get_mut(usize::try_from(hash).unwrap_or(0) % PLACES)?;
        self.bytes -= last.bytes();
        let before = last.number;
        let alike = last.keep_what_is_alike(text.as_bytes());
        let alike_bytes = last.length();
        let read = last.go_on(text);
        self.given += 1;
        last.number = self.given;
        if read.is_none() {
            *last = Last::default();
        }
        self.bytes += last.bytes();
        if self.bytes > BYTES_MAX {
            (self.places, self.bytes) = (Vec::new(), 0);
        }
        let length = read?;
        json.skip(length + 2);
        let text = text.get(..length).unwrap_or_default();
        Some(TextList { text, number: self.given, before, alike, alike_bytes })
    }
}

impl Last {
    /// Where its last item ends.
    fn length(&self) -> usize {
        self.ends.last().map_or(0, |&end| index(end))
    }

    /// What it takes up.
    fn bytes(&self) -> usize {
        self.text.capacity() + size_of::<u32>() * self.ends.capacity()
    }

    /// Forgets the items from the first on that is another in this list; so many are left.
    fn keep_what_is_alike(&mut self, text: &[u8]) -> usize {
        let common = common(&self.text, text);
        // Those end where the other list has a quote, too, that ends the same item.
        let alike = self.ends.partition_point(|&end| index(end) <= common);
        self.ends.truncate(alike);
        self.text.truncate(self.length());
        alike
    }

    /// Adds the items that the list has beyond those that are known; tells its length up to the bracket. None: there is
    /// something else in it.
    fn go_on(&mut self, text: &str) -> Option<usize> {
        let mut json = Json::new(text);
        json.skip(self.length());
        loop {
            if !self.ends.is_empty() {
                if json.passes(b']') {
                    break;
                }
                json.passes(b',').then_some(())?;
            }
            json.plain_string()?;
            self.ends.push(u32::try_from(json.at()).ok()?);
        }
        let length = self.length();
        self.text.extend_from_slice(text.as_bytes().get(self.text.len()..length)?);
        Some(length)
    }
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    let chunks = |bytes| <[u8]>::as_chunks::<32>(bytes).0.iter();
    let alike = chunks(one).zip(chunks(other)).take_while(|(one, other)| one == other).count();
    let start = 32 * alike;
    let (one, other) =
        (one.get(start..).unwrap_or_default(), other.get(start..).unwrap_or_default());
    start + one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
pub(crate) mod testing {
    //! For tests of what is done with lists.

    use rand::Rng;
    use rand::rngs::StdRng;

    use super::{Json, Lists, TextList};

    /// A reader's memory of lists.
    #[derive(Debug, Default)]
    pub(crate) struct TextLists(Lists);

    impl TextLists {
        pub(crate) fn read<'a>(&mut self, key: &str, text: &'a str) -> Option<TextList<'a>> {
            self.0.read(key, &mut Json::new(text))
        }
    }

    /// Most lists go on from the one before; some are cut, have another item, or hold what looks like the end of one.
    pub(crate) fn next_list(last: &[String], rng: &mut StdRng) -> Vec<String> {
        const ODD: [&str; 6] = ["", ",", "]", "],[", "é", "v1,v2"];
        let mut list = last.to_vec();
        match rng.random_range(0..8) {
            0 => list.truncate(rng.random_range(0..=last.len())),
            1 if !last.is_empty() => {
                let at = rng.random_range(0..last.len());
                list[at].push(if rng.random() { 'x' } else { ',' });
            }
            2 => list.clear(),
            _ => {}
        }
        for _ in 0..rng.random_range(0..3) {
            list.push(match rng.random_range(0..12) {
                odd @ 0..6 => ODD[odd].to_owned(),
                _ => format!("v{}", rng.random_range(0..3)),
            });
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::testing::next_list;
    use super::*;

    #[test]
    fn lists_say_what_they_have_in_common_with_the_last() {
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut lists = Lists::default();
            let mut last = [Vec::new(), Vec::new()];
            let mut known: Vec<(u64, Vec<String>)> = Vec::new();
            for _ in 0..60 {
                let key = rng.random_range(0..2);
                last[key] = next_list(&last[key], &mut rng);
                let line = format!("{}}}", serde_json::to_string(&last[key]).unwrap());
                let mut json = Json::new(&line);
                let Some(list) = lists.read(["a", "b"][key], &mut json) else {
                    assert!(last[key].is_empty(), "seed {seed}: {line}");
                    continue;
                };
                assert_eq!(json.rest(), "}", "seed {seed}");
                let items: Vec<&str> = list.items().collect();
                assert_eq!(items, last[key], "seed {seed}");
                let rest: Vec<&str> = list.rest().collect();
                assert_eq!(rest, items[list.alike..], "seed {seed}");
                if list.before != 0 {
                    let before = known.iter().find(|(number, _)| *number == list.before);
                    let (_, before) = before.expect("it was read");
                    assert_eq!(before[..list.alike], items[..list.alike], "seed {seed}");
                    let more = before.iter().zip(&items).nth(list.alike);
                    assert!(more.is_none_or(|(one, other)| one != other), "seed {seed}: one more");
                }
                assert!(known.iter().all(|(number, _)| *number != list.number));
                known.push((list.number, last[key].clone()));
            }
        }
    }

    #[test]
    fn what_is_no_list_of_plain_texts_is_left_alone_and_forgotten() {
        let mut lists = Lists::default();
        let mut read = |text: &str| {
            let mut json = Json::new(text);
            let list = lists.read("k", &mut json).map(|list| (list.before, list.alike));
            assert_eq!(list.is_none(), json.rest() == text, "{text}");
            list
        };
        assert_eq!(read(r#"["a","b"]"#), Some((0, 0)));
        assert_eq!(read(r#"["a","b","c"]"#), Some((1, 2)));
        for other in [
            r#"["a","b",3]"#,
            r#"["a" ,"b"]"#,
            r#"["a","b","\u0061"]"#,
            r#"["a","b"#,
            r#"["a","b","#,
            r#"["a","b",]"#,
            "[]",
            r#"[["a"]]"#,
            "null",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(read(r#"["a","b"]"#), Some((0, 0)), "nothing is known of it");
    }

    #[test]
    fn memory_of_lists_is_bounded() {
        let mut lists = Lists::default();
        let text = format!("[\"{}\"]", "x".repeat(1 << 20));
        for key in 0..200 {
            let list = lists.read(&key.to_string(), &mut Json::new(&text));
            assert!(list.is_some());
            assert!(lists.bytes <= BYTES_MAX);
            let held: usize = lists.places.iter().map(Last::bytes).sum();
            assert_eq!(held, lists.bytes);
        }
    }
}
