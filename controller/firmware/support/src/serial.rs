//! The two queues between a serial port's interrupts and the loop.
//!
//! The board puts each in what it shares with its handlers (`armv7m::Guarded`), gives the receive
//! handler [`Received::put`] and the transmit handler [`ToSend::next`].

use heapless::spsc::Queue;

/// Received bytes: the handler puts them in, the loop takes them out. `N - 1` bytes fit.
// The queue is used whole, not as its producer and consumer halves: the halves forget the capacity,
// and a remainder by a value known at run time only is a panic path.
#[derive(Debug)]
pub struct Received<const N: usize> {
    queue: Queue<u8, N>,
    lost: u16,
    high_water: usize,
}

/// Bytes to send: the loop puts whole frames in, the handler takes bytes out. `N - 1` bytes fit.
#[derive(Debug)]
pub struct ToSend<const N: usize> {
    queue: Queue<u8, N>,
    dropped: u16,
}

impl<const N: usize> Received<N> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { queue: Queue::new(), lost: 0, high_water: 0 }
    }

    /// Takes in a byte; without room it is lost, which is counted.
    pub fn put(&mut self, byte: u8) {
        if self.queue.enqueue(byte).is_err() {
            self.lose();
        }
        self.high_water = self.high_water.max(self.queue.len());
    }

    /// Counts a byte that the hardware lost: overrun, noise, framing.
    pub fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Moves bytes into `buffer` and gives how many.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut count = 0_usize;
        for place in buffer {
            let Some(byte) = self.queue.dequeue() else { break };
            *place = byte;
            count = count.wrapping_add(1);
        }
        count
    }

    /// No byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes lost so far, saturating.
    #[must_use]
    pub const fn lost(&self) -> u16 {
        self.lost
    }

    /// Most bytes that ever waited.
    #[must_use]
    pub fn high_water(&self) -> u16 {
        u16::try_from(self.high_water).unwrap_or(u16::MAX)
    }
}

impl<const N: usize> Default for Received<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> ToSend<N> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { queue: Queue::new(), dropped: 0 }
    }

    /// Queues a frame, whole or not at all; false: there was no room, which is counted.
    pub fn put(&mut self, frame: &[u8]) -> bool {
        if self.queue.capacity().saturating_sub(self.queue.len()) < frame.len() {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        // There is room for every byte.
        frame.iter().all(|byte| self.queue.enqueue(*byte).is_ok())
    }

    /// The next byte to send, left in the queue.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.queue.peek().copied()
    }

    /// The next byte to send, taken out of the queue.
    #[allow(clippy::should_implement_trait, reason = "a queue that fills again is no iterator")]
    pub fn next(&mut self) -> Option<u8> {
        self.queue.dequeue()
    }

    /// No byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Frames dropped so far, saturating.
    #[must_use]
    pub const fn dropped(&self) -> u16 {
        self.dropped
    }
}

impl<const N: usize> Default for ToSend<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_over_the_wrap_of_the_queue() {
        let mut received = Received::<8>::new();
        let mut expected = 0_u8;
        for round in 0_u8..100 {
            (0..5).for_each(|n| received.put(round * 2 + n));
            let mut buffer = [0; 16];
            let count = received.take(&mut buffer);
            assert_eq!(buffer[..count], [0, 1, 2, 3, 4].map(|n| round * 2 + n));
            expected = expected.max(5);
        }
        assert_eq!((received.lost(), received.high_water()), (0, u16::from(expected)));
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted() {
        let mut received = Received::<8>::new();
        (0..10).for_each(|n| received.put(n));
        received.lose();
        assert_eq!((received.lost(), received.high_water()), (4, 7));
        let mut buffer = [0; 3];
        assert_eq!(received.take(&mut buffer), 3);
        assert_eq!(buffer, [0, 1, 2]);
        assert!(!received.is_empty());
    }

    #[test]
    fn a_frame_is_queued_whole_or_not_at_all() {
        let mut to_send = ToSend::<8>::new();
        assert!(to_send.put(&[1, 2, 3, 4]));
        assert!(!to_send.put(&[5, 6, 7, 8]), "seven bytes fit");
        assert!(to_send.put(&[9, 10, 11]));
        assert_eq!(to_send.dropped(), 1);
        assert_eq!(to_send.peek(), Some(1));
        let sent: Vec<u8> = std::iter::from_fn(|| to_send.next()).collect();
        assert_eq!(sent, [1, 2, 3, 4, 9, 10, 11]);
        assert_eq!(to_send.peek(), None);
    }
}
