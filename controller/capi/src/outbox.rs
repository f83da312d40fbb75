//! Frames that wait to be taken.

use heapless::spsc::Queue;

/// Bytes of the queue, one of which stays free: sixteen frames of the largest size.
const QUEUE: usize = 1024;

/// Frames that wait to be taken, as bytes.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Queue<u8, QUEUE>,
    dropped: u32,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self { queue: Queue::new(), dropped: 0 }
    }

    /// Queues a frame, whole or not at all.
    pub(crate) fn put(&mut self, frame: &[u8]) {
        if self.queue.capacity().saturating_sub(self.queue.len()) < frame.len() {
            self.dropped = self.dropped.wrapping_add(1);
            return;
        }
        for byte in frame {
            // There is room for every byte.
            let _ = self.queue.enqueue(*byte);
        }
    }

    /// The next byte.
    pub(crate) fn take(&mut self) -> Option<u8> {
        self.queue.dequeue()
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Frames dropped, wrapping.
    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }
}
