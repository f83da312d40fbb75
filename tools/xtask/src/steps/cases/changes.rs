//! Messages of a hostile case in which something changes between two decisions: targets, caps, the
//! whole state, or nothing is heard for a while.

use anyhow::{Result, anyhow, bail};
use coshift_controller::{Controller, Input, Outputs};
use coshift_shared::policy::{PolicyImage, PolicyView};
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    Application, Change, Limits, Outcomes, Seed, Targets, Telemetry, ToController,
};
use coshift_shared::to_host::ToHost;
use coshift_shared::units::NO_POWER_CAP;

use super::{
    Event, HALF_PERIOD_US, HOSTILE_PERIODS, HOSTILE_SAMPLES, Random, START_US, Shape, base,
    outcomes, targets, telemetry,
};

/// Control period of the session, µs.
const PERIOD_US: u32 = 2 * HALF_PERIOD_US;
/// Slots of a controller.
const SLOTS: usize = 4;
/// Silences: one after which the last decision stands, and one after which the safest level is taken.
const SILENCES_MS: [u32; 2] = [400, 2_000];

/// The messages of a case on this policy, whose image it is, and what changes in each period.
pub(super) fn messages(
    image: &PolicyImage,
    policy: &[u8],
    random: &mut Random,
) -> Result<(Vec<ToController>, Vec<Event>)> {
    let view = PolicyView::open(policy).map_err(|error| anyhow!("a policy: {error:?}"))?;
    let mut agent = Agent::new(image, view, random);
    agent.state(None)?;
    let mut events = Vec::new();
    for period in 0..HOSTILE_PERIODS {
        let event = match random.below(16) {
            // What comes before the first outcomes opens the session.
            _ if period == 0 => Event::Quiet,
            0..8 => Event::Quiet,
            8..13 => Event::Asked,
            13..15 => Event::Seeded,
            _ => Event::Silence,
        };
        agent.period(event, random)?;
        events.push(event);
    }
    Ok((agent.messages, events))
}

/// What an agent tells the controller that is measured, and another one whose state goes over.
struct Agent<'p> {
    image: &'p PolicyImage,
    other: Controller<'p>,
    at_us: u32,
    targets: [Option<Targets>; SLOTS],
    limits: Limits,
    index: [u32; SLOTS],
    messages: Vec<ToController>,
}

impl<'p> Agent<'p> {
    fn new(image: &'p PolicyImage, view: PolicyView<'p>, random: &mut Random) -> Self {
        let mut other = Controller::new(Some(view));
        other.start_session(Instant::from_us(START_US), PERIOD_US, 1);
        let mut served = [None; SLOTS];
        for (place, targets) in served.iter_mut().zip(targets(Shape::Hostile, image, random)) {
            *place = Some(targets);
        }
        let limits = limits(image, random);
        let (index, messages) = ([0; SLOTS], Vec::new());
        Self { image, other, at_us: START_US, targets: served, limits, index, messages }
    }

    /// To both controllers.
    fn tell(&mut self, message: ToController) -> Result<()> {
        give(&mut self.other, &message)?;
        self.messages.push(message);
        Ok(())
    }

    /// Applications and caps, and a seed where its parts are given.
    fn state(&mut self, seed: Option<&Controller<'_>>) -> Result<()> {
        let at_us = self.at_us;
        for (slot, targets) in (0..).zip(self.targets) {
            let change = targets.map_or(Change::Remove, Change::Set);
            self.tell(ToController::Application(Application { at_us, slot, change }))?;
        }
        self.tell(ToController::Limits(Limits { at_us, ..self.limits }))?;
        let parts = seed.map(Controller::seed).unwrap_or_default();
        for (part, state) in (0..).zip(&parts) {
            let parts = u8::try_from(parts.len())?;
            self.tell(ToController::Seed(Seed { at_us, part, parts, state: *state }))?;
        }
        Ok(())
    }

    /// A control period: four outcomes and a telemetry, and what changes somewhere before it.
    fn period(&mut self, event: Event, random: &mut Random) -> Result<()> {
        if event == Event::Silence {
            let ms = *random.pick(&SILENCES_MS);
            self.at_us = self.at_us.wrapping_add(ms * 1000);
        }
        self.at_us = self.at_us.wrapping_add(HALF_PERIOD_US);
        let (ours, others) = (base(true, random), base(true, random));
        // Twice in three behind all outcomes: what they made a controller decide is decided again. A seed
        // follows a telemetry.
        let place = random.below(3 * SLOTS as u32) as usize;
        let place = if event == Event::Seeded { 0 } else { place };
        for slot in 0..SLOTS {
            if place == slot {
                self.change(event, random)?;
            }
            if self.targets[slot].is_some() {
                self.outcomes(slot, [ours, others], random)?;
            }
        }
        if place >= SLOTS {
            self.change(event, random)?;
        }
        self.at_us = self.at_us.wrapping_add(HALF_PERIOD_US);
        let message = telemetry(self.at_us, true, self.image, random);
        self.messages.push(ToController::Telemetry(message));
        // The other controller's board obeys, so that there is something to learn of its power.
        let decided = self.other.decision(Instant::from_us(self.at_us));
        let message = Telemetry {
            level: decided.run_level,
            power_mw: decided.power_mw * (80 + random.below(40)) / 100,
            ..telemetry(self.at_us, true, self.image, random)
        };
        give(&mut self.other, &ToController::Telemetry(message))
    }
}

impl Agent<'_> {
    /// Outcomes of a slot: each controller hears of another slowdown.
    fn outcomes(&mut self, slot: usize, bases: [u32; 2], random: &mut Random) -> Result<()> {
        let [ours, others] = bases.map(|base| Outcomes {
            at_us: self.at_us,
            slot: slot as u8,
            first_index: self.index[slot],
            ..outcomes(true, self.image, base, HOSTILE_SAMPLES, random)
        });
        self.index[slot] += HOSTILE_SAMPLES as u32;
        self.messages.push(ToController::Outcomes(ours));
        give(&mut self.other, &ToController::Outcomes(others))
    }

    fn change(&mut self, event: Event, random: &mut Random) -> Result<()> {
        let at_us = self.at_us;
        match event {
            Event::Quiet | Event::Silence => Ok(()),
            Event::Seeded => {
                let state = self.other.clone();
                self.state(Some(&state))
            }
            Event::Asked if random.below(4) == 0 => {
                self.limits = Limits { at_us, ..limits(self.image, random) };
                self.tell(ToController::Limits(self.limits))
            }
            Event::Asked => {
                let slot = random.below(SLOTS as u32) as usize;
                let others = targets(Shape::Hostile, self.image, random)[slot];
                let table = random.below(self.image.tables.len() as u32) as u8;
                let change = match (self.targets[slot], random.below(8)) {
                    (Some(_), 0) => Change::Remove,
                    (Some(_), 1) | (None, _) => Change::Set(Targets { table, ..others }),
                    (Some(known), _) => Change::Set(Targets { table: known.table, ..others }),
                };
                self.targets[slot] = match change {
                    Change::Set(targets) => Some(targets),
                    _ => None,
                };
                let slot = slot as u8;
                self.tell(ToController::Application(Application { at_us, slot, change }))
            }
        }
    }
}

/// Caps as hostile cases have them, sometimes with one on the temperature that is already passed.
fn limits(image: &PolicyImage, random: &mut Random) -> Limits {
    let capped = random.flip();
    Limits {
        at_us: START_US,
        power_cap_mw: if capped { 4_000 + random.below(20_000) } else { NO_POWER_CAP },
        temp_cap_mdeg_c: if random.below(4) == 0 { 80_000 } else { 85_000 },
        parking: image.park_level.is_some(),
    }
}

/// A message, and all slices of what it makes due; none of these is refused.
fn give(controller: &mut Controller<'_>, message: &ToController) -> Result<()> {
    let now = Instant::from_us(message.at_us());
    let mut out = Outputs::new();
    controller.step_into(now, Input::Message { message, seq: 0 }, &mut out);
    for sent in &out {
        if let ToHost::Refused(refused) = sent {
            bail!("a message of a case is refused: {refused:?}");
        }
    }
    while controller.is_deciding() {
        out.clear();
        controller.step_into(now, Input::Tick, &mut out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::cases::{Case, CaseId};
    use coshift_shared::kind::Kind;
    use coshift_shared::to_controller::SeedState;

    fn periods(case: &Case) -> Vec<Vec<&ToController>> {
        let is_end = |message: &&ToController| message.kind() == Kind::Telemetry;
        // What opens the session is in no period.
        let opened = case.messages.iter().position(|message| message.kind() == Kind::Outcomes);
        let all: Vec<_> = case.messages[opened.unwrap()..].iter().collect();
        all.split_inclusive(is_end).map(<[_]>::to_vec).collect()
    }

    #[test]
    fn each_period_has_what_its_event_says() {
        let mut seen = Vec::new();
        for index in 0..20 {
            let case = Case::new(Shape::Changed, CaseId { seed: 1, index }).unwrap();
            let view = PolicyView::open(&case.policy).unwrap();
            let mut controller = Controller::new(Some(view));
            controller.start_session(Instant::from_us(START_US), PERIOD_US, 1);
            // The controller that is measured refuses nothing either.
            case.messages.iter().for_each(|message| give(&mut controller, message).unwrap());
            let periods = periods(&case);
            assert_eq!(periods.len(), case.events.len());
            for (period, event) in periods.iter().zip(&case.events) {
                let count = |kind| period.iter().filter(|m| m.kind() == kind).count();
                let asked = count(Kind::Application) + count(Kind::Limits);
                let seed = count(Kind::Seed);
                match event {
                    Event::Quiet | Event::Silence => assert_eq!((asked, seed), (0, 0)),
                    Event::Asked => assert_eq!((asked, seed), (1, 0)),
                    Event::Seeded => assert!(asked == SLOTS + 1 && seed >= 5, "{asked} {seed}"),
                }
                seen.push(*event);
            }
        }
        for event in [Event::Quiet, Event::Asked, Event::Seeded, Event::Silence] {
            assert!(seen.contains(&event), "{event:?}");
        }
    }

    #[test]
    fn seeds_have_parts_of_every_kind() {
        let mut kinds = [false; 7];
        for index in 0..40 {
            let case = Case::new(Shape::Changed, CaseId { seed: 1, index }).unwrap();
            for message in &case.messages {
                let ToController::Seed(seed) = message else { continue };
                kinds[match seed.state {
                    SeedState::Application(_) => 0,
                    SeedState::Tail(_) => 1,
                    SeedState::Sensors(_) => 2,
                    SeedState::Power(_) => 3,
                    SeedState::Bias(_) => 4,
                    SeedState::Device(_) => 5,
                    SeedState::Clocks(_) => 6,
                    _ => unreachable!("{seed:?}"),
                }] = true;
            }
        }
        assert_eq!(kinds, [true; 7]);
    }
}
