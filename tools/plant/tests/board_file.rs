//! The board format: what is read, and what errors say.

mod common;

use common::minimal;
use coshift_plant::Board;
use coshift_plant::board::{self, BoardFile, Mark};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Board, String> {
    Board::parse(text, "board.toml").map_err(|error| error.to_string())
}

/// What the minimal board says after `from` was replaced by `to`.
fn said(from: &str, to: &str) -> String {
    let text = minimal();
    assert!(text.contains(from), "the minimal board has no {from:?}");
    match parse(&text.replacen(from, to, 1)) {
        Ok(_) => panic!("taken with {to:?} for {from:?}"),
        Err(error) => error,
    }
}

/// Line of the first occurrence, counted from 1.
fn line(of: &str) -> usize {
    minimal().lines().position(|line| line.contains(of)).expect("in the minimal board") + 1
}

#[test]
fn the_minimal_board_is_read() {
    let board = parse(&minimal()).expect("a sound board");
    assert_eq!(board.name, "test");
    assert_eq!(board.levels.len(), 3);
    assert_eq!(board.levels[0].cpu_khz, 1_190_400);
    assert_eq!(board.park_level, Some(0));
    assert_eq!(board.utilisation_permille, 950);
    assert_eq!(board.settle.gpu_us, 5000);
    assert_eq!((board.caps.power_mw, board.caps.temp_mdeg_c), (Some(15_000), None));
    assert_eq!(board.network_names(), ["ladder", "work"]);
    assert_eq!(board.network("work").expect("a network").model_hash, 0x0123_4567_89ab_cdef);
    assert!(board.network("none").is_none());
}

#[test]
fn a_missing_file_is_named() {
    let error = Board::load(std::path::Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(error.starts_with("no/such.toml: cannot be read: "), "{error}");
}

#[test]
fn errors_of_the_syntax_have_their_line() {
    let error = said("gpu_ms = 5", "gpu_ms = = 5");
    assert!(error.starts_with(&format!("board.toml:{}: ", line("gpu_ms = 5"))), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn errors_name_line_field_and_expectation() {
    let cases: [(&str, &str, &str, &str, &str); 21] = [
        // From, to, field, line of what, problem.
        ("format = 1", "format = 2", "format", "format = 1", "1 goes, 2 found"),
        (
            "name = \"test\"",
            "name = \"Test board\"",
            "name",
            "name = \"test\"",
            "1 to 16 of a-z, 0-9, _ and - go, \"Test board\" found",
        ),
        (
            "runtime = \"none\"",
            "runtime = \"tensorflow\"",
            "runtime",
            "runtime",
            "1 to 8 of a-z, 0-9, _ and - go, \"tensorflow\" found",
        ),
        (
            "gpu_ms = 5",
            "gpu_ms = \"5\"",
            "settle.gpu_ms",
            "gpu_ms = 5",
            "invalid type: string \"5\", expected f64",
        ),
        ("gpu_ms = 5", "gpu_ms = -5", "settle.gpu_ms", "gpu_ms = 5", "0 to 1000 goes, -5 found"),
        ("gpu_ms = 5", "gpu_ms = nan", "settle.gpu_ms", "gpu_ms = 5", "a finite number goes"),
        ("gpu_ms = 5\n", "", "settle", "[settle]", "missing field `gpu_ms`"),
        (
            "p = 2 }",
            "q = 2 }",
            "network.ladder.sub_network[0].law.q",
            "law =",
            "unknown field `q`, expected one of `gpu_mhz_ms`, `emc_mhz_ms`, `cpu_ms`, `p`",
        ),
        (
            "gpu_ms = 5",
            "gpu_ns = 5",
            "settle.gpu_ns",
            "gpu_ms = 5",
            "unknown field `gpu_ns`, expected one of `cpu_ms`, `gpu_ms`, `emc_ms`",
        ),
        ("park_level = 0", "park_level = 3", "park_level", "park_level", "0 to 2 goes, 3 found"),
        (
            "utilisation_limit_pct = 95",
            "utilisation_limit_pct = 101",
            "utilisation_limit_pct",
            "utilisation_limit_pct",
            "0.1 to 100 goes, 101 found",
        ),
        (
            "gpu_mhz = 510,",
            "gpu_mhz = 510.0001,",
            "levels[1].gpu_mhz",
            "gpu_mhz = 510,",
            "whole kHz go, 510.0001 MHz found",
        ),
        (
            "gpu_mhz = 510,",
            "gpu_mhz = 114.75,",
            "levels[1]",
            "gpu_mhz = 510,",
            "levels sorted by (gpu_mhz, emc_mhz, cpu_mhz) and different go, this one is not above \
             the one before it",
        ),
        (
            "idle_share = 0.2",
            "idle_share = 1.2",
            "power.cpu.idle_share",
            "idle_share",
            "0 to 1 goes, 1.2 found",
        ),
        (
            "base_w = 4.388",
            "base_w = 1.388",
            "power",
            "[power.at]",
            "0 < idle < busy <= 1000 W goes at every level, idle 2.420 W and busy 2.085 W come out \
             at level 0",
        ),
        (
            "accuracy_pct = 60",
            "accuracy_pct = 80",
            "network.ladder.sub_network[1].accuracy_pct",
            "accuracy_pct = 70",
            "sub-networks sorted by accuracy go, this one is less accurate than the one before it",
        ),
        (
            "id = 6",
            "id = 5",
            "network.ladder.sub_network[1].id",
            "id = 6",
            "ids that differ go, 5 is there twice",
        ),
        (
            "rule = \"scaled\"",
            "rule = \"fitted\"",
            "network.work.latency.rule",
            "rule = \"scaled\"",
            "unknown variant `fitted`, expected one of `scaled`, `anchored`, `explicit`",
        ),
        (
            "cpu_ms_per_block = 0.1",
            "cpu_ms_per_block = 0.1\ncpu_share = 0.1",
            "network.work.latency.cpu_share",
            "gpu_mhz_ms_per_mmac",
            "rule \"scaled\" does not know it",
        ),
        (
            "bytes = 2000000\n",
            "",
            "network.work.sub_network[0].bytes",
            "[[network.work.sub_network]]",
            "missing field `bytes`, rule \"scaled\" needs it",
        ),
        (
            "model_hash = \"0123456789abcdef\"",
            "model_hash = \"123\"",
            "network.work.model_hash",
            "model_hash",
            "16 hexadecimal digits go",
        ),
    ];
    for (from, to, field, at, problem) in cases {
        assert_eq!(said(from, to), format!("board.toml:{}: {field}: {problem}", line(at)));
    }
}

#[test]
fn what_an_element_lacks_is_told_of_its_header() {
    let at = line("id = 6") - 1;
    assert_eq!(
        said("id = 6\n", ""),
        format!("board.toml:{at}: network.ladder.sub_network[1]: missing field `id`")
    );
}

#[test]
fn too_many_levels_and_sub_networks_are_counted() {
    let level = "{ cpu_mhz = 1190.4, gpu_mhz = 114.75, emc_mhz = 1600 },\n";
    let many = level.repeat(31);
    let error = said(level, &many);
    assert!(error.contains(": levels: 1 to 32 levels go, 33 found"), "{error}");

    let one = "[[network.ladder.sub_network]]\nid = 5\n";
    let text = minimal();
    let start = text.find(one).expect("a sub-network");
    let end = text[start..].find("\n\n").expect("its end") + start + 2;
    let error = said(&text[start..end], &text[start..end].repeat(16));
    assert!(
        error.contains(": network.ladder.sub_network: 1 to 16 sub-networks go, 17 found"),
        "{error}"
    );
}

#[test]
fn every_number_has_a_mark_that_a_program_can_read() {
    let board = parse(&minimal()).expect("a sound board");
    let marks = &board.provenance;
    let mark = |field: &str| marks.of(field).map(|entry| entry.mark);
    assert_eq!(mark("levels[2].gpu_mhz"), Some(Mark::Specified));
    assert_eq!(mark("power.idle.base_w"), Some(Mark::Fitted));
    // The longest entry holds, a name before a star.
    assert_eq!(mark("power.busy.gpu_exponent"), Some(Mark::Assumed));
    assert_eq!(mark("network.work.tiles"), Some(Mark::Assumed));
    assert_eq!(mark("network.ladder.tiles"), Some(Mark::Specified));
    assert_eq!(mark("network.work.sub_network[1].accuracy_pct"), Some(Mark::Measured));
    assert_eq!(mark("nothing"), None);
    assert!(marks.numbers.iter().any(|number| number.field == "levels[2].gpu_mhz"));
    assert!(marks.fields_marked(Mark::Assumed).contains(&"power.cpu.idle_share".to_owned()));
    assert!(!marks.numbers.iter().any(|number| number.field == "format"));
    assert_eq!(
        marks.of("settle.gpu_ms").map(|entry| entry.sources.clone()),
        Some(vec!["lab".into()])
    );
}

#[test]
fn numbers_without_a_mark_and_marks_without_a_number_are_errors() {
    let at = line("gpu_ms = 5") - 1;
    assert_eq!(
        said("fields = [\"settle\"]", "fields = [\"caps\"]"),
        format!(
            "board.toml:{at}: settle.cpu_ms: no entry of [[provenance]] says whether it is \
             measured, fitted, assumed or specified"
        )
    );
    assert_eq!(
        said("fields = [\"settle\"]", "fields = [\"settle\", \"setle\"]"),
        format!(
            "board.toml:{}: provenance[2].fields[1]: a field with a number in it goes, \"setle\" \
             has none",
            line("fields = [\"settle\"]")
        )
    );
    assert_eq!(
        said("sources = [\"lab\"]", "sources = [\"laboratory\"]"),
        format!(
            "board.toml:{}: provenance[1].sources: a key of [sources] goes (lab), \"laboratory\" \
             found",
            line("sources = [\"lab\"]")
        )
    );
    assert!(
        said("note = \"choices\"", "note = \"\"")
            .ends_with(": provenance[0]: a source or a note goes with every mark")
    );
}

#[test]
fn a_written_file_reads_as_the_same_board() {
    let file: BoardFile = toml::from_str(&minimal()).expect("fields");
    let written = toml::to_string(&file).expect("a file");
    let (mut first, mut second) =
        (parse(&minimal()).expect("sound"), parse(&written).expect("sound"));
    // The order of numbers is that of the file.
    first.provenance.numbers.sort_by(|a, b| a.field.cmp(&b.field));
    second.provenance.numbers.sort_by(|a, b| a.field.cmp(&b.field));
    assert_eq!(first, second);
}

#[test]
fn a_varied_board_differs_in_that_field_only() {
    let plain = parse(&minimal()).expect("a sound board");
    let varied = |field, factor| board::varied(&minimal(), "board.toml", field, factor);
    let changed = varied("power.cpu.w_per_ghz_v2", 1.3).expect("a sound board");
    assert!((changed.power.cpu_factor / plain.power.cpu_factor - 1.3).abs() < 1e-12);
    let mut back = changed.clone();
    back.power.cpu_factor = plain.power.cpu_factor;
    back.provenance = plain.provenance.clone();
    assert_eq!(back, plain);

    let settled = varied("settle", 2.0).expect("a sound board");
    assert_eq!(settled.settle.cpu_us, 2 * plain.settle.cpu_us);
    assert_eq!(settled.settle.emc_us, 2 * plain.settle.emc_us);

    let tiles = varied("network.*.tiles", 3.0).expect("a sound board");
    assert_eq!(tiles.networks.iter().map(|n| n.tiles).collect::<Vec<_>>(), [3, 300]);

    let error = varied("power.gpu", 2.0).unwrap_err().to_string();
    assert_eq!(error, "board.toml: no number in field \"power.gpu\"");
    let error = varied("power.cpu.idle_share", 10.0).unwrap_err().to_string();
    assert!(error.contains("power.cpu.idle_share: 0 to 1 goes, 2 found"), "{error}");
}

proptest! {
    /// No text makes the reader panic, and every error stands in one line that names the file.
    #[test]
    fn any_damage_gives_one_line(at in 0_usize..6000, length in 0_usize..40, put in "[ -~]{0,6}") {
        let text = minimal();
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        // The minimal board is plain ASCII: every offset is a boundary.
        let damaged = format!("{}{put}{}", &text[..at], &text[end..]);
        if let Err(error) = parse(&damaged) {
            prop_assert!(error.starts_with("board.toml:"), "{}", error);
            prop_assert_eq!(error.lines().count(), 1);
        }
    }
}
