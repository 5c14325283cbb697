//! The simulator: the real consensus core in a world made of virtual time.
//!
//! One run is one seed: it says how many nodes there are, what breaks when, what clients and operators ask for, and how
//! every small chance turns out. Nothing else comes in: no clock, no threads, no order of a hash map. So a seed gives the
//! same run byte for byte, for ever.
//!
//! | module | what |
//! |---|---|
//! | `plan`, `rng` | what is drawn from the seed up front; chance on the way |
//! | `world` | what happens next, and the driver of the core: the contract of [`raft_core::effects`] |
//! | `host`, `disk`, `network` | machines with their clocks, what a crash takes away, links with their moods |
//! | `clients` | sessions, retries, and the history they leave |
//! | `snapshots` | snapshot files |
//! | `faults`, `healing` | what breaks and is changed, and the end: everything must be well again |
//! | `safety`, `duties`, `violation` | what must never happen |
//! | `shrink` | from a failure to the few faults and operations that it takes |
//! | [`campaign`] | many seeds, and what is told of them |

pub mod campaign;
mod clients;
mod disk;
mod duties;
mod faults;
mod healing;
mod host;
mod network;
mod notation;
mod plan;
mod rng;
mod safety;
mod shrink;
mod snapshots;
mod tally;
mod violation;
mod world;

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

pub use shrink::{Shrunk, shrink};
pub use tally::Tally;
pub use violation::Violation;

use plan::Plan;
use world::World;

use crate::workload::Object;

/// The workloads that a seed may draw.
pub const MODELS: [Object; 4] =
    [Object::Register, Object::CasRegister, Object::Append, Object::Counter];

/// What a run may be told beside its seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How many nodes found the cluster; otherwise the seed says.
    pub nodes: Option<u64>,
    /// What the clients do; otherwise the seed says.
    pub model: Option<Object>,
    /// For tests of the simulator.
    #[doc(hidden)]
    pub sabotage: Sabotage,
}

/// Mistakes of the simulator's own driver, to see whether they would be noticed.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None: the contract is kept.
    #[default]
    None,
    /// Crashes take away what was synced.
    ForgetSynced,
    /// Messages do not wait for the disk.
    AckBeforeSync,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Run {
    /// What happened, counted.
    pub tally: Tally,
    /// What went wrong.
    pub violation: Option<Violation>,
    /// What happened, line by line, if wanted.
    pub trace: Vec<String>,
}

/// Runs one seed.
pub fn run(seed: u64, settings: &Settings, traced: bool) -> Run {
    play(&Plan::draw(seed, settings), settings.sabotage, traced)
}

/// Runs a plan, to its end or to the first violation.
fn play(plan: &Plan, sabotage: Sabotage, traced: bool) -> Run {
    listen_to_panics();
    let mut world = World::new(plan, sabotage, traced);
    PANICS.set(Some(Vec::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let panics = PANICS.take().unwrap_or_default();
    let violation = match outcome {
        Ok(outcome) => outcome.err(),
        Err(payload) => Some(stopped(&*payload, &panics)),
    };
    if let Some(violation) = &violation {
        world.say(&format!("VIOLATION: {violation}"));
    }
    Run { tally: world.tally, violation, trace: world.trace.unwrap_or_default() }
}

thread_local! {
    /// While a run goes on: where panics happened, instead of on stderr.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Panics within a run are results of it, and of no interest to stderr.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_ours = PANICS.with_borrow_mut(|panics| {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                panics.as_mut().map(|panics| panics.push(place)).is_some()
            });
            if !is_ours {
                before(info);
            }
        }));
    });
}

/// A node stopped itself: one of its invariants does not hold.
fn stopped(payload: &(dyn Any + Send), places: &[String]) -> Violation {
    let text = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default();
    let place = places.first().map_or("an unknown place", String::as_str);
    Violation::new(format!("no panic at {place}"), text)
}
