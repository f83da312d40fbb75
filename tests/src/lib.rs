//! Scenarios of the whole system, written once against a rig.
//!
//! * [`rig`] — what a rig can do: agent, microcontroller, and a line between them that lies
//! * [`sim_rig`] — agent and controller in virtual time, deterministic by seed
//! * [`qemu_rig`] — the real agent process and the release image under QEMU, with [`relay`] between
//! * [`scenario`] — what must hold, whatever the rig; [`mutant`] — what is wrong where it does not
//! * [`case`] — an application that fits the policy at hand
//! * [`board`] — the release image under QEMU without an agent: [`power_cuts`] in its policy store,
//!   [`bit_flips`] while it decides
//! * [`answers`] — the controller compiled for the microcontroller against the one of the host
//! * [`ground`] — scenarios of the proving ground with the firmware's controller
//! * [`fuzz`] — what must hold for any bytes
//! * [`mod@line`], [`faults`], [`wire`] — the line: faults put in, frames read along
//!
//! Scenarios assert order and counters, never wall-clock time.
#![forbid(unsafe_code)]

pub mod agent;
pub mod answers;
pub mod bit_flips;
pub mod board;
pub mod case;
pub mod debug_stub;
pub mod emulator;
pub mod faults;
pub mod fuzz;
pub mod ground;
pub mod line;
pub mod monitor;
pub mod mutant;
pub mod need;
pub mod power_cuts;
pub mod qemu_rig;
pub mod ram_slot;
pub mod random;
pub mod relay;
pub mod rewrite;
pub mod rig;
pub mod scenario;
pub mod sim_mcu;
pub mod sim_rig;
pub mod wire;
