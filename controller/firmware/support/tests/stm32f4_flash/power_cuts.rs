//! Power cuts at every word that is programmed and at every erase: the board always boots with the
//! old policy or the new one, and the next upload brings the new one.

use std::fmt::Debug;

use coshift_controller::store::{Switch, Upload};
use coshift_firmware::slots;
use coshift_firmware::stm32f4_flash::SectorSlot;
use coshift_shared::policy::PolicyView;

use crate::board::{Slots, boot, image, image_with, sorted, upload};
use crate::model::{Cut, Model, SIZE, WORD};

/// A board about to be sent an image.
struct Before {
    spare_holds: &'static str,
    slots: Slots,
    /// The slot that takes the image.
    spare: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// The slots, with a power cut to come in one of them.
fn fused(slots: &Slots, slot: usize, operation: u32, cut: Cut) -> Slots {
    let mut slots = slots.clone().map(SectorSlot::into_sector);
    slots[slot].cut_at(operation, cut);
    slots.map(SectorSlot::new)
}

fn boards() -> [Before; 3] {
    let compiled_in = PolicyView::open(Vec::leak(image(1))).ok();
    let never_used = [Model::new(6), Model::new(7)].map(SectorSlot::new);
    let (first, _, switch) = boot(never_used, compiled_in, &image(2));
    assert_eq!(switch, Some(Switch::Uploaded));
    let (second, _, switch) = boot(first.clone(), None, &image(3));
    assert_eq!(switch, Some(Switch::Uploaded));
    let partly = fused(&first, 1, 60, Cut::After);
    let (partly, _, switch) = boot(partly, None, &image_with(3, 99));
    assert_eq!(switch, None);
    let board = |spare_holds, slots, spare, old, new| {
        let (old, new) = (image(old), image(new));
        Before { spare_holds, slots, spare, old, new }
    };
    [
        board("what it held when it was bought", first, 1, 2, 3),
        board("the policy before", second, 0, 3, 4),
        board("a part of another image", partly, 1, 2, 3),
    ]
}

/// The policy that a boot finds; none is compiled in.
fn runs_on(slots: &Slots) -> Option<Vec<u8>> {
    let [a, b] = slots.clone();
    slots::open(a, b, None).policy.map(|policy| policy.bytes().to_vec())
}

/// Words and erases of one upload.
fn operations(board: &Before) -> u32 {
    // A cut that never comes: operations count from here on.
    let [a, b] = fused(&board.slots, board.spare, u32::MAX, Cut::Before);
    let opened = slots::open(a, b, None);
    let mut store = opened.store;
    assert!(upload(&mut store, &board.new));
    store.slot().sector().operations
}

/// The ways in which an operation is cut: an erase, the first one, also behind and before each of
/// its words, and in many ways that no order explains.
fn cuts(operation: u32) -> Vec<Cut> {
    let mut cuts = vec![Cut::Before, Cut::After];
    if operation == 1 {
        cuts.extend((1..SIZE / WORD).flat_map(|words| [Cut::First(words), Cut::Last(words)]));
        cuts.extend((0..256).map(Cut::Torn));
    }
    cuts.extend((0..4).map(|seed| Cut::Torn(4 * operation + seed)));
    cuts.extend((0..8).map(|bit| Cut::Flip(29 * operation + 4 * bit)));
    cuts
}

/// What boards ran on after a power cut.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    old: u32,
    new: u32,
    lost: u32,
    /// Uploads after the cut that did not erase.
    resumed: u32,
}

impl Tally {
    /// Boots after a cut, and uploads once more.
    fn boot_after_a_cut(&mut self, board: &Before, slots: &Slots, case: &dyn Debug) {
        let case = || format!("{}: {case:?}", board.spare_holds);
        match runs_on(slots) {
            Some(policy) if policy == board.old => self.old += 1,
            Some(policy) if policy == board.new => return self.new += 1,
            Some(_) => panic!("{}: a third policy", case()),
            None => return self.lost += 1,
        }
        let erasures = |slots: &Slots| slots[board.spare].sector().erasures;
        let before = erasures(slots);
        let (slots, _, switch) = boot(slots.clone(), None, &board.new);
        assert_eq!(switch, Some(Switch::Uploaded), "{}", case());
        assert_eq!(runs_on(&slots).as_ref(), Some(&board.new), "{}", case());
        self.resumed += u32::from(erasures(&slots) == before);
    }

    fn all(&self) -> u32 {
        self.old + self.new + self.lost
    }
}

#[test]
fn every_cut_leaves_the_old_policy_or_the_new_one() {
    for board in boards() {
        let mut tally = Tally::default();
        let mut cases = 0;
        for operation in 1..=operations(&board) {
            for cut in cuts(operation) {
                let slots = fused(&board.slots, board.spare, operation, cut);
                let (slots, ran_on, switch) = boot(slots, None, &board.new);
                assert!(ran_on.is_some() && switch.is_none(), "{operation}, {cut:?}: no cut");
                tally.boot_after_a_cut(&board, &slots, &(operation, cut));
                cases += 1;
            }
        }
        assert_eq!((tally.lost, tally.all()), (0, cases), "{tally:?}");
        // Only the last word of the commit record that is not all ones makes the new one valid.
        assert!(tally.new >= 1 && tally.old > 10 * tally.new, "{tally:?}");
        assert!(tally.resumed > 0, "{tally:?}");
        println!("spare slot with {}: {tally:?}", board.spare_holds);
    }
}

#[test]
fn two_cuts_in_a_row_leave_the_old_policy_or_the_new_one() {
    let mut tally = Tally::default();
    for board in boards() {
        // The first at every seventh place, the second at every eleventh of what is left to do.
        for first in (1..=operations(&board)).step_by(7) {
            let slots = fused(&board.slots, board.spare, first, Cut::Torn(first));
            let (slots, ..) = boot(slots, None, &board.new);
            if runs_on(&slots).as_ref() != Some(&board.old) {
                continue;
            }
            for second in (1..=operations(&board)).step_by(11) {
                let cut = [Cut::Before, Cut::After, Cut::Torn(second), Cut::Flip(second)]
                    [((first + second) % 4) as usize];
                let (slots, _, switch) =
                    boot(fused(&slots, board.spare, second, cut), None, &board.new);
                assert!(switch.is_none() || runs_on(&slots).as_ref() == Some(&board.new));
                tally.boot_after_a_cut(&board, &slots, &(first, second, cut));
            }
        }
    }
    assert_eq!(tally.lost, 0, "{tally:?}");
    assert!(tally.old > 0 && tally.new > 0 && tally.resumed > 0, "{tally:?}");
}

/// A revocation that is cut leaves the policy that runs or the one before.
#[test]
fn a_roll_back_that_is_cut_leaves_one_of_the_two() {
    let [_, board, _] = boards();
    let (newer, older) = (&board.old, image(2));
    let (mut stayed, mut back) = (0, 0);
    // Eight words are written into the slot that runs.
    for operation in 1..=8 {
        for cut in cuts(operation + 1) {
            let slots = fused(&board.slots, 1, operation, cut);
            let (slots, _, switch) = boot(slots, None, &older);
            assert_eq!(switch, Some(Switch::RollBack));
            match runs_on(&slots) {
                Some(policy) if policy == *newer => stayed += 1,
                Some(policy) if policy == older => back += 1,
                other => panic!("{operation}, {cut:?}: {other:?}"),
            }
        }
    }
    assert!(stayed >= 1 && back > stayed, "{stayed}, {back}");
}

#[test]
fn every_flipped_bit_leaves_the_old_policy_or_the_new_one() {
    let [board, ..] = boards();
    let (slots, _, switch) = boot(board.slots.clone(), None, &board.new);
    assert_eq!(switch, Some(Switch::Uploaded));
    let (mut fell_back, mut stayed) = (0, 0);
    for bit in 0..8 * SIZE {
        let flipped = |slot: usize| {
            let mut slots = slots.clone().map(SectorSlot::into_sector);
            slots[slot].flip(bit);
            runs_on(&slots.map(SectorSlot::new))
        };
        match flipped(board.spare) {
            Some(policy) if policy == board.old => fell_back += 1,
            Some(policy) if policy == board.new => stayed += 1,
            other => panic!("bit {bit}: {other:?}"),
        }
        assert_eq!(flipped(0).as_ref(), Some(&board.new), "bit {bit} of the slot before");
    }
    // Image, commit and revocation matter; the begin record and what is unused do not.
    assert_eq!(fell_back, 8 * (board.new.len() + 64));
    assert_eq!(fell_back + stayed, 8 * SIZE);
}

/// The same with a store that writes over the policy that runs: the harness must see it.
#[test]
fn an_upload_in_place_loses_the_policy() {
    let [board, ..] = boards();
    let all = operations(&board);
    let mut tally = Tally::default();
    for operation in 1..=all {
        let [a, b] = fused(&board.slots, 0, operation, Cut::After);
        let active = PolicyView::open(&board.old).ok();
        let mut store = Upload::new(a, active.as_ref());
        assert!(!upload(&mut store, &board.new), "operation {operation}: no cut");
        let slots = sorted([store.into_slot(), b]);
        match runs_on(&slots) {
            Some(policy) if policy == board.new => tally.new += 1,
            Some(_) => tally.old += 1,
            None => tally.lost += 1,
        }
    }
    // All but the cuts behind the last word of the record that counts.
    assert!(tally.lost >= all * 9 / 10 && tally.old == 0, "{tally:?}");
    assert_eq!(tally.all(), all);
}
