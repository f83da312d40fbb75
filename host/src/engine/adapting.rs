//! Adaptation in the background: batch normalisation re-calibrated from the images that come in.
//!
//! The engine's thread keeps a seeded sample of the last images. When that is whole, a thread of the
//! least priority makes tables of its statistics for every sub-network, beside the same weights, and
//! the engine's thread goes over to them between two inferences. The engine's thread never waits for
//! it: what they exchange are two pointers behind a lock that neither holds for longer than that, and
//! that the engine's thread only tries to take. It allocates nothing and frees nothing: the tables it
//! had go back the same way.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use coshift_engine::adapt::adapted;
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::Network;
use coshift_engine::train::network::Values;
use coshift_engine::train::random::Random;

use super::Adapted;

/// Fewest and most images that the statistics are taken from: a few say too little, and all of them
/// go through the network at once.
pub const IMAGES: (u16, u16) = (32, 250);

/// Of so many images in a row one is kept, drawn by the seed.
const STRIDE: usize = 4;

/// The engine's side.
#[derive(Debug)]
pub(super) struct Adapter {
    shared: Arc<Shared>,
    /// Where the next tables come, and the ones before go.
    sample: Sample,
    /// What runs now.
    now: Adapted,
}

/// The last images that were kept.
#[derive(Debug)]
struct Sample {
    /// `[count, image]`.
    images: Vec<f32>,
    /// Values of one image.
    len: usize,
    /// Place that is written next.
    next: usize,
    /// Images kept since the last hand-over, at most as many as there is room for.
    fresh: usize,
    /// Images seen of the present [`STRIDE`], and the one of them that is kept.
    seen: usize,
    drawn: usize,
    random: Random,
}

#[derive(Debug, Default)]
struct Shared {
    exchange: Mutex<Exchange>,
    whole: Condvar,
}

/// What goes between the two threads. The lock is held only to move these.
#[derive(Debug, Default)]
struct Exchange {
    /// On its way to the background: a whole sample; on its way back: room for the next.
    images: Vec<f32>,
    /// The background has a sample that it is not done with.
    busy: bool,
    /// On its way to the engine where `ready`, else the one before on its way back.
    network: Option<Arc<Network>>,
    ready: bool,
    stop: bool,
}

/// What the background works on.
pub(super) struct Material {
    pub(super) layout: Layout,
    pub(super) values: Values,
    /// As shipped: every adaptation begins with these, so that none adds to another's errors.
    pub(super) nets: Vec<Calibrated>,
}

impl Adapter {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(
        material: Material,
        network: Arc<Network>,
        count: usize,
        seed: u64,
    ) -> std::io::Result<Self> {
        let (shared, len) = (Arc::new(Shared::default()), network.image_len());
        let room = vec![0.0; count.max(1) * len];
        lock(&shared.exchange).images.clone_from(&room);
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("adaptation".into())
            .spawn(move || background(&theirs, &material, &network))?;
        let sample = Sample {
            images: room,
            len,
            next: 0,
            fresh: 0,
            seen: 0,
            drawn: 0,
            random: Random(seed),
        };
        Ok(Self { shared, sample, now: Adapted::default() })
    }

    /// Goes over to newer tables where some are there; between two inferences.
    pub(super) fn renew(&mut self, network: &mut Arc<Network>) -> Adapted {
        let Ok(mut exchange) = self.shared.exchange.try_lock() else { return self.now };
        if let Exchange { network: Some(newer), ready: ready @ true, .. } = &mut *exchange {
            std::mem::swap(network, newer);
            *ready = false;
            self.now.times += 1;
            self.now.images = u32::try_from(self.sample.room()).unwrap_or(u32::MAX);
        }
        self.now
    }

    /// Takes note of images that came in; hands the sample over when it is new all through and the
    /// background has nothing to do.
    pub(super) fn see<'a>(&mut self, images: impl Iterator<Item = &'a [f32]>) {
        images.for_each(|image| self.sample.see(image));
        if self.sample.fresh < self.sample.room() {
            return;
        }
        let Ok(mut exchange) = self.shared.exchange.try_lock() else { return };
        if !exchange.busy {
            std::mem::swap(&mut exchange.images, &mut self.sample.images);
            exchange.busy = true;
            (self.sample.fresh, self.sample.next) = (0, 0);
            drop(exchange);
            self.shared.whole.notify_one();
        }
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        lock(&self.shared.exchange).stop = true;
        self.shared.whole.notify_one();
    }
}

impl Sample {
    /// Images that there is room for.
    fn room(&self) -> usize {
        self.images.len() / self.len
    }

    fn see(&mut self, image: &[f32]) {
        if self.seen == 0 {
            self.drawn = self.random.below(STRIDE);
        }
        if self.seen == self.drawn {
            self.images[self.next * self.len..][..self.len].copy_from_slice(image);
            self.next = (self.next + 1) % self.room();
            self.fresh = (self.fresh + 1).min(self.room());
        }
        self.seen = (self.seen + 1) % STRIDE;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes tables of every sample that comes, until the engine is gone.
fn background(shared: &Shared, material: &Material, shipped: &Network) {
    // Of this thread alone, on Linux. Without it the thread works all the same.
    let _ = rustix::process::nice(19);
    loop {
        let mut exchange = lock(&shared.exchange);
        while !exchange.busy && !exchange.stop {
            exchange = shared.whole.wait(exchange).unwrap_or_else(PoisonError::into_inner);
        }
        if exchange.stop {
            return;
        }
        let images = std::mem::take(&mut exchange.images);
        let old = if exchange.ready { None } else { exchange.network.take() };
        drop(exchange);
        // Freed here, and not under the lock.
        drop(old);
        let Material { layout, values, nets } = material;
        let mut new = Vec::with_capacity(nets.len());
        for calibrated in nets {
            new.push(adapted(layout, values, calibrated, &images));
            if lock(&shared.exchange).stop {
                return;
            }
        }
        let network = Arc::new(shipped.recalibrated(values, &new));
        let mut exchange = lock(&shared.exchange);
        let unused = exchange.network.replace(network);
        (exchange.ready, exchange.busy, exchange.images) = (true, false, images);
        drop(exchange);
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coshift_engine::family::{COSHIFT_28, Family};
    use coshift_engine::layout::Layout;
    use coshift_engine::model::Calibrated;
    use coshift_engine::network::Network;
    use coshift_engine::train::network::forward;
    use coshift_engine::train::optimiser;
    use coshift_engine::train::random::Random;

    use super::{Adapter, Material, STRIDE, Sample, lock};
    use crate::engine::Adapted;

    fn sample(room: usize, seed: u64) -> Sample {
        let images = vec![0.0; 2 * room];
        Sample { images, len: 2, next: 0, fresh: 0, seen: 0, drawn: 0, random: Random(seed) }
    }

    #[test]
    fn one_image_in_four_is_kept_as_the_seed_says() {
        let kept = |seed| {
            let mut sample = sample(8, seed);
            for image in 0..8 * STRIDE {
                assert!(image / STRIDE <= sample.fresh && sample.fresh <= image.div_ceil(STRIDE));
                sample.see(&[image as f32, -(image as f32)]);
            }
            assert_eq!(sample.fresh, 8);
            for (place, image) in sample.images.chunks_exact(2).enumerate() {
                assert_eq!((image[0] as usize) / STRIDE, place);
                assert_eq!(image[1], -image[0]);
            }
            // The oldest go first.
            for image in 100..100 + 2 * STRIDE {
                sample.see(&[image as f32, 0.0]);
            }
            assert!(sample.images[..4].chunks_exact(2).all(|image| image[0] >= 100.0));
            assert!(sample.images[4..].chunks_exact(2).all(|image| image[0] < 100.0));
            sample.images
        };
        assert_eq!(kept(5), kept(5));
        assert_ne!(kept(5), kept(6));
    }

    #[test]
    fn the_engine_goes_on_while_the_background_holds_the_exchange() {
        let family: Family = serde_json::from_str(COSHIFT_28).unwrap();
        let (layout, mut random) = (Layout::new(&family).unwrap(), Random(9));
        let values = optimiser::start(&layout, &mut random);
        let net = family.smallest();
        let images: Vec<f32> = (0..40 * 784).map(|_| random.normal()).collect();
        let statistics = forward(&layout, &layout.units(&net), &values, &images, None).statistics;
        let nets = vec![Calibrated { net, statistics }];
        let mut network = Arc::new(Network::new(layout.clone(), values.clone(), &nets).unwrap());
        let shipped = Arc::clone(&network);
        let material = Material { layout, values, nets };
        let mut adapter = Adapter::start(material, Arc::clone(&network), 8, 1).unwrap();
        let shared = Arc::clone(&adapter.shared);
        // A call that waited would wait for ever.
        let exchange = lock(&shared.exchange);
        adapter.see(images.chunks_exact(784));
        assert_eq!(adapter.renew(&mut network), Adapted::default());
        assert!(!exchange.busy);
        drop(exchange);
        // The whole sample is handed over at the next chance, and once only.
        adapter.see(images.chunks_exact(784).take(1));
        assert_eq!(adapter.sample.fresh, 0);
        while adapter.renew(&mut network).times == 0 {
            std::thread::yield_now();
        }
        assert_eq!(adapter.now, Adapted { times: 1, images: 8 });
        assert!(!Arc::ptr_eq(&network, &shipped));
        assert_eq!(adapter.renew(&mut network).times, 1);
    }
}
