//! The flash driver on a model of the controller's registers, and the policy store on top of it.

use std::cell::Cell;

use coshift_controller::store::{Answer, PolicyStore, Slot, Switch};
use coshift_firmware::slots::{self, Opened};
use coshift_firmware::stm32f4_flash::{
    BUSY, CACHE, CACHE_RESET, ERASE, ERRORS, Error, KEYS, LOCK, PROGRAM, Register, SECTOR, START,
    Sector, SectorSlot, WORDS,
};
use coshift_shared::policy::slot::Described;
use coshift_shared::policy::{
    Cell as TableCell, Level, PolicyImage, PolicyView, Settle, SubNetwork, TableImage,
};
use coshift_shared::to_controller::{PolicyBegin, PolicyChunk, PolicyCommit};
use coshift_shared::to_host::UploadState;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};
use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};

const SIZE: usize = 4 * 1024;
/// Reads of the status that an operation lasts.
const LASTS: u32 = 3;
/// Wait states, prefetch and both caches on, as the HAL leaves them.
const ACCESS: u32 = 3 | 1 << 8 | 1 << 9 | CACHE;
/// The error of a write while the flash is not ready to be programmed.
const SEQUENCE: u32 = 1 << 7;
const WRITE_PROTECTION: u32 = 1 << 4;

/// The controller by RM0383: what is out of order is an error flag, or a panic of the test where
/// the manual leaves open what happens.
#[derive(Debug, Clone)]
struct Model {
    number: u8,
    bytes: Vec<u8>,
    /// What the data cache holds: the bytes as they were when it was enabled last.
    cached: Option<Vec<u8>>,
    busy: Cell<u32>,
    status: u32,
    control: u32,
    access: u32,
    /// Keys right so far; `None`: a wrong one came, and only a reset helps.
    keys: Option<usize>,
    protected: bool,
    erasures: u32,
    /// Calls of the two hooks, in order.
    hooks: Vec<&'static str>,
}

impl Model {
    fn new(number: u8) -> Self {
        Self {
            number,
            bytes: vec![0x5a; SIZE],
            cached: None,
            busy: Cell::new(0),
            status: 0,
            control: LOCK,
            access: ACCESS,
            keys: Some(0),
            protected: false,
            erasures: 0,
            hooks: Vec::new(),
        }
    }

    fn is_locked(&self) -> bool {
        self.control & LOCK != 0
    }
}

impl Sector for Model {
    const SIZE: usize = SIZE;

    fn number(&self) -> u8 {
        self.number
    }

    fn mapped(&self) -> &[u8] {
        assert_eq!(self.busy.get(), 0, "read while an operation goes on");
        self.cached.as_ref().unwrap_or(&self.bytes)
    }

    fn lend(&self) -> &'static [u8] {
        Vec::leak(self.bytes.clone())
    }

    fn read(&self, register: Register) -> u32 {
        match register {
            Register::Access => self.access,
            Register::Key => panic!("the keys cannot be read"),
            Register::Control => self.control,
            Register::Status => {
                let left = self.busy.get();
                self.busy.set(left.saturating_sub(1));
                self.status | if left > 0 { BUSY } else { 0 }
            }
        }
    }

    fn write(&mut self, register: Register, value: u32) {
        assert_eq!(self.busy.get(), 0, "a register written while an operation goes on");
        match register {
            Register::Access => {
                assert_eq!(value & !(CACHE | CACHE_RESET), ACCESS & !CACHE, "other bits changed");
                assert!(
                    value & CACHE_RESET == 0 || self.access & CACHE == 0,
                    "reset while enabled"
                );
                if value & CACHE_RESET != 0 {
                    self.cached = None;
                }
                self.access = value;
            }
            Register::Key => {
                self.keys = match self.keys {
                    Some(right) if KEYS.get(right) == Some(&value) => Some(right + 1),
                    _ => None,
                };
                if self.keys == Some(KEYS.len()) {
                    self.control &= !LOCK;
                }
            }
            Register::Status => self.status &= !value,
            Register::Control => {
                assert!(!self.is_locked(), "the control register written while locked");
                self.control = value;
                if value & LOCK != 0 {
                    self.keys = self.keys.map(|_| 0);
                } else if value & START != 0 {
                    assert_eq!(value & ERASE, ERASE, "only an erase is started");
                    if value != START | WORDS | ERASE | u32::from(self.number) << SECTOR {
                        self.status |= SEQUENCE;
                    } else if self.protected {
                        self.status |= WRITE_PROTECTION;
                    } else {
                        // A cache that is not reset goes on with what it holds.
                        self.cached = Some(self.bytes.clone());
                        self.bytes.fill(0xff);
                        self.erasures += 1;
                    }
                    self.busy.set(LASTS);
                }
            }
        }
    }

    fn store(&mut self, offset: usize, word: u32) {
        assert_eq!(self.busy.get(), 0, "a word stored while an operation goes on");
        if self.control != WORDS | PROGRAM {
            self.status |= SEQUENCE;
        } else if self.protected {
            self.status |= WRITE_PROTECTION;
        } else {
            for (place, byte) in self.bytes[offset..].iter_mut().zip(word.to_le_bytes()) {
                *place &= byte;
            }
            self.busy.set(LASTS);
        }
    }

    fn before_erase(&mut self) {
        self.hooks.push("before");
    }

    fn after_erase(&mut self) {
        self.hooks.push("after");
    }
}

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

fn image(sequence: u32) -> Vec<u8> {
    let level = |gpu_khz| Level { cpu_khz: 1_190_400, gpu_khz, emc_khz: 1_600_000, idle_mw: 2_000 };
    let sub_network =
        SubNetwork { id: 0, model_hash: 0, accuracy_bp: 7_000, exit_threshold: u16::MAX };
    let cell = |latency_us| TableCell { latency_us, energy_uj: 90_000 + sequence };
    let table = TableImage {
        name: "net".into(),
        sub_networks: vec![sub_network],
        cells: vec![vec![cell(40_000), cell(20_000)]],
    };
    PolicyImage {
        sequence,
        board: "test".into(),
        runtime: "none".into(),
        precision_bits: 32,
        batch: 1,
        settle: Settle { cpu_us: 1_000, gpu_us: 5_000, emc_us: 8_000 },
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: NO_TEMP_CAP,
        utilisation_permille: 900,
        resistance_50mk_w: 0,
        park_level: Some(0),
        levels: vec![level(200_000), level(400_000)],
        tables: vec![table],
    }
    .to_bytes()
    .unwrap()
}

/// Uploads as an agent does; whether the image is to be switched to.
fn upload(store: &mut impl PolicyStore, image: &[u8]) -> bool {
    let Described { length, crc, sequence } = Described::of(&PolicyView::open(image).unwrap());
    let mut answer = store.begin(&PolicyBegin { at_us: 0, length, crc, sequence });
    // More answers than there are pieces.
    for _ in 0..image.len() {
        while store.is_busy() {
            let said = store.work();
            if said != Answer::NOTHING {
                answer = said;
            }
        }
        let Some(ack) = answer.ack.filter(|_| answer.refusal.is_none()) else { return false };
        answer = match (ack.state, image.get(ack.next_offset as usize..)) {
            (UploadState::Active, _) => return true,
            (UploadState::Receiving, Some(rest)) if !rest.is_empty() => {
                let bytes = rest.iter().copied().take(38).collect();
                store.chunk(&PolicyChunk { at_us: 0, offset: ack.next_offset, bytes })
            }
            (UploadState::Receiving | UploadState::Checking, _) => {
                store.commit(&PolicyCommit { at_us: 0, crc, sequence })
            }
            _ => return false,
        };
    }
    false
}

/// Boots on two slots, uploads, restarts; the slots and what the board ran on.
fn boot(
    [a, b]: [SectorSlot<Model>; 2],
    built_in: Option<PolicyView<'static>>,
    new: &[u8],
) -> ([SectorSlot<Model>; 2], Option<u32>, Option<Switch>) {
    let idle = b.clone();
    let Opened { policy, mut active, mut store } = slots::open(a, b, built_in);
    let ran_on = policy.map(|policy| policy.sequence());
    upload(&mut store, new);
    let switch = store.switch();
    if let Some(switch) = switch {
        active.prepare(switch).unwrap();
    }
    // On the policy compiled in, the second slot stays as it is.
    let mut slots = [active.into_slot().unwrap_or(idle), store.into_slot()];
    slots.sort_by_key(|slot| slot.sector().number());
    (slots, ran_on, switch)
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
