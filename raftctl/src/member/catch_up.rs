//! Waiting for new members to get the log.

use std::collections::BTreeSet;
use std::time::Duration;

use raftctl::{NodeId, Status};
use tokio::time::{Instant, sleep};

/// How often the leader is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often it is told how far things are.
const SPEAK_EVERY: Duration = Duration::from_secs(1);

/// Members that are to get the log, by a certain time.
pub(super) struct CatchUp {
    members: BTreeSet<NodeId>,
    deadline: Instant,
    next_words: Instant,
    said: String,
}

/// How far they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All have it.
    Done,
    /// Not yet, in words.
    Waiting(String),
}

impl CatchUp {
    pub(super) fn new(members: BTreeSet<NodeId>, deadline: Instant) -> CatchUp {
        let next_words = Instant::now() + SPEAK_EVERY;
        CatchUp { members, deadline, next_words, said: String::new() }
    }

    /// What the leader says of them.
    pub(super) fn look(&self, leader: &Status) -> Progress {
        let lacking: Vec<String> = self.members.iter().filter_map(|id| lack(*id, leader)).collect();
        if lacking.is_empty() { Progress::Done } else { Progress::Waiting(lacking.join("; ")) }
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether these words are worth a line: news, and not too often.
    pub(super) fn is_time_to_speak(&mut self, words: &str) -> bool {
        let now = Instant::now();
        let is_time = now >= self.next_words && self.said != words;
        if is_time {
            self.next_words = now + SPEAK_EVERY;
            words.clone_into(&mut self.said);
        }
        is_time
    }

    pub(super) async fn pause(&self) {
        pause().await;
    }
}

/// Until it is worth asking again.
pub(super) async fn pause() {
    sleep(LOOK_EVERY).await;
}

/// What a member lacks, if it lacks anything.
fn lack(id: NodeId, leader: &Status) -> Option<String> {
    if id == leader.node {
        return None;
    }
    let Some(follower) = leader.followers.iter().find(|follower| follower.id == id) else {
        return Some(format!("node {id} is no member"));
    };
    if follower.caught_up {
        return None;
    }
    let silent = Duration::from_millis(follower.silent_ms);
    if silent >= SPEAK_EVERY * 2 {
        let silent = humantime::format_duration(Duration::from_secs(silent.as_secs()));
        return Some(format!("node {id} has not been heard for {silent}"));
    }
    Some(match follower.sent_bytes {
        Some(bytes) => format!("node {id} is sent a snapshot, {bytes} bytes so far"),
        None => format!("node {id} has {} of {} entries", follower.matched, leader.last),
    })
}

#[cfg(test)]
mod tests {
    use raftd::api::Follower;

    use super::*;

    fn leader(followers: &[Follower]) -> Status {
        Status { node: 1, last: 900, followers: followers.to_vec(), ..Status::default() }
    }

    fn follower(id: u64, matched: u64, caught_up: bool) -> Follower {
        Follower { id, matched, caught_up, ..Follower::default() }
    }

    #[tokio::test]
    async fn all_must_have_the_log() {
        let waiting = CatchUp::new(BTreeSet::from([1, 4, 5]), Instant::now());
        let look = |followers: &[Follower]| waiting.look(&leader(followers));
        let five = follower(5, 900, true);
        assert_eq!(look(&[follower(4, 900, true), five.clone()]), Progress::Done);
        let words = |followers: &[Follower]| match look(followers) {
            Progress::Done => String::new(),
            Progress::Waiting(words) => words,
        };
        let lagging = [follower(4, 17, false), five.clone()];
        assert_eq!(words(&lagging), "node 4 has 17 of 900 entries");
        assert_eq!(words(&lagging[1..]), "node 4 is no member");
        let silent = Follower { silent_ms: 12_345, ..follower(4, 0, false) };
        assert_eq!(words(&[silent, five]), "node 4 has not been heard for 12s");
    }
}
