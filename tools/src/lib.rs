//! Offline tools: everything that is done before or after a board runs.
//!
//! * [`fit_board`] — board files from measured latencies and powers
//! * [`plan`] — policy images from board files
//! * [`page`] — one self-contained HTML page with tables and time plots
//! * [`ground`] — the proving ground: every manager on the same scenarios, against the oracle
//! * [`simulate`] — request streams under the kernel's governors, in virtual time
//! * `train`, `pack`, `assemble`, `eval`, `bench`, `export`, `import`, `search` — the super-network:
//!   its training, the sub-networks that are shipped, published ones, their accuracy and speed, files
//!   for and of other runtimes, the front (feature `engine`)
#![forbid(unsafe_code)]

#[cfg(feature = "engine")]
pub mod alone;
#[cfg(feature = "engine")]
pub mod assemble;
#[cfg(feature = "engine")]
pub mod bench;
#[cfg(feature = "engine")]
pub mod eval;
#[cfg(feature = "engine")]
pub mod export;
pub mod fit_board;
pub mod ground;
#[cfg(feature = "engine")]
pub mod import;
#[cfg(feature = "engine")]
pub mod pack;
pub mod page;
pub mod plan;
#[cfg(feature = "engine")]
pub mod search;
pub mod simulate;
#[cfg(feature = "engine")]
pub mod teacher;
#[cfg(feature = "engine")]
pub mod train;
