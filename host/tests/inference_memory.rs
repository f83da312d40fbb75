//! The engine's thread allocates and frees nothing while it infers and the background adapts its
//! model, and both together keep within a bound.
#![cfg(feature = "engine")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use coshift_engine::model::Loaded;
use coshift_engine::network::Network;
use coshift_host::boards;
use coshift_host::clock::Time;
use coshift_host::engine::{Infer, Input, Job, Models};
use coshift_plant::policy;
use coshift_shared::policy::PolicyView;

/// Bytes that are held, by all threads, and the most that were.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Calls of the allocator from this thread.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count(grown: usize) {
    // A thread that is ending has no counter any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    MOST.fetch_max(HELD.fetch_add(grown, Ordering::Relaxed) + grown, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of theirs
// and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Layout) -> *mut u8 {
        count(memory.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn alloc_zeroed(&self, memory: Layout) -> *mut u8 {
        count(memory.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(memory) }
    }

    unsafe fn dealloc(&self, place: *mut u8, memory: Layout) {
        count(0);
        HELD.fetch_sub(memory.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(place, memory) }
    }

    unsafe fn realloc(&self, place: *mut u8, memory: Layout, size: usize) -> *mut u8 {
        count(size);
        HELD.fetch_sub(memory.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(place, memory, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What adaptation from so many images of `coshift-28` may take, more than is there after load,
/// bytes: 320 KiB an image, where 250 go through the network at once, and the tables of three networks
/// beside the one that runs.
fn bound(images: usize, tables: usize) -> usize {
    images * (320 << 10) + 3 * tables
}

/// Bytes of what the sub-networks of a network have of their own: those of a second network beside the
/// same weights.
fn tables(folder: &Path) -> usize {
    let Loaded { layout, values, nets, .. } = Loaded::read(folder).unwrap();
    let network = Network::new(layout, values.clone(), &nets).unwrap();
    let before = HELD.load(Ordering::Relaxed);
    let second = network.recalibrated(&values, &nets);
    let bytes = HELD.load(Ordering::Relaxed) - before;
    drop(second);
    bytes
}

// One test: a second one at the same time would be counted with it.
#[test]
fn inference_allocates_nothing_while_the_model_is_adapted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28");
    let board = boards::find("--board", "virtual:xavier_nx").unwrap();
    let bytes = policy::bytes(&policy::first_image(&board).unwrap()).unwrap();
    let view = PolicyView::open(&bytes).unwrap();
    let (table, network) = view.table_named("coshift-28").unwrap();
    let tables = tables(&folder);
    let at_first = HELD.load(Ordering::Relaxed);
    // As few and as many as the agent takes.
    for (adapt, exchanges) in [(None, 0), (Some(32), 2), (Some(250), 1)] {
        let mut models = Models::default();
        let input = Input { images: None, corruption: None, tiles_run: 8, adapt, seed: 1 };
        models.load(&view, &folder, &input).unwrap();
        let mut job = Job {
            request: 0,
            application: "cam0".into(),
            slot: 0,
            table,
            sub_network: 0,
            level: Some(0),
            next: None,
            start: Time::START,
        };
        MOST.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
        let held = HELD.load(Ordering::Relaxed);
        let (before, mut times) = (CALLS.get(), 0);
        // Without adaptation a few rounds. With it until tables were exchanged: of the fewest images
        // twice, so that the second were made beside the first and the shipped ones.
        while job.request < 40 || times < exchanges {
            let judged = models.infer(&job).unwrap();
            assert_eq!(CALLS.get(), before, "request {}, {adapt:?}", job.request);
            assert!(judged.adapted.times >= times);
            times = judged.adapted.times;
            // The background has the least priority.
            std::thread::sleep(std::time::Duration::from_millis(20));
            job.request += 1;
            job.sub_network = (job.sub_network + 1) % network.len();
        }
        assert_eq!(times > 0, adapt.is_some());
        let more = MOST.load(Ordering::Relaxed) - held;
        println!("{adapt:?} images: {more} bytes more than after load, tables of {tables}");
        let most = bound(adapt.unwrap_or(0), tables);
        assert!(more <= most, "{more} bytes more than after load, bound {most}");
        let before = CALLS.get();
        drop(std::hint::black_box(Box::new(0_u8)));
        assert_eq!(CALLS.get(), before + 2, "the counter counts");
        // The background frees what it had when it notices, which is nothing the next round may count
        // on.
        drop((models, job));
        while HELD.load(Ordering::Relaxed) > at_first + (64 << 10) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
