//! The check while a run goes on: certain violations as soon as they are certain.

use std::fmt;

use crate::check::decision::Contradiction;
use crate::check::direct::Online;
use crate::datum::Datum;
use crate::history::builder::{Builder, Extra, Said};
use crate::history::{Broken, Event, Header, Kind, ReadOptions, reader};
use crate::model::Model;
use crate::ops::{Seen, index};

/// Follows a history while it is written.
///
/// It reports what the tests without a search find, at the completion that makes it certain. What it does not report may
/// still be wrong: [`crate::check()`] decides, afterwards.
pub struct Watcher {
    builder: Builder,
    /// By key, in order of appearance. None where there is no such test for the model.
    objects: Vec<Option<Online>>,
}

impl Watcher {
    /// Of a history with this header.
    pub fn new(header: &Header) -> Result<Watcher, Broken> {
        let model = Model::named(&header.model)
            .ok_or_else(|| Broken::Model { model: header.model.clone() })?;
        let options = ReadOptions { initial: header.initial.clone(), ..ReadOptions::default() };
        Ok(Watcher { builder: Builder::new(model, &options, true), objects: Vec::new() })
    }

    /// Takes the next event. Those of others than clients are passed over. The violation, if it makes one certain;
    /// operations are told by their place among those of the key.
    pub fn add(&mut self, event: &Event) -> Result<Option<Contradiction>, Broken> {
        let value = Datum::from(&event.value);
        let Some(said) = reader::said(event, &value) else { return Ok(None) };
        // Nothing is explained here, so nothing but the operation itself is kept.
        let place = self.builder.add(&Said { extra: Extra::default(), ..said })?;
        let keys = self.builder.keys();
        while let Some(key) = keys.get(self.objects.len()) {
            self.objects.push(Online::new(key));
        }
        let (key, op) = (&keys[index(place.key)], place.op);
        let Some(object) = &mut self.objects[index(place.key)] else { return Ok(None) };
        let known = &key.ops[index(op)];
        if event.kind == Kind::Invoke {
            object.call(op, known);
            return Ok(None);
        }
        let list = if let Seen::List(list) = known.seen { key.list(list) } else { &[] };
        Ok(object.complete(op, known, list))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("keys", &self.objects.len()).finish_non_exhaustive()
    }
}
