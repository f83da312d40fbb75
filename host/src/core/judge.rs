//! Comparing the microcontroller's decisions with the twin's.

use std::collections::VecDeque;

use coshift_shared::to_host::Decision;

/// Decisions of the twin kept for comparison: more than the link can hold in flight.
const KEPT: usize = 64;
/// Equal decisions in a row before the microcontroller decides again.
pub const EQUAL_TO_TRUST: u32 = 20;
/// Decisions with unequal digests in a row before the state is seeded again.
pub const UNEQUAL_TO_SEED: u32 = 20;

/// How a decision compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Digest and decision are those of the twin.
    Equal,
    /// The digest is that of the twin, the decision is not: a bug or a fault. The twin's is here.
    Differs(Decision),
    /// The twin took in something else: a frame was lost, or time was noticed at another moment.
    DigestsUnequal,
}

/// The twin's recent decisions, and how the last comparisons went.
#[derive(Debug, Default)]
pub struct Judge {
    twins: VecDeque<Decision>,
    /// Equal decisions in a row.
    pub equal_run: u32,
    /// Decisions with unequal digests in a row.
    pub unequal_run: u32,
    /// Decisions with equal digests that differed, since the start.
    pub differing: u32,
    /// Whether the digests of the last comparison were equal.
    pub digest_equal: Option<bool>,
}

impl Judge {
    /// Remembers a decision of the twin.
    pub fn remember(&mut self, decision: Decision) {
        if self.twins.len() == KEPT {
            self.twins.pop_front();
        }
        self.twins.push_back(decision);
    }

    /// Starts over, for a new session: numbers start again, so old decisions mean nothing.
    pub fn clear(&mut self) {
        self.twins.clear();
        self.restart();
    }

    /// Counts from zero again, after a seed.
    pub fn restart(&mut self) {
        self.equal_run = 0;
        self.unequal_run = 0;
        self.digest_equal = None;
    }

    /// Compares a decision of the microcontroller.
    pub fn compare(&mut self, theirs: &Decision) -> Verdict {
        // Decisions that only time brought about carry the number of the frame before them, so
        // number and digest together name the inputs.
        let same_inputs =
            |ours: &&Decision| ours.last_seq == theirs.last_seq && ours.digest == theirs.digest;
        let verdict = match self.twins.iter().rev().find(same_inputs) {
            Some(ours) if ours == theirs => Verdict::Equal,
            Some(ours) => Verdict::Differs(*ours),
            None => Verdict::DigestsUnequal,
        };
        self.digest_equal = Some(verdict != Verdict::DigestsUnequal);
        match verdict {
            Verdict::Equal => {
                self.equal_run = self.equal_run.saturating_add(1);
                self.unequal_run = 0;
            }
            Verdict::Differs(_) => {
                self.equal_run = 0;
                self.unequal_run = 0;
                self.differing = self.differing.wrapping_add(1);
            }
            Verdict::DigestsUnequal => {
                self.equal_run = 0;
                self.unequal_run = self.unequal_run.saturating_add(1);
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use coshift_shared::to_host::{Decision, Mode, Reason, Shortfall};

    use super::{Judge, Verdict};

    fn decision(last_seq: u16, digest: u32, run_level: u8) -> Decision {
        Decision {
            at_us: 0,
            last_seq,
            digest,
            mode: Mode::Run,
            run_level,
            park_level: 255,
            sub_networks: [255; 4],
            reason: Reason::Keep,
            shortfall: Shortfall::NONE,
            power_mw: 1,
        }
    }

    #[test]
    fn equality_needs_number_digest_and_decision() {
        let mut judge = Judge::default();
        judge.remember(decision(7, 0xAA, 3));
        assert_eq!(judge.compare(&decision(7, 0xAA, 3)), Verdict::Equal);
        assert_eq!(judge.compare(&decision(7, 0xAA, 4)), Verdict::Differs(decision(7, 0xAA, 3)));
        assert_eq!(judge.differing, 1);
        assert_eq!(judge.equal_run, 0);
        assert_eq!(judge.compare(&decision(7, 0xAB, 3)), Verdict::DigestsUnequal);
        assert_eq!(judge.compare(&decision(8, 0xAA, 3)), Verdict::DigestsUnequal);
        assert_eq!((judge.unequal_run, judge.digest_equal), (2, Some(false)));
    }

    #[test]
    fn late_decisions_find_their_twin_as_long_as_it_is_kept() {
        let mut judge = Judge::default();
        for n in 0..100 {
            judge.remember(decision(n, u32::from(n), 1));
        }
        assert_eq!(judge.compare(&decision(36, 36, 1)), Verdict::Equal);
        assert_eq!(judge.compare(&decision(35, 35, 1)), Verdict::DigestsUnequal);
    }
}
