//! The executor: sub-networks as lists of steps over one resident set of packed weights.
//!
//! * [`packed`] — what the sub-networks share
//! * [`plan`] — what each has of its own: its steps and folded normalisations
//! * [`arena`] — where the feature maps of one caller lie
//! * [`steps`] — running the steps, each in parts
//! * [`trace`] — the maps that a pass leaves, step by step
//! * [`team`] — threads that share the parts of a step

pub(crate) mod arena;
pub(crate) mod packed;
pub(crate) mod plan;
pub(crate) mod steps;
pub(crate) mod team;
pub(crate) mod trace;
