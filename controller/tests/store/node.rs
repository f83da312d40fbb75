//! Uploads over a link: decisions go on, and the node asks for the switch.

use coshift_controller::store::{Switch, Upload};
use coshift_controller::{Identity, Node};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::Which;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Degrade, Hello, Objective, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{
    Decision, FaultCode, Mode, PolicyAck, Refusal, ResetCause, ToHost, UploadState,
};
use coshift_shared::units::Age;

use crate::flash::Flash;
use crate::sample::{Board, begin, chunk, commit, image};

const IDENTITY: Identity = Identity {
    version: [0, 1, 0],
    boot_nonce: 0xB007,
    reset_cause: ResetCause::PowerOn,
    last_fault: FaultCode::None,
    fault_detail: 0,
};
const PERIOD: Duration = Duration::from_ms(50);

/// A node at the end of a link, in a session with one application.
struct Link<'p, S> {
    node: Node<'p, S>,
    sender: Sender,
    now: Instant,
}

impl<'p, S: coshift_controller::store::PolicyStore> Link<'p, S> {
    fn new(node: Node<'p, S>) -> Self {
        let mut link = Self { node, sender: Sender::default(), now: Instant::START };
        link.sender.open(9);
        let at_us = link.now.us();
        link.give(&ToController::Hello(Hello {
            at_us,
            protocol_min: VersionRange::OURS.min,
            protocol_current: VersionRange::OURS.current,
            schema: FINGERPRINT,
            policy_crc: 0,
            version: [0, 1, 0],
            boot_nonce: 3,
            period_us: PERIOD.us(),
        }));
        let targets = Targets {
            table: 0,
            objective: Objective::LeastEnergy,
            deadline_us: 60_000,
            period_us: 100_000,
            accuracy_floor_bp: 7_100,
            miss_target_bp: 100,
            priority: 1,
            degrade: Degrade::Accuracy,
            energy_budget_uj: 0,
        };
        let change = Change::Set(targets);
        link.give(&ToController::Application(Application { at_us, slot: 0, change }));
        link
    }

    fn give(&mut self, message: &ToController) -> Vec<ToHost> {
        let mut message = message.clone();
        match &mut message {
            ToController::PolicyBegin(message) => message.at_us = self.now.us(),
            ToController::PolicyChunk(message) => message.at_us = self.now.us(),
            ToController::PolicyCommit(message) => message.at_us = self.now.us(),
            _ => {}
        }
        let frame = self.sender.to_controller(&message).unwrap().1;
        let mut sent = Vec::new();
        for byte in frame.bytes() {
            self.node.feed(*byte, self.now, &mut |frame: &Frame| sent.extend(open(frame)));
        }
        while self.node.is_deciding() {
            sent.extend(self.poll());
        }
        sent
    }

    /// One pass of a board's loop.
    fn poll(&mut self) -> Vec<ToHost> {
        let mut sent = Vec::new();
        self.node.poll(self.now, &mut |frame: &Frame| sent.extend(open(frame)));
        sent
    }

    fn period(&mut self) -> Decision {
        self.now = self.now.after(PERIOD);
        let telemetry = Telemetry {
            at_us: self.now.us(),
            level: 3,
            clocks_mhz: [1190, 400, 1600],
            power_mw: 6_000,
            power_age: Age::FRESH,
            gpu_load_permille: 500,
            gpu_load_age: Age::FRESH,
            temperatures: [Temperature::MISSING; 2],
        };
        let answers = self.give(&ToController::Telemetry(telemetry));
        let decision = |message: &ToHost| match message {
            ToHost::Decision(decision) => Some(*decision),
            _ => None,
        };
        answers.iter().find_map(decision).expect("telemetry is answered by a decision")
    }
}

fn open(frame: &Frame) -> Option<ToHost> {
    let mut reader = FrameReader::new();
    frame.bytes().iter().find_map(|byte| match reader.feed(*byte) {
        Received::Packet(header, body) => {
            ToHost::decode(Kind::from_byte(header.kind).unwrap(), body).ok()
        }
        _ => None,
    })
}

fn state(answers: &[ToHost]) -> Option<(u32, UploadState)> {
    answers.iter().find_map(|message| match message {
        ToHost::PolicyAck(PolicyAck { next_offset, state, .. }) => Some((*next_offset, *state)),
        _ => None,
    })
}

#[test]
fn decisions_go_on_through_an_upload_and_are_those_of_a_node_without_one() {
    let (old, new) = (image(7, 0), image(8, 1));
    let mut board = Board::<4>::with(&old);
    assert_eq!(board.which(), Some(Which::A));
    let policy = PolicyView::open(&old).unwrap();
    let store: Upload<Flash<4>> = Upload::new(board.b.clone(), Some(&policy));
    let versions = VersionRange::OURS;
    let mut receiving = Link::new(Node::with_store(Some(policy), IDENTITY, versions, store));
    let mut alone = Link::new(Node::new(Some(policy), IDENTITY));
    let mut both = |receiving: &mut Link<'_, Upload<Flash<4>>>| {
        let (decision, other) = (receiving.period(), alone.period());
        // Their frames have other numbers.
        assert_eq!(Decision { last_seq: 0, ..decision }, Decision { last_seq: 0, ..other });
        assert_eq!(decision.mode, Mode::Run);
    };
    both(&mut receiving);
    assert_eq!(state(&receiving.give(&ToController::PolicyBegin(begin(&new)))), None);
    let mut passes = 0;
    while receiving.node.is_busy() {
        let said = state(&receiving.poll());
        both(&mut receiving);
        passes += 1;
        let ready = (!receiving.node.is_busy()).then_some((0, UploadState::Receiving));
        assert_eq!(said, ready, "pass {passes}");
    }
    for offset in (0..new.len()).step_by(38) {
        let said = state(&receiving.give(&ToController::PolicyChunk(chunk(&new, offset))));
        let next = (offset + 38).min(new.len()) as u32;
        assert_eq!(said, Some((next, UploadState::Receiving)));
        both(&mut receiving);
    }
    let length = new.len() as u32;
    let said = receiving.give(&ToController::PolicyCommit(commit(&new)));
    assert_eq!(state(&said), Some((length, UploadState::Checking)));
    let mut said = None;
    while receiving.node.is_busy() {
        assert_eq!((said, receiving.node.switch()), (None, None));
        both(&mut receiving);
        said = state(&receiving.poll());
    }
    assert_eq!(said, Some((length, UploadState::Active)));
    assert_eq!(receiving.node.switch(), Some(Switch::Uploaded));
    // Until the board restarts.
    both(&mut receiving);
    board.b = receiving.node.into_store().into_slot();
    assert_eq!(board.policy(), Some(&*new));
}

#[test]
fn a_node_without_a_store_refuses() {
    let old = image(7, 0);
    let mut link = Link::new(Node::new(PolicyView::open(&old).ok(), IDENTITY));
    for message in [
        ToController::PolicyBegin(begin(&old)),
        ToController::PolicyChunk(chunk(&old, 0)),
        ToController::PolicyCommit(commit(&old)),
    ] {
        let answers = link.give(&message);
        let refused = matches!(&answers[..], [ToHost::Refused(refused)]
            if refused.why == Refusal::Unsupported && refused.kind == message.kind() as u8);
        assert!(refused, "{answers:?}");
    }
}

#[test]
fn a_refusal_names_the_message_and_says_what_is_active() {
    let old = image(7, 0);
    let board = Board::<4>::with(&old);
    let policy = PolicyView::open(&old).unwrap();
    let store = Upload::new(board.b, Some(&policy));
    let node = Node::with_store(Some(policy), IDENTITY, VersionRange::OURS, store);
    let mut link = Link::new(node);
    let number = link.sender.next_seq();
    let answers = link.give(&ToController::PolicyBegin(begin(&image(9, 1))));
    let [ToHost::PolicyAck(ack), ToHost::Refused(refused)] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!((ack.sequence, ack.state), (7, UploadState::Active));
    let said = (refused.kind, refused.seq, refused.why);
    assert_eq!(said, (Kind::PolicyBegin as u8, number, Refusal::WrongSequence));
}
