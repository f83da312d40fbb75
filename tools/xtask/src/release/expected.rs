//! What the host's controller decides in a case: the image has to decide the same.

use anyhow::{Result, anyhow, ensure};
use coshift_controller::{Identity, Node};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::time::Instant;
use coshift_shared::to_host::{Decision, FaultCode, ResetCause, ToHost};

/// Most calls of `poll` after one frame: more would be work without end.
const MOST_POLLS: u32 = 10_000;

/// The decisions that answer each of some exchanges, on this policy.
pub(crate) fn decisions(policy: &[u8], exchanges: &[Vec<u8>]) -> Result<Vec<Vec<Decision>>> {
    let policy = PolicyView::open(policy).map_err(|error| anyhow!("a policy: {error:?}"))?;
    let identity = Identity {
        version: [0; 3],
        boot_nonce: 1,
        reset_cause: ResetCause::PowerOn,
        last_fault: FaultCode::None,
        fault_detail: 0,
    };
    let mut node = Node::new(Some(policy), identity);
    let local = Instant::START;
    exchanges
        .iter()
        .map(|bytes| {
            let mut sent = Vec::new();
            let mut send = |frame: &Frame| sent.extend_from_slice(frame.bytes());
            for byte in bytes {
                node.feed(*byte, local, &mut send);
                let mut polls = 0;
                // What a frame makes due is done before the next one, as on the board.
                while *byte == 0 && (polls == 0 || node.is_deciding()) {
                    ensure!(polls < MOST_POLLS, "a decision without end");
                    node.poll(local, &mut send);
                    polls += 1;
                }
            }
            let mut reader = FrameReader::new();
            let messages = sent.iter().filter_map(|byte| message(&mut reader, *byte));
            Ok(messages.filter_map(|message| decision(&message)).collect())
        })
        .collect()
}

/// The message that ends with this byte.
pub(crate) fn message(reader: &mut FrameReader, byte: u8) -> Option<ToHost> {
    let Received::Packet(header, body) = reader.feed(byte) else { return None };
    ToHost::decode(Kind::from_byte(header.kind)?, body).ok()
}

/// The message as a decision.
pub(crate) fn decision(message: &ToHost) -> Option<Decision> {
    match message {
        ToHost::Decision(decision) => Some(*decision),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::{Case, CaseId, HOSTILE_PERIODS, Shape};
    use crate::wire::exchanged;

    #[test]
    fn each_telemetry_is_answered() {
        let case = Case::new(Shape::Hostile, CaseId { seed: 1, index: 803 }).unwrap();
        let (setup, periods) = exchanged(&case.messages).unwrap();
        let exchanges = [vec![setup], periods].concat();
        let decisions = decisions(&case.policy, &exchanges).unwrap();
        assert_eq!(decisions.len(), 1 + HOSTILE_PERIODS);
        assert!(decisions[1..].iter().all(|answers| !answers.is_empty()), "{decisions:?}");
    }
}
