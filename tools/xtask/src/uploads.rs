//! Instructions of what opens a session and of a policy's upload: the measuring image `uploads` in the
//! emulator.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::Described;
use coshift_shared::protocol::VersionRange;
use coshift_shared::session::Sender;
use coshift_shared::to_controller::{
    Hello, MAX_CHUNK, PolicyBegin, PolicyChunk, PolicyCommit, Query, Question, ToController,
};

use crate::steps::{self, Case, CaseId, Shape};
use crate::wire::SESSION;

/// Control period of the session, µs.
const PERIOD_US: u32 = 50_000;
/// Words of the answer to one frame.
const WORDS_A_FRAME: usize = 3;
/// The largest policies there are: of a size are their uploads, whatever their cells.
const CASES: u32 = 10;

/// What uploads cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uploads {
    /// The dearest frame of each kind: read, served and answered.
    frames: Vec<(Kind, u64)>,
    /// The dearest slice of the store's work: a block erased, or a part of the check.
    pub(crate) slice: u64,
}

impl Uploads {
    /// Measures the uploads of some of the largest policies.
    pub(crate) fn measure(emulator: &Path, image: &Path) -> Result<Self> {
        let mut input = CASES.to_le_bytes().to_vec();
        let mut kinds = Vec::new();
        for index in 0..CASES {
            let id = CaseId { seed: 1, index };
            let case = Case::new(Shape::Hostile, id)?;
            let messages = messages(&steps::next_policy(Shape::Hostile, id)?)?;
            input.extend(u32::try_from(case.policy.len())?.to_le_bytes());
            input.extend(u32::try_from(messages.len())?.to_le_bytes());
            steps::put_block(&mut input, &case.policy);
            let mut sender = Sender::default();
            sender.open(SESSION);
            for message in &messages {
                let (_, frame) =
                    sender.to_controller(message).map_err(|error| anyhow!("a message: {error}"))?;
                input.extend(u32::try_from(frame.bytes().len())?.to_le_bytes());
                steps::put_block(&mut input, frame.bytes());
                kinds.push(message.kind());
            }
        }
        let words = steps::emulate(emulator, image, &input, kinds.len() * WORDS_A_FRAME)?;
        let mut uploads = Self::default();
        for (kind, [own, slice, looks]) in kinds.into_iter().zip(words.as_chunks().0) {
            uploads.add(kind, steps::instructions(*own));
            // One look follows every frame.
            if *looks > 1 {
                uploads.slice = uploads.slice.max(steps::instructions(*slice));
            }
        }
        Ok(uploads)
    }

    fn add(&mut self, kind: Kind, instructions: u64) {
        match self.frames.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, most)) => *most = instructions.max(*most),
            None => self.frames.push((kind, instructions)),
        }
    }

    /// The dearest frame of a kind.
    pub(crate) fn of(&self, kind: Kind) -> Result<u64> {
        let found = self.frames.iter().find(|(known, _)| *known == kind);
        found.map(|(_, most)| *most).with_context(|| format!("no {kind:?} was measured"))
    }
}

/// A session's begin, its questions, and the upload of this policy.
fn messages(policy: &[u8]) -> Result<Vec<ToController>> {
    let view = PolicyView::open(policy).map_err(|error| anyhow!("a policy: {error:?}"))?;
    let Described { length, crc, sequence } = Described::of(&view);
    let at_us = 0;
    let ours = VersionRange::OURS;
    let mut messages = vec![ToController::Hello(Hello {
        at_us,
        protocol_min: ours.min,
        protocol_current: ours.current,
        schema: coshift_shared::schema::FINGERPRINT,
        policy_crc: crc,
        version: [1; 3],
        boot_nonce: 1,
        period_us: PERIOD_US,
    })];
    for what in [Question::Link, Question::Work, Question::Identity] {
        messages.push(ToController::Query(Query { at_us, what }));
    }
    messages.push(ToController::PolicyBegin(PolicyBegin { at_us, length, crc, sequence }));
    for (place, bytes) in policy.chunks(MAX_CHUNK).enumerate() {
        let offset = u32::try_from(place * MAX_CHUNK)?;
        let bytes = bytes.iter().copied().collect();
        messages.push(ToController::PolicyChunk(PolicyChunk { at_us, offset, bytes }));
    }
    messages.push(ToController::PolicyCommit(PolicyCommit { at_us, crc, sequence }));
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_every_byte_of_the_policy_that_follows() {
        let id = CaseId { seed: 1, index: 3 };
        let next = steps::next_policy(Shape::Hostile, id).unwrap();
        let old = Case::new(Shape::Hostile, id).unwrap().policy;
        let sequence = |bytes: &[u8]| PolicyView::open(bytes).unwrap().sequence();
        assert_eq!((sequence(&old), sequence(&next)), (1, 2));
        let mut sent = Vec::new();
        for message in messages(&next).unwrap() {
            let ToController::PolicyChunk(chunk) = message else { continue };
            assert_eq!(chunk.offset as usize, sent.len());
            sent.extend(chunk.bytes);
        }
        assert_eq!(sent, next);
    }

    #[test]
    fn the_dearest_frame_of_a_kind_counts() {
        let mut uploads = Uploads::default();
        for (kind, cost) in [(Kind::Hello, 3), (Kind::PolicyChunk, 5), (Kind::PolicyChunk, 4)] {
            uploads.add(kind, cost);
        }
        assert_eq!(uploads.of(Kind::PolicyChunk).unwrap(), 5);
        assert!(uploads.of(Kind::Seed).is_err());
    }
}
