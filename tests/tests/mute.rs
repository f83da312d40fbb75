//! A core that goes round but decides nothing any more is reset by its watchdog.

use std::fs;
use std::path::Path;

use coshift_shared::to_controller::{Telemetry, Temperature, ToController};
use coshift_shared::to_host::{ResetCause, ToHost};
use coshift_shared::units::Age;
use coshift_tests::board::{Board, Folder};
use coshift_tests::debug_stub::DebugStub;
use coshift_tests::need::Needs;
use object::{Object, ObjectSymbol};

/// `bx lr`: the function returns at once.
const RETURN: [u8; 2] = [0x70, 0x47];

/// Address of the one function with this in its name.
fn function(firmware: &Path, name: &str) -> u32 {
    let bytes = fs::read(firmware).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let found: Vec<_> =
        file.symbols().filter(|symbol| symbol.name().is_ok_and(|n| n.contains(name))).collect();
    assert_eq!(found.len(), 1, "functions called {name}: {found:?}");
    // The lowest bit says that it is Thumb code.
    u32::try_from(found[0].address()).unwrap() & !1
}

/// Telemetry of the control period with this number; its sequence number.
fn tell(board: &mut Board, period: u32) -> u16 {
    board
        .send(&ToController::Telemetry(Telemetry {
            at_us: 1 + period * 50_000,
            level: 0,
            clocks_mhz: [1; 3],
            power_mw: 5_000,
            power_age: Age::FRESH,
            gpu_load_permille: 500,
            gpu_load_age: Age::FRESH,
            temperatures: [Temperature { mdeg_c: 50_000, age: Age::FRESH }, Temperature::MISSING],
        }))
        .unwrap()
}

#[test]
fn a_core_that_answers_nothing_is_reset_by_its_watchdog() {
    let Some(needs) = Needs::find() else { return };
    let folder = Folder::new("mute").unwrap();
    let mut board = Board::start(&needs, folder.path(), 0, &[]).unwrap();
    board.booted().unwrap();
    board.open().unwrap();
    for period in 0..40 {
        let seq = tell(&mut board, period);
        loop {
            let (_, message) = board.message().unwrap();
            if let ToHost::Decision(decision) = message {
                assert_eq!(decision.last_seq, seq);
                break;
            }
        }
    }
    // As a wrong pointer would: what steps have to say is no longer sent.
    let address = function(&needs.firmware, "send_all");
    let mut stub = DebugStub::connect(board.emulator().debug_socket()).unwrap();
    stub.write(address, &RETURN).unwrap();
    stub.go_on().unwrap();
    for period in 40..60 {
        tell(&mut board, period);
    }
    let welcome = board.booted().unwrap();
    assert_eq!(welcome.reset_cause, ResetCause::Watchdog, "{welcome:?}");
    board.end().unwrap();
}
