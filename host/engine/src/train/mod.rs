//! Training of super-networks on the CPU.

pub mod alone;
pub mod checkpoint;
pub mod network;
pub mod optimiser;
pub mod random;
pub mod sandwich;
pub mod widen;
