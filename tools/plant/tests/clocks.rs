//! The kernel's frequency tables in a board file.

mod common;

use common::{minimal, shipped};
use coshift_plant::Board;
use coshift_plant::board::{BoardFile, Mark};

const TABLES: &str = "[clocks]
cpu_mhz = [1190.4, 1420.8]
gpu_mhz = [114.75, 306, 510, 1000]

[settle]";
const MARK: &str = "[[provenance]]
fields = [\"clocks\"]
mark = \"specified\"
note = \"the kernel's\"

[sources]";

fn text() -> String {
    minimal().replacen("[settle]", TABLES, 1).replacen("[sources]", MARK, 1)
}

fn said(from: &str, to: &str) -> String {
    let text = text();
    assert!(text.contains(from), "no {from:?}");
    match Board::parse(&text.replacen(from, to, 1), "board.toml") {
        Ok(_) => panic!("taken with {to:?} for {from:?}"),
        Err(error) => error.to_string(),
    }
}

fn line(of: &str) -> usize {
    text().lines().position(|line| line.contains(of)).expect("in the board") + 1
}

#[test]
fn tables_are_read_and_may_be_missing() {
    let board = Board::parse(&text(), "board.toml").unwrap_or_else(|error| panic!("{error}"));
    let clocks = board.clocks.as_ref().expect("tables");
    assert_eq!(clocks.cpu_khz, [1_190_400, 1_420_800]);
    assert_eq!(clocks.gpu_khz, [114_750, 306_000, 510_000, 1_000_000]);
    let mark = board.provenance.of("clocks.gpu_mhz").map(|entry| entry.mark);
    assert_eq!(mark, Some(Mark::Specified));

    let without = Board::parse(&minimal(), "board.toml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(without.clocks, None);
}

#[test]
fn errors_name_line_field_and_expectation() {
    let cases = [
        (
            "306, 510",
            "510, 306",
            "clocks.gpu_mhz[2]: ascending clocks go, 306 MHz is not above the one before it",
            "306, 510",
        ),
        ("306, 510", "306, 306, 510", "clocks.gpu_mhz[2]: ascending clocks go", "306, 510"),
        ("[1190.4, 1420.8]", "[]", "clocks.cpu_mhz: 1 to 64 clocks go, 0 found", "1420.8]"),
        ("[114.75, 306", "[0, 306", "clocks.gpu_mhz[0]: 1 to 20000 goes, 0 found", "306, 510"),
        (
            "[114.75, 306",
            "[114.75, 305.9999",
            "clocks.gpu_mhz[1]: whole kHz go, 305.9999 MHz found",
            "306, 510",
        ),
        (
            "306, 510, 1000",
            "306, 1000",
            "levels[1].gpu_mhz: a clock of clocks.gpu_mhz goes, 510 MHz found",
            "gpu_mhz = 510, ",
        ),
        (
            "[1190.4, 1420.8]",
            "[1190.4, 1344]",
            "levels[2].cpu_mhz: a clock of clocks.cpu_mhz goes, 1420.8 MHz found",
            "gpu_mhz = 1000, emc",
        ),
    ];
    for (from, to, problem, at) in cases {
        let error = said(from, to);
        let expected = format!("board.toml:{}: {problem}", line(at));
        assert!(error.starts_with(&expected), "{error}\n{expected}");
        assert_eq!(error.lines().count(), 1);
    }
    let error = said("fields = [\"clocks\"]", "fields = [\"caps\"]");
    assert!(error.contains("clocks.cpu_mhz[0]: no entry of [[provenance]] says"), "{error}");
}

#[test]
fn a_written_file_keeps_the_tables() {
    let file: BoardFile = toml::from_str(&text()).expect("fields");
    let written = toml::to_string(&file).expect("a file");
    let board = Board::parse(&written, "written.toml").unwrap_or_else(|error| panic!("{error}"));
    let first = Board::parse(&text(), "board.toml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(board.clocks, first.clocks);
}

#[test]
fn every_shipped_board_has_the_tables_of_its_mode() {
    // Name, CPU clocks (count, first, last), GPU clocks.
    let tables = [
        ("xavier_nx", (4, 1_190_400, 1_420_800), (15, 114_750, 1_109_250)),
        ("orin_nano", (14, 729_600, 1_728_000), (8, 306_000, 1_020_000)),
        ("agx_xavier", (15, 1_190_400, 2_265_600), (14, 114_750, 1_377_000)),
    ];
    for (name, cpu, gpu) in tables {
        let clocks = shipped(name).clocks.expect("tables");
        let ends = |table: &[u32]| (table.len(), table[0], table[table.len() - 1]);
        assert_eq!((ends(&clocks.cpu_khz), ends(&clocks.gpu_khz)), (cpu, gpu), "{name}");
        assert!(clocks.cpu_khz.windows(2).all(|pair| pair[1] - pair[0] == 76_800), "{name}");
    }
}
