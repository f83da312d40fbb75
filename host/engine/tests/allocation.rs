//! Inference allocates nothing after load: counted by the program's allocator, over all threads but the
//! test runner's.

mod common;

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::family;
use common::random::{calibrated, noise};
use coshift_engine::family::{COSHIFT_28, Exit, Family, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    safe fn getpid() -> i32;
    safe fn gettid() -> i32;
}

/// Counts, but for the first thread: it is the test runner's, which allocates while it waits.
fn count() {
    if getpid() != gettid() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, place: *mut u8, memory: Memory) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(place, memory) }
    }

    unsafe fn realloc(&self, place: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(place, memory, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The largest and the smallest sub-network of the small families, and a published level at 160
/// pixels, beside one at 176.
fn cases() -> Vec<(Family, Vec<SubNet>)> {
    let exits = vec![Exit { stage: 0, threshold: 0.4 }, Exit { stage: 1, threshold: 0.4 }];
    let exiting = Family { exits, ..family() };
    let small = [family(), exiting, serde_json::from_str(COSHIFT_28).unwrap()];
    let mut cases: Vec<_> =
        small.map(|family| (family.clone(), vec![family.smallest(), family.largest()])).into();
    let levels: Vec<_> = dynamic_ofa().into_iter().take(2).map(|level| level.net).collect();
    let at_160 = SubNet { resolution: Some(160), ..levels[0].clone() };
    cases.push((serde_json::from_str(OFA_12).unwrap(), vec![at_160, levels[1].clone()]));
    cases
}

// One test: a second one at the same time would be counted with it.
#[test]
fn no_call_allocates_after_load() {
    for (family, nets) in cases() {
        let layout = Layout::new(&family).unwrap();
        let mut random = Random(31);
        let values = optimiser::start(&layout, &mut random);
        let nets: Vec<_> =
            (nets.iter()).map(|net| calibrated(&layout, &values, net, 2, &mut random)).collect();
        let network = Network::new(layout, values, &nets).unwrap();
        let length = |index| network.image_len_of(index).unwrap();
        let images = [0, 1].map(|index| noise(4 * length(index), &mut random));
        for threads in [1, 2, 3] {
            for repeat in 0..5 {
                let found = calls_allocate(&network, &images, threads);
                assert_eq!(found, 0, "{}, {threads} threads, repeat {repeat}", family.name);
            }
        }
    }
}

/// Allocations of calls on a workspace that is new and has room, the first call one of them.
fn calls_allocate(network: &Network, images: &[Vec<f32>; 2], threads: usize) -> usize {
    let mut space = Workspace::with_threads(threads);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    space.reserve(network, 4);
    let reserved = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(reserved > before, "the counter counts");
    for index in [1, 0, 0, 1, 1, 0] {
        network.run(index, &images[index], &mut space).unwrap();
        let one = &images[index][..images[index].len() / 4];
        network.run(index, one, &mut space).unwrap();
    }
    ALLOCATIONS.load(Ordering::Relaxed) - reserved
}
