//! Images whose CRC is right and whose content is not: each gets a fault that names it.

use coshift_shared::crc32c;
use coshift_shared::policy::{MAX_VALUE, Named, PolicyFault, PolicyImage, PolicyView};
use coshift_shared::units::{MAX_LEVELS, MAX_SUB_NETWORKS};
use proptest::prelude::*;

use crate::property::config;
use crate::sample::{image, small};

/// Writes length and CRC as a writer with bad intent would.
fn seal(mut image: Vec<u8>) -> Vec<u8> {
    let length = image.len() as u32;
    if image.len() >= 16 {
        image[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = crc32c::of(&image[16..]);
        image[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    image
}

fn patched(image: &PolicyImage, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = image.to_bytes().expect("a sound image");
    for (place, patch) in patches {
        bytes[*place..*place + patch.len()].copy_from_slice(patch);
    }
    seal(bytes)
}

fn fault_of(patches: &[(usize, &[u8])]) -> Option<PolicyFault> {
    let image = patched(&small(), patches);
    PolicyView::open(&image).err()
}

// Places in the small image, see `golden.rs`.
const LEVELS: usize = 72;
const TABLE: usize = 104;
const ROWS: usize = 136;
const CELLS: usize = 168;
const LENGTH: u32 = 200;

#[test]
fn an_untouched_image_passes() {
    assert_eq!(fault_of(&[]), None);
}

#[test]
fn each_lie_has_its_fault() {
    let over = &(MAX_VALUE + 1).to_le_bytes()[..];
    let most = &u32::MAX.to_le_bytes()[..];
    let cell = |sub_network, level| PolicyFault::Cell { table: 0, sub_network, level };
    let count = |found| PolicyFault::SubNetworkCount { table: 0, found };
    let lies: &[(usize, &[u8], PolicyFault)] = &[
        (0, b"CSPM", PolicyFault::Magic),
        (4, &[0, 0], PolicyFault::Format { found: 0, header: 72 }),
        (4, &[2, 0], PolicyFault::Format { found: 2, header: 72 }),
        (6, &[73, 0], PolicyFault::Format { found: 1, header: 73 }),
        (20, &[0], PolicyFault::Name(Named::Board)),
        (21, b" ", PolicyFault::Name(Named::Board)),
        (35, b"x", PolicyFault::Name(Named::Board)),
        (22, &[0xff], PolicyFault::Name(Named::Board)),
        (36, &[0], PolicyFault::Name(Named::Runtime)),
        (43, b"x", PolicyFault::Name(Named::Runtime)),
        (44, &[0], PolicyFault::Precision),
        (45, &[0], PolicyFault::Batch),
        (46, &[0], PolicyFault::LevelCount(0)),
        (46, &[33], PolicyFault::LevelCount(33)),
        (46, &[255], PolicyFault::LevelCount(255)),
        (47, &[0], PolicyFault::TableCount(0)),
        (47, &[5], PolicyFault::TableCount(5)),
        (47, &[255], PolicyFault::TableCount(255)),
        (48, most, PolicyFault::Settle(u32::MAX)),
        (52, &1_000_001_u32.to_le_bytes(), PolicyFault::Settle(1_000_001)),
        (56, most, PolicyFault::Settle(u32::MAX)),
        (68, &[0, 0], PolicyFault::Utilisation(0)),
        (68, &1001_u16.to_le_bytes(), PolicyFault::Utilisation(1001)),
        (70, &[2], PolicyFault::ParkLevel(2)),
        (70, &[254], PolicyFault::ParkLevel(254)),
        (LEVELS, &[0; 12], PolicyFault::LevelOrder(0)),
        (LEVELS + 4, &2_000_000_u32.to_le_bytes(), PolicyFault::LevelOrder(1)),
        (LEVELS + 12, over, PolicyFault::IdlePower(0)),
        (LEVELS + 28, most, PolicyFault::IdlePower(1)),
        (TABLE, &[0], PolicyFault::Name(Named::Table(0))),
        (TABLE + 2, &[0x80], PolicyFault::Name(Named::Table(0))),
        (TABLE + 4, b"t", PolicyFault::Name(Named::Table(0))),
        (TABLE + 20, &[0], count(0)),
        (TABLE + 20, &[17], count(17)),
        (TABLE + 20, &[255], count(255)),
        (TABLE + 21, &[1], PolicyFault::Reserved { offset: TABLE as u32 + 21 }),
        (TABLE + 31, &[0x80], PolicyFault::Reserved { offset: TABLE as u32 + 31 }),
        (
            ROWS + 12,
            &9251_u16.to_le_bytes(),
            PolicyFault::AccuracyOrder { table: 0, sub_network: 1 },
        ),
        (
            ROWS + 28,
            &10_001_u16.to_le_bytes(),
            PolicyFault::AccuracyOrder { table: 0, sub_network: 1 },
        ),
        (CELLS, &[0; 4], cell(0, 0)),
        (CELLS + 4, &[0; 4], cell(0, 0)),
        (CELLS + 8, over, cell(1, 0)),
        (CELLS + 20, most, cell(0, 1)),
        (CELLS + 28, &[0; 4], cell(1, 1)),
    ];
    for (place, patch, fault) in lies {
        assert_eq!(fault_of(&[(*place, patch)]).as_ref(), Some(fault), "{patch:?} at {place}");
    }
}

/// Values at the ends of their ranges are no lies.
#[test]
fn the_ends_of_each_range_pass() {
    let ends: &[(usize, &[u8])] = &[
        (16, &[0xff; 4]),
        (44, &[255]),
        (45, &[255]),
        (48, &1_000_000_u32.to_le_bytes()),
        (60, &[0; 4]),
        (64, &i32::MIN.to_le_bytes()),
        (68, &[1, 0]),
        (68, &1000_u16.to_le_bytes()),
        (70, &[1]),
        (70, &[255]),
        (LEVELS + 12, &[0; 4]),
        (LEVELS + 12, &MAX_VALUE.to_le_bytes()),
        (ROWS + 12, &[0, 0]),
        (ROWS + 12, &9250_u16.to_le_bytes()),
        (ROWS + 28, &10_000_u16.to_le_bytes()),
        (CELLS, &1_u32.to_le_bytes()),
        (CELLS, &MAX_VALUE.to_le_bytes()),
    ];
    for (place, patch) in ends {
        assert_eq!(fault_of(&[(*place, patch)]), None, "{patch:?} at {place}");
    }
}

/// Counts that fit their range and not the image.
#[test]
fn counts_must_fit_the_image() {
    for levels in 1..=MAX_LEVELS as u8 {
        let fault = fault_of(&[(46, &[levels])]);
        // Two are right. With other counts the directory lies elsewhere, in what was something
        // else, and the first part that does not fit there is named.
        assert_eq!(fault.is_none(), levels == 2, "{levels} levels: {fault:?}");
    }
    for tables in 2..=4_u8 {
        assert!(fault_of(&[(47, &[tables])]).is_some(), "{tables} tables");
    }
    for found in 1..=MAX_SUB_NETWORKS as u8 {
        let end = 136 + u32::from(found) * (16 + 2 * 8);
        let expected = (found != 2).then_some(PolicyFault::Length { found: LENGTH, expected: end });
        assert_eq!(fault_of(&[(TABLE + 20, &[found])]), expected, "{found} sub-networks");
    }
}

/// Rows anywhere but behind the part before them: over the header, the levels, themselves, behind
/// the end.
#[test]
fn tables_lie_where_they_must() {
    for offset in (0..=LENGTH + 8).chain([0x7fff_ffff, 0x8000_0000, u32::MAX - 63, u32::MAX]) {
        let expected = PolicyFault::Offset { table: 0, found: offset, expected: 136 };
        let expected = (offset != 136).then_some(expected);
        assert_eq!(fault_of(&[(TABLE + 16, &offset.to_le_bytes())]), expected, "{offset}");
    }
    // A second table that shares the rows of the first, or lies in front of it.
    let mut two = small();
    two.tables.push(two.tables[0].clone());
    two.tables[1].name = "other".into();
    let second = TABLE + 32;
    for offset in [0, 168, 169, 231, 233, 296, u32::MAX] {
        let bytes = patched(&two, &[(second + 16, &offset.to_le_bytes())]);
        let expected = PolicyFault::Offset { table: 1, found: offset, expected: 232 };
        assert_eq!(PolicyView::open(&bytes).err(), Some(expected), "{offset}");
    }
    let doubled = patched(&two, &[(second, b"net\0\0")]);
    assert_eq!(PolicyView::open(&doubled).err(), Some(PolicyFault::DoubledName { table: 1 }));
}

/// Bytes in front of the end that no part holds.
#[test]
fn an_image_ends_with_its_last_cell() {
    let mut bytes = small().to_bytes().expect("a sound image");
    bytes.extend([0; 8]);
    let expected = PolicyFault::Length { found: LENGTH + 8, expected: LENGTH };
    assert_eq!(PolicyView::open(&seal(bytes)).err(), Some(expected));
}

/// Each fault is one line that names the thing, what was found and what goes.
#[test]
fn faults_say_what_goes() {
    for (fault, text) in [
        (PolicyFault::Length { found: 3, expected: 72 }, "3 bytes where the image should have 72"),
        (PolicyFault::Magic, "no policy image: it does not start with CSPL"),
        (
            PolicyFault::Format { found: 2, header: 80 },
            "format 2 with a header of 80 bytes where format 1 with 72 is known",
        ),
        (
            PolicyFault::Crc { found: 1, expected: 0xabcd_ef01 },
            "damaged: CRC 00000001 where the header says abcdef01",
        ),
        (
            PolicyFault::Name(Named::Board),
            "name of the board: ASCII characters padded with zeros go",
        ),
        (
            PolicyFault::Name(Named::Table(3)),
            "name of table 3: ASCII characters padded with zeros go",
        ),
        (PolicyFault::Precision, "precision 0 bits where 1 or more goes"),
        (PolicyFault::Batch, "batch 0 where 1 or more goes"),
        (PolicyFault::LevelCount(33), "33 levels where 1 to 32 go"),
        (PolicyFault::TableCount(5), "5 application tables where 1 to 4 go"),
        (PolicyFault::Settle(2_000_000), "settle time 2000000 µs where 0 to 1000000 goes"),
        (PolicyFault::ParkLevel(9), "park level 9 is none of the levels"),
        (PolicyFault::Utilisation(0), "utilisation limit 0 ‰ where 1 to 1000 goes"),
        (PolicyFault::Reserved { offset: 71 }, "reserved byte at offset 71 is not 0"),
        (PolicyFault::LevelOrder(4), "level 4 is not above the one before it"),
        (PolicyFault::IdlePower(4), "level 4: idle power goes from 0 to 1073741824 mW"),
        (PolicyFault::DoubledName { table: 1 }, "table 1 has the name of an earlier table"),
        (
            PolicyFault::Offset { table: 1, found: 0, expected: 232 },
            "table 1: rows at offset 0 where 232 goes",
        ),
        (
            PolicyFault::SubNetworkCount { table: 1, found: 17 },
            "table 1 has 17 sub-networks where 1 to 16 go",
        ),
        (
            PolicyFault::AccuracyOrder { table: 1, sub_network: 2 },
            "table 1, sub-network 2: accuracy over 100 % or under the one before it",
        ),
        (
            PolicyFault::Cell { table: 1, sub_network: 2, level: 3 },
            "table 1, sub-network 2, level 3: latency and energy go from 1 to 1073741824",
        ),
    ] {
        assert_eq!(fault.to_string(), text);
    }
}

/// Whatever passes the checks keeps every promise of the view; nothing panics on the way.
fn assert_sound(bytes: &[u8]) {
    let Ok(view) = PolicyView::open(bytes) else { return };
    let text = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(text(view.board()) && text(view.runtime()));
    assert!((1..=32).contains(&view.levels()) && (1..=4).contains(&view.tables()));
    assert!((1..=1000).contains(&view.utilisation_permille()));
    assert!(view.park_level().is_none_or(|park| park < view.levels()));
    let levels: Vec<_> = (0..=u8::MAX).map_while(|index| view.level(index)).collect();
    assert_eq!(levels.len(), usize::from(view.levels()));
    assert!(levels.is_sorted_by(|before, level| before.order() < level.order()));
    for index in 0..view.tables() {
        let table = view.table(index).expect("a table");
        assert!(text(table.name()));
        assert_eq!(view.table_named(table.name()).map(|(found, _)| found), Some(index));
        let rows: Vec<_> = (0..=u8::MAX).map_while(|sub| table.sub_network(sub)).collect();
        assert_eq!(rows.len(), usize::from(table.len()));
        assert!(rows.is_sorted_by_key(|row| row.accuracy_bp));
        for sub in 0..table.len() {
            for level in 0..view.levels() {
                let cell = table.cell(sub, level).expect("a cell");
                assert!((1..=MAX_VALUE).contains(&cell.latency_us));
                assert!((1..=MAX_VALUE).contains(&cell.energy_uj));
            }
            assert_eq!(table.cell(sub, view.levels()), None);
        }
        assert_eq!(table.cell(table.len(), 0), None);
    }
}

proptest! {
    #![proptest_config(config(1500))]

    /// Bytes of a sound image replaced anywhere, cut or prolonged, CRC made right.
    #[test]
    fn patched_images_are_refused_or_sound(
        image in image(),
        patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_front in any::<bool>(),
        change in -40_isize..40,
    ) {
        let mut bytes = image.to_bytes().expect("a sound image");
        for (place, value) in patches {
            // The front holds counts and offsets; elsewhere most patches hit cells.
            let span = if in_front { 72 + 16 * image.levels.len() + 32 } else { bytes.len() };
            bytes[16 + place.index(span - 16)] = value;
        }
        if change.unsigned_abs() % 3 == 0 {
            bytes.resize(bytes.len().saturating_add_signed(change), 1);
        }
        assert_sound(&seal(bytes));
    }

    /// Arbitrary bytes behind a right beginning.
    #[test]
    fn arbitrary_bytes_never_panic(
        content in prop::collection::vec(any::<u8>(), 0..600),
        levels in 0..40_u8, tables in 0..6_u8, sub_networks in 0..20_u8,
    ) {
        let mut bytes = small().to_bytes().expect("a sound image");
        bytes.truncate(72);
        bytes.extend(content);
        bytes[46] = levels;
        bytes[47] = tables;
        bytes[70] = 255;
        let directory = 72 + 16 * usize::from(levels);
        if let Some(place) = bytes.get_mut(directory + 20) {
            *place = sub_networks;
        }
        assert_sound(&seal(bytes.clone()));
        assert_sound(&bytes);
        assert_sound(&bytes[16..]);
    }
}
