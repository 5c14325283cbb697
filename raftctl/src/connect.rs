//! From the command line to a client.

use std::path::PathBuf;

use anyhow::{Context, bail};
use raftctl::{Client, Endpoint, Options};
use raftd::config::Cluster;
use tokio::runtime::{Builder, Runtime};

use crate::args::Connect;

/// Names the cluster file if the command line does not.
const CONFIG_ENV: &str = "RAFTCTL_CONFIG";

impl Connect {
    /// How a client of this cluster behaves; `--node` is obeyed to the letter.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let options = self.nodes()?;
        Ok(Options {
            cluster: self.cluster.clone().or(options.cluster),
            pin: self.node,
            follow_leader: self.node.is_none(),
            timeout: self.timeout,
            endpoints: options.endpoints,
            ..options
        })
    }

    fn nodes(&self) -> anyhow::Result<Options> {
        if !self.endpoints.is_empty() {
            if self.config.is_some() {
                bail!("both --config and --endpoints say whom to talk to; leave one of them out");
            }
            for endpoint in &self.endpoints {
                check_endpoint(endpoint)?;
            }
            return Ok(Options::new(self.endpoints.iter().map(Endpoint::at)));
        }
        let from_env = || std::env::var_os(CONFIG_ENV).map(PathBuf::from);
        let Some(path) = self.config.clone().or_else(from_env) else {
            bail!(
                "which cluster? Give --config cluster.toml (or set {CONFIG_ENV}), or --endpoints HOST:PORT,…"
            );
        };
        Ok(Options::for_cluster(&Cluster::load(&path)?))
    }
}

fn check_endpoint(endpoint: &str) -> anyhow::Result<()> {
    match endpoint.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(())
        }
        Some(_) | None => {
            bail!("bad endpoint {endpoint:?}: expected HOST:PORT, such as 127.0.0.1:7201")
        }
    }
}

/// A client for these options; what they say wrong is wrong usage.
pub(crate) fn client(options: Options) -> anyhow::Result<Client> {
    Client::new(options).map_err(anyhow::Error::from)
}

/// One thread is enough, and the fastest: a second one takes time from the nodes.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the I/O loop")
}
