//! The board code, part by part, under the emulator: see `src/bin/bringup.rs` for the commands.
//!
//! Needs the images and the emulator; `cargo xtask test` builds the one and installs the other.

use std::io::{Read, Write};

use crate::emulator::{Emulator, Needs};

const RELEASE: &str = "COSHIFT_BRINGUP";
const DEVELOPMENT: &str = "COSHIFT_BRINGUP_DEV";

const GREETING: &str = "boot 1 cause 1 fault 1 detail 0";

/// Numbers of a line such as `stack 12 then 34`.
fn numbers(line: &str) -> Vec<u32> {
    line.split(' ').filter_map(|word| word.parse().ok()).collect()
}

fn start(needs: &Needs, fast: bool) -> Emulator {
    let mut emulator = Emulator::start(needs, fast);
    assert_eq!(emulator.line(), GREETING);
    emulator
}

#[test]
fn every_byte_comes_back_in_order() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut emulator = start(&needs, false);
    emulator.send(b"e");
    // All byte values, more than the queues hold.
    let sent: Vec<u8> =
        (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut port = emulator.port.try_clone().unwrap();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || port.write_all(&copy).unwrap());
    let mut received = vec![0; sent.len()];
    emulator.port.read_exact(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent, "bytes differ");
    emulator.stop();
}

#[test]
fn a_full_receive_queue_holds_the_sender_back_and_loses_nothing() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut emulator = start(&needs, false);
    let sent: Vec<u8> = (0..5_000_u32).map(|n| n as u8).collect();
    emulator.send(b"q");
    emulator.send(&sent);
    let line = emulator.line();
    let [overruns, stalls, _, _] = numbers(&line)[..] else { panic!("{line}") };
    assert_eq!(overruns, 0, "{line}");
    assert!(stalls >= 1, "{line}");
    let mut received = vec![0; sent.len()];
    emulator.port.read_exact(&mut received).unwrap();
    assert!(received == sent, "bytes differ");
    emulator.stop();
}

#[test]
fn a_full_send_queue_drops_whole_frames() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut emulator = start(&needs, false);
    emulator.send(b"f");
    let mut lines = 0;
    let line = loop {
        let line = emulator.line();
        if line.starts_with("overruns") {
            break line;
        }
        // An empty line comes before the counters.
        assert!(matches!(line.as_str(), "0123456789abcdef0123456789abcde" | ""), "{line}");
        lines += 1;
    };
    let [_, _, dropped, _] = numbers(&line)[..] else { panic!("{line}") };
    assert!(dropped >= 100 && lines > 1, "{line}");
    emulator.stop();
}

#[test]
fn the_clock_runs_over_both_wraps() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut emulator = start(&needs, true);
    emulator.send(b"c");
    let line = emulator.line();
    let [before, after] = numbers(&line)[..] else { panic!("{line}") };
    let passed = after.wrapping_sub(before);
    // Six pauses of a second, each ended by the first reading after it.
    assert!((6_000_000..6_100_000).contains(&passed), "{line}");
    assert!(after < before, "microseconds did not wrap: {line}");
    emulator.stop();
}

#[test]
fn the_stack_mark_sees_what_was_used() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut emulator = start(&needs, false);
    emulator.send(b"m");
    let line = emulator.line();
    let [before, after, capacity, _] = numbers(&line)[..] else { panic!("{line}") };
    assert!(before > 0 && before < 1024, "{line}");
    assert!(after >= before + 1500 && after <= before + 2500, "{line}");
    assert!(after < capacity, "{line}");
    emulator.stop();
}

#[test]
fn a_fault_of_the_release_image_resets_the_board_and_is_told() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    for (command, fault) in [(b"h", 3), (b"o", 4), (b"i", 3)] {
        let mut emulator = start(&needs, false);
        emulator.send(command);
        let line = emulator.line();
        let expected = format!("boot 2 cause 3 fault {fault} detail ");
        assert!(line.starts_with(&expected), "{line}");
        if fault == 4 {
            // The guard: one to two KiB above the bottom of RAM.
            let [.., detail] = numbers(&line)[..] else { panic!("{line}") };
            assert!((0x2000_0000..0x2000_0800).contains(&detail), "{line}");
        }
        emulator.stop();
    }
}

#[test]
fn a_hang_ends_in_a_watchdog_reset_that_tells_where() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut emulator = start(&needs, true);
    emulator.send(b"w");
    let line = emulator.line();
    let [boots, cause, fault, pc] = numbers(&line)[..] else { panic!("{line}") };
    assert_eq!((boots, cause, fault), (2, 2, 5), "{line}");
    assert!(pc > 0x100 && pc < 0x8_0000, "{line}");
    // It is alive again.
    emulator.send(b"m");
    assert!(emulator.line().starts_with("stack "));
    emulator.stop();
}

#[test]
fn the_development_image_ends_with_a_code_and_a_report() {
    let Some(needs) = Needs::find(DEVELOPMENT) else { return };
    for (command, code, text) in [
        (b"x", 0, ""),
        (b"p", 101, "asked for, 1 times"),
        (b"h", 102, "hard fault: pc 0x"),
        (b"o", 103, "stack overflow at 0x"),
    ] {
        let mut emulator = start(&needs, false);
        emulator.send(command);
        assert_eq!(emulator.wait().code(), Some(code), "command {}", char::from(command[0]));
        let log = emulator.log();
        assert!(log.iter().any(|line| line.contains(text)), "{log:?}");
        emulator.stop();
    }
}

#[test]
fn logs_come_decoded_from_the_second_channel() {
    let Some(needs) = Needs::find(DEVELOPMENT) else { return };
    let mut emulator = start(&needs, false);
    emulator.send(b"lx");
    assert_eq!(emulator.wait().code(), Some(0));
    let log = emulator.log();
    assert!(log[0].contains("bring-up image, boot 1"), "{log:?}");
    assert!(log[1].contains("a warning with 7 and text"), "{log:?}");
    assert!(log[2].contains("logged at "), "{log:?}");
    emulator.stop();
}
