//! Where everything that is seen of the nodes comes together: the view, the proxies' upstreams, the history.

use std::sync::Arc;
use std::time::Instant;

use history_checker::history::Exit;
use tokio::sync::watch;

use super::logs::Said;
use super::proxy::Mesh;
use super::{Event, NodeId, NodeView, Recorder, Role, Status, View};

/// Written by the nodes' keepers, read by everybody.
pub(super) struct Board {
    view: watch::Sender<View>,
    recorder: Arc<dyn Recorder>,
    mesh: Arc<Mesh>,
}

impl Board {
    pub(super) fn new(nodes: u64, recorder: Arc<dyn Recorder>, mesh: Arc<Mesh>) -> Board {
        let nodes = (1..=nodes).map(|node| (node, NodeView::default())).collect();
        Board { view: watch::Sender::new(View { nodes }), recorder, mesh }
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    pub(super) fn started(&self, node: NodeId, pid: u32) {
        self.recorder.record(Instant::now(), Event::Start { node, pid });
        self.change(node, |view| {
            let last_exit = view.last_exit.take();
            *view = NodeView { status: Status::Starting, pid: Some(pid), role: None, last_exit };
        });
    }

    /// Before its process is killed, or when it has ended: nothing leads there any more.
    pub(super) fn unreachable(&self, node: NodeId) {
        self.mesh.set_upstream(node, None);
    }

    pub(super) fn exited(&self, node: NodeId, exit: Exit) {
        self.unreachable(node);
        self.recorder.record(Instant::now(), Event::Exit { node, exit: exit.clone() });
        self.change(node, |view| {
            *view = NodeView { last_exit: Some(exit), ..NodeView::default() };
        });
    }

    pub(super) fn paused(&self, node: NodeId) {
        self.change(node, |view| view.status = Status::Paused);
    }

    pub(super) fn resumed(&self, node: NodeId, status: Status) {
        self.change(node, |view| view.status = status);
    }

    /// A line of a node's log.
    pub(super) fn said(&self, node: NodeId, said: Said) {
        match said {
            Said::Listening { peer, client } => {
                self.mesh.set_upstream(node, Some((peer, client)));
                self.change(node, |view| {
                    if view.status == Status::Starting {
                        view.status = Status::Up;
                    }
                });
            }
            Said::Role { role, term, leader } => {
                let event = Event::Role { is_asked: false, node, role: role.clone(), term, leader };
                self.recorder.record(Instant::now(), event);
                self.change(node, |view| view.role = Some(Role { role, term, leader }));
            }
            Said::Panic { line } => {
                self.recorder.record(Instant::now(), Event::Panic { node, line });
            }
            Said::Damaged { reason } => {
                self.recorder.record(Instant::now(), Event::Damaged { node, reason });
            }
        }
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut NodeView)) {
        self.view.send_modify(|view| change(view.nodes.entry(node).or_default()));
    }
}
