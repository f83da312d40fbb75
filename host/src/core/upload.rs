//! Sending the agent's policy to a microcontroller that has another one.
//!
//! ```text
//!   Waiting --Welcome--> Beginning --PolicyAck--> Sending --all acknowledged--> Committing
//!      ^                                                                            |
//!      +---- reset, lost link, nothing heard for 20 periods                         | Active
//!                                                                                   v
//!   session with the new policy <---- Welcome with its CRC ---------------------- Restarting
//! ```
//!
//! The link stays in [`LinkState::PoliciesDiffer`] and the twin decides meanwhile. What is lost is
//! asked for again: every message can be repeated, and the microcontroller says which byte it wants
//! next, so an upload goes on where it was, after a lost session or a reset too.

use coshift_shared::kind::Kind;
use coshift_shared::to_controller::{PolicyBegin, PolicyChunk, PolicyCommit, ToController};
use coshift_shared::to_host::{PolicyAck, Refusal, Refused, ToHost, UploadState};

use super::{Action, AgentCore, LinkState, PATIENCE_PERIODS};
use crate::clock::Time;
use crate::notice::{Notice, UploadNotice};

/// Bytes of a chunk, all of them but the last.
const CHUNK: usize = coshift_shared::to_controller::MAX_CHUNK;
/// Bytes sent ahead of what is acknowledged: eight chunks, half of a receive queue of 1 KiB. At
/// 1 Mbaud they take 5 ms of the line.
const WINDOW: u32 = 8 * CHUNK as u32;
/// Periods without an answer after which the last message is sent again.
const RETRY_PERIODS: u64 = 2;
/// Announcements in a row that mean the microcontroller has lost the session.
const LOST_SESSION: u32 = 2;
/// Damaged or unwritten images after which the memory is taken for broken.
const MOST_FAULTS: u32 = 3;

/// Where an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UploadStage {
    /// A session is being opened.
    Waiting,
    /// It was announced; the microcontroller makes room.
    Beginning,
    /// Chunks are under way.
    Sending,
    /// The microcontroller checks the image.
    Committing,
    /// The image is active after the restart that comes now.
    Restarting,
    /// The microcontroller runs it.
    Done,
    /// It was given up.
    Failed,
}

/// The upload of the agent's policy.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Where it is.
    pub stage: UploadStage,
    /// Bytes the microcontroller has.
    pub received: u32,
    /// Where it began the last time: over 0 where an upload before was cut.
    pub begun_at: u32,
    /// Bytes sent.
    sent: u32,
    /// Gap that was filled again already.
    filled_at: Option<u32>,
    /// Periods since it was heard.
    silent: u64,
    announcements: u32,
    faults: u32,
    /// Number of the policy that the microcontroller runs, where it said so.
    active: Option<u32>,
    /// Why it was given up.
    pub failure: Option<String>,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            stage: UploadStage::Waiting,
            received: 0,
            begun_at: 0,
            sent: 0,
            filled_at: None,
            silent: 0,
            announcements: 0,
            faults: 0,
            active: None,
            failure: None,
        }
    }
}

impl Upload {
    fn enter(&mut self, stage: UploadStage) {
        self.stage = stage;
        self.silent = 0;
        self.announcements = 0;
        self.filled_at = None;
    }
}

impl AgentCore<'_> {
    /// A microcontroller with another policy said Welcome; `announced`: in no session.
    pub(super) fn upload_welcomed(
        &mut self,
        now: Time,
        announced: bool,
        rebooted: bool,
        out: &mut Vec<Action>,
    ) {
        if !self.settings.upload_policy {
            return;
        }
        if rebooted {
            self.upload.faults = 0;
            return self.upload_in_new_session(now, out);
        }
        match (announced, self.upload.stage) {
            (false, UploadStage::Waiting) => self.upload_begin(now, out),
            (true, UploadStage::Waiting | UploadStage::Failed) | (false, _) => {}
            // One may have been under way when the session opened.
            (true, _) => {
                self.upload.announcements = self.upload.announcements.saturating_add(1);
                if self.upload.announcements >= LOST_SESSION {
                    self.upload_in_new_session(now, out);
                }
            }
        }
    }

    /// The link is gone, or what was at its other end.
    pub(super) fn upload_interrupted(&mut self) {
        if self.upload.stage != UploadStage::Failed {
            self.upload.enter(UploadStage::Waiting);
        }
    }

    /// The microcontroller runs this agent's policy.
    pub(super) fn upload_ended(&mut self, out: &mut Vec<Action>) {
        if matches!(self.upload.stage, UploadStage::Restarting | UploadStage::Committing) {
            self.upload.received = self.policy_length();
            self.upload.enter(UploadStage::Done);
            let sequence = self.policy.sequence();
            out.push(Action::Notice(Notice::Upload(UploadNotice::Active { sequence })));
        }
    }

    fn upload_in_new_session(&mut self, now: Time, out: &mut Vec<Action>) {
        self.upload.failure = None;
        self.upload.enter(UploadStage::Waiting);
        self.open_session(now, out);
    }

    fn policy_length(&self) -> u32 {
        u32::try_from(self.policy.bytes().len()).unwrap_or(u32::MAX)
    }

    /// Sends to the microcontroller alone: the twin has the policy already.
    fn upload_send(&mut self, message: &ToController, out: &mut Vec<Action>) {
        match self.sender.to_controller(message) {
            Ok((_, frame)) => out.push(Action::Send(frame)),
            Err(fault) => out.push(Action::Notice(Notice::Unsendable(message.kind(), fault))),
        }
    }

    fn upload_begin(&mut self, now: Time, out: &mut Vec<Action>) {
        self.upload.enter(UploadStage::Beginning);
        let message = PolicyBegin {
            at_us: now.stamp().us(),
            length: self.policy_length(),
            crc: self.policy.crc(),
            sequence: self.policy.sequence(),
        };
        self.upload_send(&ToController::PolicyBegin(message), out);
    }

    fn upload_commit(&mut self, now: Time, out: &mut Vec<Action>) {
        let message = PolicyCommit {
            at_us: now.stamp().us(),
            crc: self.policy.crc(),
            sequence: self.policy.sequence(),
        };
        self.upload_send(&ToController::PolicyCommit(message), out);
    }

    /// Sends chunks as far ahead as the window goes.
    fn upload_fill(&mut self, now: Time, out: &mut Vec<Action>) {
        let end = self.policy_length().min(self.upload.received.saturating_add(WINDOW));
        while self.upload.sent < end {
            let offset = self.upload.sent;
            let rest = self.policy.bytes().get(offset as usize..).unwrap_or(&[]);
            let bytes = rest.iter().copied().take(CHUNK).collect();
            let message = PolicyChunk { at_us: now.stamp().us(), offset, bytes };
            self.upload.sent = end.min(offset.saturating_add(CHUNK as u32));
            self.upload_send(&ToController::PolicyChunk(message), out);
        }
    }

    /// A message of the session in which the policy goes over.
    pub(super) fn upload_heard(&mut self, now: Time, message: &ToHost, out: &mut Vec<Action>) {
        if !self.settings.upload_policy || self.link != LinkState::PoliciesDiffer {
            return;
        }
        match message {
            ToHost::PolicyAck(ack) => self.upload_acknowledged(now, *ack, out),
            ToHost::Refused(refused) => self.upload_refused(now, *refused, out),
            _ => {}
        }
    }

    fn upload_acknowledged(&mut self, now: Time, ack: PolicyAck, out: &mut Vec<Action>) {
        use UploadStage::{Beginning, Committing, Restarting, Sending};
        if ack.sequence != self.policy.sequence() {
            self.upload.active = Some(ack.sequence);
            return;
        }
        if !matches!(self.upload.stage, Beginning | Sending | Committing | Restarting) {
            return;
        }
        self.upload.silent = 0;
        self.upload.announcements = 0;
        match ack.state {
            UploadState::Receiving => self.upload_wanted(now, ack.next_offset, out),
            UploadState::Checking => self.upload.stage = Committing,
            // Beside a refusal: another image of the same number is active.
            UploadState::Active if self.upload.stage == Beginning => {
                self.upload.active = Some(ack.sequence);
            }
            UploadState::Active => {
                self.upload.received = self.policy_length();
                self.upload.enter(Restarting);
            }
            UploadState::Rejected => self.upload_fault(now, "was damaged on its way", out),
            UploadState::Unused => {}
        }
    }

    /// The microcontroller wants the byte at `next`.
    fn upload_wanted(&mut self, now: Time, next: u32, out: &mut Vec<Action>) {
        let length = self.policy_length();
        if next > length {
            return;
        }
        if self.upload.stage == UploadStage::Beginning {
            self.upload.enter(UploadStage::Sending);
            self.upload.begun_at = next;
            self.upload.sent = next;
            let notice = UploadNotice::Begun { from: next, length };
            out.push(Action::Notice(Notice::Upload(notice)));
        } else if next < self.upload.received {
            // It started over.
            self.upload.sent = next;
        } else if next == self.upload.received && next < self.upload.sent {
            // A chunk was lost; those behind it, which this one answers, do not count.
            if self.upload.filled_at != Some(next) {
                self.upload.filled_at = Some(next);
                self.upload.sent = next;
            }
        }
        self.upload.received = next;
        self.upload.sent = self.upload.sent.max(next);
        if next == length {
            self.upload.stage = UploadStage::Committing;
            return self.upload_commit(now, out);
        }
        self.upload.stage = UploadStage::Sending;
        self.upload_fill(now, out);
    }

    fn upload_refused(&mut self, now: Time, refused: Refused, out: &mut Vec<Action>) {
        let kind = Kind::from_byte(refused.kind);
        let ours = [Kind::PolicyBegin, Kind::PolicyChunk, Kind::PolicyCommit];
        let under_way = !matches!(
            self.upload.stage,
            UploadStage::Waiting | UploadStage::Done | UploadStage::Failed
        );
        if !kind.is_some_and(|kind| ours.contains(&kind)) || !under_way {
            return;
        }
        let sequence = self.policy.sequence();
        match refused.why {
            Refusal::NoUpload => self.upload_begin(now, out),
            Refusal::StorageFault => self.upload_fault(now, "cannot be stored", out),
            Refusal::WrongSequence => {
                let text = match self.upload.active {
                    Some(active) => format!(
                        "it has number {sequence}, the MCU runs number {active}: the next one must \
                         have number {}",
                        active.wrapping_add(1)
                    ),
                    None => format!("the MCU does not take number {sequence} now"),
                };
                self.upload_failed(text, out);
            }
            why => self.upload_failed(crate::explain::refusal(why).into(), out),
        }
    }

    /// Something that may go better the next time.
    fn upload_fault(&mut self, now: Time, what: &str, out: &mut Vec<Action>) {
        self.upload.faults = self.upload.faults.saturating_add(1);
        if self.upload.faults < MOST_FAULTS {
            return self.upload_begin(now, out);
        }
        self.upload_failed(format!("it {what}, {MOST_FAULTS} times in a row"), out);
    }

    fn upload_failed(&mut self, why: String, out: &mut Vec<Action>) {
        self.upload.enter(UploadStage::Failed);
        self.upload.failure = Some(why.clone());
        out.push(Action::Notice(Notice::Upload(UploadNotice::Failed { why })));
    }

    /// A control period is over.
    pub(super) fn upload_period(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.settings.upload_policy || self.link != LinkState::PoliciesDiffer {
            return;
        }
        self.upload.silent = self.upload.silent.saturating_add(1);
        let silent = self.upload.silent;
        match self.upload.stage {
            UploadStage::Done | UploadStage::Failed => {}
            UploadStage::Waiting => self.send_hello(now, out),
            _ if silent >= PATIENCE_PERIODS => self.upload_in_new_session(now, out),
            _ if !silent.is_multiple_of(RETRY_PERIODS) => {}
            UploadStage::Beginning => {
                self.upload_begin(now, out);
                self.upload.silent = silent;
            }
            UploadStage::Sending => {
                self.upload.filled_at = None;
                self.upload.sent = self.upload.received;
                self.upload_fill(now, out);
            }
            UploadStage::Committing => self.upload_commit(now, out),
            // Its Welcome comes by itself.
            UploadStage::Restarting => {}
        }
    }
}
