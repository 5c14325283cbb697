//! The layer between a node and its data directory, with shell scripts in the node's place: what they see, and what is
//! left when the power fails.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::cluster::process::SUPERVISE_NODE;
use harness::cluster::wait::wait_for;
use harness::disk::{self, Blow, Given, Mounted, Operation, Survival, Trouble};
use tempfile::TempDir;

use crate::support::{mounts_below, processes_about};

const DEADLINE: Duration = Duration::from_secs(10);

/// A disk, and where its node's directory is.
struct Bench {
    mounted: Mounted,
    dir: TempDir,
}

/// A disk to be tested; none, with the reason, where there cannot be any.
fn bench() -> Option<Bench> {
    let holder = Path::new(env!("CARGO_BIN_EXE_harness"));
    if let Err(why) = disk::check(holder) {
        eprintln!("skipped: {why}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted = Mounted::mount(holder, dir.path()).unwrap();
    Some(Bench { mounted, dir })
}

impl Bench {
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn start(&self, script: &str) -> Child {
        self.mounted.disk().process_starts();
        Command::new(env!("CARGO_BIN_EXE_harness"))
            .args([SUPERVISE_NODE, "--parent", &std::process::id().to_string(), "--mounts"])
            .arg(self.mounted.namespace())
            .args(["--", "sh", "-ec", &format!("cd '{}'\n{script}", self.data().display())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a script on the disk; what it said.
    fn run(&self, script: &str) -> Result<String, String> {
        let output = self.start(script).wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn lose_power(&self, survival: Survival, seed: u64) -> disk::Loss {
        self.mounted.disk().strike(Blow::LosePower(survival), seed).unwrap().loss
    }

    /// A file as the node sees it, which is as everybody sees it.
    fn content(&self, name: &str) -> Vec<u8> {
        let outside = fs::read(self.data().join(name)).unwrap();
        let mut child = self.start(&format!("cat '{name}'"));
        let mut inside = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut inside).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(inside == outside, "{name} looks different from inside");
        inside
    }

    /// The names in a directory, as the node sees them.
    fn names(&self, directory: &str) -> Vec<String> {
        let listed = self.run(&format!("ls -A '{directory}'")).unwrap();
        listed.lines().map(str::to_owned).collect()
    }
}

#[test]
fn what_is_synced_stays_and_what_is_not_goes() {
    let Some(bench) = bench() else { return };
    let script = "printf synced > a; sync a .; printf more >> a; printf new > b; sync b";
    bench.run(script).unwrap();
    assert_eq!(bench.content("a"), b"syncedmore");
    let loss = bench.lose_power(Survival::Nothing, 1);
    assert_eq!((loss.lost_bytes, loss.lost_names, loss.kept_bytes), (4, 1, 0));
    assert_eq!(bench.content("a"), b"synced");
    // Its bytes were synced, but not the directory that has its name.
    assert_eq!(bench.names("."), ["a"]);
    // Nothing is at stake any more, so nothing can be lost: no proof without effect.
    assert_eq!(bench.lose_power(Survival::Nothing, 2), disk::Loss::default());
}

#[test]
fn unsynced_changes_of_synced_bytes_are_taken_back() {
    let Some(bench) = bench() else { return };
    let long = "head -c 10000 /dev/zero | tr '\\0' x";
    bench.run(&format!("printf AAAA > a; {long} > b; cp b c; sync a b c .")).unwrap();
    bench.run("printf BB | dd of=a conv=notrunc 2> /dev/null; : > b; truncate -s 5000 c").unwrap();
    bench.run("printf y >> c; printf short > b").unwrap();
    assert_eq!((bench.content("a"), bench.content("c").len()), (b"BBAA".to_vec(), 5001));
    bench.lose_power(Survival::Nothing, 1);
    assert_eq!(bench.content("a"), b"AAAA");
    assert_eq!(bench.content("b"), [b'x'; 10000]);
    assert_eq!(bench.content("c"), [b'x'; 10000]);
}

#[test]
fn names_are_lost_with_what_leads_to_them_until_directories_are_synced() {
    let Some(bench) = bench() else { return };
    bench.run("printf 1 > a; printf 2 > b; mkdir d; printf 3 > d/c; sync a b d/c d .").unwrap();
    bench.run("mv a e; rm b; mv d f; mkdir g; printf 4 > g/h; sync g/h g").unwrap();
    assert_eq!(bench.names("."), ["e", "f", "g"]);
    let loss = bench.lose_power(Survival::Nothing, 1);
    assert_eq!((loss.lost_bytes, loss.lost_names), (0, 4));
    assert_eq!(bench.names("."), ["a", "b", "d"]);
    assert_eq!((bench.content("b"), bench.content("d/c")), (b"2".to_vec(), b"3".to_vec()));
    bench.run("mv a e; rm b; mv d f; sync .").unwrap();
    assert_eq!(bench.lose_power(Survival::Nothing, 2).lost_names, 0);
    assert_eq!(bench.names("."), ["e", "f"]);
    assert_eq!((bench.content("e"), bench.content("f/c")), (b"1".to_vec(), b"3".to_vec()));
}

#[test]
fn file_that_is_named_before_it_is_synced_is_empty_after_a_power_loss() {
    let Some(bench) = bench() else { return };
    bench.run("printf content > t; mv t a; sync .").unwrap();
    bench.lose_power(Survival::Nothing, 1);
    assert_eq!(bench.content("a"), b"");
}

#[test]
fn torn_write_leaves_a_beginning() {
    let Some(bench) = bench() else { return };
    for seed in 0..20 {
        bench.run("printf 1 > a; sync a .; head -c 100000 /dev/zero | tr '\\0' z >> a").unwrap();
        let loss = bench.lose_power(Survival::Beginning, seed);
        assert_eq!(loss.lost_bytes + loss.kept_bytes, 100_000);
        assert!(loss.lost_bytes > 0, "seed {seed}");
        let content = bench.content("a");
        assert_eq!(u64::try_from(content.len()).unwrap(), 1 + loss.kept_bytes);
        assert!(content[1..].iter().all(|byte| *byte == b'z'), "seed {seed}");
    }
}

#[test]
fn lost_pages_leave_holes() {
    let Some(bench) = bench() else { return };
    let mut holes = 0;
    for seed in 0..5 {
        bench.run("printf 1 > a; sync a .; head -c 100000 /dev/zero | tr '\\0' z >> a").unwrap();
        let loss = bench.lose_power(Survival::SomePages, seed);
        assert!(loss.lost_bytes > 0 && loss.kept_bytes > 0, "{loss:?}");
        let content = bench.content("a");
        let kept: usize = content.iter().map(|byte| usize::from(*byte == b'z')).sum();
        assert_eq!(u64::try_from(kept).unwrap(), loss.kept_bytes);
        for (page, bytes) in content.chunks(4096).enumerate() {
            let rest = &bytes[usize::from(page == 0)..];
            assert!(rest.iter().all(|byte| *byte == rest[0]), "page {page} is written in part");
            holes += usize::from(rest.first() == Some(&0));
        }
    }
    assert!(holes > 0, "pages are lost from the end only");
}

#[test]
fn what_an_fsync_failed_to_write_is_seen_and_not_kept_unless_it_is_written_again() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    let page = |letter| format!("head -c 4096 /dev/zero | tr '\\0' {letter}");
    let write = |letter, number| {
        format!("{} | dd of=a bs=4096 seek={number} conv=notrunc 2> /dev/null; ", page(letter))
    };
    bench.run(&(write('a', 0) + &write('a', 1) + "sync a .")).unwrap();
    disk.trouble(Trouble::Fail { operation: Operation::Sync, once: true });
    let script = write('b', 1) + &write('b', 2) + &write('b', 3) + "printf bbb >> a; sync a";
    assert!(bench.run(&script).unwrap_err().contains("Input/output error"));
    disk.relieve();
    // The next one succeeds: it has page 2 to write, of which one byte is new.
    bench.run("printf c | dd of=a bs=1 seek=9000 conv=notrunc 2> /dev/null; sync a").unwrap();
    let mut expected = [[b'a'; 4096], [b'b'; 4096], [b'b'; 4096], [b'b'; 4096]].concat();
    expected.extend(b"bbb");
    expected[9000] = b'c';
    assert!(bench.content("a") == expected);
    let loss = bench.lose_power(Survival::Nothing, 1);
    assert_eq!((loss.lost_bytes, loss.kept_bytes), (2 * 4096 + 3, 0));
    expected[4096..8192].fill(b'a');
    expected[3 * 4096..].fill(0);
    assert!(bench.content("a") == expected);
    assert_eq!(bench.lose_power(Survival::Nothing, 2), disk::Loss::default());
    // What the next fsync would have had to write is lost with its page.
    disk.trouble(Trouble::Fail { operation: Operation::Sync, once: true });
    bench.run(&(write('d', 0) + "sync a")).unwrap_err();
    disk.relieve();
    bench.run("printf e | dd of=a bs=1 seek=9 conv=notrunc 2> /dev/null").unwrap();
    assert_eq!(bench.lose_power(Survival::Nothing, 3).lost_bytes, 4096);
    assert!(bench.content("a") == expected);
}

#[test]
fn operations_fail_once_or_until_the_trouble_ends() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    bench.run("printf 1 > a").unwrap();
    for (operation, script) in [
        (Operation::Read, "cat a"),
        (Operation::Write, "echo 2 | cat > a"),
        (Operation::Sync, "sync a"),
        (Operation::Sync, "sync ."),
        (Operation::Create, "mkdir d"),
    ] {
        disk.trouble(Trouble::Fail { operation, once: true });
        assert!(bench.run(script).unwrap_err().contains("Input/output error"), "{script}");
        assert_eq!(disk.given(), Some(Given::Failure));
        bench.run(script).unwrap();
        assert_eq!(disk.given(), None);
        // What the kernel fails to read ahead, it reads again.
        let errors = if operation == Operation::Read { 2 } else { 1 };
        assert_eq!(disk.relieve().errors, errors, "{script}");
    }
    disk.trouble(Trouble::Fail { operation: Operation::Sync, once: false });
    assert!(bench.run("sync a").is_err() && bench.run("sync a").is_err());
    assert_eq!(disk.relieve().errors, 2);
    bench.run("sync a").unwrap();
    assert_eq!(disk.relieve(), disk::Effect::default());
}

#[test]
fn full_disk_refuses_what_needs_room_and_nothing_else() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    bench.run("printf 1 > a").unwrap();
    disk.trouble(Trouble::Full);
    for script in ["echo 2 | cat >> a", "printf 2 > b", "mkdir d", "fallocate -l 4096 a"] {
        assert!(bench.run(script).unwrap_err().contains("No space left"), "{script}");
        // A process that has started must bear that.
        assert_eq!(disk.given(), Some(Given::NoRoom));
    }
    assert_eq!(bench.run("cat a; sync a; mv a c; cat c; rm c").unwrap(), "11");
    assert_eq!(disk.relieve().errors, 4);
    bench.run("printf 2 > b").unwrap();
}

#[test]
fn slow_fsync_takes_its_time_and_keeps_nobody_else_waiting() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    disk.trouble(Trouble::SlowSync(Duration::from_millis(300)));
    let script = "printf 1 > a; sync a & printf 2 > b; cat b; echo; wait $!; cat a";
    assert_eq!(bench.run(script).unwrap(), "2\n1");
    let effect = disk.relieve();
    assert!((300..3000).contains(&effect.delay_ms) && effect.errors == 0, "{effect:?}");
}

#[tokio::test]
async fn process_whose_fsync_is_stuck_can_be_killed_and_nothing_was_synced() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    disk.trouble(Trouble::StuckSync);
    let mut child = bench.start("printf 1 > a; sync .; echo never");
    let waits = async || if disk.is_at_stake() { Ok(()) } else { Err("nothing waits") };
    wait_for("an fsync", DEADLINE, waits).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    disk.process_dies();
    assert!(!child.wait().unwrap().success());
    disk.relieve();
    assert_eq!(bench.lose_power(Survival::Nothing, 1).lost_names, 1);
}

#[tokio::test]
async fn frozen_disk_makes_nothing_durable_until_it_is_thawed() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    disk.freeze();
    let child = bench.start("printf 1 > a; sync a; echo done");
    let waits = async || if disk.is_at_stake() { Ok(()) } else { Err("nothing waits") };
    wait_for("an fsync", DEADLINE, waits).await.unwrap();
    disk.thaw();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"done\n");
}

#[test]
fn damage_spares_what_looks_like_a_torn_write() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    // One that grows: its last synced bytes are spared. One that was complete when it was named: nothing is.
    let script = "printf 0123456789 > log; sync log .; printf last >> log; sync log
        printf 0123456789 > t; sync t; mv t whole; sync .";
    bench.run(script).unwrap();
    let mut hit = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let before = (bench.content("log"), bench.content("whole"));
        bench.run("cat log whole > /dev/null").unwrap();
        let harm = disk.strike(Blow::FlipBits, seed).unwrap();
        let after = (bench.content("log"), bench.content("whole"));
        let turned = |a: &[u8], b: &[u8]| -> u32 {
            a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        let bits = turned(&before.0, &after.0) + turned(&before.1, &after.1);
        assert_eq!(u64::from(bits), harm.damage);
        assert!((1..=3).contains(&bits));
        assert_eq!(&after.0[10..], b"last");
        hit.insert(harm.path.unwrap());
    }
    assert_eq!(hit.len(), 2, "{hit:?}");
    bench.run("true").unwrap();
    let harm = disk.strike(Blow::Truncate, 1).unwrap();
    assert_eq!(harm.path, None, "the last process has not used any file: {harm:?}");
}

#[test]
fn truncated_file_is_one_that_was_complete_and_a_wipe_leaves_nothing() {
    let Some(bench) = bench() else { return };
    let disk = bench.mounted.disk();
    let script = "printf 0123456789 > log; sync log .; printf last >> log; sync log
        printf 0123456789 > t; sync t; mv t whole; sync .";
    bench.run(script).unwrap();
    let harm = disk.strike(Blow::Truncate, 1).unwrap();
    assert_eq!(harm.path.as_deref(), Some(Path::new("whole")));
    assert_eq!(bench.content("whole").len(), 10 - usize::try_from(harm.damage).unwrap());
    assert_eq!(bench.content("log"), b"0123456789last");
    let harm = disk.strike(Blow::Wipe, 1).unwrap();
    assert!(harm.damage >= 14);
    assert!(bench.names(".").is_empty());
    assert_eq!(disk.strike(Blow::FlipBits, 1).unwrap().damage, 0);
    bench.run("printf 1 > a; sync a .").unwrap();
    assert_eq!(bench.content("a"), b"1");
}

#[test]
fn ordinary_programs_work_on_it() {
    let Some(bench) = bench() else { return };
    bench
        .run("mkdir -p a/b; cd a/b; printf 1 > c; cp c d; mv -n c d; ls; cd ..; mv b ../e")
        .unwrap();
    assert_eq!(bench.names("e"), ["c", "d"]);
    assert!(bench.run("rmdir e").unwrap_err().contains("not empty"));
    assert!(bench.run("cat e/none").unwrap_err().contains("No such file"));
    assert!(bench.run("mv e e/f").is_err());
    bench.run("fallocate -l 100000 f; truncate -s 3000000 g; df . > /dev/null").unwrap();
    assert_eq!(bench.content("f"), vec![0; 100_000]);
    assert_eq!(bench.content("g").len(), 3_000_000);
    let locked =
        "exec 9> lock; flock -n 9; sh -c 'exec 8> lock; flock -n 8 && echo both' || echo one";
    assert_eq!(bench.run(locked).unwrap(), "one");
    assert_eq!(bench.run("chmod 600 f; stat -c %a f; rm -r a e f g lock; ls -A").unwrap(), "600");
    // Written and read by several at the same time.
    let many = "for i in 1 2 3 4; do (head -c 3000000 /dev/urandom > $i; cp $i $i.copy; cmp $i $i.copy) & done; wait";
    bench.run(many).unwrap();
    // A file that is open stays readable without a name.
    assert_eq!(bench.run("printf 1 > h; exec 7< h; rm h; sync .; cat <&7").unwrap(), "1");
}

#[test]
fn mount_is_seen_by_the_node_alone_and_goes_with_the_disk() {
    let Some(bench) = bench() else { return };
    let data = bench.data();
    let mut child =
        bench.start("grep -c \" $PWD fuse\\| $PWD .* fuse \" /proc/self/mountinfo; read line");
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "1");
    child.wait().unwrap();
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains(data.to_str().unwrap()));
    bench.run("printf 1 > a").unwrap();
    let Bench { mounted, dir } = bench;
    drop(mounted);
    assert_eq!(mounts_below(dir.path()), Vec::<String>::new());
    assert_eq!(processes_about(dir.path()), Vec::<String>::new());
    // What was last seen is what is left, and nothing else.
    assert_eq!(fs::read(data.join("a")).unwrap(), b"1");
    assert!(!dir.path().join("disk").exists());
}
