//! The session layer: greetings, repetitions, other versions, damage.

mod common;

use common::{PERIOD_US, policy, targets, telemetry};
use coshift_controller::node::UNANSWERED;
use coshift_controller::{Identity, Node};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::{NO_SESSION, Sender};
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Hello, PolicyBegin, Query, Question, ToController,
};
use coshift_shared::to_host::{
    Decision, FaultCode, Refusal, ResetCause, Status, ToHost, TraceEvent,
};

const IDENTITY: Identity = Identity {
    version: [0, 1, 0],
    boot_nonce: 0xB007,
    reset_cause: ResetCause::PowerOn,
    last_fault: FaultCode::None,
    fault_detail: 0,
};

/// The agent's end of a node's link.
struct Agent<'p> {
    node: Node<'p>,
    sender: Sender,
    local: Instant,
    nonce: u32,
}

impl<'p> Agent<'p> {
    fn new(policy: PolicyView<'p>) -> Self {
        Self::of(Node::new(Some(policy), IDENTITY))
    }

    fn of(node: Node<'p>) -> Self {
        Self { node, sender: Sender::default(), local: Instant::START, nonce: 77 }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<(u16, ToHost)> {
        let mut sent = Vec::new();
        for byte in bytes {
            self.node.feed(*byte, self.local, &mut |frame: &Frame| sent.push(*frame));
        }
        while self.node.is_deciding() {
            self.node.poll(self.local, &mut |frame: &Frame| sent.push(*frame));
        }
        sent.iter().map(open).collect()
    }

    fn frame(&mut self, message: &ToController) -> Frame {
        self.sender.to_controller(message).unwrap().1
    }

    fn give(&mut self, message: &ToController) -> Vec<(u16, ToHost)> {
        let frame = self.frame(message);
        self.bytes(frame.bytes())
    }

    fn hello(&self) -> ToController {
        ToController::Hello(Hello {
            at_us: self.local.us(),
            protocol_min: VersionRange::OURS.min,
            protocol_current: VersionRange::OURS.current,
            schema: FINGERPRINT,
            policy_crc: 0,
            version: [0, 1, 0],
            boot_nonce: self.nonce,
            period_us: PERIOD_US,
        })
    }

    fn greet(&mut self, session: u16) -> Vec<(u16, ToHost)> {
        self.sender.open(session);
        let hello = self.hello();
        self.give(&hello)
    }

    fn set(&mut self) {
        let at_us = self.local.us();
        let change = Change::Set(targets());
        self.give(&ToController::Application(Application { at_us, slot: 0, change }));
    }

    fn period(&mut self) -> Option<Decision> {
        self.local = self.local.after(Duration::from_us(PERIOD_US));
        let message = ToController::Telemetry(telemetry(self.local, 45_000));
        self.give(&message).into_iter().find_map(|(_, message)| match message {
            ToHost::Decision(decision) => Some(decision),
            _ => None,
        })
    }

    fn poll(&mut self) -> Vec<(u16, ToHost)> {
        let mut sent = Vec::new();
        self.node.poll(self.local, &mut |frame: &Frame| sent.push(*frame));
        sent.iter().map(open).collect()
    }
}

/// Session and message of a frame.
fn open(frame: &Frame) -> (u16, ToHost) {
    let mut reader = FrameReader::new();
    for byte in frame.bytes() {
        if let Received::Packet(header, body) = reader.feed(*byte) {
            let kind = Kind::from_byte(header.kind).unwrap();
            return (header.session, ToHost::decode(kind, body).unwrap());
        }
    }
    panic!("a frame the node sent cannot be read");
}

#[test]
fn a_new_node_announces_itself_until_it_is_greeted() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    let announced = agent.poll();
    assert!(
        matches!(announced[..], [(0, ToHost::Welcome(welcome))] if welcome.boot_nonce == 0xB007)
    );
    assert!(agent.poll().is_empty(), "once every 100 ms");
    let due = agent.node.next_poll().unwrap();
    assert_eq!(due.since(agent.local).us(), 100_000);
    agent.local = due;
    assert_eq!(agent.poll().len(), 1);
    let answer = agent.greet(42);
    assert!(matches!(answer[0], (42, ToHost::Welcome(_))));
    assert!(
        matches!(answer[1], (42, ToHost::Trace(trace)) if trace.event == TraceEvent::SessionStarted)
    );
    agent.local = agent.local.after(Duration::from_ms(150));
    assert!(agent.poll().is_empty());
}

#[test]
fn before_its_first_hello_a_node_takes_in_nothing_else() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    assert_eq!(agent.sender.session(), NO_SESSION);
    for _ in 0..10 * UNANSWERED {
        assert_eq!(agent.period(), None);
        assert!(agent.node.is_answering());
    }
    let at_us = agent.local.us();
    let begin = PolicyBegin { at_us, length: 1_000, crc: 0, sequence: 1 };
    assert!(agent.give(&ToController::PolicyBegin(begin)).is_empty());
    let query = Query { at_us, what: Question::Link };
    assert!(agent.give(&ToController::Query(query)).is_empty());
    agent.set();
    let link = agent.node.link();
    assert_eq!((link.accepted, link.old_session), (0, 10 * u16::from(UNANSWERED) + 3));
    // The session that then begins is like any other.
    agent.greet(42);
    assert_eq!(agent.period().unwrap().sub_networks, [255; 4]);
    agent.set();
    assert_ne!(agent.period().unwrap().sub_networks[0], 255);
}

#[test]
fn a_decision_that_a_new_session_ended_is_not_missed() {
    let image = common::random::policy(32, 16, 4, 1, false);
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    for session in 1..=3 * u16::from(UNANSWERED) {
        agent.greet(session);
        assert_eq!(agent.node.unanswered(), 0);
        agent.set();
        let message = ToController::Telemetry(telemetry(agent.local, 45_000));
        for byte in agent.frame(&message).bytes() {
            agent.node.feed(*byte, agent.local, &mut |frame: &Frame| {
                assert!(!matches!(open(frame).1, ToHost::Decision(_)), "decided at once");
            });
        }
        assert!(agent.node.is_deciding() && agent.node.is_answering());
        assert_eq!(agent.node.unanswered(), 1);
    }
}

#[test]
fn a_repeated_hello_is_answered_and_forgets_nothing() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    agent.set();
    let before = agent.period().unwrap();
    let hello = agent.hello();
    let answer = agent.give(&hello);
    assert!(matches!(answer[..], [(42, ToHost::Welcome(_))]));
    let after = agent.period().unwrap();
    assert_eq!((before.run_level, before.sub_networks), (after.run_level, after.sub_networks));
    assert_ne!(after.sub_networks[0], 255);
}

#[test]
fn a_hello_of_another_session_forgets_everything() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    agent.set();
    agent.period().unwrap();
    agent.greet(43);
    assert_eq!(agent.period().unwrap().sub_networks, [255; 4]);
    // Frames of the session before are dropped and counted.
    agent.sender.open(42);
    assert_eq!(agent.period(), None);
    assert_eq!(agent.node.link().old_session, 1);
}

#[test]
fn doubled_and_late_frames_change_nothing() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    agent.set();
    let first = agent.frame(&ToController::Telemetry(telemetry(agent.local, 45_000)));
    let second = agent.frame(&ToController::Telemetry(telemetry(agent.local, 45_000)));
    assert_eq!(agent.bytes(second.bytes()).len(), 1);
    let digest = agent.node.controller().digest();
    assert!(agent.bytes(second.bytes()).is_empty(), "doubled");
    assert!(agent.bytes(first.bytes()).is_empty(), "late");
    assert_eq!(agent.node.controller().digest(), digest);
    let link = agent.node.link();
    assert_eq!((link.repeated, link.lost), (2, 1));
}

#[test]
fn ranges_that_do_not_meet_are_answered_with_both_numbers() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    let newer = VersionRange { min: 3, current: 5 };
    let mut agent = Agent::of(Node::with_versions(Some(view), IDENTITY, newer));
    let answer = agent.greet(42);
    assert!(matches!(
        answer[0],
        (0, ToHost::Welcome(welcome)) if (welcome.protocol_min, welcome.protocol_current) == (3, 5)
    ));
    assert!(matches!(
        answer[1],
        (0, ToHost::Refused(refused)) if refused.why == Refusal::VersionMismatch
    ));
    assert_eq!(agent.node.session(), 0);
    assert_eq!(agent.node.link().version, 1);
    assert_eq!(agent.period(), None, "no session was opened");
}

#[test]
fn a_hello_of_another_range_is_answered_in_no_session_also_by_a_node_in_one() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    agent.set();
    let before = agent.period().unwrap();
    let mut other = Sender::default();
    other.open(43);
    let ToController::Hello(hello) = agent.hello() else { unreachable!() };
    let newer = Hello { protocol_min: 7, protocol_current: 9, ..hello };
    let frame = other.to_controller(&ToController::Hello(newer)).unwrap().1;
    let answer = agent.bytes(frame.bytes());
    assert!(matches!(answer[..], [(0, ToHost::Welcome(_)), (0, ToHost::Refused(_))]), "{answer:?}");
    // The session there is goes on.
    let after = agent.period().unwrap();
    assert_eq!(after.sub_networks, before.sub_networks);
}

#[test]
fn garbage_is_counted_and_the_next_frame_is_taken_in() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    agent.set();
    let before = agent.period().unwrap();
    let mut state = 1_u32;
    let garbage: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect();
    assert!(agent.bytes(&garbage).is_empty());
    agent.bytes(&[0]);
    let after = agent.period().unwrap();
    assert_eq!((before.run_level, before.sub_networks), (after.run_level, after.sub_networks));
    assert!(agent.node.link().faults() > 1_000, "{:?}", agent.node.link());
}

#[test]
fn silence_is_detected_by_the_nodes_own_clock() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    agent.set();
    agent.period().unwrap();
    let due = agent.node.next_poll().unwrap();
    assert_eq!(due.since(agent.local).us(), 5 * PERIOD_US);
    agent.local = due;
    let out = agent.poll();
    assert!(out.iter().any(|(_, message)| matches!(
        message,
        ToHost::Decision(decision) if decision.mode == coshift_shared::to_host::Mode::Hold
    )));
}

#[test]
fn questions_are_answered_and_leave_the_digest_alone() {
    let image = policy();
    let mut agent = Agent::new(PolicyView::open(&image).unwrap());
    agent.greet(42);
    let digest = agent.node.controller().digest();
    let mut ask = |what| {
        let at_us = agent.local.us();
        agent.give(&ToController::Query(Query { at_us, what })).remove(0).1
    };
    assert!(
        matches!(ask(Question::Link), ToHost::Status(Status::Link(link)) if link.accepted == 2)
    );
    assert!(matches!(ask(Question::Work), ToHost::Status(Status::Work(work)) if work.steps == 1));
    assert!(matches!(ask(Question::Identity), ToHost::Welcome(_)));
    assert_eq!(agent.node.controller().digest(), digest);
}
