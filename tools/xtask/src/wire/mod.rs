//! Instructions of frames and of whole control periods: the measuring image `wire` in the emulator.

mod largest;

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::protocol::VersionRange;
use coshift_shared::session::Sender;
use coshift_shared::to_controller::{Hello, ToController};

use crate::steps::{self, Case, CaseId, Event, Shape};

/// Session of the cases: no byte of it is zero.
pub(crate) const SESSION: u16 = 0x0101;
/// Control period of the cases, µs.
const PERIOD_US: u32 = 50_000;
/// Most cases in one window.
const CASES_A_RUN: usize = 400;

/// What one frame costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameCost {
    /// Kind of its message.
    pub(crate) kind: Kind,
    /// Instructions from its bytes to the message.
    pub(crate) reading: u64,
    /// Instructions from the message to bytes.
    pub(crate) writing: u64,
}

impl FrameCost {
    /// Reading and writing.
    pub(crate) fn both(&self) -> u64 {
        self.reading + self.writing
    }
}

/// What one control period costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeriodCost {
    /// The case it is of.
    pub(crate) case: CaseId,
    /// What changes in it.
    pub(crate) event: Event,
    /// Its bytes that end no frame.
    pub(crate) inner_bytes: u64,
    /// Instructions from the first byte that came to the last one answered.
    pub(crate) instructions: u64,
}

/// Cost of the largest frames of every kind, dearest first.
pub(crate) fn frames(emulator: &Path, image: &Path) -> Result<Vec<FrameCost>> {
    let frames = largest_frames()?;
    let mut input = u32::try_from(frames.len())?.to_le_bytes().to_vec();
    for (_, frame) in &frames {
        put(&mut input, frame.bytes())?;
    }
    // No cases.
    input.extend(0_u32.to_le_bytes());
    let words = steps::emulate(emulator, image, &input, 2 * frames.len())?;
    let mut costs: Vec<_> = frames
        .iter()
        .zip(words.as_chunks().0)
        .map(|((kind, _), [reading, writing])| FrameCost {
            kind: *kind,
            reading: steps::instructions(*reading),
            writing: steps::instructions(*writing),
        })
        .collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.both()));
    Ok(costs)
}

/// Cost of the control periods of cases, in order.
///
/// A period is what one telemetry ends: the outcomes of every application before it, what changes
/// between them, and all that is answered.
pub(crate) fn periods(
    emulator: &Path,
    image: &Path,
    shape: Shape,
    ids: &[CaseId],
) -> Result<Vec<PeriodCost>> {
    let mut costs = Vec::new();
    for ids in ids.chunks(CASES_A_RUN) {
        // No frames.
        let mut input = 0_u32.to_le_bytes().to_vec();
        input.extend(u32::try_from(ids.len())?.to_le_bytes());
        let mut exchanges = Vec::new();
        for id in ids {
            let case = Case::new(shape, *id)?;
            let (setup, periods) = exchanged(&case.messages)?;
            input.extend(u32::try_from(case.policy.len())?.to_le_bytes());
            input.extend(u32::try_from(1 + periods.len())?.to_le_bytes());
            steps::put_block(&mut input, &case.policy);
            put(&mut input, &setup)?;
            exchanges.push((*id, None));
            for (period, event) in periods.iter().zip(&case.events) {
                put(&mut input, period)?;
                let inner_bytes = period.iter().filter(|byte| **byte != 0).count() as u64;
                exchanges.push((*id, Some((*event, inner_bytes))));
            }
        }
        let words = steps::emulate(emulator, image, &input, 2 * exchanges.len())?;
        for ((case, period), [ticks, answered]) in exchanges.iter().zip(words.as_chunks().0) {
            let CaseId { seed, index } = *case;
            ensure!(*answered > 0, "seed {seed} index {index}: nothing was answered");
            if let Some((event, inner_bytes)) = *period {
                let instructions = steps::instructions(*ticks);
                costs.push(PeriodCost { case: *case, event, inner_bytes, instructions });
            }
        }
    }
    Ok(costs)
}

/// The bytes that open the session and set it up, and those of each control period.
pub(crate) fn exchanged(messages: &[ToController]) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let first = messages.first().context("a case without messages")?;
    let hello = ToController::Hello(Hello {
        at_us: first.at_us(),
        protocol_min: VersionRange::OURS.min,
        protocol_current: VersionRange::OURS.current,
        schema: coshift_shared::schema::FINGERPRINT,
        policy_crc: 0,
        version: [1; 3],
        boot_nonce: 1,
        period_us: PERIOD_US,
    });
    let mut sender = Sender::default();
    sender.open(SESSION);
    let mut framed = |message: &ToController| {
        let (_, frame) =
            sender.to_controller(message).map_err(|error| anyhow!("a message: {error}"))?;
        Ok::<_, anyhow::Error>(frame)
    };
    let mut setup = framed(&hello)?.bytes().to_vec();
    let (mut periods, mut open) = (Vec::new(), Vec::new());
    let before = opening(messages);
    for (place, message) in messages.iter().enumerate() {
        let frame = framed(message)?;
        if place < before {
            setup.extend(frame.bytes());
            continue;
        }
        open.extend(frame.bytes());
        if message.kind() == Kind::Telemetry {
            periods.push(std::mem::take(&mut open));
        }
    }
    ensure!(open.is_empty(), "a case whose last period has no telemetry");
    Ok((setup, periods))
}

/// How many of a case's messages set the session up: those before its first period.
pub(crate) fn opening(messages: &[ToController]) -> usize {
    let is_setup =
        |message: &&ToController| matches!(message.kind(), Kind::Application | Kind::Limits);
    messages.iter().take_while(is_setup).count()
}

fn largest_frames() -> Result<Vec<(Kind, Frame)>> {
    let mut sender = Sender::default();
    sender.open(SESSION);
    let mut frames = Vec::new();
    for message in largest::to_controller() {
        let frame = sender.to_controller(&message).map(|(_, frame)| frame);
        frames.push((message.kind(), frame));
    }
    for message in largest::to_host() {
        frames.push((message.kind(), sender.to_host(&message)));
    }
    frames
        .into_iter()
        .map(|(kind, frame)| Ok((kind, frame.map_err(|error| anyhow!("{kind:?}: {error}"))?)))
        .collect()
}

/// Appends a length and so many bytes, filled up to whole words.
fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    out.extend(u32::try_from(bytes.len())?.to_le_bytes());
    steps::put_block(out, bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::HOSTILE_PERIODS;

    #[test]
    fn a_period_has_the_outcomes_of_every_application_and_one_telemetry() {
        let case = Case::new(Shape::Hostile, CaseId { seed: 1, index: 1 }).unwrap();
        let (setup, periods) = exchanged(&case.messages).unwrap();
        let frames = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 0).count();
        assert_eq!(frames(&setup), 1 + 4 + 1);
        assert_eq!(periods.iter().map(|p| frames(p)).collect::<Vec<_>>(), [5; HOSTILE_PERIODS]);
    }
}
