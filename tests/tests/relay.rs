//! The relay between a terminal and a socket of the test's own.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use coshift_shared::packet::Header;
use coshift_tests::faults::Faults;
use coshift_tests::line::Line;
use coshift_tests::relay::Relay;
use coshift_tests::wire::Direction;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// How long a condition may take; asserts nothing about speed.
const PATIENCE: Duration = Duration::from_secs(180);

struct Bench {
    relay: Relay,
    agent: File,
    mcu: UnixStream,
}

fn bench() -> Bench {
    let relay = Relay::start(Line::new(5)).unwrap();
    let agent = OpenOptions::new().read(true).write(true).open(relay.port()).unwrap();
    fcntl_setfl(&agent, fcntl_getfl(&agent).unwrap() | OFlags::NONBLOCK).unwrap();
    let mcu = connect(&relay);
    Bench { relay, agent, mcu }
}

fn connect(relay: &Relay) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    relay.connect(theirs).unwrap();
    ours
}

/// Reads until `done`.
fn read_until(end: &mut impl Read, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = Instant::now();
    while !done(&bytes) {
        assert!(start.elapsed() < PATIENCE, "only {} bytes came", bytes.len());
        let mut buffer = [0; 4096];
        match end.read(&mut buffer) {
            Ok(length) => bytes.extend(&buffer[..length]),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    bytes
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn frames(count: u8) -> Vec<u8> {
    (1..=count).flat_map(|n| [n, n, 0]).collect()
}

/// Every value of a byte: a terminal that is not raw would change some of them.
fn all_bytes() -> Vec<u8> {
    (0..=255).chain([0]).collect()
}

#[test]
fn every_byte_passes_in_both_directions() {
    let mut bench = bench();
    bench.agent.write_all(&all_bytes()).unwrap();
    bench.mcu.write_all(&all_bytes()).unwrap();
    let got = read_until(&mut bench.mcu, |bytes| bytes.len() >= 257);
    assert_eq!(got, all_bytes());
    let got = read_until(&mut bench.agent, |bytes| bytes.len() >= 257);
    assert_eq!(got, all_bytes());
}

#[test]
fn faults_hit_one_direction_and_are_counted() {
    let mut bench = bench();
    bench.relay.line().set(Direction::ToMcu, Faults::DEAD);
    bench.agent.write_all(&frames(50)).unwrap();
    bench.mcu.write_all(&frames(50)).unwrap();
    assert_eq!(read_until(&mut bench.agent, |bytes| bytes.len() >= 150), frames(50));
    wait_for(|| bench.relay.line().injected(Direction::ToMcu).dropped == 50);
    assert_eq!(bench.relay.line().injected(Direction::FromMcu).dropped, 0);
    bench.relay.line().set(Direction::ToMcu, Faults::NONE);
    bench.agent.write_all(&[99, 0]).unwrap();
    assert_eq!(read_until(&mut bench.mcu, |bytes| !bytes.is_empty()), [99, 0]);
}

#[test]
fn a_stall_ends_with_everything_that_waited() {
    let mut bench = bench();
    bench.relay.line().set(Direction::FromMcu, Faults { stall: true, ..Faults::NONE });
    bench.mcu.write_all(&frames(20)).unwrap();
    wait_for(|| bench.relay.line().injected(Direction::FromMcu).frames == 20);
    assert!(bench.agent.read(&mut [0; 16]).is_err(), "something passed");
    bench.relay.line().set(Direction::FromMcu, Faults::NONE);
    assert_eq!(read_until(&mut bench.agent, |bytes| bytes.len() >= 60), frames(20));
}

#[test]
fn garbage_arrives_whole_and_frames_pass_between() {
    const GARBAGE: u64 = 200_000;
    let mut bench = bench();
    bench.relay.line().add_garbage(Direction::FromMcu, GARBAGE);
    bench.mcu.write_all(&frames(10)).unwrap();
    let all = GARBAGE as usize + 30;
    let got = read_until(&mut bench.agent, |bytes| bytes.len() >= all);
    assert_eq!(got.len(), all);
    let injected = bench.relay.line().injected(Direction::FromMcu);
    assert_eq!((injected.garbage, injected.frames), (GARBAGE, 10));
}

#[test]
fn another_microcontroller_comes_behind_the_same_port() {
    let mut bench = bench();
    bench.mcu.write_all(&[1, 2]).unwrap();
    drop(bench.mcu);
    bench.relay.disconnect().unwrap();
    // Nobody listens: this is lost, as on a wire.
    bench.agent.write_all(&frames(3)).unwrap();
    wait_for(|| bench.relay.line().injected(Direction::ToMcu).frames == 3);
    let mut mcu = connect(&bench.relay);
    bench.agent.write_all(&[7, 0]).unwrap();
    assert_eq!(read_until(&mut mcu, |bytes| !bytes.is_empty()), [7, 0]);
    mcu.write_all(&[8, 0]).unwrap();
    let got = read_until(&mut bench.agent, |bytes| bytes.ends_with(&[8, 0]));
    assert_eq!(got, [8, 0], "the half frame of the old one is gone");
}

#[test]
fn an_agent_that_opens_the_port_again_finds_it() {
    let mut bench = bench();
    drop(bench.agent);
    let mut agent = OpenOptions::new().read(true).write(true).open(bench.relay.port()).unwrap();
    agent.write_all(&[5, 0]).unwrap();
    assert_eq!(read_until(&mut bench.mcu, |bytes| !bytes.is_empty()), [5, 0]);
}

#[test]
fn frames_are_read_along() {
    use coshift_shared::session::Sender;
    use coshift_shared::to_controller::{Query, Question, ToController};

    let mut bench = bench();
    let mut sender = Sender::default();
    sender.open(3);
    let message = ToController::Query(Query { at_us: 7, what: Question::Link });
    let (_, frame) = sender.to_controller(&message).unwrap();
    bench.agent.write_all(frame.bytes()).unwrap();
    read_until(&mut bench.mcu, |bytes| bytes == frame.bytes());
    let line = bench.relay.line();
    let [sent, delivered] = line.seen() else { panic!("{:?}", line.seen()) };
    assert_eq!(sent.sent_to_mcu(), Some(&message));
    assert!(matches!(sent.header, Header { session: 3, seq: 0, .. }));
    assert_eq!((delivered.sent_to_mcu(), &delivered.message), (None, &sent.message));
}
