//! The proving ground: every manager on the same scenarios, against the oracle.
//!
//! * [`scenario`] — scenario files, and what is drawn from them for a seed
//! * [`world`] — the board, the queues and the agent's part in virtual time
//! * [`managers`] — ours and everything a user would run instead, behind one trait
//! * [`oracle`] — the choice with perfect knowledge, paying what everyone pays
//! * [`results`] — figures over seeds; `command` is `coshift-tools simulate`

pub mod book;
pub mod command;
pub mod fit_contention;
pub mod managers;
pub mod oracle;
pub mod random;
pub mod report;
pub mod results;
pub mod scenario;
pub mod sensitivity;
pub mod world;
