//! Clients that write while something is done to the cluster, each write to be found exactly once afterwards.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use raftctl::{Client, Consistency, Options};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How many clients, each with a session and a key of its own.
const WRITERS: usize = 4;

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_mins(2);

/// Writers at work.
pub(crate) struct Load {
    writers: JoinSet<(Client, String, usize)>,
    acknowledged: [Arc<AtomicUsize>; WRITERS],
    stopping: Arc<AtomicBool>,
}

impl Load {
    /// Each client knows of the nodes in this cluster file, and of no others.
    pub(crate) fn start(config: &Path) -> Load {
        let members = raftd::config::Cluster::load(config).unwrap();
        let options = Options { timeout: LONG, ..Options::for_cluster(&members) };
        let mut load = Load {
            writers: JoinSet::new(),
            acknowledged: std::array::from_fn(|_| Arc::default()),
            stopping: Arc::default(),
        };
        for (number, acknowledged) in load.acknowledged.iter().enumerate() {
            let client = Client::new(options.clone()).unwrap();
            let (acknowledged, stopping) = (Arc::clone(acknowledged), Arc::clone(&load.stopping));
            load.writers.spawn(async move {
                let key = format!("tokens-{number}");
                let mut written = 0;
                while !stopping.load(Ordering::Relaxed) {
                    // Not one of them may fail: what can be repeated, the client repeats.
                    client.append(&key, format!("{written},")).await.unwrap();
                    written += 1;
                    acknowledged.store(written, Ordering::Relaxed);
                }
                (client, key, written)
            });
        }
        load
    }

    /// Waits until every client has some more writes acknowledged.
    pub(crate) async fn goes_on(&mut self) {
        let goals: Vec<usize> =
            self.acknowledged.iter().map(|count| count.load(Ordering::Relaxed) + 10).collect();
        let progress = async {
            while !self
                .acknowledged
                .iter()
                .zip(&goals)
                .all(|(n, goal)| n.load(Ordering::Relaxed) >= *goal)
            {
                if let Some(ended) = self.writers.try_join_next() {
                    panic!("a writer has ended: {ended:?}");
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, progress).await.expect("writes must go on");
    }

    /// Ends it; every token that was acknowledged is there, once, and in order.
    pub(crate) async fn check(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        while let Some(writer) = self.writers.join_next().await {
            let (client, key, written) = writer.unwrap();
            let found = client.get(&key, Consistency::Linearizable).await.unwrap().value;
            let found = found.unwrap_or_default();
            let tokens: Vec<&str> = found.split_terminator(',').collect();
            let expected: Vec<String> = (0..written).map(|token| token.to_string()).collect();
            assert_eq!(tokens, expected, "{key}");
        }
    }
}
