//! Offline tools: everything that is done before or after a board runs.
//!
//! * [`fit_board`] — board files from measured latencies and powers
//! * [`plan`] — policy images from board files
//! * [`page`] — one self-contained HTML page with tables and time plots
//! * [`ground`] — the proving ground: every manager on the same scenarios, against the oracle
//! * [`simulate`] — request streams under the kernel's governors, in virtual time
//! * `train`, `pack`, `eval`, `bench` — the super-network: its training, the sub-networks that are
//!   shipped, their accuracy and their speed (feature `engine`)
#![forbid(unsafe_code)]

#[cfg(feature = "engine")]
pub mod bench;
#[cfg(feature = "engine")]
pub mod eval;
pub mod fit_board;
pub mod ground;
#[cfg(feature = "engine")]
pub mod pack;
pub mod page;
pub mod plan;
pub mod simulate;
#[cfg(feature = "engine")]
pub mod train;
