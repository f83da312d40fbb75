//! The policy image: golden bytes, what the writer writes and the view reads, damage, lies.

mod damage;
mod golden;
mod hostile;
#[path = "../common/property.rs"]
mod property;
mod round_trip;
mod sample;
mod slot;
