//! Whether a sub-network keeps the caps, by what is known beforehand and kept, is what the power of
//! the whole says.

mod common;

use common::random::{asked, policy};
use coshift_controller::allowance::{Allowance, Busy, Cap};
use coshift_controller::application::Application;
use coshift_controller::parking::Idle;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::Targets;
use coshift_shared::units::NO_POWER_CAP;
use proptest::prelude::*;

fn busy() -> impl Strategy<Value = Busy> {
    let permille = prop_oneof![3 => 0..900_u32, 1 => 900..3_000_u32];
    (0..8_000_u32, permille).prop_map(|(work_mw, permille)| Busy { work_mw, permille })
}

fn idle() -> impl Strategy<Value = Idle> {
    (500..6_000_u32, 0..6_000_u32, 0..600_u32, any::<bool>()).prop_map(
        |(park_mw, above_mw, cost, parks)| {
            let awake_mw = park_mw + above_mw;
            if parks { Idle::parked(park_mw, awake_mw, cost) } else { Idle::awake(awake_mw) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_sub_network_keeps_the_caps_where_no_more_than_they_is_drawn(
        (seed, wild, level) in (any::<u64>(), any::<bool>(), 0..8_u8),
        asked in asked(),
        (others, more) in (busy(), busy()),
        idle in idle(),
        mean_mw in 1_000..16_000_u32,
        peak_mw in prop_oneof![Just(NO_POWER_CAP), 1_000..16_000_u32],
        twice in any::<bool>(),
    ) {
        let image = policy(8, 16, 1, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let application = Application::new(Targets { table: 0, ..asked }, &view);
        let demand = application.demand();
        let column = view.table(0).unwrap().column(level);
        let mean = Cap { mw: mean_mw, others };
        // A window never takes less than the mean.
        let peak = Cap { mw: peak_mw, others: others.with(&more) };
        let (least, slowest_us) = demand.extent(column, level);
        let allowance = Allowance::new(demand, &idle, &mean, &peak, &least, slowest_us);
        let mut kept = 0;
        for _ in 0..=u8::from(twice) {
            for index in 0..column.len() {
                let cell = column.cell(index).unwrap();
                // What the application cannot come to is not asked about.
                if cell.energy_uj < least.energy_uj || cell.latency_us > slowest_us {
                    continue;
                }
                let own = demand.busy(&cell);
                let raised = own.raised(demand.crest_q10(cell.latency_us));
                let drawn_mw = mean.others.with(&own).drawn_mw(&idle);
                let most_mw = peak.others.with(&raised).drawn_mw(&idle);
                let keeps = drawn_mw <= mean.mw && (peak.mw == NO_POWER_CAP || most_mw <= peak.mw);
                prop_assert_eq!(allowance.keeps(index, &cell), keeps, "{} {:?}", index, cell);
                kept += u32::from(keeps);
            }
        }
        prop_assert!(!allowance.is_empty() || kept == 0);
        prop_assert!(allowance.times() <= 17);
    }
}
