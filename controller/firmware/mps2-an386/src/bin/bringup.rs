//! Bring-up image: each part of the board on command, for tests of the board code itself.
//!
//! It greets with `boot N cause C fault F detail D` in decimal (cause and fault by their wire
//! numbers) and then obeys one byte: `e` echoes everything that follows, `c` tells the clock in
//! µs twice with a pause between, `m` tells stack use, `h` makes a hard fault, `o` runs the
//! stack over, `w` hangs, `p` panics (development image), `n` starves the loop of nothing: it
//! feeds the watchdog for as long as it runs.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is firmware: build its image with `cargo xtask firmware --bring-up`");
    std::process::exit(2);
}
