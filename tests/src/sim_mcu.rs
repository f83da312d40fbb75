//! The microcontroller of the simulated rig: the controller crate's node in virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coshift_controller::store::{Slot, Upload};
use coshift_controller::{Identity, Node};
use coshift_host::clock::Time;
use coshift_host::simulation::VirtualLink;
use coshift_shared::frame::Frame;
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::{SlotView, Which, newest};
use coshift_shared::protocol::VersionRange;
use coshift_shared::time::Instant;
use coshift_shared::to_host::{FaultCode, ResetCause};

use crate::line::Line;
use crate::mutant::{Ears, Mutant};
use crate::ram_slot::RamSlot;
use crate::random::Random;
use crate::wire::Direction;

/// Least and additional time on the line, µs: a frame at 1 Mbaud and a busy receiver.
const DELAY_US: (u64, u32) = (300, 700);
/// Bytes of garbage put in at a time.
const GARBAGE_CHUNK: u64 = 512;
/// Time between two chunks of garbage, µs: about 500 kB/s.
const GARBAGE_EVERY_US: u64 = 1_000;

/// From one slice of the policy store's work to the next, µs.
const SLICE_US: u64 = 200;
/// Time from a hang to the reset by the watchdog, µs: that of the image that runs in the emulator.
const WATCHDOG_US: u64 = 6_000_000;

/// The node of a board with a policy store.
pub type SimNode<'p> = Node<'p, Upload<RamSlot>>;

/// A node, its clock, and the line to it.
#[derive(Debug)]
pub struct SimMcu<'p> {
    /// The policy compiled in.
    policy: PolicyView<'p>,
    /// The policy that it runs on since its boot.
    running: PolicyView<'p>,
    identity: Identity,
    versions: VersionRange,
    node: Option<SimNode<'p>>,
    /// Slots of the policy store; the spare one is with the node while there is one.
    slots: [RamSlot; 2],
    active: Option<Which>,
    /// When the watchdog resets a node that hangs.
    watchdog_at: Option<Time>,
    mutant: Mutant,
    ears: Ears,
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
            running: policy,
            identity: Identity {
                version: [0, 1, 0],
                boot_nonce: 0,
                reset_cause: ResetCause::PowerOn,
                last_fault: FaultCode::None,
                fault_detail: 0,
            },
            versions,
            node: None,
            slots: Default::default(),
            active: None,
            watchdog_at: None,
            mutant,
            ears: Ears::new(mutant),
            boots: 0,
            booted_at: Time::START,
            line,
            random: Random::new(seed ^ 0xDE1A),
            to_node: VecDeque::new(),
            to_agent: VecDeque::new(),
            garbage_at: Time::START,
            now: Time::START,
        };
        mcu.boot_after(ResetCause::PowerOn);
        mcu
    }

    /// Ends it, with everything on its way.
    pub fn kill(&mut self) {
        self.stop();
        let spare = self.spare();
        match self.mutant {
            Mutant::ForgetsUploadUnpowered => self.slots[spare] = RamSlot::default(),
            Mutant::ForgetsPolicyUnpowered => self.slots[1 - spare] = RamSlot::default(),
            _ => {}
        }
        self.to_agent.clear();
        self.line().cut();
    }

    /// Its loop hangs: nothing is done or said until the watchdog resets it.
    pub fn hang(&mut self) {
        self.stop();
        let bites = self.mutant != Mutant::WithoutWatchdog;
        self.watchdog_at = bites.then(|| self.now.after_us(WATCHDOG_US));
    }

    /// The node is gone, and what it was sent; its slots stay.
    fn stop(&mut self) {
        let spare = self.spare();
        if let Some(node) = self.node.take() {
            self.slots[spare] = node.into_store().into_slot();
        }
        self.to_node.clear();
    }

    /// Index of the slot that is not in use.
    fn spare(&self) -> usize {
        usize::from(self.active == Some(Which::A))
    }

    /// Boots it after its power was cut.
    pub fn boot(&mut self) {
        self.boot_after(ResetCause::External);
    }

    fn boot_after(&mut self, reset_cause: ResetCause) {
        self.stop();
        self.watchdog_at = None;
        self.boots += 1;
        self.booted_at = self.now;
        self.ears = Ears::new(self.mutant);
        self.identity = Identity {
            version: [0, 1, 0],
            boot_nonce: 0xB007_0000 + self.boots,
            reset_cause,
            last_fault: match reset_cause {
                ResetCause::Watchdog => FaultCode::Hang,
                _ => FaultCode::None,
            },
            fault_detail: 0,
        };
        let [a, b] = &self.slots;
        self.active = newest(&a.view(), &b.view());
        self.running = match self.active {
            None => self.policy,
            Some(which) => {
                let slot = if which == Which::A { a } else { b };
                // A board reads it in place; here the slot moves. A few images a test.
                let image: &'static [u8] = Box::leak(slot.mapped().into());
                SlotView::new(image).policy().unwrap_or(self.policy)
            }
        };
        let spare = self.spare();
        let slot = std::mem::take(&mut self.slots[spare]);
        self.begin(slot);
    }

    /// A node that begins with this spare slot.
    fn begin(&mut self, slot: RamSlot) {
        let running = self.running;
        // A store that was not told what runs takes every number for the next one.
        let active = (self.mutant != Mutant::TakesAnyNumber).then_some(&running);
        let store = Upload::new(slot, active);
        self.node = Some(Node::with_store(Some(running), self.identity, self.versions, store));
    }

    /// The upload that is under way, if there is one, never was.
    fn forget_upload(&mut self) {
        let node = self.node.as_ref();
        if node.is_some_and(|node| node.store().slot().view().receiving().is_some()) {
            self.begin(RamSlot::default());
        }
    }

    /// The node, while there is one.
    #[must_use]
    pub fn node(&self) -> Option<&SimNode<'p>> {
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
            let bytes = self.ears.pass(bytes);
            if self.ears.met_another_session() && self.mutant == Mutant::ForgetsUploadUngreeted {
                self.forget_upload();
            }
            let Some(node) = &mut self.node else { continue };
            for byte in bytes {
                node.feed(byte, local, &mut |frame| sent.push(*frame));
                while node.is_deciding() {
                    node.poll(local, &mut |frame| sent.push(*frame));
                }
            }
        }
        if let Some(node) = &mut self.node {
            node.poll(local, &mut |frame| sent.push(*frame));
        }
        for frame in sent {
            self.carry(Direction::FromMcu, frame.bytes());
        }
        if self.node.as_ref().is_some_and(|node| node.switch().is_some()) {
            self.boot_after(ResetCause::Software);
        }
        if self.watchdog_at.is_some_and(|at| self.now >= at) {
            self.boot_after(ResetCause::Watchdog);
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
        let busy = self.node.as_ref().is_some_and(SimNode::is_busy);
        let slice = busy.then(|| self.now.after_us(SLICE_US));
        let reset = self.watchdog_at;
        arrivals
            .chain(due)
            .chain(slice)
            .chain(reset)
            .chain(garbage_due.then_some(self.garbage_at))
            .min()
    }
}
