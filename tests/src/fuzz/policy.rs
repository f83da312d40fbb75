//! Any bytes as a policy image: what is taken for one is one, in all its parts.

use coshift_controller::{Identity, Node};
use coshift_shared::policy::{MAX_IMAGE, PolicyView};
use coshift_shared::time::Instant;
use coshift_shared::to_host::{FaultCode, ResetCause};
use coshift_shared::units::{MAX_APPLICATIONS, MAX_LEVELS, MAX_SUB_NETWORKS};

/// Opens the bytes, once as they are and once with a check sum that is right, so that the checks
/// behind it are reached.
pub fn policy(bytes: &[u8]) {
    judge(bytes);
    if let Some(body) = bytes.len().checked_sub(4).and_then(|end| bytes.get(..end)) {
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(body);
        let whole = [body, &crc.to_le_bytes()].concat();
        judge(&whole);
    }
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
