//! Slots of the policy store: what counts as committed, and which of two is taken.

use coshift_shared::policy::slot::{
    Described, ERASED, MAX_SLOT, RECORD, SlotView, TRAILER, Which, newest,
};
use coshift_shared::policy::{MAX_IMAGE, PolicyCheck, PolicyImage, PolicyView};
use proptest::prelude::*;

use crate::property::config;
use crate::sample::{image, largest, small};

/// A slot of `size` bytes with a committed image.
fn committed(image: &PolicyImage, size: usize) -> Vec<u8> {
    let image = image.to_bytes().expect("a sound image");
    let described = Described::of(&PolicyView::open(&image).expect("a sound image"));
    let mut slot = vec![ERASED; size];
    slot[..image.len()].copy_from_slice(&image);
    slot[size - TRAILER..][..RECORD].copy_from_slice(&described.begin_record());
    slot[size - TRAILER + RECORD..][..RECORD].copy_from_slice(&described.commit_record());
    slot
}

fn numbered(sequence: u32) -> Vec<u8> {
    committed(&PolicyImage { sequence, ..small() }, 512)
}

#[test]
fn a_committed_image_is_read_in_place() {
    let slot = committed(&largest(), MAX_SLOT);
    let view = SlotView::new(&slot);
    let policy = view.policy().expect("a committed policy");
    assert_eq!(policy.bytes().len(), MAX_IMAGE);
    assert_eq!(policy.bytes().as_ptr(), slot.as_ptr());
    assert_eq!(view.committed(), Some(Described::of(&policy)));
    assert_eq!(view.receiving(), None, "it is not being received any more");
}

#[test]
fn every_flipped_bit_of_a_slot_leaves_its_policy_or_none() {
    let slot = numbered(3);
    let whole = SlotView::new(&slot).policy().expect("a committed policy").bytes().to_vec();
    let trailer = slot.len() - TRAILER;
    for bit in 0..slot.len() * 8 {
        let mut flipped = slot.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let policy = SlotView::new(&flipped).policy();
        // Between image and trailer nothing is written, and begin is not looked at any more.
        let matters = !(whole.len()..trailer + RECORD).contains(&(bit / 8));
        assert_eq!(policy.is_none(), matters, "bit {bit}");
        if let Some(policy) = policy {
            assert_eq!(policy.bytes(), whole);
        }
    }
}

#[test]
fn a_cut_slot_holds_nothing() {
    let slot = numbered(3);
    for length in 0..slot.len() {
        assert!(SlotView::new(&slot[..length]).policy().is_none(), "{length} bytes");
    }
}

#[test]
fn erased_and_empty_memory_holds_nothing() {
    for slot in [vec![ERASED; 512], vec![0; 512], Vec::new()] {
        let view = SlotView::new(&slot);
        assert!(view.policy().is_none() && view.committed().is_none());
        assert!(view.receiving().is_none());
        assert_eq!(newest(&view, &view), None);
    }
}

#[test]
fn the_newer_of_two_is_taken_over_the_wrap_too() {
    for (a, b, taken) in [
        (1, 2, Which::B),
        (2, 1, Which::A),
        (2, 2, Which::A),
        (u32::MAX, 0, Which::B),
        (0, u32::MAX, Which::A),
    ] {
        let (a_slot, b_slot) = (numbered(a), numbered(b));
        let found = newest(&SlotView::new(&a_slot), &SlotView::new(&b_slot));
        assert_eq!(found, Some(taken), "{a} and {b}");
    }
}

#[test]
fn a_revoked_slot_is_no_candidate() {
    let old = numbered(1);
    let mut new = numbered(2);
    let revocation = SlotView::new(&new).revocation_offset();
    new[revocation] = 0;
    let found = newest(&SlotView::new(&old), &SlotView::new(&new));
    assert_eq!(found, Some(Which::A));
    assert!(SlotView::new(&new).committed().is_none());
}

#[test]
fn written_ends_with_the_last_unit_that_is_not_erased() {
    let mut slot = vec![ERASED; 256];
    assert_eq!(SlotView::new(&slot).written(100, 4), 0);
    slot[9] = 0;
    assert_eq!(SlotView::new(&slot).written(100, 4), 12);
    assert_eq!(SlotView::new(&slot).written(11, 4), 11);
    assert_eq!(SlotView::new(&slot).written(8, 4), 0);
    slot[9] = ERASED;
    slot[99] = 0;
    assert_eq!(SlotView::new(&slot).written(100, 8), 100);
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn the_check_in_slices_is_that_in_one_go(
        image in image(),
        flip in prop::option::of((any::<prop::sample::Index>(), 0..8_u8)),
    ) {
        let mut bytes = image.to_bytes().expect("a sound image");
        if let Some((place, bit)) = flip {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        let mut check = PolicyCheck::default();
        let mut steps = 0;
        let sliced = loop {
            steps += 1;
            match check.step(&bytes) {
                Ok(None) => {}
                Ok(Some(view)) => break Ok(view.bytes().len()),
                Err(fault) => break Err(fault),
            }
        };
        prop_assert_eq!(sliced, PolicyView::open(&bytes).map(|view| view.bytes().len()));
        // 71 pieces of the CRC, 4 × 16 sub-networks, and a few more.
        prop_assert!(steps <= 160, "{} steps", steps);
    }
}
