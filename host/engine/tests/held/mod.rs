//! Memory of a thread, counted by the program's allocator.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

thread_local! {
    // Signed: a thread frees what others allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn more(size: usize) {
    // Threads that are being torn down have no counter any more; they are not ours.
    let held = HELD.try_with(|held| {
        held.set(held.get() + size as isize);
        held.get()
    });
    let _ = held.and_then(|held| PEAK.try_with(|peak| peak.set(peak.get().max(held))));
}

fn less(size: usize) {
    let _ = HELD.try_with(|held| held.set(held.get() - size as isize));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        more(memory.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, place: *mut u8, memory: Memory) {
        less(memory.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(place, memory) }
    }

    unsafe fn realloc(&self, place: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        // Both may be there while values are moved.
        more(size);
        less(memory.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(place, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in memory that this thread took while `body` ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// Still held when it was done, by what it gave.
    pub(crate) held: usize,
    /// The most at any time.
    pub(crate) peak: usize,
}

/// Runs `body` on this thread; gives what it gives and the memory it took.
pub(crate) fn used<T>(body: impl FnOnce() -> T) -> (T, Used) {
    let before = HELD.get();
    PEAK.set(before);
    let made = body();
    let since = |now: isize| usize::try_from(now - before).unwrap_or(0);
    let used = Used { held: since(HELD.get()), peak: since(PEAK.get()) };
    (made, used)
}
