//! The record of the last reset, in RAM that start-up leaves alone.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;

use coshift_shared::to_host::{FaultCode, ResetCause};

use crate::record::{BootReport, Record, WORDS};

struct Kept(UnsafeCell<MaybeUninit<[u32; WORDS]>>);

// SAFETY: one core; `boot` runs once before interrupts are enabled, `note_fault` in handlers that
// never return to what they interrupted with the words half written, or that reset the board.
unsafe impl Sync for Kept {}

#[unsafe(link_section = ".uninit.retained")]
static KEPT: Kept = Kept(UnsafeCell::new(MaybeUninit::uninit()));

/// The words as they are: after power-on, anything.
pub(super) fn raw() -> [u32; WORDS] {
    // SAFETY: aligned RAM of this size; any bits make integers, and a volatile read takes what
    // is there as it is.
    unsafe { ptr::read_volatile(KEPT.0.get().cast::<[u32; WORDS]>()) }
}

fn load() -> Record {
    Record::load(raw())
}

fn store(record: Record) {
    // SAFETY: aligned RAM of this size, nobody holds a reference to it. Volatile: the reader is
    // the next boot.
    unsafe { ptr::write_volatile(KEPT.0.get().cast::<[u32; WORDS]>(), record.store()) }
}

/// Begins a boot: takes the record of the last reset and starts the next.
pub(super) fn boot() -> BootReport {
    let (report, record) = load().boot();
    store(record);
    report
}

/// Notes a fault that ends in a reset.
pub(super) fn note_fault(cause: ResetCause, fault: FaultCode, detail: u32) {
    store(load().fault(cause, fault, detail));
}

/// Notes a reset on purpose.
pub(super) fn note_restart() {
    store(load().restart());
}
