//! Firmware for the Arm MPS2 AN386.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this package is firmware: build its image with `cargo xtask firmware`");
    std::process::exit(2);
}
