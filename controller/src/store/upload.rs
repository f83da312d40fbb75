//! Receiving an image into the spare slot.

use coshift_shared::policy::slot::{Described, ERASED, RECORD};
use coshift_shared::policy::{HEADER, MAX_IMAGE, PolicyCheck, PolicyView};
use coshift_shared::to_controller::{PolicyBegin, PolicyChunk, PolicyCommit};
use coshift_shared::to_host::{PolicyAck, Refusal, UploadState};
use heapless::Vec;

use super::{Answer, PolicyStore, Slot, Switch};

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Blocks still to be erased; the one with the records goes first.
    Erasing {
        done: usize,
    },
    Receiving,
    Checking(PolicyCheck),
    Committed,
    /// The spare slot's image ran before and is wanted again.
    RollBack,
}

/// The spare slot and the upload into it.
#[derive(Debug, Clone)]
pub struct Upload<S> {
    slot: S,
    /// The image the board runs on.
    active: Option<Described>,
    /// The valid image of the spare slot.
    standby: Option<Described>,
    /// The image being received.
    wanted: Described,
    phase: Phase,
    /// Bytes in the slot, a multiple of its unit but at the end of the image.
    written: usize,
    /// Bytes behind them that do not fill a unit yet.
    pending: Vec<u8, RECORD>,
    /// What the begin record said at boot.
    resumable: Option<Described>,
}

impl<S: Slot> Upload<S> {
    /// The store of a board that runs on `active` and has this spare slot.
    ///
    /// Looks through the whole slot: to be called at boot.
    pub fn new(slot: S, active: Option<&PolicyView<'_>>) -> Self {
        let view = slot.view();
        let standby = view.policy().as_ref().map(Described::of);
        let resumable = view.receiving();
        Self {
            slot,
            active: active.map(Described::of),
            standby,
            wanted: Described { length: 0, crc: 0, sequence: 0 },
            phase: Phase::Idle,
            written: 0,
            pending: Vec::new(),
            resumable,
        }
    }

    /// The spare slot.
    pub fn slot(&self) -> &S {
        &self.slot
    }

    /// The spare slot, the upload left as it is: as a power cut leaves it.
    pub fn into_slot(self) -> S {
        self.slot
    }

    fn length(&self) -> usize {
        usize::try_from(self.wanted.length).unwrap_or(0)
    }

    fn next_offset(&self) -> u32 {
        u32::try_from(self.written.saturating_add(self.pending.len())).unwrap_or(u32::MAX)
    }

    fn say(&self, state: UploadState) -> Answer {
        let (next_offset, sequence) = (self.next_offset(), self.wanted.sequence);
        Answer::ack(PolicyAck { next_offset, sequence, state })
    }

    /// What the board runs on, as an acknowledgement.
    fn say_active(&self) -> Answer {
        let active = self.active.unwrap_or(Described { length: 0, crc: 0, sequence: 0 });
        let (next_offset, sequence) = (active.length, active.sequence);
        Answer::ack(PolicyAck { next_offset, sequence, state: UploadState::Active })
    }

    fn start_over(&mut self) {
        self.phase = Phase::Erasing { done: 0 };
        self.written = 0;
        self.pending.clear();
        self.resumable = None;
        self.standby = None;
    }

    fn fail(&mut self) -> Answer {
        self.phase = Phase::Idle;
        self.resumable = None;
        Answer::refuse(Refusal::StorageFault)
    }

    /// Opens an upload of an image that is neither active nor being received nor on standby.
    fn open(&mut self, wanted: Described) -> Answer {
        let fits = usize::try_from(wanted.length).is_ok_and(|length| {
            (HEADER..=MAX_IMAGE).contains(&length) && length <= self.slot.view().capacity()
        });
        if !fits {
            return Answer::refuse(Refusal::BadValue);
        }
        let next = self.active.map(|active| active.sequence.wrapping_add(1));
        if next.is_some_and(|next| wanted.sequence != next) {
            let refusal = Some(Refusal::WrongSequence);
            return Answer { refusal, ..self.say_active() };
        }
        self.wanted = wanted;
        if self.resumable == Some(wanted) {
            self.resumable = None;
            self.pending.clear();
            let written = self.slot.view().written(wanted.length, S::WRITE_SIZE);
            // The last unit may be torn: it is asked for again and compared.
            let units = written.saturating_sub(1).checked_div(S::WRITE_SIZE).unwrap_or(0);
            self.written = units.saturating_mul(S::WRITE_SIZE);
            self.phase = Phase::Receiving;
            return self.say(UploadState::Receiving);
        }
        self.start_over();
        // Acknowledged when the slot is erased.
        Answer::NOTHING
    }

    /// Erases the next block; the one with the records first, so that nothing claims to be in a
    /// slot that is half erased.
    fn erase(&mut self, done: usize) -> Answer {
        let size = self.slot.mapped().len();
        let blocks = size.checked_div(S::ERASE_SIZE).unwrap_or(0);
        if done < blocks {
            let block = done.checked_sub(1).unwrap_or(blocks.saturating_sub(1));
            let from = block.saturating_mul(S::ERASE_SIZE);
            let to = from.saturating_add(S::ERASE_SIZE);
            let Some((from, to)) = u32::try_from(from).ok().zip(u32::try_from(to).ok()) else {
                return self.fail();
            };
            if self.slot.erase(from, to).is_err() {
                return self.fail();
            }
            self.phase = Phase::Erasing { done: done.saturating_add(1) };
            return Answer::NOTHING;
        }
        let offset = self.slot.view().begin_offset();
        if self.write(offset, &self.wanted.begin_record()).is_err() {
            return self.fail();
        }
        self.phase = Phase::Receiving;
        self.say(UploadState::Receiving)
    }

    /// Writes and reads back.
    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), ()> {
        let place = u32::try_from(offset).map_err(drop)?;
        self.slot.write(place, bytes).map_err(drop)?;
        let written = self.slot.mapped().get(offset..).and_then(|rest| rest.get(..bytes.len()));
        if written == Some(bytes) { Ok(()) } else { Err(()) }
    }

    /// Writes the unit that is waiting; false where it was torn before, and the upload starts over.
    fn flush(&mut self) -> Result<bool, ()> {
        let taken = self.pending.len();
        // The end of the image may fill a part of its last unit.
        while self.pending.len() < S::WRITE_SIZE {
            self.pending.push(ERASED).map_err(drop)?;
        }
        let there = self.slot.mapped().get(self.written..).ok_or(())?;
        let there = there.get(..self.pending.len()).ok_or(())?;
        if there != self.pending.as_slice() {
            if there.iter().any(|byte| *byte != ERASED) {
                self.start_over();
                return Ok(false);
            }
            let unit = self.pending.clone();
            self.write(self.written, &unit)?;
        }
        self.written = self.written.saturating_add(taken);
        self.pending.clear();
        Ok(true)
    }

    fn take_in(&mut self, bytes: &[u8]) -> Answer {
        for byte in bytes {
            let whole = self.pending.push(*byte).is_ok();
            let at_end = self.written.saturating_add(self.pending.len()) >= self.length();
            if whole && self.pending.len() < S::WRITE_SIZE && !at_end {
                continue;
            }
            match self.flush() {
                Ok(true) => {}
                Ok(false) => return Answer::NOTHING,
                Err(()) => return self.fail(),
            }
        }
        self.say(UploadState::Receiving)
    }

    /// Does a slice of the check, and commits after the last.
    fn check(&mut self, mut check: PolicyCheck) -> Answer {
        let view = self.slot.view();
        let step = match view.image(self.wanted.length) {
            None => return self.fail(),
            Some(image) => check.step(image),
        };
        match step {
            Ok(None) => {
                self.phase = Phase::Checking(check);
                Answer::NOTHING
            }
            // What came is what was announced, and a policy.
            Ok(Some(policy)) if Described::of(&policy) == self.wanted => {
                let offset = view.commit_offset();
                let record = self.wanted.commit_record();
                if self.write(offset, &record).is_err()
                    || self.slot.view().committed() != Some(self.wanted)
                {
                    return self.fail();
                }
                self.phase = Phase::Committed;
                self.say(UploadState::Active)
            }
            Ok(Some(_)) | Err(_) => {
                self.phase = Phase::Idle;
                self.say(UploadState::Rejected)
            }
        }
    }
}

impl<S: Slot> PolicyStore for Upload<S> {
    fn begin(&mut self, message: &PolicyBegin) -> Answer {
        let PolicyBegin { length, crc, sequence, .. } = *message;
        let wanted = Described { length, crc, sequence };
        if self.active == Some(wanted) {
            return self.say_active();
        }
        match self.phase {
            // The switch is under way.
            Phase::Committed | Phase::RollBack => self.say(UploadState::Active),
            Phase::Erasing { .. } if wanted == self.wanted => Answer::NOTHING,
            Phase::Receiving if wanted == self.wanted => self.say(UploadState::Receiving),
            Phase::Checking(_) if wanted == self.wanted => self.say(UploadState::Checking),
            _ if self.standby == Some(wanted) => {
                self.wanted = wanted;
                self.phase = Phase::Idle;
                self.pending.clear();
                self.written = self.length();
                self.say(UploadState::Receiving)
            }
            _ => self.open(wanted),
        }
    }

    fn chunk(&mut self, message: &PolicyChunk) -> Answer {
        match self.phase {
            Phase::Receiving => {}
            // Those on their way when a torn unit was met.
            Phase::Erasing { .. } => return Answer::NOTHING,
            Phase::Checking(_) => return self.say(UploadState::Checking),
            Phase::Committed | Phase::RollBack => return self.say(UploadState::Active),
            Phase::Idle => return Answer::refuse(Refusal::NoUpload),
        }
        let next = self.next_offset();
        let Some(known) = next.checked_sub(message.offset) else {
            // One before it was lost.
            return self.say(UploadState::Receiving);
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(fresh) = message.bytes.get(known..) else {
            return self.say(UploadState::Receiving);
        };
        let left = self.length().saturating_sub(usize::try_from(next).unwrap_or(usize::MAX));
        if fresh.len() > left {
            return Answer::refuse(Refusal::BadValue);
        }
        self.take_in(fresh)
    }

    fn commit(&mut self, message: &PolicyCommit) -> Answer {
        let named = (message.crc, message.sequence);
        let is = |image: Option<Described>| {
            image.is_some_and(|image| (image.crc, image.sequence) == named)
        };
        match self.phase {
            _ if is(self.active) => self.say_active(),
            Phase::Committed | Phase::RollBack => self.say(UploadState::Active),
            Phase::Idle if is(self.standby) && is(Some(self.wanted)) => {
                self.phase = Phase::RollBack;
                self.say(UploadState::Active)
            }
            Phase::Idle => Answer::refuse(Refusal::NoUpload),
            _ if !is(Some(self.wanted)) => Answer::refuse(Refusal::BadValue),
            Phase::Erasing { .. } => Answer::NOTHING,
            Phase::Receiving => {
                if self.written < self.length() {
                    return self.say(UploadState::Receiving);
                }
                self.phase = Phase::Checking(PolicyCheck::default());
                self.say(UploadState::Checking)
            }
            Phase::Checking(_) => self.say(UploadState::Checking),
        }
    }

    fn work(&mut self) -> Answer {
        match self.phase {
            Phase::Erasing { done } => self.erase(done),
            Phase::Checking(check) => self.check(check),
            Phase::Idle | Phase::Receiving | Phase::Committed | Phase::RollBack => Answer::NOTHING,
        }
    }

    fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Erasing { .. } | Phase::Checking(_))
    }

    fn switch(&self) -> Option<Switch> {
        match self.phase {
            Phase::Committed => Some(Switch::Uploaded),
            Phase::RollBack => Some(Switch::RollBack),
            _ => None,
        }
    }
}
