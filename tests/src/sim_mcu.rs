//! The microcontroller of the simulated rig: the controller crate's node in virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coshift_controller::{Identity, Node};
use coshift_host::clock::Time;
use coshift_host::simulation::VirtualLink;
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::time::Instant;
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::{FaultCode, ResetCause};

use crate::line::Line;
use crate::random::Random;
use crate::wire::Direction;

/// Least and additional time on the line, µs: a frame at 1 Mbaud and a busy receiver.
const DELAY_US: (u64, u32) = (300, 700);
/// Bytes of garbage put in at a time.
const GARBAGE_CHUNK: u64 = 512;
/// Time between two chunks of garbage, µs: about 500 kB/s.
const GARBAGE_EVERY_US: u64 = 1_000;

/// What is wrong with a microcontroller on purpose, to show that a scenario notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    Sound,
    /// Frames that come twice are taken in twice: sequence numbers and sample indices are made
    /// up as they arrive.
    NoDuplicateFilter,
    /// Does not end when killed.
    Undead,
}

/// A node, its clock, and the line to it.
#[derive(Debug)]
pub struct SimMcu<'p> {
    policy: PolicyView<'p>,
    versions: VersionRange,
    node: Option<Node<'p>>,
    mutant: Mutant,
    renumber: Renumber,
    boots: u32,
    booted_at: Time,
    line: Arc<Mutex<Line>>,
    random: Random,
    to_node: VecDeque<(Time, Vec<u8>)>,
    to_agent: VecDeque<(Time, Vec<u8>)>,
    garbage_at: Time,
    now: Time,
}

impl<'p> SimMcu<'p> {
    /// A microcontroller that boots now.
    #[must_use]
    pub fn new(
        policy: PolicyView<'p>,
        versions: VersionRange,
        line: Arc<Mutex<Line>>,
        seed: u64,
        mutant: Mutant,
    ) -> Self {
        let mut mcu = Self {
            policy,
            versions,
            node: None,
            mutant,
            renumber: Renumber::default(),
            boots: 0,
            booted_at: Time::START,
            line,
            random: Random::new(seed ^ 0xDE1A),
            to_node: VecDeque::new(),
            to_agent: VecDeque::new(),
            garbage_at: Time::START,
            now: Time::START,
        };
        mcu.boot();
        mcu
    }

    /// Ends it, with everything on its way.
    pub fn kill(&mut self) {
        if self.mutant == Mutant::Undead {
            return;
        }
        self.node = None;
        self.to_node.clear();
        self.to_agent.clear();
        self.line().cut();
    }

    /// Boots it.
    pub fn boot(&mut self) {
        self.boots += 1;
        self.booted_at = self.now;
        self.renumber = Renumber::default();
        let identity = Identity {
            version: [0, 1, 0],
            boot_nonce: 0xB007_0000 + self.boots,
            reset_cause: if self.boots == 1 { ResetCause::PowerOn } else { ResetCause::External },
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        self.node = Some(Node::with_versions(Some(self.policy), identity, self.versions));
    }

    /// The node, while there is one.
    #[must_use]
    pub fn node(&self) -> Option<&Node<'p>> {
        self.node.as_ref()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its own clock: since its boot, 0.01 % slow.
    fn local(&self, now: Time) -> Instant {
        let passed = now.us_since(self.booted_at);
        Time::from_us(passed - passed / 10_000).stamp()
    }

    /// When bytes sent now arrive; never before those sent earlier.
    fn arrival(&mut self, queue: Direction) -> Time {
        let (least, more) = DELAY_US;
        let delay = least + u64::from(self.random.below(more));
        let last = match queue {
            Direction::ToMcu => self.to_node.back(),
            Direction::FromMcu => self.to_agent.back(),
        };
        let earliest = last.map_or(self.now, |(at, _)| *at);
        self.now.after_us(delay).max(earliest)
    }

    fn carry(&mut self, direction: Direction, bytes: &[u8]) {
        let mut arriving = Vec::new();
        self.line().pass(direction, bytes, &mut arriving);
        self.post(direction, arriving);
    }

    fn post(&mut self, direction: Direction, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.arrival(direction);
        match direction {
            Direction::ToMcu => self.to_node.push_back((at, bytes)),
            Direction::FromMcu => self.to_agent.push_back((at, bytes)),
        }
    }

    fn garbage(&mut self) {
        if self.now < self.garbage_at {
            return;
        }
        self.garbage_at = self.now.after_us(GARBAGE_EVERY_US);
        for direction in Direction::BOTH {
            let mut bytes = Vec::new();
            self.line().pass_garbage(direction, GARBAGE_CHUNK, &mut bytes);
            self.post(direction, bytes);
        }
    }

    fn live(&mut self) {
        let local = self.local(self.now);
        let mut sent: Vec<Frame> = Vec::new();
        while let Some((_, bytes)) = self.to_node.pop_front_if(|(at, _)| *at <= self.now) {
            let bytes = match self.mutant {
                Mutant::NoDuplicateFilter => self.renumber.pass(&bytes),
                Mutant::Sound | Mutant::Undead => bytes,
            };
            let Some(node) = &mut self.node else { continue };
            for byte in bytes {
                node.feed(byte, local, &mut |frame| sent.push(*frame));
            }
        }
        if let Some(node) = &mut self.node {
            node.poll(local, &mut |frame| sent.push(*frame));
        }
        for frame in sent {
            self.carry(Direction::FromMcu, frame.bytes());
        }
    }
}

impl VirtualLink for SimMcu<'_> {
    fn send(&mut self, now: Time, bytes: &[u8]) {
        self.now = now;
        self.carry(Direction::ToMcu, bytes);
    }

    fn advance(&mut self, now: Time, received: &mut Vec<u8>) {
        self.now = now;
        // What waited for the end of a stall.
        for direction in Direction::BOTH {
            self.carry(direction, &[]);
        }
        self.garbage();
        self.live();
        while let Some((_, bytes)) = self.to_agent.pop_front_if(|(at, _)| *at <= now) {
            received.extend(bytes);
        }
    }

    fn next_event(&self) -> Option<Time> {
        let waiting = [self.to_node.front(), self.to_agent.front()];
        let arrivals = waiting.into_iter().flatten().map(|(at, _)| *at);
        let garbage_due = Direction::BOTH.iter().any(|way| self.line().garbage_left(*way) > 0);
        let due = self.node.as_ref().and_then(Node::next_poll).map(|due| {
            let wait = u64::from(due.since(self.local(self.now)).us());
            // Its clock is slow.
            self.now.after_us(wait + wait / 5_000)
        });
        arrivals.chain(due).chain(garbage_due.then_some(self.garbage_at)).min()
    }
}

/// Takes every frame for a new one, as a receiver without any filter would.
#[derive(Debug, Default)]
struct Renumber {
    reader: FrameReader,
    next_seq: u16,
    next_index: u32,
}

impl Renumber {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            let Received::Packet(mut header, body) = self.reader.feed(*byte) else { continue };
            let Some(Ok(mut message)) =
                Kind::from_byte(header.kind).map(|kind| ToController::decode(kind, body))
            else {
                continue;
            };
            header.seq = self.next_seq;
            self.next_seq = self.next_seq.wrapping_add(1);
            if let ToController::Outcomes(outcomes) = &mut message {
                outcomes.first_index = self.next_index;
                let count = u32::try_from(outcomes.samples.len()).unwrap_or(0);
                self.next_index = self.next_index.wrapping_add(count);
            }
            if let Ok(frame) = Frame::build(header, |place| message.encode(place)) {
                out.extend(frame.bytes());
            }
        }
        out
    }
}
