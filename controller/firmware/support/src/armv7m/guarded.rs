//! A value shared with interrupt handlers.

use core::cell::UnsafeCell;
use core::fmt;

/// A value that is used with interrupts held back only.
pub struct Guarded<T>(UnsafeCell<T>);

// SAFETY: `with` holds interrupts back on the only core, so the value is never used from two
// contexts at once; moving it between them needs `Send`.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    /// Shares a value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Uses the value with interrupts held back. `use_it` must be short.
    ///
    /// # Safety
    /// `use_it` must not come here with the same value again.
    pub unsafe fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|_| {
            // SAFETY: interrupts are held back, and by the contract `use_it` does not use the same
            // value in another way, so this is the only reference.
            use_it(unsafe { &mut *self.0.get() })
        })
    }
}

impl<T> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}
