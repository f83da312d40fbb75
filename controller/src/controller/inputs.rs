//! What each message of the agent does.

use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application as ApplicationMessage, Change, Objective, Outcomes, Query, Question, Targets,
    Telemetry, ToController,
};
use coshift_shared::to_host::{Reason, Refusal, Status, ToHost, TraceEvent};
use coshift_shared::units::NO_SUB_NETWORK;

use super::decide::{Extra, Retreat};
use super::{AHEAD, Caps, Controller, OLD, Outputs, State, push};
use crate::application::Application;
use crate::device::Arrangement;
use crate::held::Achieved;

impl Controller<'_> {
    pub(super) fn take_in(&mut self, message: &ToController) {
        match message {
            ToController::Application(m) => self.digest.add(m),
            ToController::Seed(m) => self.digest.add(m),
            ToController::Telemetry(m) => self.digest.add(m),
            ToController::Outcomes(m) => self.digest.add(m),
            ToController::Limits(m) => self.digest.add(m),
            // Hello starts the digest, queries and uploads change nothing, and this build knows no
            // others.
            _ => {}
        }
    }

    pub(super) fn serve(
        &mut self,
        now: Instant,
        message: &ToController,
        seq: u16,
        out: &mut Outputs,
    ) {
        let result = match message {
            ToController::Application(m) => self.application(now, m),
            ToController::Telemetry(m) => {
                self.telemetry(now, m, out);
                Ok(())
            }
            ToController::Outcomes(m) => self.outcomes(now, m, out),
            ToController::Limits(m) => {
                self.limits = Caps {
                    power_mw: m.power_cap_mw,
                    temp_mdeg_c: m.temp_cap_mdeg_c,
                    parking: m.parking,
                };
                self.mark_dirty(now);
                Ok(())
            }
            ToController::Seed(m) => self.load(now, m, out),
            ToController::Query(Query { what: Question::Work, .. }) => {
                push(out, ToHost::Status(Status::Work(self.work)));
                Ok(())
            }
            ToController::PolicyBegin(_)
            | ToController::PolicyChunk(_)
            | ToController::PolicyCommit(_) => Err(Refusal::Unsupported),
            // Hello, and questions about the link, are the session layer's.
            _ => Ok(()),
        };
        if let Err(why) = result {
            let kind = message.kind() as u8;
            push(out, ToHost::Refused(coshift_shared::to_host::Refused { kind, seq, why }));
        }
    }

    // Apart, as others below: its variables would else lie on the stack of every step.
    #[inline(never)]
    fn application(&mut self, now: Instant, message: &ApplicationMessage) -> Result<(), Refusal> {
        let policy = self.policy.as_ref().ok_or(Refusal::NoSuchTable)?;
        let slot = self.slots.get_mut(usize::from(message.slot)).ok_or(Refusal::NoSuchSlot)?;
        let mut another = true;
        match message.change {
            Change::Set(targets) => {
                check(&targets, policy.tables())?;
                match slot {
                    // Told again, as before a seed: nothing changes.
                    Some(known) if known.targets == targets => return Ok(()),
                    Some(known) if known.targets.table == targets.table => {
                        known.retarget(targets, policy);
                        another = false;
                    }
                    _ => *slot = Some(Application::new(targets, policy)),
                }
            }
            Change::Remove => *slot = None,
            Change::Unused => return Err(Refusal::BadValue),
        }
        self.arrangement = Arrangement::new(&self.slots);
        // What stands for the slot is a row of the table of the application before.
        let standing = self.standing.as_mut().filter(|_| another);
        let stands = standing
            .and_then(|standing| standing.choice.sub_networks.get_mut(usize::from(message.slot)));
        if let Some(sub_network) = stands {
            *sub_network = NO_SUB_NETWORK;
        }
        self.mark_dirty(now);
        Ok(())
    }

    /// Has the next telemetry decided on, for targets or caps changed; where the agent is silent, time
    /// alone does after a period.
    fn mark_dirty(&mut self, now: Instant) {
        if !self.dirty && self.state == State::Silent {
            self.extra_at = now;
        }
        self.dirty = true;
        self.extra.take_if(|extra| *extra == Extra::Seeded);
    }

    /// Keeps what lies long back from coming up from the other side when the clock wraps.
    #[inline(never)]
    fn age(&mut self, now: Instant) {
        let back = |span: Duration| Instant::from_us(now.us().wrapping_sub(span.us()));
        let soon = now.after(AHEAD);
        let old = |instant: Instant| {
            soon.us().wrapping_sub(instant.us()) > const { OLD.us() + AHEAD.us() }
        };
        for instant in [
            &mut self.level_since,
            &mut self.asked_since,
            &mut self.extra_at,
            &mut self.sensors.believed_at,
            &mut self.sensors.telemetry_at,
            &mut self.held.seen_at,
        ] {
            if old(*instant) {
                *instant = back(OLD);
            }
        }
        if let State::TooHot { nominal_since } = &mut self.state {
            *nominal_since = nominal_since.filter(|since| !old(*since));
        }
        // How long the silence was is not known.
        let patience = self.patience();
        if self.state == State::Silent && now.since(self.sensors.believed_at) < patience {
            self.sensors.believed_at = back(patience);
        }
    }

    #[inline(never)]
    fn telemetry(&mut self, now: Instant, message: &Telemetry, out: &mut Outputs) {
        self.age(now);
        let read = self.sensors.hear(now, message, self.patience());
        self.doubt(now, message, read, out);
        self.learn_power(now, message, read);
        let served = self.slots.iter().flatten();
        if let Some(longest_us) = served.map(|slot| slot.targets.deadline_us).max() {
            self.hear_clocks(now, Achieved::Telemetry(message), longest_us);
        }
        let heard_at = core::mem::replace(&mut self.sensors.telemetry_at, now);
        self.sensors.achieved_level = message.level;
        self.sensors.blind = now.since(self.sensors.believed_at) >= self.patience();
        self.watch_temperature(now, out);
        // One search a period. Where telemetry comes less often, there is time for another one.
        let often = now.since(heard_at) < self.period.times(2);
        let extra = self.extra.take().filter(|_| often);
        let spent = match extra {
            Some(Extra::Beside(spent)) => spent,
            _ => 0,
        };
        let in_place = matches!(extra, Some(Extra::InPlace | Extra::Seeded));
        match self.state {
            State::Hold { .. } | State::Silent => {
                self.enter(State::Run, now, out);
                self.dirty = true;
                self.decide(now, false, spent);
            }
            // What was decided since the last telemetry stands until the next one, also where something
            // was asked for after it.
            State::Run if in_place => self.send_decision(now, out),
            State::Run => self.decide(now, false, spent),
            State::TooHot { .. } => {
                let retreat = Retreat { may_stay: self.heat_is_bearable(), brief: in_place };
                self.retreat(now, Reason::TooHot, retreat);
                self.send_decision(now, out);
            }
            State::Boot | State::AwaitPolicy => self.send_decision(now, out),
        }
    }

    #[inline(never)]
    fn outcomes(
        &mut self,
        now: Instant,
        message: &Outcomes,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let slot = self.slots.get_mut(usize::from(message.slot)).ok_or(Refusal::NoSuchSlot)?;
        let application = slot.as_mut().ok_or(Refusal::EmptySlot)?;
        let policy = self.policy.as_ref().ok_or(Refusal::EmptySlot)?;
        let taken = application.take_in(message, policy);
        // No request of another one runs while one of this does, so that clocks that changed for
        // theirs had changed for it.
        let deadline_us = application.targets.deadline_us;
        self.work.samples = self.work.samples.wrapping_add(taken.learned);
        if taken.lost > 0 {
            self.work.samples_lost = self.work.samples_lost.wrapping_add(taken.lost);
            self.trace(now, TraceEvent::SamplesLost, taken.lost, out);
        }
        if taken.learned > 0 {
            self.hear_clocks(now, Achieved::Level(message.level), deadline_us);
        }
        // Between two telemetries only a danger is worth a decision.
        let due = now.since(self.extra_at) >= self.period && self.extra != Some(Extra::Seeded);
        if self.state == State::Run && taken.learned > 0 && due && self.in_danger() {
            self.extra_at = now;
            // Two share the bound where telemetry is late.
            let spent = match self.extra {
                Some(Extra::Beside(spent)) => spent,
                _ => 0,
            };
            self.decide(now, true, spent);
        }
        Ok(())
    }
}

fn check(targets: &Targets, tables: u8) -> Result<(), Refusal> {
    if targets.table >= tables {
        return Err(Refusal::NoSuchTable);
    }
    let sound = targets.deadline_us > 0
        && targets.period_us > 0
        && targets.accuracy_floor_bp <= 10_000
        && targets.miss_target_bp <= 10_000
        && targets.objective != Objective::Unused
        && targets.degrade != coshift_shared::to_controller::Degrade::Unused;
    if sound { Ok(()) } else { Err(Refusal::BadValue) }
}
