//! The template runs: announced, greeted, asked, answered, under QEMU's Netduino Plus 2.
//!
//! Needs the image and the emulator; `cargo xtask test` builds the one and installs the other.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coshift_shared::kind::Kind;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::{NO_SESSION, Sender};
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Hello, Query, Question, ToController};
use coshift_shared::to_host::{Status, ToHost};

const SESSION: u16 = 77;

/// Emulator and image, or a line that says what is missing.
fn needs() -> Option<(PathBuf, PathBuf)> {
    let found =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file());
    let missing = match (found("COSHIFT_QEMU"), found("COSHIFT_TEMPLATE")) {
        (Some(qemu), Some(image)) => return Some((qemu, image)),
        (None, _) => "qemu-system-arm (run `cargo xtask test`)",
        (_, None) => "the image of COSHIFT_TEMPLATE (run `cargo xtask test`)",
    };
    let required = std::env::var_os("COSHIFT_REQUIRE_EMULATOR").is_some_and(|v| v == "1");
    assert!(!required, "missing and required: {missing}");
    println!("SKIPPED: {missing}");
    None
}

struct Emulated {
    child: Child,
    port: UnixStream,
    reader: FrameReader,
    sender: Sender,
}

impl Emulated {
    fn start(qemu: PathBuf, image: PathBuf) -> Self {
        let path = std::env::temp_dir().join(format!("coshift-template-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        // The emulator connects to a socket that listens already: no byte is lost.
        let listener = UnixListener::bind(&path).unwrap();
        let child = Command::new(qemu)
            .args(["-machine", "netduinoplus2", "-display", "none", "-monitor", "none"])
            .arg("-serial")
            .arg(format!("unix:{}", path.display()))
            .arg("-kernel")
            .arg(image)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let port = listener.accept().unwrap().0;
        std::fs::remove_file(path).unwrap();
        // A test that waits this long has found a hang; it asserts nothing about speed.
        port.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        Self { child, port, reader: FrameReader::new(), sender: Sender::default() }
    }

    fn send(&mut self, message: &ToController) {
        let frame = self.sender.to_controller(message).unwrap().1;
        self.port.write_all(frame.bytes()).unwrap();
    }

    fn receive(&mut self) -> (u16, ToHost) {
        let mut byte = [0];
        loop {
            self.port.read_exact(&mut byte).expect("a frame from the firmware");
            match self.reader.feed(byte[0]) {
                Received::Nothing => {}
                Received::Fault(fault) => panic!("the firmware sent a broken frame: {fault:?}"),
                Received::Packet(header, body) => {
                    let kind = Kind::from_byte(header.kind).expect("a known kind");
                    return (header.session, ToHost::decode(kind, body).expect("a message"));
                }
            }
        }
    }

    /// The first message that `pick` takes.
    fn until<T>(&mut self, pick: impl Fn(u16, ToHost) -> Option<T>) -> T {
        loop {
            let (session, message) = self.receive();
            if let Some(found) = pick(session, message) {
                return found;
            }
        }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_announces_itself_opens_a_session_and_reports() {
    let Some((qemu, image)) = needs() else { return };
    let mut emulated = Emulated::start(qemu, image);
    let welcome = |session, message| match message {
        ToHost::Welcome(welcome) => Some((session, welcome)),
        _ => None,
    };
    let (session, announced) = emulated.until(welcome);
    assert_eq!((session, announced.schema), (NO_SESSION, FINGERPRINT));
    assert_eq!(emulated.until(welcome), (NO_SESSION, announced), "announced again as time passes");
    let at_us = Instant::START.us();
    emulated.sender.open(SESSION);
    emulated.sender.settle(VersionRange::OURS.current);
    emulated.send(&ToController::Hello(Hello {
        at_us,
        protocol_min: VersionRange::OURS.min,
        protocol_current: VersionRange::OURS.current,
        schema: FINGERPRINT,
        policy_crc: 0,
        version: [0, 1, 0],
        boot_nonce: 4711,
        period_us: 200_000,
    }));
    while emulated.until(welcome) != (SESSION, announced) {}
    // Each question wakes the loop; the board is measured every 64 passes.
    let work = loop {
        emulated.send(&ToController::Query(Query { at_us, what: Question::Work }));
        let work = emulated.until(|session, message| match message {
            ToHost::Status(Status::Work(work)) if session == SESSION => Some(work),
            _ => None,
        });
        if work.stack_high_water != 0 {
            break work;
        }
    };
    assert!((100..6 * 1024).contains(&work.stack_high_water), "{work:?}");
    assert_eq!(work.queue_overruns, 0, "{work:?}");
}
