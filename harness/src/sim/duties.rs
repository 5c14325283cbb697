//! What nodes owe each other besides an agreed log: promises that they keep, elections that were won, leaders that know
//! when to go. Each is checked from outside, by what a node was told before and what it did then.
//!
//! The rules look at decisions at the moment they are made. A wrong one rarely does harm by itself: it takes a second
//! mishap at the right time, and that may be thousands of seeds away.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::effects::{Effects, Event, Record, Role};
use raft_core::log::Lookup;
use raft_core::membership::Configuration;
use raft_core::message::{Envelope, Message};
use raft_core::node::{Follower, Input, Node, Standing, View};
use raft_core::types::{Index, NodeId, Payload, Term, Time};

use super::Sabotage;
use super::safety::vote_in;
use super::violation::{Violation, ensure};
use super::world::{Slot, World};

/// The timeouts that all nodes go by, each by its own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) heartbeat: Time,
    pub(super) election_min: Time,
    pub(super) election_max: Time,
    /// Leaders may serve reads by their clocks.
    pub(super) lease: bool,
}

/// What one process was told in its life so far, as far as its duties follow from it.
#[derive(Debug)]
pub(super) struct Duties {
    timing: Timing,
    /// When it started.
    started: Time,
    /// A life before this one may have promised something to a leader.
    had_promised: bool,
    /// From whom it last took an append, in which term, and when.
    heard: Option<(NodeId, Term, Time)>,
    /// Who would vote for it, and who did, by term.
    welcomed: BTreeSet<(Term, NodeId)>,
    voted: BTreeSet<(Term, NodeId)>,
    leading: Option<Leading>,
}

/// What a leader was told by the others.
#[derive(Debug)]
struct Leading {
    term: Term,
    config_index: Index,
    /// When anything at all came from each, and when an answer did that certainly counts.
    heard: BTreeMap<NodeId, Time>,
    answered: BTreeMap<NodeId, Time>,
    /// What each was last called in appends.
    sessions: BTreeMap<NodeId, Index>,
    /// What each was last known to hold.
    matched: BTreeMap<NodeId, Index>,
    /// Where its own log ended, and from when on.
    lasts: Vec<(Time, Index)>,
}

/// A node before a step, and what it takes in that step.
#[derive(Debug)]
pub(super) struct Before {
    now: Time,
    view: View,
    frames: Vec<Envelope>,
    /// It takes one input only, so that its effects follow from that and nothing else.
    alone: bool,
    ticks: bool,
}

impl Before {
    pub(super) fn of(node: &Node, now: Time, inputs: &[Input]) -> Before {
        let frame = |input: &Input| {
            if let Input::Peer(envelope) = input { Some(envelope.clone()) } else { None }
        };
        Before {
            now,
            view: node.view(),
            frames: inputs.iter().filter_map(frame).collect(),
            alone: inputs.len() == 1,
            ticks: inputs.iter().any(|input| matches!(input, Input::Tick)),
        }
    }

    /// Somebody may have acknowledged something.
    pub(super) fn is_answered(&self) -> bool {
        self.was_told(|_| true, |told| matches!(told, Message::AppendAccepted { .. }))
    }

    fn was_told(&self, from: impl Fn(NodeId) -> bool, what: impl Fn(&Message) -> bool) -> bool {
        self.frames.iter().any(|frame| from(frame.from) && what(&frame.message))
    }
}

/// Whether these are a majority of the voters; of both sets of them while a change is under way (Thesis §4.3). Not
/// asked of the code under test, which may have its own opinion.
pub(super) fn is_quorum(config: &Configuration, agrees: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: &BTreeSet<NodeId>| {
        voters.is_empty() || 2 * voters.iter().filter(|&&id| agrees(id)).count() > voters.len()
    };
    let somebody = !config.incoming().is_empty();
    somebody && majority(config.incoming()) && majority(config.outgoing())
}

impl Duties {
    /// Of a process that starts.
    pub(super) fn new(timing: Timing, started: Time, term: Term) -> Duties {
        Duties {
            timing,
            started,
            had_promised: term > 0,
            heard: None,
            welcomed: BTreeSet::new(),
            voted: BTreeSet::new(),
            leading: None,
        }
    }

    /// The node took its step; `latest` is the latest term that had a leader.
    pub(super) fn on_step(
        &mut self,
        before: &Before,
        node: &Node,
        effects: &Effects,
        latest: Term,
    ) -> Result<(), Violation> {
        let view = node.view();
        self.check_grants(before, effects)?;
        self.check_welcome(before, effects)?;
        self.note_support(before);
        self.check_campaign(before, &view, effects)?;
        self.check_leader(before, &view, latest)?;
        self.check_acknowledged(&view)?;
        self.check_new_voters(before, &view, effects)?;
        check_entries(before, node, &view, effects)?;
        self.note_leader(before, &view);
        self.note_followers(before, &view, effects);
        Ok(())
    }

    /// Who hears a leader elects nobody else, unless that leader wants it (Thesis §4.2.3). Where leases rest on that, it
    /// holds across terms and restarts (Thesis §6.4.1).
    fn check_grants(&self, before: &Before, effects: &Effects) -> Result<(), Violation> {
        let Timing { election_min, lease, .. } = self.timing;
        let View { id, term, leader, .. } = before.view;
        if before.was_told(|_| true, is_of_leader) {
            // It may know another leader by the time of its answer than before the step.
            return Ok(());
        }
        for sent in &effects.sends {
            let Envelope { to, message, .. } = &sent.envelope;
            let grants = matches!(
                message,
                Message::VoteReply { granted: true } | Message::PreVoteReply { granted: true, .. }
            );
            let is_wanted = |told: &Message| matches!(told, Message::Vote { transfer: true, .. });
            if !grants || before.was_told(|from| from == *to, is_wanted) {
                continue;
            }
            if let Some((heard, heard_in, at)) = self.heard {
                let follows = before.alone && (leader, term) == (Some(heard), heard_in);
                let bound = heard != *to && before.now < at + election_min && (lease || follows);
                ensure!(
                    !bound,
                    "who hears a leader elects nobody else",
                    "n{id} heard n{heard} {:?} ago, and is for n{to}: {message:?}",
                    before.now.saturating_sub(at)
                );
            } else if lease && self.had_promised {
                ensure!(
                    before.now >= self.started + election_min,
                    "leases outlive restarts of followers",
                    "n{id} started {:?} ago, and is for n{to}: {message:?}",
                    before.now.saturating_sub(self.started)
                );
            }
        }
        Ok(())
    }

    /// Who knows no other leader does not turn down a candidate whose log is good enough (Thesis §3.6.1); if the leader
    /// hands over, not even for its sake (Thesis §4.2.3).
    fn check_welcome(&self, before: &Before, effects: &Effects) -> Result<(), Violation> {
        let ([frame], true) = (before.frames.as_slice(), before.alone) else { return Ok(()) };
        let view = &before.view;
        let Envelope { from, term, .. } = *frame;
        let is_unbound = !self.timing.lease
            && view.role != Role::Leader
            && view.leader.is_none_or(|leader| leader == from);
        let is_welcome = if let Message::PreVote { next_term, last } = frame.message {
            is_unbound && next_term > view.term && last >= view.last
        } else if let Message::Vote { last, transfer } = frame.message {
            let is_free = view.vote.is_none_or(|vote| vote == from);
            let may = term > view.term || term == view.term && is_free;
            may && last >= view.last && (transfer || is_unbound)
        } else {
            false
        };
        if !is_welcome || view.standing != Standing::Full {
            return Ok(());
        }
        let granted = effects.sends.iter().any(|sent| {
            sent.envelope.to == from
                && matches!(
                    sent.envelope.message,
                    Message::VoteReply { granted: true }
                        | Message::PreVoteReply { granted: true, .. }
                )
        });
        ensure!(
            granted,
            "nobody is turned down without a reason",
            "n{} follows {:?} and has {}; it does not grant {frame:?}",
            view.id,
            view.leader,
            view.last
        );
        Ok(())
    }

    fn note_support(&mut self, before: &Before) {
        for frame in &before.frames {
            if let Message::PreVoteReply { next_term, granted: true } = frame.message {
                self.welcomed.insert((next_term, frame.from));
            } else if matches!(frame.message, Message::VoteReply { granted: true }) {
                self.voted.insert((frame.term, frame.from));
            }
        }
    }

    /// Candidates were told before that they could win (Thesis §9.6), or to go ahead (Thesis §3.10). Leaders have won.
    fn check_campaign(
        &self,
        before: &Before,
        view: &View,
        effects: &Effects,
    ) -> Result<(), Violation> {
        let id = view.id;
        // What came in may have brought another configuration, before or after.
        let decides = |supporters: &BTreeSet<(Term, NodeId)>, term: Term| {
            let supports = |voter| voter == id || supporters.contains(&(term, voter));
            is_quorum(&before.view.config, supports) || is_quorum(&view.config, supports)
        };
        let told = before.was_told(|_| true, |told| matches!(told, Message::TimeoutNow));
        let records = effects.write.iter().flat_map(|write| &write.records);
        for record in records {
            let Record::HardState { term, vote } = record else { continue };
            let is_candidate = *vote == Some(id);
            // Learners take part in nothing (Thesis §4.2.1). As long as a node does not know that the configuration
            // without it is committed, the others may need it as a candidate (Thesis §4.2.2).
            let is_settled = before.view.config_index <= before.view.commit;
            ensure!(
                !is_candidate || !is_settled || before.view.config.is_voter(id),
                "only voters campaign",
                "n{id} in term {term}, by configuration {}, which is committed",
                view.config_index
            );
            ensure!(
                !is_candidate || told || decides(&self.welcomed, *term),
                "nobody campaigns unwelcome",
                "n{id} in term {term}, welcomed by {:?}",
                self.welcomed
            );
        }
        let led = (before.view.role, before.view.term) == (Role::Leader, view.term);
        ensure!(
            view.role != Role::Leader || led || decides(&self.voted, view.term),
            "leaders are elected",
            "n{id} leads term {}, with votes of {:?}",
            view.term,
            self.voted
        );
        Ok(())
    }

    /// When a leader must go, and when not.
    fn check_leader(&self, before: &Before, view: &View, latest: Term) -> Result<(), Violation> {
        let View { id, term, ref config, .. } = *view;
        let (now, is_leader) = (before.now, view.role == Role::Leader);
        ensure!(
            !is_leader || config.is_voter(id) || view.config_index > view.commit,
            "leaders go once they are removed",
            "n{id} leads on by configuration {} (Thesis §4.2.2)",
            view.config_index
        );
        ensure!(
            !view.lease || latest <= term,
            "leases exclude other leaders",
            "n{id} of term {term} has a lease, and term {latest} has a leader (Thesis §6.4.1)"
        );
        let Some(leading) = self.leading.as_ref().filter(|leading| leading.term == term) else {
            return Ok(());
        };
        let since = |times: &BTreeMap<NodeId, Time>, length: Time| {
            is_quorum(config, |voter| {
                voter == id || times.get(&voter).is_some_and(|&at| at + length > now)
            })
        };
        let Timing { heartbeat, election_max, .. } = self.timing;
        let is_heard_now = |voter| before.was_told(|from| from == voter, |_| true);
        let changed = leading.config_index != view.config_index;
        ensure!(
            !is_leader
                || !before.ticks
                || changed
                || since(&leading.heard, election_max + 2 * heartbeat)
                || config.voters().into_iter().any(is_heard_now),
            "leaders that nobody answers go",
            "n{id} leads on at {now:?}, and last heard: {:?} (Thesis §6.2)",
            leading.heard
        );
        ensure!(
            is_leader || !config.is_voter(id) || changed || !since(&leading.answered, election_max),
            "leaders that are answered stay",
            "n{id} leads no more at {now:?}, and was answered: {:?} (Thesis §6.2)",
            leading.answered
        );
        Ok(())
    }

    /// What a member acknowledged, it has from then on; only one that lost its directory begins again, at nothing.
    fn check_acknowledged(&self, view: &View) -> Result<(), Violation> {
        let Some(leading) = self.leading.as_ref().filter(|leading| leading.term == view.term)
        else {
            return Ok(());
        };
        for &Follower { id, matched, .. } in &view.followers {
            let before = leading.matched.get(&id).copied().unwrap_or(0);
            ensure!(
                matched >= before || matched == 0,
                "what is acknowledged stays acknowledged",
                "n{} of term {} took n{id} to hold {before}, and now {matched}",
                view.id,
                view.term
            );
        }
        Ok(())
    }

    /// Whoever gets a vote has what there was in the log some time ago: without that it could keep a quorum from
    /// deciding for as long as it takes to send it everything (Thesis §4.2.1).
    fn check_new_voters(
        &self,
        before: &Before,
        view: &View,
        effects: &Effects,
    ) -> Result<(), Violation> {
        let Some(leading) = self.leading.as_ref().filter(|leading| leading.term == view.term)
        else {
            return Ok(());
        };
        // Two rounds of catching up, each within an election timeout, and what waited in between.
        let since = before.now.saturating_sub(3 * self.timing.election_max);
        let long_ago = |&&(at, _): &&(Time, Index)| at <= since;
        let due = leading.lasts.iter().rev().find(long_ago).or(leading.lasts.first());
        let due = due.map_or(0, |&(_, last)| last);
        let records = effects.write.iter().flat_map(|write| &write.records);
        for record in records {
            let Record::Entry(entry) = record else { continue };
            let Payload::Configuration(next) = &entry.payload else { continue };
            let is_new = |id: &NodeId| *id != view.id && !before.view.config.is_voter(*id);
            for id in next.incoming().iter().copied().filter(is_new) {
                let follower = view.followers.iter().find(|follower| follower.id == id);
                let matched = follower.map_or(0, |follower| follower.matched);
                ensure!(
                    matched >= due,
                    "new voters have the log",
                    "n{} gives n{id} a vote by {}: it has {matched}, and {due} was there long ago",
                    view.id,
                    entry.id
                );
            }
        }
        Ok(())
    }

    /// From whom it took an append just now.
    fn note_leader(&mut self, before: &Before, view: &View) {
        for frame in &before.frames {
            if !is_of_leader(&frame.message) || frame.term < before.view.term {
                continue;
            }
            if (view.leader, view.term) == (Some(frame.from), frame.term) {
                self.heard = Some((frame.from, frame.term, before.now));
            } else {
                // More happened in that step than can be told from outside.
                (self.heard, self.had_promised) = (None, false);
            }
        }
    }

    fn note_followers(&mut self, before: &Before, view: &View, effects: &Effects) {
        if view.role != Role::Leader {
            self.leading = None;
            return;
        }
        let now = before.now;
        let others = || view.config.members().keys().map(|&id| (id, now));
        let leading = match &mut self.leading {
            Some(leading) if leading.term == view.term => leading,
            leading => leading.insert(Leading {
                term: view.term,
                config_index: view.config_index,
                heard: others().collect(),
                answered: others().collect(),
                sessions: BTreeMap::new(),
                matched: BTreeMap::new(),
                lasts: vec![(now, before.view.last.index)],
            }),
        };
        leading.matched = view.followers.iter().map(|member| (member.id, member.matched)).collect();
        if leading.lasts.last().is_none_or(|&(_, last)| last < view.last.index) {
            leading.lasts.push((now, view.last.index));
        }
        if leading.config_index != view.config_index {
            // Whoever is new has its time, and may be called something else.
            leading.config_index = view.config_index;
            leading.heard = others().collect();
            leading.sessions.clear();
        }
        for frame in &before.frames {
            leading.heard.insert(frame.from, now);
            if let Message::AppendAccepted { session, .. }
            | Message::AppendRejected { session, .. }
            | Message::InstallReply { session, .. } = frame.message
                && frame.term == view.term
                && leading.sessions.get(&frame.from) == Some(&session)
            {
                leading.answered.insert(frame.from, now);
            }
        }
        for sent in &effects.sends {
            if let Message::Append { stand, .. } | Message::Install { stand, .. } =
                &sent.envelope.message
            {
                leading.sessions.insert(sent.envelope.to, stand.session);
            }
        }
    }
}

/// Only who leads its term says this.
fn is_of_leader(message: &Message) -> bool {
    matches!(message, Message::Append { .. } | Message::Install { .. })
}

impl World<'_> {
    /// What others may rely on from now on must outlive a crash (Thesis §3.8), and only who may vote promises anything.
    pub(super) fn check_promise(&self, envelope: &Envelope) -> Result<(), Violation> {
        let Envelope { from, to, term, message } = envelope;
        let host = &self.hosts[Self::slot(*from)];
        let (disk, is_sabotaged) = (&host.disk, self.sabotage != Sabotage::None);
        let is_kept = if let Message::AppendAccepted { matched, .. } = message {
            disk.keeps_log(*term, *matched)
        } else {
            vote_in(envelope).is_none_or(|vote| disk.keeps_vote(*term, vote))
        };
        ensure!(
            is_kept || is_sabotaged,
            "promises are durable when they leave",
            "n{from} to n{to} in term {term}: {message:?}"
        );
        let elects = matches!(
            message,
            Message::VoteReply { granted: true }
                | Message::PreVoteReply { granted: true, .. }
                | Message::Vote { .. }
        );
        let may_vote =
            disk.standing == Standing::Full || self.safety.has_admitted(*from, disk.incarnation);
        ensure!(
            !elects || may_vote,
            "who lost its promises makes none",
            "n{from} to n{to} in term {term}: {message:?}, with directory {}",
            disk.incarnation
        );
        Ok(())
    }

    /// What a leader takes a member to hold, that member holds, by the very directory that is meant.
    pub(super) fn check_picture(&self, slot: Slot) -> Result<(), Violation> {
        let Some(node) = self.hosts[slot].node.as_ref() else { return Ok(()) };
        let view = node.view();
        for Follower { id, matched, .. } in view.followers {
            let host = &self.hosts[Self::slot(id)];
            let meant = view.config.member(id).map_or(0, |member| member.incarnation);
            let is_meant = meant == host.disk.incarnation || meant == 0 && host.wipes == 0;
            ensure!(
                matched == 0 || !is_meant || host.disk.keeps_log(view.term, matched),
                "acknowledged means durable",
                "n{}, leader of term {}, takes n{id} to hold {matched}",
                view.id,
                view.term
            );
        }
        Ok(())
    }
}

/// What leaders put into their logs, and when.
fn check_entries(
    before: &Before,
    node: &Node,
    view: &View,
    effects: &Effects,
) -> Result<(), Violation> {
    if view.role != Role::Leader {
        return Ok(());
    }
    let (id, commit) = (view.id, view.commit);
    let to = before.view.transferring.filter(|_| before.view.transferring == view.transferring);
    let is_news = |event: &Event| {
        matches!(event, Event::TransferStarted { .. } | Event::TransferAborted { .. })
    };
    let hands_over = to.is_some() && !effects.events.iter().any(is_news);
    let records = effects.write.iter().flat_map(|write| &write.records);
    for record in records {
        let Record::Entry(entry) = record else { continue };
        if entry.id.term != view.term {
            continue;
        }
        match &entry.payload {
            Payload::Command(_) => ensure!(
                !hands_over,
                "no writes during a transfer",
                "n{id} takes {} while it hands over to {to:?} (Thesis §3.10)",
                entry.id
            ),
            Payload::Configuration(_) => {
                // The flaw of changes without this: the thesis's author on raft-dev, 2015-07-10.
                let own = match node.log().lookup(commit) {
                    Lookup::Term(term) => term == view.term,
                    Lookup::Compacted => true,
                    Lookup::Beyond => false,
                };
                ensure!(
                    own && before.view.config_index <= commit,
                    "one change at a time",
                    "n{id} adds a configuration at {}, with commit {commit} and that before at {}",
                    entry.id,
                    before.view.config_index
                );
            }
            Payload::Noop => {}
        }
    }
    Ok(())
}
