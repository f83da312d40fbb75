//! What the writer writes, the view reads; what cannot be read is not written.

use coshift_shared::policy::{
    BuildFault, MAX_IMAGE, Named, PolicyFault, PolicyImage, PolicySource, PolicyView, Settle,
};
use proptest::prelude::*;

use crate::property::config;
use crate::sample::{image, largest, small};

/// Whether the view shows every value of the image, and nothing behind its ends.
pub(crate) fn assert_holds(view: &PolicyView<'_>, image: &PolicyImage) {
    assert_eq!(view.sequence(), image.sequence);
    assert_eq!(view.board(), image.board);
    assert_eq!(view.runtime(), image.runtime);
    assert_eq!(view.precision_bits(), image.precision_bits);
    assert_eq!(view.batch(), image.batch);
    assert_eq!(view.settle(), image.settle);
    assert_eq!(view.power_cap_mw(), image.power_cap_mw);
    assert_eq!(view.temp_cap_mdeg_c(), image.temp_cap_mdeg_c);
    assert_eq!(view.utilisation_permille(), image.utilisation_permille);
    assert_eq!(view.resistance_50mk_w(), image.resistance_50mk_w);
    assert_eq!(view.park_level(), image.park_level);
    assert_eq!(usize::from(view.levels()), image.levels.len());
    assert_eq!(usize::from(view.tables()), image.tables.len());
    for index in 0..=u8::MAX {
        assert_eq!(view.level(index), image.levels.get(usize::from(index)).copied());
        let table = image.tables.get(usize::from(index));
        assert_eq!(view.table(index).is_some(), table.is_some());
        let Some((read, table)) = view.table(index).zip(table) else { continue };
        assert_eq!(read.name(), table.name);
        assert_eq!(usize::from(read.len()), table.sub_networks.len());
        assert!(!read.is_empty());
        let (found, same) = view.table_named(&table.name).expect("its name");
        assert_eq!((found, same.name()), (index, read.name()));
        for sub in 0..=u8::MAX {
            let place = usize::from(sub);
            assert_eq!(read.sub_network(sub), table.sub_networks.get(place).copied());
            for level in 0..=u8::MAX {
                let cell = table.cells.get(place).and_then(|row| row.get(usize::from(level)));
                assert_eq!(read.cell(sub, level), cell.copied());
            }
        }
    }
    assert!(view.table_named("no such network").is_none());
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn any_sound_image_is_read_back(image in image()) {
        let bytes = image.to_bytes().expect("a sound image");
        prop_assert!(bytes.len() <= MAX_IMAGE);
        let view = PolicyView::open(&bytes).expect("an image of ours");
        assert_holds(&view, &image);
        // The same from anywhere in memory: nothing needs alignment.
        let mut moved = vec![0xaa; 1];
        moved.extend(&bytes);
        assert_holds(&PolicyView::open(&moved[1..]).expect("an image of ours"), &image);
        // The writer is a function of the content.
        prop_assert_eq!(image.to_bytes().expect("as before"), bytes);
    }
}

#[test]
fn the_largest_image_is_read_back() {
    let image = largest();
    let bytes = image.to_bytes().expect("a sound image");
    assert_eq!(bytes.len(), MAX_IMAGE);
    let source = bytes.as_slice();
    let view = PolicyView::open(source.image()).expect("an image of ours");
    assert_holds(&view, &image);
}

#[test]
fn what_is_unsound_is_not_written() {
    let fault = |spoil: &dyn Fn(&mut PolicyImage)| {
        let mut image = small();
        spoil(&mut image);
        let fault = image.to_bytes().expect_err("an unsound image");
        let text = fault.to_string();
        assert!(!text.contains('\n'), "{text}");
        (fault, text)
    };
    let name = |name: &str, max| {
        let text = format!("name \"{name}\": 1 to {max} ASCII characters go");
        (BuildFault::Name { name: name.into(), max }, text)
    };
    let long = "seventeen-letters";
    assert_eq!(fault(&|image| image.board = long.into()), name(long, 16));
    assert_eq!(fault(&|image| image.board.clear()), name("", 16));
    assert_eq!(fault(&|image| image.runtime = "nine-byte".into()), name("nine-byte", 8));
    assert_eq!(fault(&|image| image.runtime = "two w".into()), name("two w", 8));
    assert_eq!(fault(&|image| image.tables[0].name = "größe".into()), name("größe", 16));
    assert_eq!(fault(&|image| image.tables[0].name = "a\0b".into()), name("a\0b", 16));

    let doubled = fault(&|image| image.tables.push(image.tables[0].clone()));
    assert_eq!(doubled.0, BuildFault::Doubled { table: "net".into() });
    assert_eq!(doubled.1, "table \"net\" is there twice");

    let shape = BuildFault::Shape { table: "net".into() };
    let text = "table \"net\": one cell for every sub-network and level goes";
    for spoil in [
        (&|image: &mut PolicyImage| image.tables[0].cells.truncate(1)) as &dyn Fn(&mut PolicyImage),
        &|image| image.tables[0].cells[1].truncate(1),
        &|image| image.tables[0].sub_networks.truncate(1),
        &|image| image.levels.truncate(1),
    ] {
        assert_eq!(fault(spoil), (shape.clone(), text.into()));
    }
}

/// What the view would refuse, the writer refuses with the same words.
#[test]
fn the_writer_applies_the_checks_of_the_view() {
    let fault = |spoil: &dyn Fn(&mut PolicyImage)| {
        let mut image = small();
        spoil(&mut image);
        match image.to_bytes() {
            Err(BuildFault::Check(fault)) => {
                assert_eq!(BuildFault::Check(fault).to_string(), fault.to_string());
                fault
            }
            other => panic!("{other:?}"),
        }
    };
    let tables = |image: &mut PolicyImage, count: usize| {
        image.tables = (0..count)
            .map(|place| {
                let mut table = image.tables[0].clone();
                table.name = format!("net{place}");
                table
            })
            .collect();
    };
    let levels = |image: &mut PolicyImage, count: usize| {
        let last = image.levels[1];
        image.levels.resize(count, last);
        for (place, level) in image.levels.iter_mut().enumerate() {
            level.gpu_khz = 1000 + place as u32;
        }
        for row in &mut image.tables[0].cells {
            let last = row[0];
            row.resize(count, last);
        }
    };
    let sub_networks = |image: &mut PolicyImage, count: usize| {
        let table = &mut image.tables[0];
        let (sub_network, row) = (table.sub_networks[0], table.cells[0].clone());
        table.sub_networks.resize(count, sub_network);
        table.sub_networks.iter_mut().for_each(|sub_network| sub_network.accuracy_bp = 5000);
        table.cells.resize(count, row);
    };
    // Counts that do not fit their byte are refused, not cut off.
    for (count, found) in [(0, 0), (33, 33), (255, 255), (256, 255), (257, 255), (512, 255)] {
        assert_eq!(fault(&|image| levels(image, count)), PolicyFault::LevelCount(found));
    }
    for (count, found) in [(0, 0), (5, 5), (256, 255), (260, 255)] {
        assert_eq!(fault(&|image| tables(image, count)), PolicyFault::TableCount(found));
    }
    for (count, found) in [(0, 0), (17, 17), (256, 255), (272, 255)] {
        let expected = PolicyFault::SubNetworkCount { table: 0, found };
        assert_eq!(fault(&|image| sub_networks(image, count)), expected);
    }
    assert_eq!(fault(&|image| image.park_level = Some(2)), PolicyFault::ParkLevel(2));
    assert_eq!(fault(&|image| image.precision_bits = 0), PolicyFault::Precision);
    assert_eq!(fault(&|image| image.batch = 0), PolicyFault::Batch);
    assert_eq!(fault(&|image| image.settle.emc_us = 1_000_001), PolicyFault::Settle(1_000_001));
    assert_eq!(fault(&|image| image.levels.swap(0, 1)), PolicyFault::LevelOrder(1));
    assert_eq!(
        fault(&|image| image.tables[0].sub_networks.swap(0, 1)),
        PolicyFault::AccuracyOrder { table: 0, sub_network: 1 }
    );
    assert_eq!(
        fault(&|image| image.tables[0].cells[1][0].energy_uj = 0),
        PolicyFault::Cell { table: 0, sub_network: 1, level: 0 }
    );
    assert_ne!(PolicyFault::Name(Named::Board), PolicyFault::Name(Named::Runtime));
}

/// A change of level takes as long as the slowest clock that differs.
#[test]
fn settle_time_is_that_of_the_slowest_clock_that_changes() {
    let settle = Settle { cpu_us: 1, gpu_us: 5, emc_us: 8 };
    let from = small().levels[0];
    for (cpu, gpu, emc, expected) in
        [(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 5), (1, 1, 0, 5), (0, 0, 1, 8), (1, 1, 1, 8)]
    {
        let mut to = from;
        to.cpu_khz += cpu;
        to.gpu_khz += gpu;
        to.emc_khz += emc;
        to.idle_mw += 100;
        assert_eq!(settle.between(&from, &to), expected);
        assert_eq!(settle.between(&to, &from), expected);
    }
}
