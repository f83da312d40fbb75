//! The flash driver on a model of the controller's registers, and the policy store on top of it.

mod board;
mod driver;
mod model;
mod power_cuts;
