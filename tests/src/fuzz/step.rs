//! Any sequence of messages and waits: every decision can be carried out.

use std::sync::OnceLock;

use coshift_controller::store::{NoStore, PolicyStore, Slot, Switch, Upload};
use coshift_controller::{Identity, Node};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Degrade, Hello, Limits, Objective, Outcomes, Query, Question, Seed,
    SeedState, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, FaultCode, Mode, ResetCause, ToHost};
use coshift_shared::units::{Age, MAX_APPLICATIONS, NO_LEVEL, NO_SUB_NETWORK};

use super::{Bytes, seeds, uploads};
use crate::case::Case;
use crate::ram_slot::RamSlot;
use uploads::Progress;

/// Runs a controller behind its messages, with a policy store, on what the bytes say.
pub fn step(bytes: &[u8]) {
    static IMAGES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let [image, next] = IMAGES.get_or_init(|| {
        let case = Case::reference().expect("the policy at hand");
        let sequence = case.sequence().expect("a policy") + 1;
        [case.image.clone(), case.numbered(sequence, true).expect("the policy that follows it")]
    });
    let policy = PolicyView::open(image).expect("a valid policy");
    let store = Upload::new(RamSlot::default(), Some(&policy));
    let mut play = Play::new(policy, next, store);
    play.ungreeted(bytes);
    play.run(&mut Bytes(bytes));
    let store = play.node.into_store();
    if store.switch() == Some(Switch::Uploaded) {
        let found = store.into_slot().view().policy().map(|found| found.bytes().to_vec());
        assert_eq!(found.as_ref(), Some(next), "a board that restarts without the policy it took");
    }
}

/// What came in at a time of the node's own clock, and what the node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The node's clock, µs.
    pub local_us: u32,
    /// What came on the port; nothing where time passed.
    pub bytes: Vec<u8>,
    /// Frames of the answer.
    pub frames: Vec<Vec<u8>>,
    /// Decisions among them that were free: in mode Run, with an application.
    pub decisions: u32,
}

/// Runs a controller with this policy on what the bytes say, and keeps a record. Sessions last
/// longer and targets are nearer to what an agent asks for than in [`step`].
#[must_use]
pub fn history(policy: PolicyView<'_>, bytes: &[u8]) -> Vec<Input> {
    let mut play = Play::new(policy, policy.bytes(), NoStore);
    play.record = Some(Vec::new());
    play.run(&mut Bytes(bytes));
    play.record.unwrap_or_default()
}

/// Bytes from this one on are for what is seldom sent.
const RARE: u8 = 208;

/// Table of each application.
type Served = [Option<u8>; MAX_APPLICATIONS];

struct Play<'p, S> {
    policy: PolicyView<'p>,
    node: Node<'p, S>,
    /// An image that is uploaded, and how far that is.
    next: &'p [u8],
    progress: Progress,
    /// What the controller's state was once.
    kept: Vec<SeedState>,
    sender: Sender,
    reader: FrameReader,
    local: Instant,
    /// Sequence number of the message sent last.
    seq: u16,
    index: [u32; MAX_APPLICATIONS],
    /// Who came since its slot was last given a sub-network; and who then had none in a decision.
    came: [bool; MAX_APPLICATIONS],
    waited: [bool; MAX_APPLICATIONS],
    record: Option<Vec<Input>>,
}

impl<'p, S: PolicyStore> Play<'p, S> {
    fn new(policy: PolicyView<'p>, next: &'p [u8], store: S) -> Self {
        let identity = Identity {
            version: [0, 1, 0],
            boot_nonce: 1,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        Self {
            policy,
            node: Node::with_store(Some(policy), identity, VersionRange::OURS, store),
            next,
            progress: Progress::default(),
            kept: Vec::new(),
            sender: Sender::default(),
            reader: FrameReader::new(),
            local: Instant::START,
            seq: 0,
            index: [0; MAX_APPLICATIONS],
            came: [false; MAX_APPLICATIONS],
            waited: [false; MAX_APPLICATIONS],
            record: None,
        }
    }

    /// A node that is recorded is asked for what agents ask for, most of the time.
    fn plausible(&self, bytes: &mut Bytes<'_>) -> bool {
        self.record.is_some() && !bytes.u8().is_multiple_of(8)
    }

    fn run(&mut self, bytes: &mut Bytes<'_>) {
        self.hello(1);
        while !bytes.is_empty() {
            let what = bytes.u8();
            // Half as often where decisions are to be compared.
            if what >= RARE && (self.record.is_none() || bytes.u8() < 128) {
                self.rare(what, bytes);
                continue;
            }
            match what % 16 {
                0 if self.plausible(bytes) => self.telemetry(bytes),
                0 => self.hello(bytes.u16()),
                1..=3 => self.set(bytes),
                4 => self.remove(bytes.u8()),
                5 => self.limits(bytes),
                6..=9 => self.telemetry(bytes),
                10..=13 => self.outcomes(bytes),
                14 => self.garbage(bytes),
                _ if self.plausible(bytes) => self.wait(bytes.u16() % 300),
                _ => self.wait(bytes.u16()),
            }
            let spread = if self.plausible(bytes) { 50 } else { 256 };
            self.wait(u16::from(bytes.u8()) % spread);
        }
    }

    /// What agents seldom send.
    fn rare(&mut self, what: u8, bytes: &mut Bytes<'_>) {
        let at_us = self.local.us();
        match what % 8 {
            // One can leave a board too hot for long: seldom where decisions are to be compared.
            0 if !self.plausible(bytes) => self.seed(&seeds::drawn(bytes), None),
            0 | 1 => self.kept = self.node.seed().to_vec(),
            2 | 3 => {
                // Most often the whole of it; sometimes a part is lost.
                let lost = bytes.u8();
                let now = self.kept.is_empty() || what % 8 == 2;
                let parts = if now { self.node.seed().to_vec() } else { self.kept.clone() };
                self.seed(&parts, Some(lost).filter(|lost| *lost < 32));
            }
            4 => {
                let questions = [Question::Link, Question::Work, Question::Identity];
                let what = questions[usize::from(bytes.u8() % 3)];
                self.send(&ToController::Query(Query { at_us, what }));
            }
            _ => {
                let messages = self.progress.messages(self.next, at_us, bytes);
                // Without a store all are answered alike.
                let count = if self.record.is_some() { 1 } else { messages.len() };
                messages.iter().take(count).for_each(|message| self.send(message));
            }
        }
    }

    /// Sends a seed, but for the part that is lost.
    fn seed(&mut self, states: &[SeedState], lost: Option<u8>) {
        let parts = states.len() as u8;
        for (part, state) in (0..parts).zip(states) {
            if lost != Some(part) {
                let message = Seed { at_us: self.local.us(), part, parts, state: *state };
                self.send(&ToController::Seed(message));
            }
        }
        if lost.is_none_or(|lost| lost >= parts) {
            // What it tells of stands for a telemetry, and may have nothing for anybody.
            (self.came, self.waited) = ([true; MAX_APPLICATIONS], [false; MAX_APPLICATIONS]);
        }
    }

    /// Messages in no session, before the first Hello: as many as the last byte says, all made of the
    /// bytes that the session is made of too.
    fn ungreeted(&mut self, bytes: &[u8]) {
        let count = bytes.last().map_or(0, |last| last % 32);
        for _ in 0..count {
            self.telemetry(&mut Bytes(bytes));
            self.set(&mut Bytes(bytes));
            assert!(self.node.is_answering());
        }
        assert_eq!(self.node.link().accepted, 0, "taken in without a session");
    }

    fn send(&mut self, message: &ToController) {
        // What cannot be written is not sent.
        let Ok((seq, frame)) = self.sender.to_controller(message) else { return };
        self.seq = seq;
        self.give(frame.bytes());
    }

    /// Bytes come in, or time passes; for a record time is looked at every time, as boards do.
    fn give(&mut self, bytes: &[u8]) {
        let before = self.served();
        let mut out = Vec::new();
        for byte in bytes {
            self.node.feed(*byte, self.local, &mut |frame: &Frame| out.push(*frame));
        }
        while self.node.is_deciding() || self.node.is_busy() {
            self.node.poll(self.local, &mut |frame: &Frame| out.push(*frame));
        }
        if bytes.is_empty() || self.record.is_some() {
            self.node.poll(self.local, &mut |frame: &Frame| out.push(*frame));
        }
        assert_eq!(self.node.unanswered(), 0, "telemetry without a decision");
        let decisions = self.check(&out, &before);
        if let Some(record) = &mut self.record {
            record.push(Input {
                local_us: self.local.us(),
                bytes: bytes.to_vec(),
                frames: out.iter().map(|frame| frame.bytes().to_vec()).collect(),
                decisions,
            });
        }
    }

    /// Table of each application there is.
    fn served(&self) -> Served {
        let slots = self.node.controller().slots().each_ref();
        slots.map(|known| known.as_ref().map(|known| known.targets.table))
    }

    fn wait(&mut self, ms: u16) {
        self.local = self.local.after(Duration::from_us(u32::from(ms) * 1000));
        self.give(&[]);
    }

    fn hello(&mut self, session: u16) {
        self.sender.open(session);
        let ours = VersionRange::OURS;
        let hello = Hello {
            at_us: self.local.us(),
            protocol_min: ours.min,
            protocol_current: ours.current,
            schema: FINGERPRINT,
            policy_crc: self.policy.crc(),
            version: [0, 1, 0],
            boot_nonce: 4711,
            period_us: 50_000,
        };
        self.send(&ToController::Hello(hello));
    }

    fn set(&mut self, bytes: &mut Bytes<'_>) {
        let slot = bytes.u8() % (MAX_APPLICATIONS as u8 + 1);
        let mut targets = Targets {
            table: bytes.u8() % 4,
            objective: [Objective::LeastEnergy, Objective::BestAccuracy, Objective::LeastLatency]
                [usize::from(bytes.u8() % 3)],
            deadline_us: bytes.u32() >> (bytes.u8() % 32),
            period_us: bytes.u32() >> (bytes.u8() % 32),
            accuracy_floor_bp: bytes.u16(),
            miss_target_bp: bytes.u16(),
            priority: bytes.u8(),
            degrade: [Degrade::Accuracy, Degrade::Deadline, Degrade::Energy]
                [usize::from(bytes.u8() % 3)],
            energy_budget_uj: bytes.u32() >> (bytes.u8() % 32),
        };
        if self.plausible(bytes) {
            targets.table %= self.policy.tables();
            let cell = self.policy.table(targets.table).and_then(|table| {
                table.cell(bytes.u8() % table.len(), bytes.u8() % self.policy.levels())
            });
            let latency_us = cell.map_or(20_000, |cell| cell.latency_us);
            targets.deadline_us = (latency_us * (1 + targets.deadline_us % 4)).max(5_000);
            targets.period_us = targets.deadline_us * (2 + targets.period_us % 8);
            targets.accuracy_floor_bp %= 7_800;
            targets.miss_target_bp = [500, 100, 50, 10][usize::from(bytes.u8() % 4)];
            targets.energy_budget_uj %= 500_000;
        }
        let message = Application { at_us: self.local.us(), slot, change: Change::Set(targets) };
        self.send(&ToController::Application(message));
    }

    fn remove(&mut self, slot: u8) {
        let slot = slot % (MAX_APPLICATIONS as u8 + 1);
        let message = Application { at_us: self.local.us(), slot, change: Change::Remove };
        self.send(&ToController::Application(message));
    }

    fn limits(&mut self, bytes: &mut Bytes<'_>) {
        let power_cap_mw = bytes.u32() >> (bytes.u8() % 32);
        let plausible = self.plausible(bytes);
        let message = Limits {
            at_us: self.local.us(),
            power_cap_mw: if plausible { 8_000 + power_cap_mw % 40_000 } else { power_cap_mw },
            temp_cap_mdeg_c: if plausible {
                80_000 + i32::from(bytes.u16() / 2)
            } else {
                i32::from(bytes.u16()) * 4 - 50_000
            },
            parking: bytes.u8() % 2 == 1,
        };
        self.send(&ToController::Limits(message));
    }

    fn telemetry(&mut self, bytes: &mut Bytes<'_>) {
        let age = |byte: u8| match byte % 4 {
            0 => Age::MISSING,
            1 => Age(byte),
            _ => Age::FRESH,
        };
        let mut temperature =
            || Temperature { mdeg_c: i32::from(bytes.u16()) * 4 - 50_000, age: age(bytes.u8()) };
        let temperatures = [temperature(), temperature()];
        let mut message = Telemetry {
            at_us: self.local.us().wrapping_sub(u32::from(bytes.u8()) * 1000),
            level: bytes.u8(),
            clocks_mhz: [bytes.u16(), bytes.u16(), bytes.u16()],
            power_mw: bytes.u32() >> (bytes.u8() % 32),
            power_age: age(bytes.u8()),
            gpu_load_permille: bytes.u16(),
            gpu_load_age: age(bytes.u8()),
            temperatures,
        };
        // One that is not too hot does not end what an impossible one begins at once.
        if self.plausible(bytes) || (self.record.is_some() && bytes.u8() > 8) {
            message.level %= self.policy.levels();
            message.power_mw %= 30_000;
            let mdeg_c = 30_000 + i32::from(bytes.u16()) * 55 / 65;
            message.temperatures = [Temperature { mdeg_c, age: Age::FRESH }, Temperature::MISSING];
        }
        self.send(&ToController::Telemetry(message));
    }

    fn outcomes(&mut self, bytes: &mut Bytes<'_>) {
        let slot = bytes.u8() % (MAX_APPLICATIONS as u8 + 1);
        let Some(index) = self.index.get_mut(usize::from(slot)) else { return };
        *index = index.wrapping_add(u32::from(bytes.u8() % 4));
        let first_index = *index;
        let count = 1 + usize::from(bytes.u8() % 8);
        let samples: Vec<[u8; 2]> = (0..count).map(|_| bytes.u16().to_le_bytes()).collect();
        *index = index.wrapping_add(samples.len() as u32);
        let mut message = Outcomes {
            at_us: self.local.us(),
            slot,
            sub_network: bytes.u8() % 20,
            level: bytes.u8() % 40,
            first_index,
            samples: samples.iter().copied().collect(),
            outcomes_total: bytes.u32(),
            misses_total: bytes.u32(),
        };
        if self.plausible(bytes) {
            message.level %= self.policy.levels();
            let near =
                |sample: &[u8; 2]| (3_500 + u16::from_le_bytes(*sample) % 1_500).to_le_bytes();
            message.samples = samples.iter().map(near).collect();
        }
        self.send(&ToController::Outcomes(message));
    }

    fn garbage(&mut self, bytes: &mut Bytes<'_>) {
        let garbage: Vec<u8> = (0..bytes.u8() % 64).map(|_| bytes.u8()).collect();
        self.give(&garbage);
    }

    /// Checks every decision; gives how many were free. What was due before the last message is
    /// decided for the applications of `before`.
    fn check(&mut self, frames: &[Frame], before: &Served) -> u32 {
        let after = self.served();
        for (slot, (before, after)) in before.iter().zip(&after).enumerate() {
            if before != after {
                (self.came[slot], self.waited[slot]) = (true, false);
            }
        }
        let mut decisions = 0;
        for frame in frames {
            for byte in frame.bytes() {
                let Received::Packet(header, body) = self.reader.feed(*byte) else { continue };
                let kind = Kind::from_byte(header.kind).expect("a kind of ours");
                let message = ToHost::decode(kind, body).expect("a message of ours");
                if let ToHost::Decision(decision) = message {
                    let late = decision.last_seq != self.seq;
                    self.decision(&decision, if late { before } else { &after });
                    let serves = decision.sub_networks != [NO_SUB_NETWORK; MAX_APPLICATIONS];
                    decisions += u32::from(decision.mode == Mode::Run && serves);
                }
            }
        }
        decisions
    }

    /// Levels and sub-networks exist; whoever has a slot has a sub-network, and nobody else.
    fn decision(&mut self, decision: &Decision, served: &Served) {
        if decision.run_level == NO_LEVEL {
            // Nothing was decided yet: there was no telemetry.
            assert!(decision.mode != Mode::Run && decision.mode != Mode::Safe, "{decision:?}");
            assert_eq!(decision.sub_networks, [NO_SUB_NETWORK; MAX_APPLICATIONS], "{decision:?}");
            return;
        }
        assert!(decision.run_level < self.policy.levels(), "{decision:?}");
        let park = decision.park_level;
        assert!(park == NO_LEVEL || park < self.policy.levels(), "{decision:?}");
        for (slot, (table, sub_network)) in served.iter().zip(decision.sub_networks).enumerate() {
            let Some(table) = *table else {
                assert_eq!(sub_network, NO_SUB_NETWORK, "{decision:?}");
                continue;
            };
            // What was decided stands, and has nothing for who came since: while telemetry is missing, and
            // for one telemetry after outcomes had it decided, or after a seed.
            let table = self.policy.table(table).expect("a table of the policy");
            if sub_network != NO_SUB_NETWORK {
                assert!(sub_network < table.len(), "{decision:?}");
                (self.came[slot], self.waited[slot]) = (false, false);
            } else if decision.mode != Mode::Hold {
                assert!(self.came[slot] && !self.waited[slot], "{decision:?}");
                self.waited[slot] = true;
            }
        }
    }
}
