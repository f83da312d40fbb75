//! A model of the flash's controller and one sector, whose power can be cut at every word
//! programmed and at every erase.

use std::cell::Cell;

use coshift_firmware::stm32f4_flash::{
    BUSY, CACHE, CACHE_RESET, ERASE, KEYS, LOCK, PROGRAM, Register, SECTOR, START, Sector, WORDS,
};

/// Bytes of the sector: enough for an image of 1 × 4 × 8 and the records.
pub(crate) const SIZE: usize = 1024;
/// Bytes of a word.
pub(crate) const WORD: usize = 4;
/// Reads of the status that an operation lasts.
const LASTS: u32 = 3;
/// Wait states, prefetch and both caches on, as the HAL leaves them.
pub(crate) const ACCESS: u32 = 3 | 1 << 8 | 1 << 9 | CACHE;
/// The error of a write while the flash is not ready to be programmed.
const SEQUENCE: u32 = 1 << 7;
/// The error of an operation that did not end well.
const OPERATION: u32 = 1 << 1;
pub(crate) const WRITE_PROTECTION: u32 = 1 << 4;

/// What the operation at which the power fails leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The memory as it was.
    Before,
    /// All of it done, and nothing after it.
    After,
    /// Of each bit that changes, a draw of this seed whether it has.
    Torn(u32),
    /// All of it done but for one bit.
    Flip(u32),
    /// So many words done, the ones behind them as they were.
    First(usize),
    /// So many words as they were, the ones behind them done.
    Last(usize),
}

impl Cut {
    fn leaves(self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let (words, rest) = match self {
            Self::Before => return old.to_vec(),
            Self::After => return new.to_vec(),
            Self::Torn(seed) => {
                let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
                return old
                    .iter()
                    .zip(new)
                    .map(|(old, new)| {
                        // xorshift32 (Marsaglia, 2003)
                        random ^= random << 13;
                        random ^= random >> 17;
                        random ^= random << 5;
                        let mask = (random >> 24) as u8;
                        old & mask | new & !mask
                    })
                    .collect();
            }
            Self::Flip(bit) => {
                let (mut left, bit) = (new.to_vec(), bit as usize % (8 * new.len()));
                left[bit / 8] ^= 1 << (bit % 8);
                return left;
            }
            Self::First(words) => (words, [new, old]),
            Self::Last(words) => (words, [old, new]),
        };
        let [before, behind] = rest;
        [&before[..words * WORD], &behind[words * WORD..]].concat()
    }
}

/// The controller by RM0383: what is out of order is an error flag, or a panic of the test where
/// the manual leaves open what happens.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) number: u8,
    pub(crate) bytes: Vec<u8>,
    /// What the data cache holds: the bytes as they were when it was enabled last.
    pub(crate) cached: Option<Vec<u8>>,
    pub(crate) busy: Cell<u32>,
    pub(crate) status: u32,
    pub(crate) control: u32,
    pub(crate) access: u32,
    /// Keys right so far; `None`: a wrong one came, and only a reset helps.
    pub(crate) keys: Option<usize>,
    pub(crate) protected: bool,
    pub(crate) erasures: u32,
    /// Calls of the two hooks, in order.
    pub(crate) hooks: Vec<&'static str>,
    /// Words programmed and sectors erased.
    pub(crate) operations: u32,
    /// The operation at which the power fails, counted from 1, and what that leaves.
    pub(crate) fuse: Option<(u32, Cut)>,
    pub(crate) dead: bool,
}

impl Model {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            number,
            bytes: vec![0x5a; SIZE],
            cached: None,
            busy: Cell::new(0),
            status: 0,
            control: LOCK,
            access: ACCESS,
            keys: Some(0),
            protected: false,
            erasures: 0,
            hooks: Vec::new(),
            operations: 0,
            fuse: None,
            dead: false,
        }
    }

    /// The power fails at this operation from now on, counted from 1.
    pub(crate) fn cut_at(&mut self, operation: u32, cut: Cut) {
        self.operations = 0;
        self.fuse = Some((operation, cut));
    }

    /// The power comes back: registers are as after a reset, the cache is empty and enabled by the
    /// HAL.
    pub(crate) fn restart(&mut self) {
        let Self { number, bytes, erasures, .. } = self.clone();
        *self = Self { bytes, erasures, ..Self::new(number) };
    }

    pub(crate) fn flip(&mut self, bit: usize) {
        self.bytes[bit / 8] ^= 1 << (bit % 8);
    }

    /// What the memory holds from `offset` on becomes `new`, unless the power fails at that.
    fn change(&mut self, offset: usize, new: &[u8]) {
        self.operations += 1;
        let cut = self.fuse.filter(|(at, _)| *at == self.operations).map(|(_, cut)| cut);
        let old = self.bytes[offset..][..new.len()].to_vec();
        let left = cut.map_or_else(|| new.to_vec(), |cut| cut.leaves(&old, new));
        self.bytes[offset..][..new.len()].copy_from_slice(&left);
        self.dead = cut.is_some();
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.control & LOCK != 0
    }
}

impl Sector for Model {
    const SIZE: usize = SIZE;

    fn number(&self) -> u8 {
        self.number
    }

    fn mapped(&self) -> &[u8] {
        assert_eq!(self.busy.get(), 0, "read while an operation goes on");
        self.cached.as_ref().unwrap_or(&self.bytes)
    }

    fn lend(&self) -> &'static [u8] {
        Vec::leak(self.bytes.clone())
    }

    fn read(&self, register: Register) -> u32 {
        match register {
            // Nothing runs any more: the driver's caller is told so by way of an error.
            Register::Status if self.dead => OPERATION,
            Register::Access => self.access,
            Register::Key => panic!("the keys cannot be read"),
            Register::Control => self.control,
            Register::Status => {
                let left = self.busy.get();
                self.busy.set(left.saturating_sub(1));
                self.status | if left > 0 { BUSY } else { 0 }
            }
        }
    }

    fn write(&mut self, register: Register, value: u32) {
        if self.dead {
            return;
        }
        assert_eq!(self.busy.get(), 0, "a register written while an operation goes on");
        match register {
            Register::Access => {
                assert_eq!(value & !(CACHE | CACHE_RESET), ACCESS & !CACHE, "other bits changed");
                assert!(
                    value & CACHE_RESET == 0 || self.access & CACHE == 0,
                    "reset while enabled"
                );
                if value & CACHE_RESET != 0 {
                    self.cached = None;
                }
                self.access = value;
            }
            Register::Key => {
                self.keys = match self.keys {
                    Some(right) if KEYS.get(right) == Some(&value) => Some(right + 1),
                    _ => None,
                };
                if self.keys == Some(KEYS.len()) {
                    self.control &= !LOCK;
                }
            }
            Register::Status => self.status &= !value,
            Register::Control => {
                assert!(!self.is_locked(), "the control register written while locked");
                self.control = value;
                if value & LOCK != 0 {
                    self.keys = self.keys.map(|_| 0);
                } else if value & START != 0 {
                    assert_eq!(value & ERASE, ERASE, "only an erase is started");
                    if value != START | WORDS | ERASE | u32::from(self.number) << SECTOR {
                        self.status |= SEQUENCE;
                    } else if self.protected {
                        self.status |= WRITE_PROTECTION;
                    } else {
                        // A cache that is not reset goes on with what it holds.
                        self.cached = Some(self.bytes.clone());
                        self.change(0, &[0xff; SIZE]);
                        self.erasures += 1;
                    }
                    self.busy.set(if self.dead { 0 } else { LASTS });
                }
            }
        }
    }

    fn store(&mut self, offset: usize, word: u32) {
        if self.dead {
            return;
        }
        assert_eq!(self.busy.get(), 0, "a word stored while an operation goes on");
        if self.control != WORDS | PROGRAM {
            self.status |= SEQUENCE;
        } else if self.protected {
            self.status |= WRITE_PROTECTION;
        } else {
            let there = &self.bytes[offset..][..WORD];
            // The store must not rely on more than memory gives that takes a word once.
            assert_eq!(there, [0xff; WORD], "a word programmed twice");
            self.change(offset, &word.to_le_bytes());
            self.busy.set(if self.dead { 0 } else { LASTS });
        }
    }

    fn before_erase(&mut self) {
        self.hooks.push("before");
    }

    fn after_erase(&mut self) {
        self.hooks.push("after");
    }
}
