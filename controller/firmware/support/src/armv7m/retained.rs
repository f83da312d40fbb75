//! The record of the last reset, in RAM that start-up leaves alone.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;

use coshift_shared::to_host::{FaultCode, ResetCause};

use crate::record::{Activity, BootReport, Record, WORDS};

struct Kept(UnsafeCell<MaybeUninit<[u32; WORDS]>>);

// SAFETY: one core, and every access is volatile and through the cell: no reference is made. The main
// loop writes, and handlers of faults and of the watchdog's warning, after which a reset comes; words
// that such a handler found or left half written fail their checksum.
unsafe impl Sync for Kept {}

#[unsafe(link_section = ".uninit.retained")]
static KEPT: Kept = Kept(UnsafeCell::new(MaybeUninit::uninit()));

/// The words as they are: after power-on, anything.
#[must_use]
pub fn raw() -> [u32; WORDS] {
    // SAFETY: aligned RAM of this size; any bits make integers, and a volatile read takes what is
    // there as it is.
    unsafe { ptr::read_volatile(KEPT.0.get().cast::<[u32; WORDS]>()) }
}

fn store(record: Record) {
    // SAFETY: aligned RAM of this size, nobody holds a reference to it. Volatile: the reader is the
    // next boot.
    unsafe { ptr::write_volatile(KEPT.0.get().cast::<[u32; WORDS]>(), record.store()) }
}

/// Begins a boot: takes the record of the last reset and starts the next. `hardware`: the cause of
/// the reset as the microcontroller's own register has it, where it has one.
pub fn boot(hardware: Option<ResetCause>) -> BootReport {
    let (report, record) = Record::load(raw()).boot(hardware);
    store(record);
    report
}

/// Notes what the loop is at, before something that may hang; some fifty instructions.
pub fn at(activity: Activity) {
    store(Record::load(raw()).at(activity));
}

/// Notes a fault, a hang included, that ends in a reset; to be called in its handler.
pub fn note_fault(fault: FaultCode, detail: u32) {
    store(Record::load(raw()).fault(fault, detail));
}

/// Notes a reset on purpose, and not after a fault: the next boot says so.
pub fn note_restart() {
    store(Record::load(raw()).restart());
}
