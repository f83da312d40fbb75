//! A slot that another application gets while a decision is on its way: the core and a
//! microcontroller's node, byte by byte, with the line from the microcontroller held back.

mod support;

use coshift_controller::{Identity, Node};
use coshift_host::clock::Time;
use coshift_host::core::{Action, AgentCore, Decider, Event, Outcome};
use coshift_host::platform::{Reading, Readings};
use coshift_host::spec::ApplicationSpec;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::to_controller::Targets;
use coshift_shared::to_host::{Decision, FaultCode, ResetCause};
use coshift_shared::units::NO_SUB_NETWORK;
use support::{PERIOD_MS, image, settings};

/// Most frames sent until a number is reached: more would be a hang.
const MOST_FRAMES: u32 = 70_000;

/// An agent's core and a microcontroller.
struct Pair<'p> {
    core: AgentCore<'p>,
    mcu: Node<'p>,
    now: Time,
    /// Bytes on their way to the agent.
    to_agent: Vec<u8>,
    /// Number of the last frame to the microcontroller.
    sent: u16,
    /// Kinds of all of them.
    kinds: Vec<Kind>,
    /// Frames to the microcontroller are lost.
    deaf: bool,
}

impl<'p> Pair<'p> {
    /// Both in session, and the microcontroller decides.
    fn joined(policy: PolicyView<'p>) -> Self {
        let identity = Identity {
            version: [1, 2, 3],
            boot_nonce: 7,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        let mut pair = Self {
            core: AgentCore::new(policy, settings(true, 1)),
            mcu: Node::new(Some(policy), identity),
            now: Time::START,
            to_agent: Vec::new(),
            sent: 0,
            kinds: Vec::new(),
            deaf: false,
        };
        pair.poll(Event::LinkUp);
        pair.answer();
        pair.exchange(30);
        assert_eq!(pair.core.decider(), Decider::Mcu);
        pair
    }

    /// The same with an application in slot 0, decided for.
    fn serving(policy: PolicyView<'p>, first: Targets) -> Self {
        let mut pair = Self::joined(policy);
        pair.set(0, first);
        pair.exchange(3);
        assert_eq!(pair.sub_network(), 4);
        pair
    }

    /// One event; what is sent arrives at once, what is answered waits.
    fn poll(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.core.poll(self.now, event, &mut actions);
        let local = self.now.stamp();
        let to_agent = &mut self.to_agent;
        for action in actions {
            let Action::Send(frame) = action else { continue };
            let mut reader = FrameReader::new();
            for byte in frame.bytes() {
                if let Received::Packet(header, _) = reader.feed(*byte) {
                    self.sent = header.seq;
                    self.kinds.extend(Kind::from_byte(header.kind));
                }
            }
            if self.deaf {
                continue;
            }
            for byte in frame.bytes() {
                self.mcu.feed(*byte, local, &mut |frame| to_agent.extend(frame.bytes()));
            }
            while self.mcu.is_deciding() {
                self.mcu.poll(local, &mut |frame| to_agent.extend(frame.bytes()));
            }
        }
    }

    /// A control period with a board that is well.
    fn period(&mut self) {
        self.now = self.now.after_us(PERIOD_MS * 1_000);
        let temperature = Some(Reading { value: 45_000, at: self.now });
        let readings = Readings {
            level: self.decision().map(|decision| decision.run_level),
            temperatures_mdeg_c: [temperature; 2],
            ..Readings::default()
        };
        self.poll(Event::Period(&readings));
    }

    /// What waits arrives at the agent.
    fn answer(&mut self) {
        let bytes = std::mem::take(&mut self.to_agent);
        self.poll(Event::Bytes(&bytes));
    }

    /// So many control periods, each with its answer.
    fn exchange(&mut self, periods: usize) {
        for _ in 0..periods {
            self.period();
            self.answer();
        }
    }

    fn set(&mut self, slot: u8, targets: Targets) {
        self.poll(Event::Set { slot, targets });
    }

    fn decision(&self) -> Option<&Decision> {
        self.core.decision()
    }

    /// The sub-network in force for slot 0.
    fn sub_network(&self) -> u8 {
        self.decision().unwrap().sub_networks[0]
    }
}

fn targets(policy: &PolicyView<'_>, floor: u32) -> Targets {
    let spec = format!("cam=net-a,deadline=60ms,floor={floor},rate=5");
    ApplicationSpec::parse("--app", &spec).unwrap().targets("--app", policy).unwrap()
}

/// The first application needs sub-network 4, the one after it 0.
fn first_and_next(policy: &PolicyView<'_>) -> [Targets; 2] {
    [targets(policy, 78), targets(policy, 70)]
}

/// Sends frames until the next one is numbered `next`.
fn count_up(pair: &mut Pair<'_>, next: u16) {
    let caps = pair.core.caps();
    for _ in 0..MOST_FRAMES {
        if pair.sent.wrapping_add(1) == next {
            return;
        }
        pair.poll(Event::Caps(caps));
    }
    panic!("number {next} was not reached");
}

#[test]
fn a_decision_on_its_way_says_nothing_for_another_application() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let [first, next] = first_and_next(&policy);
    // Removal and the new application are numbered 4 and 5; at the wrap of numbers; just before it.
    for number in [None, Some(u16::MAX), Some(0)] {
        let mut pair = Pair::serving(policy, first);
        if let Some(number) = number {
            // A telemetry, the removal and the application come first.
            count_up(&mut pair, number.wrapping_sub(2));
        }
        pair.period();
        pair.poll(Event::Remove { slot: 0 });
        pair.set(0, next);
        if let Some(number) = number {
            assert_eq!(pair.sent, number);
        }
        assert_eq!(pair.sub_network(), NO_SUB_NETWORK);
        pair.answer();
        let level = pair.decision().unwrap().run_level;
        assert_eq!(pair.sub_network(), NO_SUB_NETWORK, "decided before frame {}", pair.sent);
        assert!(level < policy.levels(), "the level is taken");
        pair.exchange(1);
        assert_eq!(pair.sub_network(), 0, "after frame {}", pair.sent);
        let counters = pair.core.counters();
        assert_eq!(pair.core.decider(), Decider::Mcu);
        assert_eq!((counters.takeovers, counters.invalid_decisions), (0, 0));
    }
}

#[test]
fn a_microcontroller_that_did_not_hear_of_the_change_says_nothing_for_the_slot() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let [first, next] = first_and_next(&policy);
    let mut pair = Pair::serving(policy, first);
    pair.deaf = true;
    pair.poll(Event::Remove { slot: 0 });
    pair.set(0, next);
    pair.deaf = false;
    let mut served = 0;
    for _ in 0..60 {
        pair.exchange(1);
        let sub_network = pair.sub_network();
        assert!([0, NO_SUB_NETWORK].contains(&sub_network), "{sub_network}");
        served += u32::from(sub_network == 0);
    }
    // The twin's decision stands in, until the seed that the unequal digests bring about.
    assert!(served >= 59, "{served} of 60");
    assert_eq!((pair.core.decider(), pair.core.counters().seeds), (Decider::Mcu, 2));
    assert_eq!(pair.core.counters().invalid_decisions, 0);
    // The second seed, with targets and limits before it, comes right behind a telemetry.
    let whole = |kind: &Kind| matches!(kind, Kind::Application | Kind::Limits | Kind::Seed);
    let last = pair.kinds.iter().rposition(|kind| *kind == Kind::Seed).unwrap();
    let first = pair.kinds[..last].iter().rposition(|kind| !whole(kind)).unwrap();
    assert_eq!(pair.kinds[first], Kind::Telemetry);
    assert_eq!(pair.kinds[first + 1..=first + 2], [Kind::Application, Kind::Limits]);
}

/// What is refused behind the seed that mends it was sent before that: it asks for no other one.
#[test]
fn an_application_that_was_lost_is_told_again_once() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let [first, next] = first_and_next(&policy);
    let mut pair = Pair::serving(policy, first);
    pair.deaf = true;
    pair.set(1, next);
    pair.deaf = false;
    for _ in 0..60 {
        let outcome = Outcome {
            slot: 1,
            sub_network: 0,
            level: 0,
            latency_us: 10_000,
            learn: true,
            missed: false,
        };
        pair.poll(Event::Outcome(outcome));
        pair.exchange(1);
    }
    assert_eq!((pair.core.decider(), pair.core.counters().seeds), (Decider::Mcu, 2));
    assert!(pair.mcu.controller().slots()[1].is_some());
}

#[test]
fn new_targets_of_the_same_application_leave_it_its_sub_network() {
    let bytes = image(1);
    let policy = PolicyView::open(&bytes).unwrap();
    let [first, next] = first_and_next(&policy);
    let mut pair = Pair::serving(policy, first);
    pair.period();
    pair.set(0, next);
    pair.answer();
    assert_eq!(pair.sub_network(), 4, "until a decision knows the new ones");
    pair.exchange(1);
    assert_eq!(pair.sub_network(), 0);
}
