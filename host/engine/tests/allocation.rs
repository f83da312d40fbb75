//! Inference allocates nothing after load: counted by the program's allocator, over all threads.

mod common;

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::family;
use common::random::{calibrated, noise};
use coshift_engine::family::{COSHIFT_28, Exit, Family};
use coshift_engine::layout::Layout;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, place: *mut u8, memory: Memory) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(place, memory) }
    }

    unsafe fn realloc(&self, place: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(place, memory, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

// One test: a second one at the same time would be counted with it.
#[test]
fn no_call_allocates_after_load() {
    let exits = vec![Exit { stage: 0, threshold: 0.4 }, Exit { stage: 1, threshold: 0.4 }];
    let exiting = Family { exits, ..family() };
    for family in [family(), exiting, serde_json::from_str::<Family>(COSHIFT_28).unwrap()] {
        let layout = Layout::new(&family).unwrap();
        let mut random = Random(31);
        let values = optimiser::start(&layout, &mut random);
        let nets = [family.smallest(), family.largest()]
            .map(|net| calibrated(&layout, &values, &net, 8, &mut random));
        let network = Network::new(layout, values, &nets).unwrap();
        let images = noise(4 * network.image_len(), &mut random);
        for threads in [1, 2, 3] {
            let mut space = Workspace::with_threads(threads);
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            space.reserve(&network, 4);
            assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "the counter counts");
            // A worker may still be starting, which allocates: the first call waits for it.
            network.run(0, &images, &mut space).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for index in [1, 0, 0, 1, 1, 0] {
                network.run(index, &images, &mut space).unwrap();
                network.run(index, &images[..network.image_len()], &mut space).unwrap();
            }
            let found = ALLOCATIONS.load(Ordering::Relaxed) - before;
            assert_eq!(found, 0, "{}, {threads} threads", family.name);
        }
    }
}
