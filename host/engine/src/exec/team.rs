//! A fixed number of threads that run the same work side by side and wait for each other.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The caller and the workers it woke.
pub(crate) struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    job: Mutex<Job>,
    wake: Condvar,
    barrier: Barrier,
}

#[derive(Default)]
struct Job {
    /// Counts the jobs; a worker runs each once.
    number: u64,
    work: Option<Work>,
    stop: bool,
}

/// Work for every member, by its number.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn(usize, &Barrier) + Sync));

// SAFETY: the work is `Sync`, so it may be called from any thread; `Team::run` keeps it alive until
// every worker is done with it.
unsafe impl Send for Work {}

/// Where the members wait for each other.
pub(crate) struct Barrier {
    members: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
}

impl Barrier {
    /// Returns once every member has called it as often as this one.
    pub(crate) fn wait(&self) {
        if self.members == 1 {
            return;
        }
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.store(0, Ordering::Release);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0_u32;
        while self.round.load(Ordering::Acquire) == round {
            // Members arrive within microseconds, unless one has lost its core.
            spins += 1;
            if spins < 20_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
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

impl Team {
    /// A team of `members` threads, the caller's one of them.
    pub(crate) fn new(members: usize) -> Self {
        let members = members.max(1);
        let shared = Arc::new(Shared {
            job: Mutex::new(Job::default()),
            wake: Condvar::new(),
            barrier: Barrier { members, arrived: AtomicUsize::new(0), round: AtomicUsize::new(0) },
        });
        let workers = (1..members)
            .map(|member| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || work(&shared, member))
            })
            .collect();
        Self { shared, workers }
    }

    /// Members.
    pub(crate) fn members(&self) -> usize {
        self.shared.barrier.members
    }

    /// Runs `work` on every member, by its number and with the barrier where they wait for each
    /// other, and returns when all are done.
    pub(crate) fn run(&mut self, work: &(dyn Fn(usize, &Barrier) + Sync)) {
        let barrier = &self.shared.barrier;
        if barrier.members == 1 {
            return work(0, barrier);
        }
        let _guard = AbortOnPanic;
        {
            let mut job = self.shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            job.number += 1;
            let place = std::ptr::from_ref(work);
            // SAFETY: only the lifetime is erased, and nobody uses the pointer after this call: a
            // worker is done with the work when it reaches the barrier below, and takes none twice.
            let place = unsafe {
                std::mem::transmute::<
                    *const (dyn Fn(usize, &Barrier) + Sync + '_),
                    *const (dyn Fn(usize, &Barrier) + Sync + 'static),
                >(place)
            };
            job.work = Some(Work(place));
        }
        self.shared.wake.notify_all();
        work(0, barrier);
        barrier.wait();
    }
}

fn work(shared: &Shared, member: usize) {
    let _guard = AbortOnPanic;
    let mut done = 0;
    loop {
        let work = {
            let mut job = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            while job.number == done && !job.stop {
                job = shared.wake.wait(job).unwrap_or_else(PoisonError::into_inner);
            }
            if job.stop {
                return;
            }
            done = job.number;
            job.work
        };
        if let Some(Work(work)) = work {
            // SAFETY: `Team::run` has not returned: it waits at the barrier for this member.
            unsafe { (*work)(member, &shared.barrier) }
        }
        shared.barrier.wait();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.job.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
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
    use super::{Ordering, Team};
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_member_works_and_none_runs_ahead() {
        for members in 1..=4 {
            let mut team = Team::new(members);
            for _ in 0..50 {
                let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
                team.run(&|member, barrier| {
                    first.fetch_add(1 << (8 * member), Ordering::SeqCst);
                    barrier.wait();
                    // All first parts are done before any second part begins.
                    let all = (0..members).fold(0, |sum, member| sum | 1 << (8 * member));
                    assert_eq!(first.load(Ordering::SeqCst), all);
                    second.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(second.load(Ordering::SeqCst), members);
            }
        }
    }
}
