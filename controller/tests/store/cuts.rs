//! Power cuts at every unit written or erased, torn writes, flipped bits: a board always boots
//! with a policy, the old one or the new one, and the next upload brings the new one.

use coshift_controller::store::{Slot, Upload};

use crate::flash::{Cut, SIZE};
use crate::sample::{Board, End, image, upload};

/// Operations of one upload.
fn operations<const UNIT: usize>(board: &Board<UNIT>, new: &[u8]) -> u64 {
    let mut board = board.clone();
    assert_eq!(board.boot(|store| upload(store, new).0), End::Active);
    assert_eq!(board.policy(), Some(new));
    board.b.operations
}

/// What became of the policies of boards whose power was cut.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    old: u32,
    new: u32,
    lost: u32,
    /// Uploads after the cut that began where the one before ended.
    resumed: u32,
}

impl Tally {
    /// Boots after a cut, and uploads once more.
    fn boot_after_a_cut<const UNIT: usize>(
        &mut self,
        mut board: Board<UNIT>,
        old: &[u8],
        new: &[u8],
        case: &dyn std::fmt::Debug,
    ) {
        board.b.forget();
        match board.policy() {
            Some(policy) if policy == old => self.old += 1,
            Some(policy) if policy == new => return self.new += 1,
            Some(_) => panic!("{case:?}: a third policy"),
            None => return self.lost += 1,
        }
        let (end, begun) = board.boot(|store| {
            match upload(store, new) {
                // What was received was damaged by the cut: once more from the start.
                (End::Rejected, _) => upload(store, new),
                end => end,
            }
        });
        assert_eq!(end, End::Active, "{case:?}");
        assert_eq!(board.policy(), Some(new), "{case:?}");
        self.resumed += u32::from(begun > 0);
    }
}

fn every_cut<const UNIT: usize>() -> Tally {
    let (old, new) = (image(7, 0), image(8, 1));
    let board = Board::<UNIT>::with(&old);
    let mut tally = Tally::default();
    let all = operations(&board, &new);
    for operation in 1..=all {
        for (seed, cut) in (operation..).zip(Cut::ALL) {
            let mut board = board.clone();
            board.b.cut_at(operation, cut, seed);
            let end = board.boot(|store| upload(store, &new).0);
            assert_eq!(end, End::Failed, "operation {operation}: power was not cut");
            tally.boot_after_a_cut(board, &old, &new, &(operation, cut));
        }
    }
    assert_eq!(u64::from(tally.old + tally.new + tally.lost), 4 * all);
    tally
}

#[test]
fn every_cut_leaves_the_old_policy_or_the_new_one() {
    for tally in [every_cut::<1>(), every_cut::<4>(), every_cut::<8>(), every_cut::<32>()] {
        assert_eq!(tally.lost, 0, "{tally:?}");
        // Only the last unit of the commit record makes the new one valid.
        assert!(tally.new >= 1 && tally.old > 10 * tally.new, "{tally:?}");
        // Most cuts fall into the writing of the image: then the upload goes on.
        assert!(tally.resumed > 0, "{tally:?}");
    }
}

/// The same with a store that writes over the policy that runs: the harness must see it.
#[test]
fn an_upload_in_place_loses_the_policy() {
    let (old, new) = (image(7, 0), image(8, 1));
    let board = Board::<4>::with(&old);
    let all = operations(&board, &new);
    let mut lost = 0;
    for operation in 1..=all {
        let mut board = board.clone();
        board.a.cut_at(operation, Cut::After, operation);
        let active = board.a.view().policy().map(|policy| policy.bytes().to_vec());
        let active = active
            .as_deref()
            .map(|image| coshift_shared::policy::PolicyView::open(image).expect("it was checked"));
        let mut store = Upload::new(board.a, active.as_ref());
        assert_eq!(upload(&mut store, &new).0, End::Failed);
        board.a = store.into_slot();
        lost += u64::from(board.policy().is_none());
    }
    // All but the cut after the whole record.
    assert!(lost >= all * 9 / 10, "{lost} of {all}");
}

#[test]
fn two_cuts_in_a_row_leave_the_old_policy_or_the_new_one() {
    let (old, new) = (image(7, 0), image(8, 1));
    let board = Board::<4>::with(&old);
    let all = operations(&board, &new);
    let mut tally = Tally::default();
    // The first at every seventh place, the second at every eleventh.
    for first in (1..=all).step_by(7) {
        for second in (1..=all).step_by(11) {
            let cut = Cut::ALL[((first + second) % 4) as usize];
            let mut board = board.clone();
            board.b.cut_at(first, Cut::Torn, first);
            board.boot(|store| upload(store, &new));
            if board.policy() != Some(&old) {
                continue;
            }
            board.b.cut_at(second, cut, second);
            board.boot(|store| match upload(store, &new) {
                (End::Rejected, _) => upload(store, &new),
                end => end,
            });
            tally.boot_after_a_cut(board, &old, &new, &(first, second, cut));
        }
    }
    assert_eq!(tally.lost, 0, "{tally:?}");
    assert!(tally.old > 0 && tally.new > 0, "{tally:?}");
}

#[test]
fn every_flipped_bit_leaves_the_old_policy_or_the_new_one() {
    let (old, new) = (image(7, 0), image(8, 1));
    let mut board = Board::<4>::with(&old);
    assert_eq!(board.boot(|store| upload(store, &new).0), End::Active);
    let (mut fell_back, mut stayed) = (0, 0);
    for bit in 0..8 * SIZE {
        let mut flipped = board.clone();
        flipped.b.flip(bit);
        match flipped.policy() {
            Some(policy) if policy == old => fell_back += 1,
            Some(policy) if policy == new => stayed += 1,
            _ => panic!("bit {bit}: neither the old policy nor the new one"),
        }
        let mut flipped = board.clone();
        flipped.a.flip(bit);
        assert_eq!(flipped.policy(), Some(&*new), "bit {bit} of the spare slot");
    }
    // Image, commit and revocation matter; the begin record and what is unused do not.
    assert_eq!(fell_back, 8 * (new.len() + 64));
    assert_eq!(fell_back + stayed, 8 * SIZE);
}
