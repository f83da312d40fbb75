//! A fixed number of threads that share the parts of one piece of work after another.
//!
//! The caller leads: it offers the parts of a piece, takes parts itself, and goes on when all are done.
//! Nobody has to come: a worker that still sleeps, or has lost its core between two parts, holds nobody
//! up, because whoever is free takes what is left.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The caller and the workers it wakes.
pub(crate) struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Parts of the present piece that nobody has taken.
    offer: AtomicU64,
    /// Parts of the present piece that are done.
    done: AtomicUsize,
    /// Written by the caller, and only while no part of a piece is offered or under way.
    work: UnsafeCell<Option<Work>>,
    /// A call is running: more pieces are to come soon.
    running: AtomicBool,
    calls: Mutex<Calls>,
    wake: Condvar,
}

// SAFETY: `work` is written while nothing is offered or under way, and read only by who has taken a
// part, between that and counting it as done; see `Crew::share`.
unsafe impl Sync for Shared {}
// SAFETY: the work is `Sync`, so it may be called from any thread.
unsafe impl Send for Shared {}

#[derive(Default)]
struct Calls {
    count: u64,
    stop: bool,
}

/// Work by its part.
#[derive(Clone, Copy)]
struct Work {
    work: *const (dyn Fn(Share) + Sync),
    parts: usize,
}

/// A part of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) part: usize,
    pub(crate) parts: usize,
    /// Who does it: no other part is done by the same member at the same time.
    pub(crate) member: usize,
}

impl Share {
    /// All of it, by the caller.
    pub(crate) const WHOLE: Self = Self { part: 0, parts: 1, member: 0 };

    /// This part of `0..count`, in multiples of `unit` but for the last one.
    pub(crate) fn of(self, count: usize, unit: usize) -> Range<usize> {
        let units = count.div_ceil(unit);
        let at = |part: usize| (units * part / self.parts * unit).min(count);
        at(self.part)..at(self.part + 1)
    }
}

/// Parts `first..last` of piece `number`, as one word: 32, 16 and 16 bits.
#[derive(Clone, Copy)]
struct Offer {
    number: u32,
    first: u16,
    last: u16,
}

impl Offer {
    fn word(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.first) << 16 | u64::from(self.last)
    }

    fn of(word: u64) -> Self {
        Self { number: (word >> 32) as u32, first: (word >> 16) as u16, last: word as u16 }
    }
}

/// A panic of one member would leave the others waiting for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Turns of a waiting loop, tens of nanoseconds each, before another thread may have the core.
const SPINS: u32 = 50_000;

/// Turns after a call before a worker sleeps: the next call often comes at once.
const IDLE_SPINS: u32 = 3_000;

impl Shared {
    /// Takes the first part of the offer, or the last: the caller and the workers start at different
    /// ends, so that each mostly gets the same share of every piece, which is in its cache.
    fn take(&self, from_first: bool) -> Option<usize> {
        let mut word = self.offer.load(Ordering::Acquire);
        loop {
            let mut offer = Offer::of(word);
            if offer.first == offer.last {
                return None;
            }
            let part = if from_first {
                offer.first += 1;
                offer.first - 1
            } else {
                offer.last -= 1;
                offer.last
            };
            let (ok, failed) = (Ordering::Acquire, Ordering::Acquire);
            match self.offer.compare_exchange_weak(word, offer.word(), ok, failed) {
                Ok(_) => return Some(usize::from(part)),
                Err(now) => word = now,
            }
        }
    }

    /// Does a part that was taken.
    fn run(&self, part: usize, member: usize) {
        // SAFETY: the part was taken and is not counted as done, so the caller neither writes the
        // place nor lets go of the work; taking it has acquired what the caller wrote there.
        unsafe {
            if let Some(Work { work, parts }) = *self.work.get() {
                (*work)(Share { part, parts, member });
            }
        }
        self.done.fetch_add(1, Ordering::Release);
    }
}

impl Team {
    /// A team of `members` threads, the caller's one of them. Returns when all of them run: what a
    /// thread allocates as it starts is done then.
    pub(crate) fn new(members: usize) -> Self {
        // More would not fit into an offer.
        let members = members.clamp(1, 1 << 12);
        let shared = Arc::new(Shared {
            offer: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
            running: AtomicBool::new(false),
            calls: Mutex::new(Calls::default()),
            wake: Condvar::new(),
        });
        let started = Arc::new(Barrier::new(members));
        let workers = (1..members)
            .map(|member| {
                let (shared, started) = (Arc::clone(&shared), Arc::clone(&started));
                std::thread::spawn(move || {
                    started.wait();
                    work(&shared, member);
                })
            })
            .collect();
        started.wait();
        Self { shared, workers }
    }

    /// Members.
    pub(crate) fn members(&self) -> usize {
        self.workers.len() + 1
    }

    /// Wakes the workers for a call.
    pub(crate) fn wake(&mut self) -> Crew<'_> {
        if !self.workers.is_empty() {
            self.shared.running.store(true, Ordering::Relaxed);
            self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).count += 1;
            self.shared.wake.notify_all();
        }
        Crew { team: self }
    }
}

/// The team during a call.
pub(crate) struct Crew<'a> {
    team: &'a mut Team,
}

impl Crew<'_> {
    /// Runs `work` for as many parts as there are members, and returns when all are done.
    pub(crate) fn share(&mut self, work: &(dyn Fn(Share) + Sync)) {
        let (shared, parts) = (&self.team.shared, self.team.members());
        if parts == 1 {
            return work(Share::WHOLE);
        }
        let _guard = AbortOnPanic;
        let place = std::ptr::from_ref(work);
        // SAFETY: only the lifetime is erased, and nobody uses the pointer after this call: it
        // returns when every part is done, and none can be taken after that.
        let place = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(Share) + Sync + '_),
                *const (dyn Fn(Share) + Sync + 'static),
            >(place)
        };
        // SAFETY: all parts of the piece before are taken and done, and this is the only caller: the
        // team is borrowed exclusively.
        unsafe { *shared.work.get() = Some(Work { work: place, parts }) };
        shared.done.store(0, Ordering::Relaxed);
        let before = Offer::of(shared.offer.load(Ordering::Relaxed));
        // Another number: who looked at the offer before cannot take from this one by mistake, unless
        // it slept for 2³² pieces.
        let offer = Offer { number: before.number.wrapping_add(1), first: 0, last: parts as u16 };
        shared.offer.store(offer.word(), Ordering::Release);
        while let Some(part) = shared.take(true) {
            shared.run(part, 0);
        }
        let mut spins = 0_u32;
        while shared.done.load(Ordering::Acquire) != parts {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.team.shared.running.store(false, Ordering::Relaxed);
    }
}

fn work(shared: &Shared, member: usize) {
    let _guard = AbortOnPanic;
    let (mut seen, mut spins) = (0, 0_u32);
    loop {
        if let Some(part) = shared.take(false) {
            shared.run(part, member);
            spins = 0;
        } else if shared.running.load(Ordering::Relaxed) && spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else if shared.running.load(Ordering::Relaxed) {
            // The caller has lost its core, or does something long alone.
            std::thread::yield_now();
        } else if spins < IDLE_SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else {
            let mut calls = shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
            while calls.count == seen && !calls.stop {
                calls = shared.wake.wait(calls).unwrap_or_else(PoisonError::into_inner);
            }
            if calls.stop {
                return;
            }
            (seen, spins) = (calls.count, 0);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has ended the process.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team").field("members", &self.members()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ordering, Share, Team};
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_part_is_done_once_before_the_next_piece() {
        for members in 1..=4 {
            let mut team = Team::new(members);
            for call in 0..200 {
                let mut crew = team.wake();
                for _ in 0..20 {
                    // A byte a part, and who is at work.
                    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
                    let busy: Vec<_> = (0..members).map(|_| AtomicUsize::new(0)).collect();
                    let all = (0..members).fold(0, |sum, part| sum | 1 << (8 * part));
                    crew.share(&|share| {
                        assert_eq!(busy[share.member].fetch_add(1, Ordering::SeqCst), 0);
                        first.fetch_add(1 << (8 * share.part), Ordering::SeqCst);
                        busy[share.member].fetch_sub(1, Ordering::SeqCst);
                    });
                    assert_eq!(first.load(Ordering::SeqCst), all);
                    crew.share(&|share| {
                        assert_eq!(first.load(Ordering::SeqCst), all);
                        second.fetch_add(1 << (8 * share.part), Ordering::SeqCst);
                    });
                    assert_eq!(second.load(Ordering::SeqCst), all);
                }
                drop(crew);
                if call % 50 == 0 {
                    // Long enough for the workers to sleep.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    fn shares_cover_everything_once() {
        for count in [0, 1, 7, 8, 9, 49, 3136] {
            for unit in [1, 8] {
                for parts in 1..5 {
                    let mut at = 0;
                    for part in 0..parts {
                        let range = Share { part, parts, member: 0 }.of(count, unit);
                        assert_eq!(range.start, at);
                        assert!(range.end == count || range.end.is_multiple_of(unit));
                        at = range.end;
                    }
                    assert_eq!(at, count);
                }
            }
        }
    }
}
