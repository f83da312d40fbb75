//! Bring-up image: each part of the board on command, for tests of the board code itself.
//!
//! It greets with a line `boot N cause C fault F detail D` (decimal; cause and fault by their
//! wire numbers) and then obeys single bytes:
//!
//! | byte | does |
//! |---|---|
//! | `e` | echoes everything that follows |
//! | `q` | takes no byte until its queue was full, and 50 ms more; then tells the port's counters and echoes what follows |
//! | `f` | sends lines as fast as it can until 100 were dropped, then tells the counters |
//! | `c` | tells the clock, µs, at its start and 6 s later: over both wraps |
//! | `m` | tells stack use before and after 2 KiB more were used, and the capacity |
//! | `l` | logs on the second channel |
//! | `i` | raises an interrupt that nobody handles |
//! | `h` | makes a hard fault |
//! | `o` | runs the stack over |
//! | `w` | hangs |
//! | `p` | panics (development image only) |
//! | `x` | ends the emulator with code 0 (development image only) |
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::hint::black_box;

    use coshift_firmware::port::Port;
    use coshift_mps2_an386::board::{self, Board};

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let Some(mut board) = Board::take() else { board::reset() };
        let boot = board.boot;
        defmt::info!("bring-up image, boot {=u32}", boot.boots);
        let (cause, fault) = (boot.cause as u32, boot.fault as u32);
        say(&mut board, "boot", boot.boots, " cause ", cause);
        say_on(&mut board, " fault ", fault, " detail ", boot.detail);
        loop {
            board.sleep();
            board.watchdog.feed();
            if let [command] = board.uart.read(&mut [0]) {
                obey(&mut board, *command);
            }
        }
    }

    fn obey(board: &mut Board, command: u8) {
        match command {
            b'e' => echo(board),
            b'q' => {
                // However long the emulator takes to deliver that many.
                while board.uart.counters().stalls == 0 {
                    board.watchdog.feed();
                }
                wait_us(50_000);
                tell_counters(board);
                echo(board);
            }
            b'f' => {
                while board.uart.counters().dropped < 100 {
                    board.uart.send(b"0123456789abcdef0123456789abcde\n");
                }
                wait_us(100_000);
                board.uart.send(b"\n");
                tell_counters(board);
            }
            b'c' => {
                let before = board::now_us();
                // The watchdog is fed within its term.
                for _ in 0..6 {
                    wait_us(1_000_000);
                    board.watchdog.feed();
                }
                let after = board::now_us();
                say(board, "clock", before, " then ", after);
                end_line(board);
            }
            b'm' => {
                let before = board::stack_high_water();
                black_box(use_stack());
                let after = board::stack_high_water();
                say(board, "stack", before, " then ", after);
                say_on(board, " of ", board::STACK_CAPACITY, " word ", 4);
            }
            b'l' => {
                defmt::warn!("a warning with {=u8} and {=str}", 7, "text");
                defmt::info!("logged at {=u32}", board::now_us());
            }
            b'i' => board::raise_unhandled_interrupt(),
            b'h' => cortex_m::asm::udf(),
            b'o' => {
                black_box(overflow(black_box(u32::MAX)));
            }
            b'w' => loop {
                core::hint::spin_loop();
            },
            #[cfg(feature = "development")]
            b'p' => panic!("asked for, {} times", black_box(1)),
            #[cfg(feature = "development")]
            b'x' => board::exit(0),
            _ => {
                board.uart.send(b"unknown command\n");
            }
        }
    }

    fn echo(board: &mut Board) -> ! {
        loop {
            let mut buffer = [0; 64];
            loop {
                let received = board.uart.read(&mut buffer);
                if received.is_empty() {
                    break;
                }
                // Waits for room: the emulator's sender waits as long.
                while !board.uart.send(received) {}
                board.watchdog.feed();
            }
            board.watchdog.feed();
            board.sleep();
        }
    }

    fn tell_counters(board: &mut Board) {
        let counters = board.uart.counters();
        let high_water = u32::from(counters.receive_high_water);
        say(board, "overruns", counters.overruns, " stalls ", counters.stalls);
        say_on(board, " dropped ", counters.dropped, " waited ", high_water);
    }

    fn wait_us(span: u32) {
        let from = board::now_us();
        while board::now_us().wrapping_sub(from) < span {}
    }

    #[inline(never)]
    fn use_stack() -> u32 {
        let mut words = [0_u32; 512];
        words.iter_mut().for_each(|word| *word = black_box(1));
        let words = black_box(&words);
        words.iter().fold(0, |sum: u32, word| sum.wrapping_add(*word))
    }

    #[inline(never)]
    #[allow(unconditional_recursion, reason = "it is there to run the stack over")]
    fn overflow(depth: u32) -> u32 {
        let words = black_box([depth; 32]);
        let below = overflow(depth.wrapping_sub(1));
        words.iter().fold(below, |sum: u32, word| sum.wrapping_add(*word))
    }

    fn say(board: &mut Board, name: &str, first: u32, between: &str, second: u32) {
        board.uart.send(name.as_bytes());
        say_pair(board, " ", first, between, second);
    }

    fn say_on(board: &mut Board, before: &str, first: u32, between: &str, second: u32) {
        say_pair(board, before, first, between, second);
        end_line(board);
    }

    fn say_pair(board: &mut Board, before: &str, first: u32, between: &str, second: u32) {
        board.uart.send(before.as_bytes());
        say_number(board, first);
        board.uart.send(between.as_bytes());
        say_number(board, second);
    }

    fn end_line(board: &mut Board) {
        board.uart.send(b"\n");
    }

    fn say_number(board: &mut Board, number: u32) {
        let mut divisor = 1_000_000_000_u32;
        let mut rest = number;
        let mut leading = true;
        for place in 0..10 {
            // The divisor is 1 at the least: `checked_div` keeps the compiler from asking.
            let digit = rest.checked_div(divisor).unwrap_or(0);
            rest = rest.wrapping_sub(digit.wrapping_mul(divisor));
            divisor /= 10;
            leading = leading && digit == 0 && place < 9;
            if !leading {
                board.uart.send(&[b'0'.wrapping_add(digit.to_le_bytes()[0])]);
            }
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is firmware: build its image with `cargo xtask firmware --bring-up`");
    std::process::exit(2);
}
