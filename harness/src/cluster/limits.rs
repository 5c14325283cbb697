//! Limits of this process, which its nodes inherit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes all open files that may be had without privileges: a connection through a proxy takes one here at each end and
/// two in the proxy, and the usual limit of 1024 is soon reached. What then does not work says so itself.
pub(super) fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
