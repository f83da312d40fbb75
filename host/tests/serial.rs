//! The agent process on a pseudo-terminal, with the controller crate at its other end.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coshift_controller::{Identity, Node};
use coshift_host::clock::Time;
use coshift_host::core::{Decider, LinkState};
use coshift_host::report::{Report, ReportEvent};
use coshift_shared::policy::PolicyView;
use coshift_shared::to_host::{FaultCode, ResetCause};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serialport::{SerialPort, TTYPort};

/// Long, so that a busy machine is not taken for a silent controller.
const PERIOD: &str = "200ms";
/// Reports within which everything must have happened.
const PATIENCE: usize = 400;
/// Garbage between two frames.
const CHUNK: usize = 2048;

/// A controller on the master side of a pseudo-terminal, until it is dropped.
struct Mcu {
    stop: Arc<AtomicBool>,
    /// Bytes of garbage still to be sent between its frames.
    garbage: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    /// Keeps the slave side open, as a relay would.
    _slave: Option<TTYPort>,
}

impl Mcu {
    /// Boots one and points `port` to its terminal.
    fn boot(port: &Path, boot_nonce: u32) -> Self {
        let (mut master, slave) = TTYPort::pair().unwrap();
        // Otherwise the agent inherits the far end of its own port, which then never vanishes.
        for end in [&master, &slave] {
            fcntl(end.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        master.set_timeout(Duration::from_millis(2)).unwrap();
        let _old = std::fs::remove_file(port);
        std::os::unix::fs::symlink(slave.name().unwrap(), port).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let garbage = Arc::new(AtomicUsize::new(0));
        let (ended, noise) = (Arc::clone(&stop), Arc::clone(&garbage));
        let thread = std::thread::spawn(move || live(master, boot_nonce, &ended, &noise));
        Self { stop, garbage, thread: Some(thread), _slave: Some(slave) }
    }
}

impl Drop for Mcu {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn live(mut port: TTYPort, boot_nonce: u32, stop: &AtomicBool, garbage: &AtomicUsize) {
    let mut noise = 0x9E37_79B9_u32;
    let bytes = support::image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let identity = Identity {
        version: [1, 2, 3],
        boot_nonce,
        reset_cause: ResetCause::PowerOn,
        last_fault: FaultCode::None,
        fault_detail: 0,
    };
    let mut node = Node::new(Some(policy), identity);
    let boot = Instant::now();
    let mut buffer = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        let length = port.read(&mut buffer).unwrap_or(0);
        let local = Time::from_us(boot.elapsed().as_micros().try_into().unwrap()).stamp();
        let mut out = Vec::new();
        for byte in &buffer[..length] {
            node.feed(*byte, local, &mut |frame| out.extend(frame.bytes()));
        }
        node.poll(local, &mut |frame| out.extend(frame.bytes()));
        if garbage.load(Ordering::Relaxed) >= CHUNK {
            out.push(0);
            out.extend((0..CHUNK).map(|_| {
                // xorshift32 (Marsaglia, 2003).
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                noise.to_le_bytes()[3]
            }));
            out.push(0);
            garbage.fetch_sub(CHUNK, Ordering::Relaxed);
        }
        // A terminal that is gone takes nothing; the agent sees that on its side.
        let _written = port.write_all(&out);
    }
}

struct Agent {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Agent {
    fn start(place: &Path, port: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_coshift"))
            .args([
                "run",
                "--json",
                "--period",
                PERIOD,
                "--app",
                "cam0=net-a,deadline=33ms,floor=74,rate=15",
            ])
            .args(["--policy", place.join("policy.bin").to_str().unwrap()])
            .args(["--control", place.join("agent.sock").to_str().unwrap()])
            .args(["--link", &format!("serial:{}", port.display())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The first report that is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let mut last = String::new();
        for _ in 0..PATIENCE {
            last = self.lines.next().expect("the agent goes on").unwrap();
            let report: Report = serde_json::from_str(&last).unwrap();
            if wanted(&report) {
                return report;
            }
        }
        panic!("{what} did not come within {PATIENCE} reports; the last: {last}");
    }

    fn end(mut self) -> Report {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let last = self.lines.by_ref().map(Result::unwrap).last().unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&last).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn place(name: &str) -> PathBuf {
    let place = std::env::temp_dir().join(format!("coshift-serial-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("policy.bin"), support::image(1)).unwrap();
    place
}

#[test]
fn the_controller_at_the_other_end_decides_and_is_replaced_when_its_port_is_gone() {
    let place = place("restart");
    let port = place.join("port");
    let mcu = Mcu::boot(&port, 1);
    let mut agent = Agent::start(&place, &port);
    let report = agent.until("the MCU", |report| report.decider == Decider::Mcu);
    assert_eq!(report.link, LinkState::InSession);
    assert_eq!(report.sub_networks[0], Some(2));
    assert_eq!(report.mcu.as_ref().unwrap().boot_nonce, "00000001");
    agent.until("counters of the MCU", |report| {
        report.to_mcu.is_some_and(|counters| counters.accepted > 0)
            && report.mcu.as_ref().unwrap().work.is_some()
    });

    drop(mcu);
    let report = agent.until("the twin", |report| report.decider == Decider::Twin);
    assert!(report.twin_takeovers >= 1);
    agent.until("the loss of the port", |report| report.link == LinkState::Down);

    let _mcu = Mcu::boot(&port, 2);
    let report = agent.until("the next MCU", |report| report.decider == Decider::Mcu);
    assert!(report.handbacks >= 2);
    assert_eq!(report.mcu.unwrap().boot_nonce, "00000002");
    let end = agent.end();
    assert_eq!(end.event, ReportEvent::End);
    assert_eq!(end.differing_decisions, 0);
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_mebibyte_of_garbage_changes_no_decision_and_is_counted() {
    let place = place("garbage");
    let port = place.join("port");
    let mcu = Mcu::boot(&port, 1);
    let mut agent = Agent::start(&place, &port);
    let before = agent.until("the MCU", |report| report.decider == Decider::Mcu);
    mcu.garbage.store(1 << 20, Ordering::Relaxed);
    agent.until("the end of the garbage", |report| {
        assert_eq!(report.sub_networks, before.sub_networks);
        assert!(report.run_level.is_some_and(|level| level < 8));
        mcu.garbage.load(Ordering::Relaxed) < CHUNK
    });
    let report = agent.until("the MCU after it", |report| report.decider == Decider::Mcu);
    // One frame in 256 random bytes ends, on average; all but a few are faulty.
    assert!(report.from_mcu.faults() > 2_000, "{:?}", report.from_mcu);
    assert_eq!(report.differing_decisions, 0);
    agent.end();
    std::fs::remove_dir_all(place).unwrap();
}
