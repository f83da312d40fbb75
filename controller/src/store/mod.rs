//! The policy store: how a new policy comes to a board without ever leaving it without one.
//!
//! Two slots of non-volatile memory (bytes: [`coshift_shared::policy::slot`]). The board runs on
//! the newest valid one, or on the image compiled into its firmware where neither is valid; the
//! other slot, the *spare*, takes the next image. What is read in place is never written: a store
//! has the spare slot only.
//!
//! ```text
//!            Begin, sequence = active + 1             last block
//!   Idle ------------------------------> Erasing -----------------> Receiving <--+
//!    ^  \                                   ^                        |  |        | chunks
//!    |   \ Begin of what was being          +--- a torn unit --------+  +--------+
//!    |    \ received before the reset                                |
//!    |     +------------------------------------------> Receiving    | Commit
//!    |                                                               v
//!    +--- damaged, or not a policy: Rejected --------------- Checking
//!                                                               | whole and sound:
//!                                                               v the commit record
//!                                                           Committed: the board restarts
//! ```
//!
//! * **Atomic**: the commit record is written last, and a torn record is none. Before it the old
//!   policy is the newest valid one, with it the new one.
//! * **Resumable**: after a lost session `Begin` answers with the next byte wanted. After a reset
//!   the begin record says which image was being received, and the last unit that is not erased,
//!   how far; that unit is compared with what comes again, and where it was torn the upload starts
//!   over.
//! * **In slices**: a step erases one block, or writes a chunk, or checks at most 512 bytes
//!   ([`coshift_shared::policy::PolicyCheck`]); decisions go on between them.
//! * **Roll-back**: `Begin` and `Commit` of the image that the spare slot still holds, the one that
//!   ran before, take the commit of the active slot back.
//!
//! The switch is a restart of the board between two passes of its loop: the image that runs stays
//! borrowed until then, and there is one place where a slot is chosen.

mod flash;
mod upload;

use coshift_shared::to_controller::{PolicyBegin, PolicyChunk, PolicyCommit};
use coshift_shared::to_host::{PolicyAck, Refusal};

pub use flash::Slot;
pub use upload::Upload;

/// What a store answers; both go out where both are there, the acknowledgement first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// How far the upload is.
    pub ack: Option<PolicyAck>,
    /// Why the message was not served.
    pub refusal: Option<Refusal>,
}

impl Answer {
    /// Nothing to say.
    pub const NOTHING: Self = Self { ack: None, refusal: None };

    pub(crate) fn ack(ack: PolicyAck) -> Self {
        Self { ack: Some(ack), refusal: None }
    }

    pub(crate) fn refuse(why: Refusal) -> Self {
        Self { ack: None, refusal: Some(why) }
    }
}

/// What the board has to do, once its answers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Restart: the spare slot has the newest policy.
    Uploaded,
    /// Revoke the active slot, then restart: the spare slot's policy ran before.
    RollBack,
}

/// Where uploaded policies go; [`NoStore`] on a board that keeps none.
pub trait PolicyStore {
    /// Opens an upload, or finds out how far it is.
    fn begin(&mut self, message: &PolicyBegin) -> Answer;

    /// Takes in a piece of the image.
    fn chunk(&mut self, message: &PolicyChunk) -> Answer;

    /// Closes an upload and asks for the switch.
    fn commit(&mut self, message: &PolicyCommit) -> Answer;

    /// Does the next slice of what takes long: erasing, checking.
    fn work(&mut self) -> Answer;

    /// Whether [`PolicyStore::work`] has something to do.
    fn is_busy(&self) -> bool;

    /// What the board has to do.
    fn switch(&self) -> Option<Switch>;
}

/// No store: uploads are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoStore;

impl PolicyStore for NoStore {
    fn begin(&mut self, _: &PolicyBegin) -> Answer {
        Answer::refuse(Refusal::Unsupported)
    }

    fn chunk(&mut self, _: &PolicyChunk) -> Answer {
        Answer::refuse(Refusal::Unsupported)
    }

    fn commit(&mut self, _: &PolicyCommit) -> Answer {
        Answer::refuse(Refusal::Unsupported)
    }

    fn work(&mut self) -> Answer {
        Answer::NOTHING
    }

    fn is_busy(&self) -> bool {
        false
    }

    fn switch(&self) -> Option<Switch> {
        None
    }
}
