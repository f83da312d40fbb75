//! A switch of sub-network allocates nothing: counted by the program's allocator.

mod common;

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use common::family;
use coshift_engine::layout::{Kind, Layout};
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // Threads that are being torn down have no counter any more; they are not ours.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

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

#[test]
fn a_switch_allocates_nothing() {
    let layout = Layout::new(&family()).unwrap();
    let mut random = Random(31);
    let values = optimiser::start(&layout, &mut random);
    let images: Vec<f32> = (0..4 * 64).map(|_| random.normal()).collect();
    let nets = [family().smallest(), family().largest()].map(|net| {
        let statistics = forward(&layout, &layout.units(&net), &values, &images, None).statistics;
        Calibrated { net, statistics }
    });
    let network = Network::new(layout, values, &nets).unwrap();
    let mut space = Workspace::default();
    let before = ALLOCATIONS.get();
    network.run(0, &images, &mut space).unwrap();
    assert!(ALLOCATIONS.get() > before, "the counter counts");
    // The matrix product packs into buffers of its own, as often after a switch as without one.
    let mut run = |index| {
        let before = ALLOCATIONS.get();
        network.run(index, &images, &mut space).unwrap();
        ALLOCATIONS.get() - before
    };
    run(1);
    let (again, other) = (run(1), run(0));
    assert_eq!(run(0), other);
    assert_eq!(run(1), again);
    let products = |net| {
        // Two buffers a product at most; the classifier is one more.
        let units = network.layout().units(net);
        // Squeeze-excite: two products more, and its four layers' values.
        let squeezes = units.iter().filter(|unit| unit.squeeze.is_some()).count() as u32;
        8 * squeezes
            + 2 * (1 + units.iter().filter(|unit| unit.kind != Kind::Depthwise).count()) as u32
    };
    assert!(other <= products(&nets[0].net) && again <= products(&nets[1].net));
}
