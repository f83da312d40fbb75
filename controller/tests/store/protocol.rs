//! What the store answers, in order and out of it.

use coshift_controller::store::{Answer, PolicyStore, Slot, Switch, Upload};
use coshift_shared::to_host::{PolicyAck, Refusal, UploadState};

use crate::flash::Flash;
use crate::sample::{Board, End, begin, chunk, commit, image, upload, work};

fn ack(next_offset: usize, sequence: u32, state: UploadState) -> Answer {
    let next_offset = next_offset as u32;
    Answer { ack: Some(PolicyAck { next_offset, sequence, state }), refusal: None }
}

fn refused(why: Refusal) -> Answer {
    Answer { ack: None, refusal: Some(why) }
}

fn receiving(next: usize) -> Answer {
    ack(next, 8, UploadState::Receiving)
}

/// A store that has taken in the first 100 bytes of the policy after that of `board`.
fn begun(board: &mut Board<4>, new: &[u8], then: impl FnOnce(&mut Upload<Flash<4>>)) {
    board.boot(|store| {
        assert_eq!(store.begin(&begin(new)), Answer::NOTHING, "said when the slot is erased");
        assert_eq!(work(store), Some(receiving(0)));
        assert_eq!(store.chunk(&chunk(new, 0)), receiving(38));
        assert_eq!(store.chunk(&chunk(new, 38)), receiving(76));
        let mut short = chunk(new, 76);
        short.bytes.truncate(24);
        assert_eq!(store.chunk(&short), receiving(100));
        then(store);
    });
}

#[test]
fn chunks_are_taken_in_once_and_in_order() {
    let new = image(8, 1);
    begun(&mut Board::with(&image(7, 0)), &new, |store| {
        // Doubled, overlapping, one too far ahead.
        assert_eq!(store.chunk(&chunk(&new, 38)), receiving(100));
        assert_eq!(store.chunk(&chunk(&new, 90)), receiving(128));
        assert_eq!(store.chunk(&chunk(&new, 200)), receiving(128));
        assert_eq!(store.commit(&commit(&new)), receiving(128), "there is more to come");
        assert_eq!(store.begin(&begin(&new)), receiving(128), "a session was lost");
        assert_eq!(upload(store, &new), (End::Active, 128));
        assert_eq!(store.switch(), Some(Switch::Uploaded));
        assert_eq!(store.begin(&begin(&new)), ack(new.len(), 8, UploadState::Active));
        assert_eq!(store.commit(&commit(&new)), ack(new.len(), 8, UploadState::Active));
        assert_eq!(store.chunk(&chunk(&new, 0)), ack(new.len(), 8, UploadState::Active));
    });
}

#[test]
fn the_check_is_done_in_slices() {
    let new = image(8, 1);
    let mut board = Board::<4>::with(&image(7, 0));
    board.boot(|store| {
        store.begin(&begin(&new));
        let mut slices = 0;
        while store.is_busy() {
            store.work();
            slices += 1;
        }
        assert_eq!(slices, 7, "six blocks and the begin record");
        for offset in (0..new.len()).step_by(38) {
            store.chunk(&chunk(&new, offset));
            assert!(!store.is_busy());
        }
        assert_eq!(store.commit(&commit(&new)), ack(new.len(), 8, UploadState::Checking));
        assert_eq!(store.commit(&commit(&new)), ack(new.len(), 8, UploadState::Checking));
        let mut slices = 1;
        while store.work() == Answer::NOTHING {
            assert_eq!(store.switch(), None);
            slices += 1;
        }
        // Header, three of the CRC, device, levels, layout, name, four rows, their end, the end.
        assert_eq!(slices, 14);
        assert_eq!(store.switch(), Some(Switch::Uploaded));
    });
    assert_eq!(board.policy(), Some(&*new));
}

#[test]
fn an_upload_goes_on_after_a_reset() {
    let new = image(8, 1);
    let mut board = Board::<4>::with(&image(7, 0));
    begun(&mut board, &new, |_| {});
    board.boot(|store| {
        // All but the last unit, which may be torn.
        assert_eq!(store.begin(&begin(&new)), receiving(96));
        assert_eq!(upload(store, &new), (End::Active, 96));
    });
    assert_eq!(board.policy(), Some(&*new));
}

#[test]
fn another_image_starts_from_the_beginning() {
    let (new, other) = (image(8, 1), image(8, 2));
    let mut board = Board::<4>::with(&image(7, 0));
    begun(&mut board, &new, |store| {
        assert_eq!(upload(store, &other), (End::Active, 0));
    });
    let mut board = Board::<4>::with(&image(7, 0));
    begun(&mut board, &new, |_| {});
    assert_eq!(board.boot(|store| upload(store, &other)), (End::Active, 0));
    assert_eq!(board.policy(), Some(&*other));
}

#[test]
fn only_the_next_sequence_number_is_taken() {
    let old = image(7, 0);
    let mut board = Board::<4>::with(&old);
    board.boot(|store| {
        for sequence in [6, 7, 9, 0x4200_0008] {
            let active = ack(old.len(), 7, UploadState::Active);
            let expected = Answer { refusal: Some(Refusal::WrongSequence), ..active };
            assert_eq!(store.begin(&begin(&image(sequence, 3))), expected, "{sequence}");
        }
        assert_eq!(store.begin(&begin(&old)), ack(old.len(), 7, UploadState::Active));
        assert_eq!(store.commit(&commit(&old)), ack(old.len(), 7, UploadState::Active));
        assert!(!store.is_busy() && store.switch().is_none());
    });
    // A board without a policy takes any.
    let mut store = Upload::new(Flash::<4>::new(), None);
    assert_eq!(upload(&mut store, &image(0x4200_0008, 3)).0, End::Active);
}

#[test]
fn what_does_not_belong_is_refused_by_name() {
    let new = image(8, 1);
    let mut board = Board::<4>::with(&image(7, 0));
    board.boot(|store| {
        assert_eq!(store.chunk(&chunk(&new, 0)), refused(Refusal::NoUpload));
        assert_eq!(store.commit(&commit(&new)), refused(Refusal::NoUpload));
        for length in [0, 71, 768 - 95, u32::MAX] {
            let message = coshift_shared::to_controller::PolicyBegin { length, ..begin(&new) };
            assert_eq!(store.begin(&message), refused(Refusal::BadValue), "{length} bytes");
        }
    });
    begun(&mut board, &new, |store| {
        assert_eq!(store.commit(&commit(&image(8, 2))), refused(Refusal::BadValue));
        for offset in (100..new.len() - 38).step_by(38) {
            store.chunk(&chunk(&new, offset));
        }
        let mut long = chunk(&new, 100 + (new.len() - 100) / 38 * 38);
        long.bytes.push(0).unwrap();
        assert_eq!(store.chunk(&long), refused(Refusal::BadValue), "over the end");
    });
}

#[test]
fn an_image_that_is_no_policy_is_rejected() {
    let old = image(7, 0);
    let mut damaged = image(8, 1);
    let mut board = Board::<4>::with(&old);
    let announced = (begin(&damaged), commit(&damaged));
    damaged[300] ^= 1;
    board.boot(|store| {
        for _ in 0..2 {
            store.begin(&announced.0);
            assert_eq!(work(store), Some(receiving(0)), "once more from the start");
            for offset in (0..damaged.len()).step_by(38) {
                store.chunk(&chunk(&damaged, offset));
            }
            store.commit(&announced.1);
            assert_eq!(work(store), Some(ack(damaged.len(), 8, UploadState::Rejected)));
            assert_eq!(store.switch(), None);
        }
    });
    assert_eq!(board.policy(), Some(&*old));
}

#[test]
fn an_image_that_is_another_than_announced_is_rejected() {
    let mut board = Board::<4>::with(&image(7, 0));
    let lying = image(9, 1);
    board.boot(|store| {
        // Sequence 8 is announced, 9 stands in the image.
        let truth = begin(&lying);
        let lie = coshift_shared::to_controller::PolicyBegin { sequence: 8, ..truth };
        store.begin(&lie);
        work(store);
        for offset in (0..lying.len()).step_by(38) {
            store.chunk(&chunk(&lying, offset));
        }
        let lie = coshift_shared::to_controller::PolicyCommit { sequence: 8, ..commit(&lying) };
        store.commit(&lie);
        assert_eq!(work(store), Some(ack(lying.len(), 8, UploadState::Rejected)));
    });
    assert_eq!(board.policy(), Some(&*image(7, 0)));
}

#[test]
fn the_policy_before_is_rolled_back_to_without_an_upload() {
    let (old, new) = (image(7, 0), image(8, 1));
    let mut board = Board::<4>::with(&old);
    assert_eq!(board.boot(|store| upload(store, &new).0), End::Active);
    assert_eq!(board.policy(), Some(&*new));
    board.boot(|store| {
        assert_eq!(store.commit(&commit(&old)), refused(Refusal::NoUpload), "not begun");
        assert_eq!(store.begin(&begin(&old)), ack(old.len(), 7, UploadState::Receiving));
        assert_eq!(store.commit(&commit(&old)), ack(old.len(), 7, UploadState::Active));
        assert_eq!(store.switch(), Some(Switch::RollBack));
    });
    // What the board then does.
    let place = board.b.view().revocation_offset() as u32;
    embedded_storage::nor_flash::NorFlash::write(&mut board.b, place, &[0; 32]).unwrap();
    assert_eq!(board.policy(), Some(&*old));
    // The next upload is numbered from there.
    let next = image(8, 5);
    assert_eq!(board.boot(|store| upload(store, &next)), (End::Active, 0));
    assert_eq!(board.policy(), Some(&*next));
}
