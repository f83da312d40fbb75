//! No file makes the reader use more memory than its bound: counted by the program's allocator.

mod pickles;

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use coshift_engine::import::Checkpoint;
use coshift_engine::import::pickle::MOST_ITEMS;
use pickles::{Pickle, archive};

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

/// The bound of the module `import`: what lies beside the file itself.
fn bound(file: usize) -> usize {
    5 * file + (256 << 20)
}

#[test]
fn hostile_files_stay_within_the_bound() {
    const MANY: usize = 3 << 20;
    let storage = ("FloatStorage", "0", 4);
    let named = |name: &str| Pickle::new().op(b'}').text(name);
    // A tensor's arguments, remembered, then called again and again.
    let again = Pickle::new()
        .global("torch._utils", "_rebuild_tensor_v2")
        .raw(b"q\0")
        .op(b'(')
        .op(b'(')
        .text("storage")
        .global("torch", "FloatStorage")
        .text("0")
        .text("cpu")
        .int(4)
        .raw(b"tQ")
        .int(0)
        .ints(&[1; 8])
        .ints(&[1; 8])
        .raw(b"tq\x01")
        .raw(&b"h\0h\x01R".repeat(MANY));
    let pairs = Pickle::new()
        .raw(b"ccollections\nOrderedDict\nq\0](")
        .raw(&b"NN\x86".repeat(10_000))
        .raw(b"e\x85q\x01")
        .raw(&b"h\0h\x01R".repeat(MANY));
    for (what, pickle) in [
        ("tuples in tuples", Pickle::new().op(b')').repeat(0x85, MANY)),
        ("empty lists", Pickle::new().repeat(b']', MANY)),
        ("marks", Pickle::new().repeat(b'(', MANY)),
        ("memo", Pickle::new().op(b'N').repeat(0x94, MANY)),
        ("numbers", Pickle::new().raw(&b"K\0".repeat(MANY))),
        ("tensors", again),
        ("dictionaries", pairs),
        ("long name", Pickle::new().global(&"x".repeat(MANY), "y")),
        ("long text", Pickle::new().text(&"x".repeat(MANY)).op(b'a')),
        ("huge text", Pickle::new().raw(b"X\xff\xff\xff\xff")),
        ("huge tensor", named("x").tensor(storage, 0, &[1 << 40], &[0]).op(b's')),
        ("wide tensor", named("x").tensor(storage, 0, &[1 << 20, 1 << 10], &[0, 0]).op(b's')),
        (
            "huge storage",
            named("x").tensor(("FloatStorage", "0", i64::MAX), 0, &[1], &[1]).op(b's'),
        ),
    ] {
        refused(what, &archive(&pickle.end().0));
    }
    // The older format has several pickles, of which two are kept.
    let lists = Pickle::new().repeat(b']', MOST_ITEMS).end().0;
    let start = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."[..],
        b"\x80\x02}X\x0d\0\0\0little_endian\x88s.",
    ];
    let said = refused("two pickles", &[&start.concat()[..], &lists, &lists].concat());
    assert_eq!(said, "holds a list, expected a dictionary");
}

/// Reads a file that is no checkpoint; gives what is said.
fn refused(what: &str, file: &[u8]) -> String {
    let before = HELD.get();
    PEAK.set(before);
    let fault = Checkpoint::read(file).expect_err(what).to_string();
    let used = (PEAK.get() - before) as usize;
    assert!(used > 0 && used <= bound(file.len()), "{what}: {used} bytes for {}", file.len());
    assert!(fault.len() < 500, "{what}: {fault}");
    println!("{what}: {used} bytes for {}", file.len());
    fault
}

#[test]
fn a_checkpoint_takes_what_its_bound_says() {
    let file = include_bytes!("fixtures/second-generation.pth");
    let before = HELD.get();
    PEAK.set(before);
    let read = Checkpoint::read(file).unwrap();
    // Little files: most is what the pickle builds.
    let used = (PEAK.get() - before) as usize;
    assert!(used > read.tensors.len() && used < 20 * file.len(), "{used} bytes for {}", file.len());
}
