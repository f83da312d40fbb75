//! Clocks that never change: `max`, `powersave`, and the static choice in hindsight.

use coshift_plant::board::Level;
use coshift_shared::units::MAX_APPLICATIONS;

use super::{Event, Manager, Orders, Seen, Setting, When};

/// One level for the whole run.
#[derive(Debug, Clone)]
pub struct Fixed<'s> {
    setting: Setting<'s>,
    orders: Orders,
    /// Whether the sub-network follows the floor of each request.
    fitting: bool,
}

impl<'s> Fixed<'s> {
    /// These clocks, and for each request the least accurate sub-network at its floor.
    #[must_use]
    pub fn fitting(setting: Setting<'s>, clocks: Level) -> Self {
        let mut sub_networks = [None; MAX_APPLICATIONS];
        for place in sub_networks.iter_mut().take(setting.applications().len()) {
            *place = Some(0);
        }
        let orders = Orders { clocks, when: When::AtOnce, park: None, waits: false, sub_networks };
        Self { setting, orders, fitting: true }
    }

    /// These clocks and sub-networks; the agent parks where the board has a park level.
    #[must_use]
    pub fn parking(
        setting: Setting<'s>,
        level: usize,
        sub_networks: [Option<usize>; MAX_APPLICATIONS],
        park: bool,
    ) -> Self {
        let board = &setting.scenario.board;
        let park = board.park_level.filter(|_| park).map(|park| board.levels[park]);
        let clocks = board.levels[level];
        let orders =
            Orders { clocks, when: When::BetweenRequests, park, waits: false, sub_networks };
        Self { setting, orders, fitting: false }
    }
}

impl Manager for Fixed<'_> {
    fn next_us(&self) -> Option<u64> {
        None
    }

    fn take(&mut self, _seen: &Seen<'_>, _event: Event) {}

    fn orders(&self) -> Orders {
        self.orders
    }

    fn sub_network(&mut self, application: usize, index: usize) -> Option<usize> {
        if !self.fitting {
            return self.orders.sub_networks[application];
        }
        let floor_bp = self.setting.instance.requests[application][index].floor_bp;
        Some(self.setting.best_fitting(application, floor_bp))
    }
}
