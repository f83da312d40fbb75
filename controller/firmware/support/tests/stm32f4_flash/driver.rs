//! The driver alone, and what a board does with it.

use coshift_controller::store::{Slot, Switch};
use coshift_firmware::stm32f4_flash::{ERRORS, Error, SectorSlot};
use coshift_shared::policy::PolicyView;
use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};

use crate::board::{boot, image};
use crate::model::{ACCESS, Model, SIZE, WRITE_PROTECTION};

fn slot() -> SectorSlot<Model> {
    SectorSlot::new(Model::new(6))
}

#[test]
fn an_erased_sector_reads_ones_past_the_cache_and_is_locked() {
    let mut slot = slot();
    slot.erase(0, SIZE as u32).unwrap();
    assert!(slot.mapped().iter().all(|byte| *byte == 0xff));
    let model = slot.sector();
    assert!(model.is_locked());
    assert_eq!((model.access, model.erasures), (ACCESS, 1));
    assert_eq!(model.hooks, ["before", "after"]);
}

#[test]
fn words_are_programmed_where_they_belong() {
    let mut slot = slot();
    slot.erase(0, SIZE as u32).unwrap();
    slot.write(8, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let mut bytes = [0; 12];
    slot.read(6, &mut bytes).unwrap();
    assert_eq!(bytes, [0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff]);
    slot.write((SIZE - 4) as u32, &[0; 4]).unwrap();
    assert!(slot.sector().is_locked());
    assert_eq!(slot.sector().erasures, 1);
}

#[test]
fn what_is_outside_or_across_units_is_refused_and_touches_nothing() {
    let end = SIZE as u32;
    let misplaced = [
        (slot().erase(0, end - 4), NorFlashErrorKind::NotAligned),
        (slot().erase(0, 2 * end), NorFlashErrorKind::OutOfBounds),
        (slot().erase(end, 0), NorFlashErrorKind::OutOfBounds),
        (slot().write(2, &[0; 4]), NorFlashErrorKind::NotAligned),
        (slot().write(0, &[0; 3]), NorFlashErrorKind::NotAligned),
        (slot().write(end, &[0; 4]), NorFlashErrorKind::OutOfBounds),
        (slot().write(end - 4, &[0; 8]), NorFlashErrorKind::OutOfBounds),
        (slot().read(end - 1, &mut [0; 2]), NorFlashErrorKind::OutOfBounds),
        (slot().read(u32::MAX, &mut [0; 1]), NorFlashErrorKind::OutOfBounds),
    ];
    for (outcome, kind) in misplaced {
        assert_eq!(outcome, Err(Error::Place(kind)));
    }
    let mut slot = slot();
    let _ = slot.write(2, &[0; 4]);
    let _ = slot.erase(0, 1);
    assert!(slot.mapped().iter().all(|byte| *byte == 0x5a));
    assert_eq!(slot.erase(0, 0), Ok(()));
    assert_eq!(slot.sector().erasures, 0);
}

#[test]
fn errors_of_the_controller_are_told_once_and_leave_it_locked() {
    let mut slot = SectorSlot::new(Model { protected: true, ..Model::new(6) });
    assert_eq!(slot.erase(0, SIZE as u32), Err(Error::Controller(WRITE_PROTECTION)));
    assert_eq!(slot.write(0, &[0; 8]), Err(Error::Controller(WRITE_PROTECTION)));
    assert!(slot.sector().is_locked());
    assert_eq!(slot.sector().hooks, ["before", "after"]);
    // The flags of then are sticky.
    let mut model = slot.into_sector();
    model.protected = false;
    model.status |= ERRORS;
    let mut slot = SectorSlot::new(model);
    assert_eq!(slot.erase(0, SIZE as u32), Ok(()));
    assert_eq!(slot.write(0, &[0; 8]), Ok(()));
}

#[test]
fn a_controller_that_does_not_unlock_is_left_alone() {
    let mut slot = SectorSlot::new(Model { keys: None, ..Model::new(6) });
    assert_eq!(slot.erase(0, SIZE as u32), Err(Error::Locked));
    assert_eq!(slot.write(0, &[0; 4]), Err(Error::Locked));
    assert_eq!(slot.sector().erasures, 0);
}

#[test]
fn an_operation_that_still_goes_on_is_waited_for() {
    let mut slot = slot();
    slot.erase(0, SIZE as u32).unwrap();
    let model = slot.into_sector();
    model.busy.set(5);
    // Unlocked by whoever went before.
    let mut slot = SectorSlot::new(Model { control: 0, ..model });
    slot.write(0, &[0; 4]).unwrap();
    assert_eq!(slot.mapped()[..8], [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn policies_are_uploaded_switched_to_and_rolled_back() {
    let built_in = PolicyView::open(Vec::leak(image(1))).ok();
    let slots = [SectorSlot::new(Model::new(6)), SectorSlot::new(Model::new(7))];
    let (slots, ran_on, switch) = boot(slots, built_in, &image(2));
    assert_eq!((ran_on, switch), (Some(1), Some(Switch::Uploaded)));
    let (slots, ran_on, switch) = boot(slots, built_in, &image(3));
    assert_eq!((ran_on, switch), (Some(2), Some(Switch::Uploaded)));
    // The spare slot still has the second one.
    let (slots, ran_on, switch) = boot(slots, built_in, &image(2));
    assert_eq!((ran_on, switch), (Some(3), Some(Switch::RollBack)));
    // What does not follow the one that runs is refused, and nothing is erased.
    let erasures = slots.each_ref().map(|slot| slot.sector().erasures);
    assert_eq!(erasures, [1, 1]);
    let (slots, ran_on, switch) = boot(slots, built_in, &image(7));
    assert_eq!((ran_on, switch), (Some(2), None));
    assert_eq!(slots.each_ref().map(|slot| slot.sector().erasures), erasures);
}
