//! Any bytes as a policy image: what is taken for one is one, in all its parts.

use coshift_controller::{Identity, Node};
use coshift_shared::policy::{MAX_IMAGE, PolicyView};
use coshift_shared::time::Instant;
use coshift_shared::to_host::{FaultCode, ResetCause};
use coshift_shared::units::{MAX_APPLICATIONS, MAX_LEVELS, MAX_SUB_NETWORKS};

/// Length, check sum, and what the check sum covers in an image's header.
const LENGTH: std::ops::Range<usize> = 8..12;
const SUM: std::ops::Range<usize> = 12..16;
const CHECKED: usize = 16;

/// Opens the bytes, once as they are and once with a length and a check sum that are right, so that
/// the checks behind them are reached.
pub fn policy(bytes: &[u8]) {
    judge(bytes);
    judge(&mended(bytes));
}

/// The bytes with the length and the check sum they have; those of no header stay as they are.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut image = bytes.to_vec();
    let Some(body) = bytes.get(CHECKED..) else { return image };
    let sum = coshift_shared::crc32c::of(body);
    image[LENGTH].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    image[SUM].copy_from_slice(&sum.to_le_bytes());
    image
}

fn judge(bytes: &[u8]) {
    let Ok(view) = PolicyView::open(bytes) else { return };
    assert!(bytes.len() <= MAX_IMAGE);
    assert!((1..=MAX_LEVELS).contains(&usize::from(view.levels())));
    assert!((1..=MAX_APPLICATIONS).contains(&usize::from(view.tables())));
    assert!(view.park_level().is_none_or(|level| level < view.levels()));
    for index in 0..view.levels() {
        assert!(view.level(index).is_some(), "level {index}");
    }
    assert!(view.level(view.levels()).is_none());
    for index in 0..view.tables() {
        let table = view.table(index).expect("a table of the image");
        assert!((1..=MAX_SUB_NETWORKS).contains(&usize::from(table.len())));
        let mut accuracy = 0;
        for row in 0..table.len() {
            let sub = table.sub_network(row).expect("a row of the table");
            assert!(sub.accuracy_bp >= accuracy && sub.accuracy_bp <= 10_000);
            accuracy = sub.accuracy_bp;
            for level in 0..view.levels() {
                let cell = table.cell(row, level).expect("a cell of the table");
                assert!(cell.latency_us > 0);
            }
        }
        assert!(table.sub_network(table.len()).is_none());
    }
    let identity = Identity {
        version: [0, 1, 0],
        boot_nonce: 1,
        reset_cause: ResetCause::PowerOn,
        last_fault: FaultCode::None,
        fault_detail: 0,
    };
    let mut node = Node::new(Some(view), identity);
    node.poll(Instant::START, &mut |_| {});
}

#[cfg(test)]
mod tests {
    use coshift_shared::policy::{PolicyFault, PolicyView};

    use super::{CHECKED, mended};
    use crate::case::Case;

    /// What is wrong behind length and check sum is told as that, and what is right there is opened.
    #[test]
    fn checks_behind_the_check_sum_are_reached() {
        let image = &Case::reference().unwrap().image;
        assert_eq!(mended(image), *image);
        for place in CHECKED..image.len() {
            let mut bytes = image.clone();
            bytes[place] ^= 0xff;
            let bytes = mended(&bytes);
            let told = PolicyView::open(&bytes);
            assert!(!matches!(told, Err(PolicyFault::Crc { .. })), "byte {place}: {told:?}");
        }
        assert!(PolicyView::open(&mended(&image[..CHECKED - 1])).is_err());
    }
}
