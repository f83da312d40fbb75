//! A controller on a link: bytes in, frames out.
//!
//! The firmware runs one, and so does the agent: as the twin of the firmware, fed the very same
//! frames, and as its in-process controller. The node owns the session rules of the controller's
//! side:
//!
//! * Without a session it announces itself: Welcome in session 0, every 100 ms of its own clock.
//!   It takes in nothing but Hello then.
//! * Hello opens the session in its header and forgets everything of the one before. The same
//!   Hello again (session and boot nonce equal) is answered again and forgets nothing.
//! * Protocol ranges that do not meet are answered by Welcome, with its own range, and Refused;
//!   no session is opened.
//! * Of the other frames it takes in those of the session, each once.
//!
//! Uploads of a policy go to the [store](crate::store), past the controller: they change no decision
//! and are in no digest. The new policy comes into force when the board restarts, after
//! [`Node::switch`] asked for it.
//!
//! The node's own clock only detects silence, and times the decisions in one: it carries the agent's
//! last stamp forward.

use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::packet::Header;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::{LinkCounters, NO_SESSION, Receiver, Sender};
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{Hello, Question, SeedState, ToController};
use coshift_shared::to_host::{FaultCode, Refusal, Refused, ResetCause, Status, ToHost, Welcome};
use heapless::Vec;

use crate::controller::{Controller, Input, Outputs, SEED_PARTS};
use crate::store::{Answer, NoStore, PolicyStore, Switch};

/// Time between announcements without a session.
pub const ANNOUNCE_EVERY: Duration = Duration::from_ms(100);
/// Telemetries without a decision after which a node is broken.
pub const UNANSWERED: u8 = 10;

/// Who a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Version: major, minor, patch.
    pub version: [u8; 3],
    /// Differs at each boot.
    pub boot_nonce: u32,
    /// Why the last reset happened.
    pub reset_cause: ResetCause,
    /// The last fault before it.
    pub last_fault: FaultCode,
    /// What the fault left.
    pub fault_detail: u32,
}

/// A controller on a link.
#[derive(Debug, Clone)]
pub struct Node<'p, S = NoStore> {
    identity: Identity,
    policy_crc: u32,
    versions: VersionRange,
    reader: FrameReader,
    receiver: Receiver,
    sender: Sender,
    controller: Controller<'p>,
    /// Boot nonce of the agent of the session.
    agent_nonce: u32,
    /// The agent's last stamp, and the node's clock when it came.
    last_stamp: Instant,
    last_local: Instant,
    announced_at: Option<Instant>,
    /// Telemetries since a decision was last sent.
    unanswered: u8,
    /// What a step has to send; kept here since there is less room on the stack.
    outputs: Outputs,
    store: S,
}

impl<'p> Node<'p> {
    /// A node that has just booted and takes no policies.
    #[must_use]
    pub fn new(policy: Option<PolicyView<'p>>, identity: Identity) -> Self {
        Self::with_versions(policy, identity, VersionRange::OURS)
    }

    /// A node that speaks another range of versions than this build: for tests of what happens
    /// when the ranges do not meet.
    #[must_use]
    pub fn with_versions(
        policy: Option<PolicyView<'p>>,
        identity: Identity,
        versions: VersionRange,
    ) -> Self {
        Self::with_store(policy, identity, versions, NoStore)
    }
}

impl<'p, S: PolicyStore> Node<'p, S> {
    /// A node that has just booted and keeps the policies it is sent in `store`.
    #[must_use]
    pub fn with_store(
        policy: Option<PolicyView<'p>>,
        identity: Identity,
        versions: VersionRange,
        store: S,
    ) -> Self {
        Self {
            identity,
            policy_crc: policy.as_ref().map_or(0, PolicyView::crc),
            versions,
            reader: FrameReader::new(),
            receiver: Receiver::default(),
            sender: Sender::default(),
            controller: Controller::new(policy),
            agent_nonce: 0,
            last_stamp: Instant::START,
            last_local: Instant::START,
            announced_at: None,
            unanswered: 0,
            outputs: Outputs::new(),
            store,
        }
    }

    /// Takes in one byte at `local`, the node's own clock; frames to send go to `out`.
    #[inline]
    pub fn feed(&mut self, byte: u8, local: Instant, out: &mut impl FnMut(&Frame)) {
        if byte == 0 {
            self.close(local, out);
        } else if let Received::Fault(fault) = self.reader.feed(byte) {
            self.receiver.counters.count_fault(fault);
        }
    }

    /// Takes in the zero that ends a frame.
    #[inline(never)]
    fn close(&mut self, local: Instant, out: &mut impl FnMut(&Frame)) {
        let (header, body) = match self.reader.feed(0) {
            Received::Nothing => return,
            Received::Fault(fault) => return self.receiver.counters.count_fault(fault),
            Received::Packet(header, body) => (header, body),
        };
        let Some(kind) = self.receiver.kind(header) else { return };
        match ToController::decode(kind, body) {
            Ok(message) => self.take_in(header, &message, local, out),
            Err(fault) => self.receiver.count_body(fault),
        }
    }

    fn take_in(
        &mut self,
        header: Header,
        message: &ToController,
        local: Instant,
        out: &mut impl FnMut(&Frame),
    ) {
        if let ToController::Hello(hello) = message {
            return self.greet(header, hello, local, out);
        }
        // Without a session there is none that a frame could belong to, one of session 0 included:
        // it would be answered by nothing.
        if self.receiver.session() == NO_SESSION {
            return self.receiver.count_old_session();
        }
        if !self.receiver.take_in(header) {
            return;
        }
        let now = Instant::from_us(message.at_us());
        self.last_stamp = now;
        self.last_local = local;
        let answer = match message {
            ToController::PolicyBegin(begin) => Some(self.store.begin(begin)),
            ToController::PolicyChunk(chunk) => Some(self.store.chunk(chunk)),
            ToController::PolicyCommit(commit) => Some(self.store.commit(commit)),
            _ => None,
        };
        if let Some(answer) = answer {
            return self.answer(answer, header, out);
        }
        if let ToController::Query(query) = message {
            match query.what {
                Question::Link => {
                    let status = Status::Link(self.receiver.counters);
                    return self.send(&ToHost::Status(status), out);
                }
                Question::Identity => return self.send(&ToHost::Welcome(self.welcome()), out),
                Question::Work | Question::Unused => {}
            }
        }
        if matches!(message, ToController::Telemetry(_)) {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        self.step(now, Input::Message { message, seq: header.seq }, out);
    }

    #[inline(never)]
    fn greet(
        &mut self,
        header: Header,
        hello: &Hello,
        local: Instant,
        out: &mut impl FnMut(&Frame),
    ) {
        let theirs = VersionRange { min: hello.protocol_min, current: hello.protocol_current };
        let Some(protocol) = self.versions.settle(theirs) else {
            self.receiver.counters.version = self.receiver.counters.version.wrapping_add(1);
            // In no session: the agent that asks is in none that this node knows, and would drop
            // an answer in another one.
            let mut outside = Sender::default();
            let why = Refusal::VersionMismatch;
            let refused = Refused { kind: Kind::Hello as u8, seq: header.seq, why };
            for message in [ToHost::Welcome(self.welcome()), ToHost::Refused(refused)] {
                if let Ok(frame) = outside.to_host(&message) {
                    out(&frame);
                }
            }
            return;
        };
        if header.session == NO_SESSION {
            return self.receiver.count_old_session();
        }
        let known =
            header.session == self.receiver.session() && hello.boot_nonce == self.agent_nonce;
        let now = Instant::from_us(hello.at_us);
        self.outputs.clear();
        if !known {
            self.receiver.open(header.session);
            self.sender.open(header.session);
            self.sender.settle(protocol);
            self.agent_nonce = hello.boot_nonce;
            // A decision under way ends with its session, and is not owed any more.
            self.unanswered = 0;
            self.outputs = self.controller.start_session(now, hello.period_us, header.session);
        }
        // A doubled frame is dropped here; a Hello the agent sent again has a new number.
        if !self.receiver.take_in(header) {
            return;
        }
        self.last_stamp = now;
        self.last_local = local;
        self.send(&ToHost::Welcome(self.welcome()), out);
        self.send_all(out);
    }

    /// Sends what the store answered to the frame of `header`.
    #[inline(never)]
    fn answer(&mut self, answer: Answer, header: Header, out: &mut impl FnMut(&Frame)) {
        if let Some(ack) = answer.ack {
            self.send(&ToHost::PolicyAck(ack), out);
        }
        if let Some(why) = answer.refusal {
            let refused = Refused { kind: header.kind, seq: header.seq, why };
            self.send(&ToHost::Refused(refused), out);
        }
    }

    /// Lets time pass up to `local`: announcements, silence, a slice of the store's work.
    pub fn poll(&mut self, local: Instant, out: &mut impl FnMut(&Frame)) {
        if self.store.is_busy() {
            let answer = self.store.work();
            // Without a session nobody waits for it; what came of it is told when asked for.
            if self.receiver.session() != NO_SESSION {
                // Of the messages only a commit, or the begin before it, takes long.
                let kind = Kind::PolicyCommit as u8;
                let seq = self.receiver.last_seq();
                let header = Header { protocol: 0, kind, session: 0, seq };
                self.answer(answer, header, out);
            }
        }
        if self.receiver.session() == NO_SESSION {
            let due = self.announced_at.is_none_or(|at| local.since(at) >= ANNOUNCE_EVERY);
            if due {
                self.announced_at = Some(local);
                self.send(&ToHost::Welcome(self.welcome()), out);
            }
            return;
        }
        let now = self.last_stamp.after(local.since(self.last_local));
        // A decision under way goes on whatever time it is.
        let due = self.controller.next_deadline().is_some_and(|due| now.reached(due));
        if due || self.controller.is_deciding() {
            self.step(now, Input::Tick, out);
        }
    }

    /// What the board has to do for the policy store. The caller sends the frames that wait, so that
    /// the agent hears how the upload ended, and restarts the board.
    #[must_use]
    pub fn switch(&self) -> Option<Switch> {
        self.store.switch()
    }

    /// Whether the store has work: [`Node::poll`] is due at once then.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.store.is_busy()
    }

    /// Whether a decision is under way: [`Node::poll`] is due at once, and the bytes received
    /// meanwhile had better wait until it has ended.
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        self.controller.is_deciding()
    }

    /// Telemetries since a decision was last sent: none, but while one is under way.
    #[must_use]
    pub fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// Whether the node does what it is for: every telemetry causes a decision, at once or some slices
    /// later. One that took in [`UNANSWERED`] of them and sent none is broken, as after a bit flip;
    /// a board that then no longer feeds its watchdog comes back whole.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.unanswered < UNANSWERED
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store alone, for a board that restarts.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    /// When [`Node::poll`] is due, on the node's own clock: at once while a decision is under way,
    /// so that another slice of it is done; `None` while time changes nothing. Says
    /// nothing of the store's work, which is due whenever there is time: see [`Node::is_busy`].
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        if self.receiver.session() == NO_SESSION {
            return Some(self.announced_at.map_or(self.last_local, |at| at.after(ANNOUNCE_EVERY)));
        }
        if self.controller.is_deciding() {
            return Some(self.last_local);
        }
        let due = self.controller.next_deadline()?;
        Some(self.last_local.after(due.since(self.last_stamp)))
    }

    /// The controller's whole state as the parts of a seed, in the order that they have to be given
    /// in: applications, sensors, power and its biases, device, clocks.
    #[must_use]
    pub fn seed(&self) -> Vec<SeedState, SEED_PARTS> {
        self.controller.seed()
    }

    /// The controller.
    #[must_use]
    pub fn controller(&self) -> &Controller<'p> {
        &self.controller
    }

    /// The controller, so that the board can report what only it can measure.
    pub fn controller_mut(&mut self) -> &mut Controller<'p> {
        &mut self.controller
    }

    /// The session; 0 before the first Hello.
    #[must_use]
    pub fn session(&self) -> u16 {
        self.receiver.session()
    }

    /// Counters of the frames received.
    #[must_use]
    pub fn link(&self) -> LinkCounters {
        self.receiver.counters
    }

    fn welcome(&self) -> Welcome {
        let ours = self.versions;
        Welcome {
            protocol_min: ours.min,
            protocol_current: ours.current,
            schema: FINGERPRINT,
            policy_crc: self.policy_crc,
            version: self.identity.version,
            boot_nonce: self.identity.boot_nonce,
            reset_cause: self.identity.reset_cause,
            last_fault: self.identity.last_fault,
            fault_detail: self.identity.fault_detail,
        }
    }

    #[inline(never)]
    fn send(&mut self, message: &ToHost, out: &mut impl FnMut(&Frame)) {
        // No message of ours is too long for a frame; the tests of the message crate show it.
        let mut frame = Frame::EMPTY;
        if self.sender.frame_to_host(message, &mut frame).is_ok() {
            out(&frame);
        }
    }

    /// Does a step and sends what there is to send.
    fn step(&mut self, now: Instant, input: Input<'_>, out: &mut impl FnMut(&Frame)) {
        self.outputs.clear();
        self.controller.step_into(now, input, &mut self.outputs);
        self.send_all(out);
    }

    #[inline(never)]
    fn send_all(&mut self, out: &mut impl FnMut(&Frame)) {
        for message in &self.outputs {
            if matches!(message, ToHost::Decision(_)) {
                self.unanswered = 0;
            }
            let mut frame = Frame::EMPTY;
            if self.sender.frame_to_host(message, &mut frame).is_ok() {
                out(&frame);
            }
        }
    }
}
