//! Who decides, and what is taken.
//!
//! A slot may be given to another application while a decision is on its way. What that decision
//! says for the slot was meant for the application before, so the slot is left without a
//! sub-network until a decision comes that took the change in: one whose `last_seq` is not older
//! than the frame of the change, and whose digest is the twin's (else that frame may be the one that
//! was lost).

use coshift_shared::to_host::Decision;
use coshift_shared::units::NO_SUB_NETWORK;

use super::judge::{EQUAL_TO_TRUST, UNEQUAL_TO_SEED, Verdict};
use super::twin::Answers;
use super::{Action, AgentCore, Decider, LinkState};
use crate::clock::Time;
use crate::notice::{Notice, TakeOver};

impl AgentCore<'_> {
    pub(super) fn twin_answered(&mut self, now: Time, answers: Answers, out: &mut Vec<Action>) {
        out.extend(answers.frames.into_iter().map(Action::FromTwin));
        for decision in answers.decisions {
            self.judge.remember(decision);
            self.latest_twin = Some(decision);
            if self.decider != Decider::Mcu {
                self.adopt(now, decision);
            }
        }
        for refused in answers.refused {
            let by = if self.settings.remote { Decider::Twin } else { Decider::InProcess };
            out.push(Action::Notice(Notice::Refused { by, refused }));
        }
        if let Some(doubted) = answers.doubted {
            out.push(Action::Notice(Notice::Doubted(doubted)));
        }
    }

    /// Takes a decision that can be carried out; a decision without a level leaves the last one.
    fn adopt(&mut self, now: Time, decision: Decision) {
        if decision.run_level >= self.policy.levels() {
            return;
        }
        if self.frozen && self.held.is_some_and(|held| self.serves_all(&held)) {
            return;
        }
        let same = |held: Decision| held.same_action(&decision) && held.mode == decision.mode;
        if !self.held.is_some_and(same) {
            self.changed = Some((now, decision.reason));
        }
        self.held = Some(decision);
    }

    pub(super) fn mcu_decided(&mut self, now: Time, decision: &Decision, out: &mut Vec<Action>) {
        self.counters.mcu_decisions = self.counters.mcu_decisions.wrapping_add(1);
        self.last_heard = now;
        // What was refused before has arrived by now.
        self.resync_seq.take_if(|first| !is_older(decision.last_seq, *first));
        let was_silent = self.link == LinkState::Silent;
        if was_silent {
            self.change_link(LinkState::InSession);
            out.push(Action::Notice(Notice::HeardAgain));
        }
        match self.judge.compare(decision) {
            Verdict::Equal => {
                if self.decider == Decider::Twin && self.judge.equal_run >= EQUAL_TO_TRUST {
                    self.decider = Decider::Mcu;
                    self.counters.handbacks = self.counters.handbacks.wrapping_add(1);
                    out.push(Action::Notice(Notice::HandBack { equal: self.judge.equal_run }));
                }
                self.taken_in_by(decision);
                if self.decider == Decider::Mcu {
                    self.adopt(now, self.without_former(decision));
                }
            }
            Verdict::Differs(twin) => {
                out.push(Action::Notice(Notice::Differs { mcu: *decision, twin }));
                self.take_over(now, TakeOver::Differs, out);
                if let Some(latest) = self.latest_twin {
                    self.adopt(now, latest);
                }
            }
            Verdict::DigestsUnequal => self.digests_unequal(now, decision, was_silent, out),
        }
    }

    fn digests_unequal(
        &mut self,
        now: Time,
        decision: &Decision,
        was_silent: bool,
        out: &mut Vec<Action>,
    ) {
        if self.decider == Decider::Mcu {
            // It knows a little less, or noticed silence: still a decision for this board. One that
            // leaves an application out knows too little: the twin's stands in.
            let known = self.without_former(decision);
            if self.can_be_carried_out(&known) {
                self.adopt(now, known);
            } else {
                // Who came after a decision between two telemetries has no sub-network in the next one.
                let invalid = u32::from(!self.exists(decision));
                self.counters.invalid_decisions =
                    self.counters.invalid_decisions.wrapping_add(invalid);
                if let Some(latest) = self.latest_twin {
                    self.adopt(now, latest);
                }
            }
        }
        // After a silence the state is known to be old; otherwise the frames under way are waited
        // for.
        if was_silent || self.judge.unequal_run >= UNEQUAL_TO_SEED {
            self.judge.unequal_run = 0;
            self.resync_due = true;
            self.take_over(now, TakeOver::DigestsUnequal, out);
        }
    }

    /// The slot changes its application with the next frame: what was decided for it means nothing
    /// any more, nor what is decided before that frame arrives.
    pub(super) fn hand_over(&mut self, slot: usize) {
        for decision in [&mut self.held, &mut self.latest_twin].into_iter().flatten() {
            if let Some(sub_network) = decision.sub_networks.get_mut(slot) {
                *sub_network = NO_SUB_NETWORK;
            }
        }
        if self.in_session()
            && let Some(handed_over) = self.handed_over.get_mut(slot)
        {
            *handed_over = Some(self.sender.next_seq());
        }
    }

    /// The decision of the microcontroller without what it says for applications that are gone.
    fn without_former(&self, decision: &Decision) -> Decision {
        let mut decision = *decision;
        for (sub_network, handed_over) in decision.sub_networks.iter_mut().zip(self.handed_over) {
            if handed_over.is_some() {
                *sub_network = NO_SUB_NETWORK;
            }
        }
        decision
    }

    /// Notes the changes that a decision with the twin's digest took in.
    fn taken_in_by(&mut self, decision: &Decision) {
        for handed_over in &mut self.handed_over {
            handed_over.take_if(|number| !is_older(decision.last_seq, *number));
        }
    }

    /// Forgets changes so long ago that no decision from before can be on its way: its number would
    /// be taken for a newer one's.
    pub(super) fn forget_old_hand_overs(&mut self) {
        let next = self.sender.next_seq();
        for handed_over in &mut self.handed_over {
            handed_over.take_if(|number| next.wrapping_sub(*number) > u16::MAX / 4);
        }
    }

    /// Whether level and sub-networks exist and every application has one.
    fn can_be_carried_out(&self, decision: &Decision) -> bool {
        self.serves_all(decision) && decision.run_level < self.policy.levels()
    }

    /// Whether there is such a level, and such a sub-network wherever one is named.
    fn exists(&self, decision: &Decision) -> bool {
        let mut named = self.slots.iter().zip(decision.sub_networks);
        decision.run_level < self.policy.levels()
            && named.all(|(slot, sub_network)| {
                let table = slot.as_ref().and_then(|slot| self.policy.table(slot.targets.table));
                sub_network == NO_SUB_NETWORK
                    || slot.is_none()
                    || table.is_some_and(|table| sub_network < table.len())
            })
    }

    /// Whether every application has a sub-network that exists.
    fn serves_all(&self, decision: &Decision) -> bool {
        self.slots.iter().zip(decision.sub_networks).all(|(slot, sub_network)| match slot {
            None => true,
            Some(slot) => {
                let table = self.policy.table(slot.targets.table);
                sub_network != NO_SUB_NETWORK
                    && table.is_some_and(|table| sub_network < table.len())
            }
        })
    }

    pub(super) fn watch_silence(&mut self, now: Time, out: &mut Vec<Action>) {
        let silent =
            self.link == LinkState::InSession && now.us_since(self.last_heard) >= self.silence_us();
        if silent {
            self.change_link(LinkState::Silent);
            self.judge.restart();
            self.take_over(now, TakeOver::Silent, out);
        }
    }

    /// The twin decides from here on, if it does not already.
    pub(super) fn take_over(&mut self, now: Time, cause: TakeOver, out: &mut Vec<Action>) {
        if self.decider != Decider::Mcu {
            return;
        }
        self.decider = Decider::Twin;
        self.judge.equal_run = 0;
        self.counters.takeovers = self.counters.takeovers.wrapping_add(1);
        if let Some(latest) = self.latest_twin {
            self.adopt(now, latest);
        }
        out.push(Action::Notice(Notice::TakeOver(cause)));
    }
}

/// Whether frame `number` was sent before frame `other`; numbers wrap, and both are of one session
/// and at most half of all numbers apart.
pub(super) fn is_older(number: u16, other: u16) -> bool {
    other.wrapping_sub(number).wrapping_sub(1) < u16::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn numbers_are_compared_over_their_wrap() {
        for (number, other) in [(0, 1), (u16::MAX, 0), (65_000, 5), (7, 7 + u16::MAX / 2)] {
            assert!(is_older(number, other), "{number} {other}");
            assert!(!is_older(other, number), "{other} {number}");
            assert!(!is_older(number, number), "{number}");
        }
    }
}
