//! Firmware for the Arm MPS2 AN386.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
use coshift_mps2_an386::board::Board;

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(mut board) = Board::take() else { coshift_mps2_an386::board::reset() };
    loop {
        let mut buffer = [0; 64];
        let received = board.uart.read(&mut buffer);
        board.uart.send(received);
        board.watchdog.feed();
        board.sleep();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this package is firmware: build its image with `cargo xtask firmware`");
    std::process::exit(2);
}
