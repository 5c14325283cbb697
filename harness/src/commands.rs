//! What each command does, and the exit code it ends with.

use std::env;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use history_checker::formats::{Format, Independent};
use history_checker::history::{NilRead, ReadOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::cli::{self, Command, Listable, Output};
use crate::cluster::{self, Cluster, Network, faketime, netns, process};
use crate::exit::Exit;
use crate::judge::{Terms, judge};
use crate::nemesis::{Kind, Lane, Moment};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::suite::Suite;
use crate::{
    daemon, disk, elections, merge, mutants, replay, report, simulate, store, terminal, workload,
};

/// What a shell shows of a process that SIGINT ended.
const KILLED_BY_SIGINT: i32 = 130;

/// Carries out a command. Whatever goes wrong is told on stderr.
pub fn execute(command: Command) -> Exit {
    let warnings =
        EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    // It complains when the asker of a question has been killed meanwhile, which is what happens here all the time.
    let warnings = match "fuser::reply=off".parse() {
        Ok(silent) => warnings.add_directive(silent),
        Err(_) => warnings,
    };
    tracing_subscriber::fmt()
        .with_env_filter(warnings)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
    let outcome = match command {
        Command::Run(args) => match Suite::new(&args) {
            Ok(suite) => block_on(async |interrupted| Ok(suite.run(&interrupted).await)),
            Err(error) => return usage(&error),
        },
        Command::Check(args) => block_on(async |interrupted| check(&args, &interrupted).await),
        Command::List(args) => list(args.what),
        Command::Report(args) => {
            block_on(async |interrupted| report(&args.directory, &interrupted).await)
        }
        Command::Sim(args) => simulate::execute(&args),
        Command::Cluster(args) => match daemon::find(args.raftd.as_deref()) {
            Ok(raftd) => {
                block_on(async |interrupted| cluster(args.nodes, raftd, interrupted).await)
            }
            Err(error) => return usage(&error),
        },
        Command::BenchElections(args) => match daemon::find(args.raftd.as_deref()) {
            Ok(raftd) => {
                block_on(async |interrupted| elections::run(&args, raftd, interrupted).await)
            }
            Err(error) => return usage(&error),
        },
        Command::Replay(args) => match replay::Session::new(&args) {
            Ok(session) => block_on(async |interrupted| session.run(&interrupted).await),
            Err(error) => return usage(&error),
        },
        Command::Merge(args) => merge::execute(&args),
        Command::Mutants(args) => match mutants::Campaign::new(&args) {
            Ok(campaign) => block_on(async |interrupted| campaign.run(&interrupted).await),
            Err(error) => return usage(&error),
        },
        Command::SuperviseNode(args) => {
            let mounts = args.mounts.as_deref();
            let failed = process::exec_node(args.parent, args.network_of, mounts, &args.command);
            Err(failed).context("cannot become a node")
        }
        Command::HoldMount(args) => disk::hold_mount(args.parent, &args.directory)
            .map(|()| Exit::Valid)
            .context("cannot mount a disk"),
        Command::HoldNetwork => {
            netns::hold().map(|()| Exit::Valid).context("cannot keep a network namespace")
        }
        Command::ProbeNetwork => netns::try_out().map(|()| Exit::Valid),
    };
    outcome.unwrap_or_else(|error| {
        terminal::note(format!("error: {error:#}"));
        Exit::Harness
    })
}

fn usage(error: &anyhow::Error) -> Exit {
    terminal::note(format!("error: {error:#}"));
    Exit::Usage
}

/// Runs a command that can be interrupted: the first SIGINT, SIGTERM or SIGHUP asks it to come to an end, the second
/// one ends it. The nodes end with the harness in any case.
fn block_on<F: Future<Output = anyhow::Result<Exit>>>(
    command: impl FnOnce(watch::Receiver<bool>) -> F,
) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let interrupted = watch::Sender::new(false);
        let receiver = interrupted.subscribe();
        let mut signals = Vec::new();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            signals.push(signal(kind).context("cannot listen to signals")?);
        }
        for mut signal in signals {
            let interrupted = interrupted.clone();
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    if interrupted.send_replace(true) {
                        std::process::exit(KILLED_BY_SIGINT);
                    }
                    terminal::note("interrupted: coming to an end (again: at once)");
                }
            });
        }
        command(receiver).await
    })
}

/// `harness check`.
async fn check(args: &cli::Check, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Exit> {
    if let Some(missing) = args.files.iter().find(|path| !path.exists()) {
        terminal::note(format!("error: there is no history at {}", missing.display()));
        return Ok(Exit::Usage);
    }
    let terms = Terms::from(args);
    let mut exit = Exit::Valid;
    for (done, path) in args.files.iter().enumerate() {
        if done > 0 && *interrupted.borrow() {
            let left = args.files.len() - done;
            terminal::note(format!("interrupted: {left} not checked"));
            return Ok(exit.merge(Exit::Unknown));
        }
        let path = if path.is_dir() { path.join(store::HISTORY) } else { path.clone() };
        let outcome = match judge(&path, &terms, interrupted).await {
            Ok(record) => {
                exit = exit.merge(record.results.verdict.into());
                print_verdict(args, &path, &record).and_then(|()| write_core(args, &record))
            }
            Err(error) => Err(error),
        };
        // That a verdict cannot be printed does not take it back.
        if let Err(error) = outcome {
            terminal::note(format!("error: {error:#}"));
            exit = exit.merge(Exit::Harness);
        }
    }
    Ok(exit)
}

fn print_verdict(args: &cli::Check, path: &Path, record: &Record) -> anyhow::Result<()> {
    let printed = terminal::print(|out| match args.output {
        Output::Json => out.write_all(&record.to_json()?),
        Output::Text => {
            if args.files.len() > 1 {
                writeln!(out, "\n{}", path.display())?;
            }
            terminal::verdict(out, record)
        }
    });
    printed.with_context(|| format!("cannot print the verdict of {}", path.display()))
}

/// `--core`: the fewest operations that contradict each other, as a history of their own.
fn write_core(args: &cli::Check, record: &Record) -> anyhow::Result<()> {
    let Some(path) = &args.core else { return Ok(()) };
    let mut violations = record.results.checks.iter().flat_map(|check| &check.violations);
    let Some(core) = violations.find_map(|violation| violation.core.as_ref()) else {
        terminal::note(format!(
            "nothing to write to {}: no contradiction was found",
            path.display()
        ));
        return Ok(());
    };
    std::fs::write(path, &core.history)
        .with_context(|| format!("cannot write {}", path.display()))?;
    terminal::note(format!(
        "{} written to {}; check it alone with: harness check {}",
        terminal::plural(core.operations, "operation"),
        path.display(),
        terminal::shell(&[path.display().to_string()])
    ));
    Ok(())
}

impl From<&cli::Check> for Terms {
    fn from(args: &cli::Check) -> Terms {
        Terms {
            reading: ReadOptions {
                format: match args.format {
                    cli::Format::Auto => None,
                    cli::Format::History => Some(Format::History),
                    cli::Format::Operations => Some(Format::Operations),
                    cli::Format::Edn => Some(Format::JepsenEdn),
                    cli::Format::Log => Some(Format::JepsenLog),
                },
                independent: match args.independent {
                    cli::Independent::Auto => Independent::Auto,
                    cli::Independent::Yes => Independent::Yes,
                    cli::Independent::No => Independent::No,
                },
                model: args.model,
                initial: args.initial.clone(),
                nil_read: match args.nil_read {
                    cli::NilRead::Unset => NilRead::Unset,
                    cli::NilRead::Any => NilRead::Any,
                },
            },
            time_limit: args.time_limit,
            memory_bytes_max: Some(args.memory_limit << 20),
            threads: args.jobs,
        }
    }
}

/// `harness list`.
fn list(what: Option<Listable>) -> anyhow::Result<Exit> {
    let scenarios = Scenario::all_built_in()?;
    let sections: [(Listable, &str, Vec<Vec<String>>); 5] = [
        (
            Listable::Workloads,
            "Workloads (harness run NAME)",
            scenarios
                .into_iter()
                .map(|scenario| vec![scenario.name, scenario.hypothesis])
                .collect(),
        ),
        (
            Listable::Faults,
            "Faults (--faults KIND,KIND…; `partition` is all cuts and blocked ports, `network` all of connections, `process`, `clock`, `cluster` and `disk` all of each)",
            if matches!(what, None | Some(Listable::Faults)) { faults() } else { Vec::new() },
        ),
        (
            Listable::Moments,
            "Moments (--at MOMENT,MOMENT…: each fault waits for one of them)",
            Moment::ALL
                .map(|moment| [moment.name(), moment.describe()].map(str::to_owned).to_vec())
                .to_vec(),
        ),
        (
            Listable::Models,
            "Models (`model` of a workload)",
            workload::MODELS
                .map(|(model, about)| [model.name(), about].map(str::to_owned).to_vec())
                .to_vec(),
        ),
        (
            Listable::Targets,
            "Targets",
            vec![
                ["raftd", "this project's Raft key-value daemon, any build of it (--raftd PATH)"]
                    .map(str::to_owned)
                    .to_vec(),
            ],
        ),
    ];
    terminal::print(|out| {
        for (listable, title, rows) in sections {
            if what.is_none_or(|what| what == listable) {
                section(out, what.is_none().then_some(title), rows)?;
            }
            if what == Some(Listable::Faults) && listable == Listable::Faults {
                writeln!(out, "\nBackends (--backend) here: proxy works; {}", netns_here())?;
            }
        }
        Ok(())
    })?;
    Ok(Exit::Valid)
}

/// All kinds of fault, the backends that can do them, and of those that do not work everywhere whether they work here.
fn faults() -> Vec<Vec<String>> {
    let disks = env::current_exe()
        .map_err(|error| error.to_string())
        .and_then(|own| disk::check(&own).map_err(|error| error.to_string()));
    let backends = [(Network::Proxy, "proxy"), (Network::Netns, "netns")];
    let row = |kind: Kind| {
        let describe = match (kind.lane(), &disks) {
            _ if kind.needs_faketime() => match kind.check_here() {
                Ok(()) => format!("{} (works here)", kind.describe()),
                Err(_) => format!("{} (not here)", kind.describe()),
            },
            (Lane::Process | Lane::Cluster | Lane::Network | Lane::Flow | Lane::Frames, _) => {
                kind.describe().to_owned()
            }
            (Lane::Disk, Ok(())) => format!("{} (works here)", kind.describe()),
            (Lane::Disk, Err(_)) => format!("{} (not here)", kind.describe()),
        };
        let possible = backends.into_iter().filter(|(network, _)| kind.is_possible_with(*network));
        let names: Vec<&str> = possible.map(|(_, name)| name).collect();
        vec![kind.name().to_owned(), describe, names.join(", ")]
    };
    if let Err(why) = &disks {
        terminal::note(why);
    }
    if let Err(why) = faketime::library() {
        terminal::note(why);
    }
    Kind::ALL.map(row).to_vec()
}

/// Whether the kernel's backend works on this machine.
fn netns_here() -> String {
    match netns::probe() {
        Ok(()) => "netns works".to_owned(),
        Err(error) => format!("netns does not: {error}"),
    }
}

fn section(out: &mut impl Write, title: Option<&str>, rows: Vec<Vec<String>>) -> io::Result<()> {
    let mut table = terminal::table();
    table.add_rows(rows);
    match title {
        Some(title) => writeln!(out, "{title}\n{}\n", table.trim_fmt()),
        None => writeln!(out, "{}", table.trim_fmt()),
    }
}

/// `harness report`.
async fn report(directory: &Path, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Exit> {
    let history = directory.join(store::HISTORY);
    if !history.exists() {
        let path = history.display();
        terminal::note(format!("error: there is no {path}: is this the directory of one run?"));
        return Ok(Exit::Usage);
    }
    let results = directory.join(store::RESULTS);
    if !results.exists() {
        let record = judge(&history, &Terms::default(), interrupted).await?;
        std::fs::write(&results, record.to_json()?)
            .with_context(|| format!("cannot write {}", results.display()))?;
    }
    let path = report::write(directory)?;
    terminal::print(|out| writeln!(out, "{}", path.display()))?;
    Ok(Exit::Valid)
}

/// `raftctl` as the user would call it: it is beside this executable.
fn raftctl() -> PathBuf {
    let own = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    own.with_file_name("raftctl")
}

/// Nobody writes a history of a cluster that is played with.
struct NoHistory;

impl cluster::Recorder for NoHistory {
    fn record(&self, _at: Instant, _event: cluster::Event) {}
}

/// `harness cluster`.
async fn cluster(
    nodes: u64,
    raftd: PathBuf,
    mut interrupted: watch::Receiver<bool>,
) -> anyhow::Result<Exit> {
    let directory = env::temp_dir().join(format!("harness-cluster-{}", std::process::id()));
    let options = cluster::Options {
        supervisor: Some(env::current_exe().context("cannot find the harness's own executable")?),
        ..cluster::Options::new(raftd, nodes, &directory)
    };
    let cluster = Cluster::start(&options, Arc::new(NoHistory)).await?;
    let endpoints: Vec<_> =
        cluster.client_endpoints().into_iter().map(|(_, address)| address.to_string()).collect();
    terminal::print(|out| {
        writeln!(out, "{nodes} nodes are up; their files are in {}. Try:\n", directory.display())?;
        writeln!(out, "  {} --endpoints {} status\n", raftctl().display(), endpoints.join(","))?;
        writeln!(out, "Ctrl-C stops them and removes their files.")
    })?;
    interrupted.wait_for(|interrupted| *interrupted).await.context("nobody listens to signals")?;
    cluster.shutdown().await.context("the cluster could not be shut down")?;
    std::fs::remove_dir_all(&directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    Ok(Exit::Valid)
}
