//! What the classifier says of cores that are spoilt on purpose.

use std::collections::VecDeque;

use super::*;

/// A board that decides as the twin does, but for what `spoil` makes of each decision since the
/// flip: its number and the twin's, and what is heard instead.
struct Spoilt<'s, F> {
    story: &'s Story,
    reader: FrameReader,
    spoil: F,
    decided: usize,
    says: VecDeque<ToHost>,
    /// What it says when it was silent for so long that somebody asks what became of it.
    at_last: Option<ToHost>,
}

impl<F: FnMut(usize, Decision) -> Vec<ToHost>> Told for Spoilt<'_, F> {
    fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        for byte in bytes {
            let Received::Packet(header, _) = self.reader.feed(*byte) else { continue };
            let Some(decision) = self.story.decisions.get(&header.seq) else { continue };
            self.says.extend((self.spoil)(self.decided, *decision));
            self.decided += 1;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<ToHost>> {
        Ok(self.says.pop_front())
    }

    fn patience(&mut self, timeout: Duration) -> Result<()> {
        if timeout == WATCHDOG_TIME {
            self.says.extend(self.at_last.take());
        }
        Ok(())
    }
}

fn story() -> Story {
    let case = Case::reference().unwrap();
    let policy = PolicyView::open(&case.image).unwrap();
    Story::new(case, &policy, 1).unwrap()
}

/// How many decisions there are from the burst on.
fn all() -> usize {
    story().due(BEFORE..BEFORE + BURST + AFTER)
}

/// The class of a board spoilt so, and whether a decision was wrong.
fn judged(
    spoil: impl FnMut(usize, Decision) -> Vec<ToHost>,
    at_last: Option<ToHost>,
) -> (Class, bool) {
    let story = story();
    let (reader, says) = (FrameReader::new(), VecDeque::new());
    let mut board = Spoilt { story: &story, reader, spoil, decided: 0, says, at_last };
    board.send_bytes(&story.burst()).unwrap();
    let mut heard = Heard::default();
    let class = story.listen(&mut board, &mut heard).unwrap();
    (class, heard.wrong)
}

/// The class of a board whose `count` decisions from `first` on are changed so.
fn changed(first: usize, count: u32, change: fn(&mut Decision)) -> (Class, bool) {
    let those = first..first + count as usize;
    let spoil = |number, mut decision| {
        if those.contains(&number) {
            change(&mut decision);
        }
        vec![ToHost::Decision(decision)]
    };
    judged(spoil, None)
}

fn welcome(reset_cause: ResetCause) -> ToHost {
    let VersionRange { min, current } = VersionRange::OURS;
    ToHost::Welcome(Welcome {
        protocol_min: min,
        protocol_current: current,
        schema: FINGERPRINT,
        policy_crc: 0,
        version: [0, 1, 0],
        boot_nonce: 2,
        reset_cause,
        last_fault: FaultCode::None,
        fault_detail: 0,
    })
}

const OTHER_DIGEST: u32 = 1 << 9;

/// More than periods, so that they are counted apart; else a lost one would not be missed.
#[test]
fn every_decision_of_the_story_belongs_to_a_period() {
    let story = story();
    assert_eq!(story.due(0..BEFORE + BURST + AFTER), story.decisions.len());
    assert!(story.decisions.len() > BEFORE + BURST + AFTER);
    assert!((0..BEFORE + BURST + AFTER).all(|period| story.due(period..period + 1) > 0));
}

#[test]
fn what_decides_as_the_twin_is_ok() {
    assert_eq!(changed(0, 0, |_| ()), (Class::Ok, false));
}

/// In the burst and behind it; a digest that differs for so short does not make an agent seed.
#[test]
fn a_wrong_decision_that_nobody_notices_is_silent() {
    for first in [0, BURST - 1, BURST, all() - 1] {
        let class = changed(first, 1, |decision| {
            decision.run_level ^= 1;
            decision.digest ^= OTHER_DIGEST;
        });
        assert_eq!(class, (Class::Silent, true), "at {first}");
    }
}

/// Of a number that no frame had: the time tells which decision it would have been.
#[test]
fn a_decision_of_another_number_is_silent_where_it_is_wrong_and_mended_where_it_is_not() {
    let class = changed(BURST, 1, |decision| {
        decision.last_seq ^= 1 << 14;
        decision.sub_networks[0] ^= 1;
    });
    assert_eq!(class, (Class::Silent, true));
    let class = changed(BURST, 1, |decision| decision.last_seq ^= 1 << 14);
    assert_eq!(class, (Class::Frame, false));
}

#[test]
fn a_decision_that_differs_at_an_equal_digest_is_seen_by_the_twin() {
    assert_eq!(changed(BURST, 1, |decision| decision.run_level ^= 1), (Class::Twin, true));
    assert_eq!(changed(BURST, 1, |decision| decision.power_mw ^= 1), (Class::Twin, false));
}

#[test]
fn unequal_digests_are_seen_by_the_twin_when_an_agent_would_seed() {
    let other = |decision: &mut Decision| decision.digest ^= OTHER_DIGEST;
    assert_eq!(changed(3, UNEQUAL_TO_SEED, other), (Class::Twin, false));
    assert_eq!(changed(3, UNEQUAL_TO_SEED - 1, other), (Class::Frame, false));
    let wrong = |decision: &mut Decision| {
        decision.digest ^= OTHER_DIGEST;
        decision.park_level ^= 1;
    };
    assert_eq!(changed(3, UNEQUAL_TO_SEED, wrong), (Class::Twin, true));
    assert_eq!(changed(3, UNEQUAL_TO_SEED - 1, wrong), (Class::Silent, true));
}

#[test]
fn a_lost_decision_is_mended() {
    for lost in [2, BURST + 2, all() - 1] {
        let spoil = |number, decision| {
            let heard = (number != lost).then_some(ToHost::Decision(decision));
            heard.into_iter().collect()
        };
        assert_eq!(judged(spoil, None), (Class::Frame, false), "{lost}");
    }
}

#[test]
fn a_reset_is_told_by_its_cause() {
    let causes = [
        (ResetCause::Watchdog, Class::Watchdog),
        (ResetCause::Software, Class::Fault),
        (ResetCause::External, Class::Fault),
    ];
    for (cause, class) in causes {
        let spoil = |number, decision| match number {
            5 => vec![welcome(cause)],
            _ => vec![ToHost::Decision(decision)],
        };
        assert_eq!(judged(spoil, None), (class, false), "{cause:?}");
    }
}

#[test]
fn silence_is_mute_until_the_watchdog_ends_it() {
    let spoil = |number, decision| match number {
        0..20 => vec![ToHost::Decision(decision)],
        _ => vec![],
    };
    assert_eq!(judged(spoil, None), (Class::Mute, false));
    let watchdog = Some(welcome(ResetCause::Watchdog));
    assert_eq!(judged(spoil, watchdog), (Class::Watchdog, false));
}

/// What became of a flip says nothing of the moment it came at, nor do the words about it.
#[test]
fn a_core_met_asleep_counts_whatever_came_of_the_flip() {
    let flips: Vec<Flip> = Class::ALL
        .into_iter()
        .flat_map(|class| [true, false].map(|asleep| (class, asleep)))
        .map(|(class, asleep)| {
            let bit = "r7 bit 3, pc 0x1234; then at pc/lr 0x1234/0x1235".to_owned();
            Flip { place: Place::Register, bit, asleep, class, wrong: false }
        })
        .collect();
    assert_eq!(asleep(&flips), Class::ALL.len());
}
