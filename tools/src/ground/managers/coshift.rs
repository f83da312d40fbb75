//! Ours: the controller crate behind the agent's core, every message encoded, framed and decoded as
//! on the wire.

use coshift_host::arrivals::deadline_alone_us;
use coshift_host::clock::Time;
use coshift_host::core::{Action, AgentCore, Caps, Event as CoreEvent, Outcome, Settings};
use coshift_host::platform::Readings;
use coshift_plant::board::Level;
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Duration;
use coshift_shared::to_controller::Targets;
use coshift_shared::units::{
    MAX_APPLICATIONS, NO_LEVEL, NO_POWER_CAP, NO_SUB_NETWORK, NO_TEMP_CAP,
};

use super::super::scenario::Limits;
use super::super::world::parking::{UNKNOWN_GAP_US, settle_us};
use super::governed::of_board;
use super::{Done, Event, Manager, Orders, Seen, Setting, When};
use crate::simulate::{ClockManager, Stock};

/// Control period.
const PERIOD: Duration = Duration::from_ms(50);

/// What the controller was told at one time, and all that it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The agent's stamp, µs; the controller's own clock too.
    pub local_us: u32,
    /// The frame that came in; nothing where only time passed.
    pub bytes: Vec<u8>,
    /// Frames of the answer.
    pub frames: Vec<Vec<u8>>,
}

/// The controller behind the agent's core.
#[derive(Debug)]
pub struct Coshift<'s> {
    setting: Setting<'s>,
    core: AgentCore<'s>,
    actions: Vec<Action>,
    orders: Orders,
    /// By how much deadlines are shortened where requests may wake a parked board, µs.
    wake_us: u32,
    /// All that was said, where it is recorded.
    record: Option<Vec<Heard>>,
}

fn caps(limits: Limits) -> Caps {
    Caps {
        power_mw: limits.power_mw.unwrap_or(NO_POWER_CAP),
        temp_mdeg_c: limits.temp_mdeg_c.unwrap_or(NO_TEMP_CAP),
    }
}

/// Adds what went to the controller and came from it to the record.
fn note(record: &mut Vec<Heard>, now: Time, actions: &[Action]) {
    let local_us = now.stamp().us();
    let heard = |bytes: &[u8]| Heard { local_us, bytes: bytes.to_vec(), frames: Vec::new() };
    let before = record.len();
    for action in actions {
        match action {
            Action::ToTwin(frame) => record.push(heard(frame.bytes())),
            Action::FromTwin(frame) => {
                if record.len() == before {
                    record.push(heard(&[]));
                }
                if let Some(last) = record.last_mut() {
                    last.frames.push(frame.bytes().to_vec());
                }
            }
            Action::Send(_) | Action::Notice(_) => {}
        }
    }
    if record.len() == before {
        record.push(heard(&[]));
    }
}

impl<'s> Coshift<'s> {
    /// A controller that has just been told of its applications.
    ///
    /// # Errors
    /// Says what is wrong with the policy.
    pub fn new(setting: Setting<'s>) -> Result<Self, String> {
        Self::started(setting, None)
    }

    /// The same, with a record of all that the controller hears and says.
    ///
    /// # Errors
    /// As [`Coshift::new`].
    pub fn recorded(setting: Setting<'s>) -> Result<Self, String> {
        Self::started(setting, Some(Vec::new()))
    }

    /// The record so far.
    #[must_use]
    pub fn record(&self) -> &[Heard] {
        self.record.as_deref().unwrap_or_default()
    }

    fn started(setting: Setting<'s>, record: Option<Vec<Heard>>) -> Result<Self, String> {
        let policy = PolicyView::open(&setting.instance.policy_bytes)
            .map_err(|fault| format!("policy: {fault}"))?;
        let core = AgentCore::new(
            policy,
            Settings {
                period: PERIOD,
                remote: false,
                boot_nonce: 1,
                session_seed: 1,
                caps: caps(setting.scenario.limits_at(0)),
                parking: true,
                upload_policy: false,
            },
        );
        let board = &setting.scenario.board;
        // Nothing is known yet: as the agent, it asks for no clocks before the first decision.
        let orders = Orders {
            clocks: board.levels[0],
            when: When::BetweenRequests,
            park: None,
            waits: false,
            sub_networks: [None; MAX_APPLICATIONS],
        };
        let unknown = setting.applications().iter().filter(|a| !a.releases_known());
        let rate: f64 =
            unknown.map(|a| 1.0 / f64::from(a.period_us(setting.scenario.end_us))).sum();
        let wakes = rate > 0.0 && rate.recip() >= UNKNOWN_GAP_US;
        let wake_us = match board.park_level.map(|park| board.levels[park]).filter(|_| wakes) {
            Some(park) => {
                let settles = board.levels.iter().map(|run| settle_us(&board.settle, &park, run));
                u32::try_from(settles.max().unwrap_or(0)).unwrap_or(0)
            }
            None => 0,
        };
        let mut coshift = Self { setting, core, actions: Vec::new(), orders, wake_us, record };
        for application in 0..setting.applications().len() {
            coshift.set(Time::START, application);
        }
        Ok(coshift)
    }

    fn poll(&mut self, now: Time, event: CoreEvent<'_>) {
        self.core.poll(now, event, &mut self.actions);
        if let Some(record) = &mut self.record {
            note(record, now, &self.actions);
        }
        self.actions.clear();
        let Some(decision) = self.core.decision() else { return };
        let levels = self.setting.levels();
        let level = |index: u8| levels.get(usize::from(index)).copied();
        if let Some(clocks) = level(decision.run_level) {
            self.orders.clocks = clocks;
        }
        self.orders.park = level(decision.park_level);
        for (place, sub_network) in self.orders.sub_networks.iter_mut().zip(decision.sub_networks) {
            *place = (sub_network != NO_SUB_NETWORK).then_some(usize::from(sub_network));
        }
    }

    fn set(&mut self, now: Time, application: usize) {
        let spec = &self.setting.applications()[application];
        let targets = spec.targets_at(now.us());
        let period_us = self.setting.period_us(application);
        // Of requests that come at random some find others waiting, or the board parked.
        let deadline_us = if spec.releases_known() {
            targets.deadline_us
        } else {
            let awake_us = targets.deadline_us.saturating_sub(self.wake_us).max(1);
            deadline_alone_us(awake_us, period_us, spec.miss_target)
        };
        let targets = Targets {
            table: u8::try_from(self.setting.instance.tables[application]).unwrap_or(u8::MAX),
            objective: targets.objective,
            deadline_us,
            period_us,
            accuracy_floor_bp: targets.floor_bp,
            // At most 50 %.
            miss_target_bp: (spec.miss_target * 1e4).round() as u16,
            priority: spec.priority,
            degrade: targets.degrade,
            energy_budget_uj: targets.energy_budget_uj,
        };
        let slot = u8::try_from(application).unwrap_or(u8::MAX);
        self.poll(now, CoreEvent::Set { slot, targets });
    }

    fn done(&mut self, now: Time, done: Done) {
        let level = done.level.and_then(|level| u8::try_from(level).ok());
        let outcome = Outcome {
            slot: u8::try_from(done.application).unwrap_or(u8::MAX),
            sub_network: u8::try_from(done.sub_network).unwrap_or(u8::MAX),
            level: level.unwrap_or(NO_LEVEL),
            latency_us: u32::try_from(done.latency_us).unwrap_or(u32::MAX),
            learn: done.steady && level.is_some(),
            missed: done.missed,
        };
        self.poll(now, CoreEvent::Outcome(outcome));
    }
}

impl Manager for Coshift<'_> {
    fn next_us(&self) -> Option<u64> {
        // Telemetry comes every period, so that nothing becomes stale in between.
        Some(self.core.next_period().us())
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        let now = seen.time();
        match event {
            Event::Time if now >= self.core.next_period() => {
                self.poll(now, CoreEvent::Period(seen.readings));
            }
            Event::Time => self.poll(now, CoreEvent::Time),
            Event::Done(done) => self.done(now, done),
            Event::Targets { application } => self.set(now, application),
            Event::Limits(limits) => self.poll(now, CoreEvent::Caps(caps(limits))),
            Event::Board | Event::Released { .. } | Event::Started { .. } => {}
        }
    }

    fn orders(&self) -> Orders {
        self.orders
    }
}

/// The kernel's governors under caps that the controller decides.
#[derive(Debug)]
pub struct CoshiftCap<'s> {
    inner: Coshift<'s>,
    stock: Stock,
    asked: Level,
}

impl<'s> CoshiftCap<'s> {
    /// As [`Coshift::new`], with these governors.
    ///
    /// # Errors
    /// As [`Coshift::new`].
    pub fn new(setting: Setting<'s>, stock: Stock) -> Result<Self, String> {
        let asked = stock.first();
        Ok(Self { inner: Coshift::new(setting)?, stock, asked })
    }
}

impl Manager for CoshiftCap<'_> {
    fn next_us(&self) -> Option<u64> {
        [self.inner.next_us(), self.stock.next_us()].into_iter().flatten().min()
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        let due = |at: Option<u64>| at.is_some_and(|at| at <= seen.now_us);
        if event != Event::Time || due(self.inner.next_us()) {
            // The clocks below a cap are the governors' business: they do not say who holds them.
            let readings = Readings { level: None, clocks_mhz: [0; 3], ..*seen.readings };
            self.inner.take(&Seen { readings: &readings, ..*seen }, event);
        }
        self.asked = self.stock.step(&of_board(seen));
    }

    fn orders(&self) -> Orders {
        let orders = self.inner.orders();
        let cap = orders.clocks;
        let clocks = Level {
            cpu_khz: self.asked.cpu_khz.min(cap.cpu_khz),
            gpu_khz: self.asked.gpu_khz.min(cap.gpu_khz),
            emc_khz: self.asked.emc_khz.min(cap.emc_khz),
        };
        Orders { clocks, when: When::AtOnce, park: None, waits: false, ..orders }
    }
}
