//! The agent's core in virtual time, with a microcontroller behind a link that is damaged.

mod support;

use coshift_host::clock::Time;
use coshift_host::core::{Action, AgentCore, Decider, Event, LinkState, Outcome};
use coshift_host::notice::{Notice, TakeOver};
use coshift_host::platform::{Reading, Readings};
use coshift_host::report::{ReportEvent, report};
use coshift_host::simulation::NoLink;
use coshift_host::spec::ApplicationSpec;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::to_controller::{Outcomes, ToController};
use coshift_shared::to_host::{Decision, Missing, Reason};
use coshift_shared::units::{NO_LEVEL, NO_SUB_NETWORK, slowdown};
use support::{
    FakeMcu, PERIOD_MS, Sim, image, set, settings, simulation, simulation_of_start, simulation_with,
};

const STEADY: &str = "cam0=1.0";

fn run_for<L: coshift_host::simulation::VirtualLink>(simulation: &mut Sim<'_, L>, ms: u64) {
    let end = simulation.now().after_us(ms * 1000);
    simulation.run_until(end, |_, _, _| {});
}

/// Runs until `done`, at most `ms`; returns the periods it took.
fn periods_until(
    simulation: &mut Sim<'_, FakeMcu<'_>>,
    ms: u64,
    done: impl Fn(&Sim<'_, FakeMcu<'_>>) -> bool,
) -> u64 {
    for period in 0..ms / PERIOD_MS {
        if done(simulation) {
            return period;
        }
        run_for(simulation, PERIOD_MS);
    }
    panic!("not within {ms} ms: {:#?}", simulation.notices);
}

fn mcu_decides(simulation: &Sim<'_, FakeMcu<'_>>) -> bool {
    simulation.runtime.core().decider() == Decider::Mcu
}

fn said(simulation: &Sim<'_, FakeMcu<'_>>, wanted: impl Fn(&Notice) -> bool) -> usize {
    simulation.notices.iter().filter(|(_, notice)| wanted(notice)).count()
}

#[test]
fn in_process_the_loop_closes_and_deadlines_are_kept() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, NoLink, false, "cam0=1.0,10s:1.25,20s:1.0");
    let mut levels = [0_u8; 3];
    for (place, level) in levels.iter_mut().enumerate() {
        run_for(&mut simulation, 10_000);
        let report = report(ReportEvent::Status, simulation.now(), &simulation.runtime, 0);
        assert_eq!(report.decider, Decider::InProcess);
        assert_eq!(report.sub_networks[0], Some(2), "74 % is the floor, {place}");
        *level = report.run_level.unwrap();
    }
    assert!(levels[1] > levels[0], "slower requests need a higher level: {levels:?}");
    assert_eq!(levels[2], levels[0], "and back: {levels:?}");
    let served = simulation.runtime.served()[0].as_ref().unwrap();
    assert_eq!(served.requests, 450);
    assert!(served.misses <= 6, "only the step itself may miss: {}", served.misses);
    assert_eq!(served.done + served.source.dropped, 450);
}

/// The Outcomes among frames to the controller.
fn outcomes(actions: &[Action]) -> Vec<Outcomes> {
    let mut reader = FrameReader::new();
    let mut found = Vec::new();
    for action in actions {
        let Action::ToTwin(frame) = action else { continue };
        for byte in frame.bytes() {
            let Received::Packet(header, body) = reader.feed(*byte) else { continue };
            let kind = Kind::from_byte(header.kind).unwrap();
            if let Ok(ToController::Outcomes(message)) = ToController::decode(kind, body) {
                found.push(message);
            }
        }
    }
    found
}

#[test]
fn slowdowns_are_formed_against_the_policy_and_what_says_nothing_is_sent_as_zero() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut core = AgentCore::new(policy, settings(false, 1));
    let spec = ApplicationSpec::parse("--app", "a=net-a,deadline=33ms,rate=15").unwrap();
    let targets = spec.targets("--app", &policy).unwrap();
    let mut actions = Vec::new();
    let now = Time::START;
    core.poll(now, Event::Set { slot: 0, targets }, &mut actions);
    let expected = policy.table(0).unwrap().cell(2, 5).unwrap().latency_us;
    let outcome = Outcome {
        slot: 0,
        sub_network: 2,
        level: 5,
        latency_us: expected * 3 / 2,
        learn: true,
        missed: false,
    };
    core.poll(now, Event::Outcome(outcome), &mut actions);
    core.poll(now, Event::Outcome(Outcome { learn: false, ..outcome }), &mut actions);
    core.poll(now, Event::Outcome(Outcome { level: NO_LEVEL, ..outcome }), &mut actions);
    assert!(outcomes(&actions).iter().all(|message| message.samples.len() < 3), "by cell");
    core.poll(now, Event::Period(&Readings::default()), &mut actions);
    let messages = outcomes(&actions);
    let samples: Vec<_> = messages.iter().flat_map(|m| m.samples.iter().copied()).collect();
    assert_eq!(samples, [slowdown::to_wire(3, 2), slowdown::NOT_LEARNED, slowdown::NOT_LEARNED]);
    assert_eq!(messages.iter().map(|m| m.level).collect::<Vec<_>>(), [5, NO_LEVEL]);
    // A missed deadline does not wait for the period.
    actions.clear();
    core.poll(now, Event::Outcome(Outcome { missed: true, ..outcome }), &mut actions);
    core.poll(now, Event::Outcome(Outcome { missed: true, ..outcome }), &mut actions);
    let messages = outcomes(&actions);
    assert_eq!(messages.len(), 1, "but only once a period");
    assert_eq!((messages[0].first_index, messages[0].misses_total), (3, 1));
}

#[test]
fn a_lost_sensor_is_named_when_it_goes_and_when_it_is_back() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut core = AgentCore::new(policy, settings(false, 1));
    let mut now = Time::START;
    let mut said = Vec::new();
    for period in 0..90 {
        now = now.after_us(PERIOD_MS * 1000);
        let readings = Readings {
            power_mw: (!(10..40).contains(&period)).then_some(Reading { value: 5_000, at: now }),
            temperatures_mdeg_c: [Some(Reading { value: 45_000, at: now }), None],
            ..Readings::default()
        };
        let mut actions = Vec::new();
        core.poll(now, Event::Period(&readings), &mut actions);
        for action in actions {
            if let Action::Notice(notice @ Notice::Doubted(_)) = action {
                said.push((period, notice.to_string()));
            }
        }
    }
    let [(10, lost), (40..80, back)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((&**lost, &**back), ("not believed now: power", "every reading is believed again"));
}

#[test]
fn what_starts_in_a_settle_window_is_not_learned_from() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, NoLink, false, STEADY);
    run_for(&mut simulation, 400);
    let runtime = &simulation.runtime;
    assert_eq!(runtime.level_changes(), 1, "from the level at the start");
    let done = runtime.served()[0].as_ref().unwrap().done;
    let learned = runtime.core().twin().node().controller().work().samples;
    // The first request starts together with the change; the last may not have been sent yet.
    assert!((5..=6).contains(&done), "{done}");
    assert!((u64::from(learned) + 1..=u64::from(learned) + 2).contains(&done), "{learned}");
}

#[test]
fn the_microcontroller_decides_after_twenty_equal_decisions() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    run_for(&mut simulation, 15 * PERIOD_MS);
    assert_eq!(simulation.runtime.core().decider(), Decider::Twin);
    let periods = periods_until(&mut simulation, 3_000, mcu_decides);
    assert!((4..=10).contains(&periods), "{periods}");
    run_for(&mut simulation, 60_000);
    let core = simulation.runtime.core();
    assert_eq!(core.decider(), Decider::Mcu);
    assert_eq!(core.judge().digest_equal, Some(true));
    assert_eq!((core.counters().takeovers, core.judge().differing), (0, 0));
    assert_eq!(core.counters().sessions, 1, "{:#?}", simulation.notices);
    assert_eq!(core.from_mcu().faults(), 0);
    assert_eq!(core.to_mcu().unwrap().faults(), 0);
}

#[test]
fn the_twin_takes_over_within_four_periods_and_hands_back_after_a_restart() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, "cam0=1.2");
    periods_until(&mut simulation, 3_000, mcu_decides);
    run_for(&mut simulation, 10_000);
    let learned = simulation.link.node().controller().slots()[0].clone().unwrap();
    let decision = *simulation.runtime.core().decision().unwrap();

    simulation.link.kill();
    let periods = periods_until(&mut simulation, 1_000, |s| !mcu_decides(s));
    assert!(periods <= 4, "{periods}");
    assert_eq!(simulation.runtime.core().link(), LinkState::Silent);
    assert_eq!(simulation.runtime.core().counters().takeovers, 1);
    assert_eq!(said(&simulation, |n| *n == Notice::TakeOver(TakeOver::Silent)), 1);
    // The twin goes on as the microcontroller would have.
    let degraded = *simulation.runtime.core().decision().unwrap();
    assert!(degraded.same_action(&decision));
    run_for(&mut simulation, 5_000);

    let now = simulation.now();
    simulation.link.boot(now);
    let periods = periods_until(&mut simulation, 5_000, mcu_decides);
    assert!((20..=30).contains(&periods), "{periods}");
    let core = simulation.runtime.core();
    assert_eq!((core.counters().sessions, core.counters().handbacks), (2, 2));
    // What was learned is there again: applications, estimator and indices.
    let again = simulation.link.node().controller().slots()[0].clone().unwrap();
    assert_eq!(again.targets, learned.targets);
    assert!(again.next_index > learned.next_index);
    let twin = core.twin().node().controller();
    assert_eq!(twin.slots()[0].clone().unwrap(), again);
    assert_eq!(twin.digest(), simulation.link.node().controller().digest());
    let met = |n: &Notice| matches!(n, Notice::Met { again: true, .. });
    assert_eq!(said(&simulation, met), 1);
}

#[test]
fn a_reset_that_is_faster_than_silence_opens_a_new_session() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    let session = simulation.runtime.core().session();
    let now = simulation.now();
    simulation.link.boot(now);
    run_for(&mut simulation, 3 * PERIOD_MS);
    assert_ne!(simulation.runtime.core().session(), session);
    assert_eq!(said(&simulation, |n| *n == Notice::TakeOver(TakeOver::Restarted)), 1);
    periods_until(&mut simulation, 3_000, mcu_decides);
}

#[test]
fn a_reset_into_the_session_by_an_old_greeting_is_noticed() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    // The new boot is in the agent's session, without applications, and counts from 0 again.
    let now = simulation.now();
    simulation.link.boot_with_old_hello(now);
    assert_eq!(simulation.link.node().session(), simulation.runtime.core().session());
    run_for(&mut simulation, 2 * PERIOD_MS);
    assert_eq!(said(&simulation, |n| *n == Notice::TakeOver(TakeOver::Restarted)), 1);
    assert_eq!(simulation.runtime.core().counters().sessions, 2);
    periods_until(&mut simulation, 3_000, mcu_decides);
}

#[test]
fn caps_hold_after_a_reset_too() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut settings = settings(true, 1);
    settings.caps.power_mw = 3_100;
    let mut simulation = simulation_with(policy, FakeMcu::new(policy), STEADY, settings);
    for _ in 0..2 {
        periods_until(&mut simulation, 3_000, mcu_decides);
        run_for(&mut simulation, 1_000);
        let decision = simulation.runtime.core().decision().unwrap();
        assert_eq!(decision.reason, Reason::Infeasible);
        assert_eq!(decision.shortfall.what, Missing::Power);
        assert!(decision.power_mw <= 3_100, "{}", decision.power_mw);
        let now = simulation.now();
        simulation.link.boot(now);
        run_for(&mut simulation, 4 * PERIOD_MS);
        assert!(!mcu_decides(&simulation));
    }
}

#[test]
fn a_lost_frame_is_seen_in_the_digest_and_seeded_away() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    run_for(&mut simulation, 2_000);
    simulation.link.drop_one_in = 1;
    run_for(&mut simulation, PERIOD_MS);
    simulation.link.drop_one_in = 0;
    run_for(&mut simulation, 2 * PERIOD_MS);
    assert_eq!(simulation.runtime.core().judge().digest_equal, Some(false));
    assert!(mcu_decides(&simulation), "one lost frame is no reason to take over");
    let seeds = simulation.runtime.core().counters().seeds;
    periods_until(&mut simulation, 3_000, |s| !mcu_decides(s));
    assert_eq!(said(&simulation, |n| *n == Notice::TakeOver(TakeOver::DigestsUnequal)), 1);
    periods_until(&mut simulation, 3_000, mcu_decides);
    let core = simulation.runtime.core();
    assert_eq!(core.counters().seeds, seeds + 1);
    assert_eq!(core.counters().sessions, 1);
    assert_eq!(core.judge().digest_equal, Some(true));
    let twin = core.twin().node().controller();
    assert_eq!(twin.slots(), simulation.link.node().controller().slots());
}

#[test]
fn doubled_frames_change_nothing() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    simulation.link.double_one_in = 2;
    periods_until(&mut simulation, 3_000, mcu_decides);
    run_for(&mut simulation, 20_000);
    let core = simulation.runtime.core();
    assert_eq!((core.counters().takeovers, core.counters().seeds), (0, 1));
    assert!(simulation.link.node().link().repeated > 100);
}

#[test]
fn a_bad_line_never_yields_a_bad_decision() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let script = "cam0=1.0,5s:1.3,25s:0.9,40s:1.1";
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, script);
    simulation.link.drop_one_in = 40;
    simulation.link.flip_one_in = 40;
    simulation.link.double_one_in = 40;
    let mut noise = 0x9E37_79B9_u32;
    simulation.run_until(Time::from_ms(60_000), |_, runtime, mcu| {
        let garbage: Vec<u8> = (0..200)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                noise.to_le_bytes()[0]
            })
            .collect();
        mcu.babble(&garbage);
        let Some(decision) = runtime.core().decision() else { return };
        assert!(decision.run_level < 8);
        assert!(decision.sub_networks[0] < 5);
        assert_eq!(decision.sub_networks[1..], [255; 3]);
    });
    let core = simulation.runtime.core();
    assert!(core.from_mcu().faults() > 1000, "garbage is counted: {:?}", core.from_mcu());
    assert_eq!(core.judge().differing, 0);
    let served = simulation.runtime.served()[0].as_ref().unwrap();
    assert!(served.misses * 50 < served.requests, "{} misses", served.misses);
}

#[test]
fn after_the_line_is_good_again_the_microcontroller_decides() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    simulation.link.drop_one_in = 3;
    simulation.link.flip_one_in = 3;
    run_for(&mut simulation, 30_000);
    simulation.link.drop_one_in = 0;
    simulation.link.flip_one_in = 0;
    periods_until(&mut simulation, 5_000, mcu_decides);
}

#[test]
fn a_stalled_line_is_silence_and_then_caught_up_with() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    simulation.link.stall = true;
    let periods = periods_until(&mut simulation, 1_000, |s| !mcu_decides(s));
    assert!(periods <= 4, "{periods}");
    run_for(&mut simulation, 500);
    simulation.link.stall = false;
    run_for(&mut simulation, 2 * PERIOD_MS);
    assert_eq!(simulation.runtime.core().link(), LinkState::InSession);
    assert_eq!(said(&simulation, |n| *n == Notice::HeardAgain), 1);
    periods_until(&mut simulation, 5_000, mcu_decides);
    assert_eq!(simulation.runtime.core().counters().sessions, 1);
    // Longer than the agent is patient: a new session.
    simulation.link.stall = true;
    run_for(&mut simulation, 4_000);
    assert_eq!(simulation.runtime.core().link(), LinkState::Greeting);
    simulation.link.stall = false;
    periods_until(&mut simulation, 5_000, mcu_decides);
    assert_eq!(simulation.runtime.core().counters().sessions, 2);
}

#[test]
fn a_port_that_vanishes_and_returns_gets_a_new_session() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    simulation.link.up = false;
    run_for(&mut simulation, PERIOD_MS);
    assert_eq!(simulation.runtime.core().link(), LinkState::Down);
    assert!(!mcu_decides(&simulation));
    run_for(&mut simulation, 3_000);
    simulation.link.up = true;
    periods_until(&mut simulation, 5_000, mcu_decides);
    assert_eq!(simulation.runtime.core().counters().sessions, 2);
}

#[test]
fn equal_inputs_and_another_decision_are_counted_and_the_twin_decides() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    let good = *simulation.runtime.core().decision().unwrap();
    simulation.link.lie = 3;
    simulation.run_until(simulation.now().after_us(1_000_000), |_, runtime, _| {
        let decision = runtime.core().decision().unwrap();
        assert_eq!(decision.run_level, good.run_level, "the twin's level stays");
    });
    let core = simulation.runtime.core();
    assert_eq!(core.judge().differing, 3);
    assert_eq!(core.counters().takeovers, 1);
    assert_eq!(said(&simulation, |n| matches!(n, Notice::Differs { .. })), 3);
    periods_until(&mut simulation, 3_000, mcu_decides);
}

/// Of decisions by something else than the twin knows, those that name what does not exist are counted;
/// one that leaves an application out is not. Neither kind is carried out: the twin's is.
#[test]
fn what_cannot_be_carried_out_is_not_and_is_counted_where_it_does_not_exist() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    // With another digest: what differs under the same one is the judge's matter.
    type Wrong = (fn(&mut Decision), u32);
    let changes: [Wrong; 3] = [
        (|wrong| (wrong.digest, wrong.run_level) = (!wrong.digest, 8), 2),
        (|wrong| (wrong.digest, wrong.sub_networks[0]) = (!wrong.digest, 5), 2),
        (|wrong| (wrong.digest, wrong.sub_networks[0]) = (!wrong.digest, NO_SUB_NETWORK), 0),
    ];
    for (change, invalid) in changes {
        let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
        periods_until(&mut simulation, 3_000, mcu_decides);
        let good = *simulation.runtime.core().decision().unwrap();
        (simulation.link.change, simulation.link.lie) = (change, 2);
        simulation.run_until(simulation.now().after_us(1_000_000), |_, runtime, _| {
            let now = runtime.core().decision().unwrap();
            assert_eq!((now.run_level, now.sub_networks), (good.run_level, good.sub_networks));
        });
        assert_eq!(simulation.link.lie, 0);
        assert_eq!(simulation.runtime.core().counters().invalid_decisions, invalid);
    }
}

#[test]
fn versions_that_do_not_meet_are_shown_and_the_twin_decides() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let theirs = VersionRange { min: 7, current: 9 };
    let mcu = FakeMcu::with_versions(policy, theirs);
    let mut simulation = simulation(policy, mcu, true, STEADY);
    run_for(&mut simulation, 10_000);
    let report = report(ReportEvent::Status, simulation.now(), &simulation.runtime, 0);
    assert_eq!(report.link, LinkState::VersionsDiffer);
    assert_eq!(report.decider, Decider::Twin);
    assert_eq!(report.protocol.agent, [VersionRange::OURS.min, VersionRange::OURS.current]);
    assert_eq!(report.protocol.mcu, Some([7, 9]));
    let lines: Vec<_> = simulation
        .notices
        .iter()
        .filter(|(_, notice)| matches!(notice, Notice::Mismatch { .. }))
        .map(|(_, notice)| notice.to_string())
        .collect();
    assert_eq!(lines.len(), 1, "once, not each period: {lines:?}");
    assert!(lines[0].contains("agent 1") && lines[0].contains("MCU 7 to 9"), "{}", lines[0]);
    assert!(report.applications[0].done > 100, "requests are served meanwhile");
}

#[test]
fn another_policy_is_shown_and_the_twin_decides() {
    let (ours, theirs) = (image(1), image(2));
    let policy = PolicyView::open(&ours).unwrap();
    let other = PolicyView::open(&theirs).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(other), true, STEADY);
    run_for(&mut simulation, 5_000);
    let report = report(ReportEvent::Status, simulation.now(), &simulation.runtime, 0);
    assert_eq!(report.link, LinkState::PoliciesDiffer);
    assert_eq!(report.decider, Decider::Twin);
    assert_eq!(report.policy_crc.agent, format!("{:08x}", policy.crc()));
    assert_eq!(report.policy_crc.mcu, Some(format!("{:08x}", other.crc())));
}

#[test]
fn a_restarted_agent_is_another_session_for_the_microcontroller() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut first = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut first, 3_000, mcu_decides);
    let mcu = std::mem::replace(&mut first.link, FakeMcu::new(policy));
    drop(first);
    // The same microcontroller, in the session of an agent that is gone.
    let mut second = simulation_of_start(policy, mcu, true, STEADY, 2);
    periods_until(&mut second, 5_000, mcu_decides);
    let core = second.runtime.core();
    assert_eq!(core.judge().digest_equal, Some(true));
    assert_eq!(core.session(), second.link.node().session());
    assert_eq!((core.counters().sessions, core.counters().takeovers), (1, 0));
}

#[test]
fn applications_come_and_go_on_both_sides() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let mut simulation = simulation(policy, FakeMcu::new(policy), true, STEADY);
    periods_until(&mut simulation, 3_000, mcu_decides);
    set(&mut simulation, "cam1=net-a,deadline=200ms,floor=70,rate=4,priority=1");
    run_for(&mut simulation, 2_000);
    assert!(mcu_decides(&simulation));
    let served = simulation.runtime.served()[1].as_ref().unwrap();
    assert!(served.done >= 7, "{}", served.done);
    let mut effects = Vec::new();
    let now = simulation.now();
    simulation.runtime.remove_application(now, "cam1", &mut effects).unwrap();
    simulation.apply(effects);
    run_for(&mut simulation, 2_000);
    assert!(simulation.link.node().controller().slots()[1].is_none());
    assert_eq!(simulation.runtime.core().counters().takeovers, 0);
    assert_eq!(simulation.runtime.core().decision().unwrap().sub_networks[1], 255);
}
