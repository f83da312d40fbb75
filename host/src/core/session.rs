//! Opening sessions: Hello, Welcome, and bringing the microcontroller to the twin's state.

use coshift_shared::packet::Header;
use coshift_shared::protocol::VersionRange;
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::NO_SESSION;
use coshift_shared::to_controller::{Change, Hello, Seed, ToController};
use coshift_shared::to_host::Welcome;
use coshift_shared::units::MAX_APPLICATIONS;

use super::{Action, AgentCore, LinkState};
use crate::clock::Time;
use crate::notice::{Notice, TakeOver};

/// Announcements of a known boot in a row that mean it has lost the session; a single one may
/// have been under way when the session opened.
const LOST_SESSION: u32 = 2;
/// Least periods between two seeds in a session: time for the answers to the first.
const RESYNC_PERIODS: u32 = 4;

/// Session numbers: never 0, never the same twice in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sessions {
    state: u64,
    last: u16,
}

impl Sessions {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed | 1, last: 0 }
    }

    pub(super) fn draw(&mut self) -> u16 {
        loop {
            // xorshift64 (Marsaglia, 2003); its state is never 0.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let [.., high, low] = (self.state >> 16).to_le_bytes();
            let [a, b] = [self.state.to_le_bytes()[0] ^ high, self.state.to_le_bytes()[1] ^ low];
            let session = u16::from_le_bytes([a, b]);
            if session != 0 && session != self.last {
                self.last = session;
                return session;
            }
        }
    }
}

impl AgentCore<'_> {
    /// Greets the twin in a session of its own.
    pub(super) fn start_twin(&mut self, now: Time, out: &mut Vec<Action>) {
        let session = self.sessions.draw();
        self.alone.open(session);
        let hello = self.hello(now);
        if let Ok((_, frame)) = self.alone.to_controller(&ToController::Hello(hello)) {
            self.feed_twin(now, frame, out);
        }
        self.send_limits(now, out);
    }

    fn hello(&self, now: Time) -> Hello {
        Hello {
            at_us: now.stamp().us(),
            protocol_min: VersionRange::OURS.min,
            protocol_current: VersionRange::OURS.current,
            schema: FINGERPRINT,
            policy_crc: self.policy.crc(),
            version: crate::VERSION,
            boot_nonce: self.settings.boot_nonce,
            period_us: self.settings.period.us(),
        }
    }

    pub(super) fn change_link(&mut self, link: LinkState) {
        self.link = link;
        self.periods_in_state = 0;
    }

    /// Opens a new session with the microcontroller; the twin goes on in the one it has.
    pub(super) fn greet(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.settings.remote {
            return;
        }
        self.leave_session();
        self.change_link(LinkState::Greeting);
        self.open_session(now, out);
    }

    /// Says Hello in a session of a new number.
    pub(super) fn open_session(&mut self, now: Time, out: &mut Vec<Action>) {
        let session = self.sessions.draw();
        self.sender.open(session);
        self.receiver.open(session);
        self.counters.sessions = self.counters.sessions.wrapping_add(1);
        self.send_hello(now, out);
    }

    /// From here on frames go to the twin alone, in the session and with the numbers it knows.
    fn leave_session(&mut self) {
        if self.in_session() {
            self.alone = self.sender;
        }
        self.judge.clear();
        self.handed_over = Default::default();
        self.announcements = 0;
        self.resync_due = false;
        self.resync_seq = None;
        self.mcu_link = None;
        self.mcu_work = None;
    }

    pub(super) fn link_down(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.settings.remote || self.link == LinkState::Down {
            return;
        }
        self.leave_session();
        self.change_link(LinkState::Down);
        self.upload_interrupted();
        self.take_over(now, TakeOver::LinkDown, out);
    }

    pub(super) fn send_hello(&mut self, now: Time, out: &mut Vec<Action>) {
        let hello = ToController::Hello(self.hello(now));
        match self.sender.to_controller(&hello) {
            Ok((_, frame)) => {
                self.last_hello = Some(frame);
                out.push(Action::Send(frame));
            }
            Err(fault) => out.push(Action::Notice(Notice::Unsendable(hello.kind(), fault))),
        }
    }

    pub(super) fn welcome(
        &mut self,
        now: Time,
        header: Header,
        welcome: &Welcome,
        out: &mut Vec<Action>,
    ) {
        // Announcements come in no session; they are not faults.
        let announced = header.session == NO_SESSION;
        let rebooted = self.peer.is_some_and(|known| known.boot_nonce != welcome.boot_nonce);
        // A boot that an old Hello brought into this session numbers its frames from 0 again.
        let restarted = rebooted && header.session == self.receiver.session();
        if !announced && !restarted && !self.receiver.take_in(header) {
            return;
        }
        if !self.settings.remote || self.link == LinkState::Down {
            return;
        }
        let known = self.peer.replace(*welcome);
        if known.is_none() || rebooted {
            out.push(Action::Notice(Notice::Met { welcome: *welcome, again: rebooted }));
        }
        if let Some(mismatch) = self.mismatch(welcome) {
            self.refuse(now, mismatch, out);
            if mismatch == LinkState::PoliciesDiffer {
                self.upload_welcomed(now, announced, rebooted, out);
            }
            return;
        }
        match self.link {
            LinkState::Greeting if !announced => self.join(now, out),
            // The next period says Hello again; the one under way may already be there.
            LinkState::Greeting => {}
            LinkState::InSession | LinkState::Silent => {
                self.announcements = self.announcements.saturating_add(u32::from(announced));
                if rebooted || self.announcements >= LOST_SESSION {
                    self.take_over(now, TakeOver::Restarted, out);
                    self.greet(now, out);
                }
            }
            // It fits now: another firmware or policy was loaded.
            _ => self.greet(now, out),
        }
    }

    /// Why the microcontroller cannot decide for this agent.
    fn mismatch(&self, welcome: &Welcome) -> Option<LinkState> {
        let theirs = VersionRange { min: welcome.protocol_min, current: welcome.protocol_current };
        if VersionRange::OURS.settle(theirs).is_none() {
            return Some(LinkState::VersionsDiffer);
        }
        (welcome.policy_crc != self.policy.crc()).then_some(LinkState::PoliciesDiffer)
    }

    fn refuse(&mut self, now: Time, mismatch: LinkState, out: &mut Vec<Action>) {
        if self.link == mismatch {
            return;
        }
        self.leave_session();
        self.change_link(mismatch);
        let policy_crc = self.policy.crc();
        if let Some(welcome) = self.peer {
            out.push(Action::Notice(Notice::Mismatch { link: mismatch, policy_crc, welcome }));
        }
        self.take_over(now, TakeOver::Mismatch, out);
    }

    /// The microcontroller answered: it and the twin go on together, from the twin's state.
    fn join(&mut self, now: Time, out: &mut Vec<Action>) {
        let (Some(hello), Some(welcome)) = (self.last_hello, self.peer) else { return };
        let theirs = VersionRange { min: welcome.protocol_min, current: welcome.protocol_current };
        if let Some(protocol) = VersionRange::OURS.settle(theirs) {
            self.sender.settle(protocol);
        }
        let seed = self.twin.seed();
        self.judge.clear();
        // Frames of the session before are dropped, and this one begins with no application.
        self.handed_over = Default::default();
        self.upload_ended(out);
        self.change_link(LinkState::InSession);
        self.last_heard = now;
        // The twin leaves the session it was in with this Hello, and forgets; the seed taken
        // before brings everything back.
        self.feed_twin(now, hello, out);
        self.send_state(now, &seed, out);
        out.push(Action::Notice(Notice::Joined { session: self.sender.session() }));
    }

    /// Brings both to the twin's state again: a frame was lost.
    pub(super) fn resync(&mut self, now: Time, out: &mut Vec<Action>) {
        let gap = u64::from(self.settings.period.times(RESYNC_PERIODS).us());
        if self.resync_at.is_some_and(|at| now.us_since(at) < gap) {
            return;
        }
        self.resync_at = Some(now);
        self.resync_due = false;
        self.resync_seq = Some(self.sender.next_seq());
        let seed = self.twin.seed();
        self.send_state(now, &seed, out);
        self.judge.restart();
        out.push(Action::Notice(Notice::Seeded { parts: seed.len() }));
    }

    fn send_state(
        &mut self,
        now: Time,
        seed: &[coshift_shared::to_controller::SeedState],
        out: &mut Vec<Action>,
    ) {
        for (slot, place) in (0_u8..).zip(0..MAX_APPLICATIONS) {
            let targets = self.slots[place].as_ref().map(|slot| slot.targets);
            match targets {
                Some(targets) => self.send_application(now, slot, Change::Set(targets), out),
                None if self.used[place] => {
                    self.send_application(now, slot, Change::Remove, out);
                }
                None => {}
            }
        }
        self.send_limits(now, out);
        let at_us = now.stamp().us();
        let parts = u8::try_from(seed.len()).unwrap_or(u8::MAX);
        for (part, state) in (0_u8..).zip(seed) {
            let seed = Seed { at_us, part, parts, state: *state };
            self.transmit(now, &ToController::Seed(seed), out);
        }
        self.counters.seeds = self.counters.seeds.wrapping_add(1);
    }
}
