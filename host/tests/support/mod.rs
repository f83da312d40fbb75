//! A policy, and a microcontroller in virtual time behind a link that can be damaged.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;

use coshift_controller::{Identity, Node};
use coshift_host::clock::Time;
use coshift_host::core::{AgentCore, Caps, Settings};
use coshift_host::engine::ScriptedEngine;
use coshift_host::platform::ScriptedPlatform;
use coshift_host::runtime::Runtime;
use coshift_host::simulation::{Simulation, VirtualLink};
use coshift_host::spec::{ApplicationSpec, SlowdownScript};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::{Cell, Level, PolicyImage, PolicyView, TableImage};
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_host::{Decision, FaultCode, ResetCause, ToHost};
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

/// A board with eight levels and a network of five sub-networks, by simple laws.
pub(crate) fn image(sequence: u32) -> Vec<u8> {
    let levels = (1..=8).map(|n| Level {
        cpu_khz: 1_190_400,
        gpu_khz: n * 137_500,
        emc_khz: 1_600_000,
        idle_mw: 2_400 + 90 * n,
    });
    let accuracies = [7_000, 7_200, 7_400, 7_600, 7_800];
    let table = TableImage::sample("net-a", &accuracies, 8, |row, level| {
        let latency_us = 3_000 + (row + 2) * 24_000 / (level + 1);
        let busy_mw = 900 + 40 * (level + 1) * (level + 1);
        Cell { latency_us, energy_uj: latency_us * busy_mw / 1000 }
    });
    let image = PolicyImage::sample(levels.collect(), vec![table]);
    PolicyImage { sequence, precision_bits: 16, ..image }.to_bytes().unwrap()
}

/// A microcontroller behind a link.
pub(crate) struct FakeMcu<'p> {
    policy: PolicyView<'p>,
    versions: VersionRange,
    node: Option<Node<'p>>,
    boots: u32,
    booted_at: Time,
    /// Bytes on their way to the agent.
    to_agent: VecDeque<u8>,
    /// Bytes that wait while the link stalls.
    stalled: VecDeque<u8>,
    /// Nothing passes in either direction; it waits.
    pub(crate) stall: bool,
    /// The port is there.
    pub(crate) up: bool,
    /// Frames to the microcontroller: one in so many is dropped; 0 = none.
    pub(crate) drop_one_in: u32,
    /// Frames to the microcontroller: one in so many comes twice; 0 = none.
    pub(crate) double_one_in: u32,
    /// Frames to the microcontroller: one in so many has a bit flipped; 0 = none.
    pub(crate) flip_one_in: u32,
    /// The next so many decisions to the agent are changed.
    pub(crate) lie: u32,
    /// How: to another level, unless it is set.
    pub(crate) change: fn(&mut Decision),
    /// The last Hello that was sent here.
    pub(crate) hello: Vec<u8>,
    random: u64,
    local: Time,
}

impl<'p> FakeMcu<'p> {
    pub(crate) fn new(policy: PolicyView<'p>) -> Self {
        Self::with_versions(policy, VersionRange::OURS)
    }

    pub(crate) fn with_versions(policy: PolicyView<'p>, versions: VersionRange) -> Self {
        let mut mcu = Self {
            policy,
            versions,
            node: None,
            boots: 0,
            booted_at: Time::START,
            to_agent: VecDeque::new(),
            stalled: VecDeque::new(),
            stall: false,
            up: true,
            drop_one_in: 0,
            double_one_in: 0,
            flip_one_in: 0,
            lie: 0,
            change: |decision| decision.run_level ^= 1,
            hello: Vec::new(),
            random: 0x5eed_0000_0000_0001,
            local: Time::START,
        };
        mcu.boot(Time::START);
        mcu
    }

    pub(crate) fn kill(&mut self) {
        self.node = None;
        self.to_agent.clear();
    }

    pub(crate) fn boot(&mut self, now: Time) {
        self.boots += 1;
        self.booted_at = now;
        self.local = now;
        let identity = Identity {
            version: [9, 8, 7],
            boot_nonce: 0xB007_0000 + self.boots,
            reset_cause: if self.boots == 1 { ResetCause::PowerOn } else { ResetCause::Watchdog },
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        self.node = Some(Node::with_versions(Some(self.policy), identity, self.versions));
    }

    /// Boots with an old Hello already waiting in the line.
    pub(crate) fn boot_with_old_hello(&mut self, now: Time) {
        self.boot(now);
        let hello = self.hello.clone();
        self.deliver(now, &hello);
    }

    pub(crate) fn node(&self) -> &Node<'p> {
        self.node.as_ref().unwrap()
    }

    /// Puts bytes of nobody on the line to the agent.
    pub(crate) fn babble(&mut self, bytes: &[u8]) {
        self.to_agent.extend(bytes);
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        count > 0 && self.random.is_multiple_of(u64::from(count))
    }

    /// Its own clock: since its boot, and it runs 0.01 % slow.
    fn local(&self, now: Time) -> Instant {
        let passed = now.us_since(self.booted_at);
        Time::from_us(passed - passed / 10_000).stamp()
    }

    fn deliver(&mut self, now: Time, bytes: &[u8]) {
        let local = self.local(now);
        let Some(node) = &mut self.node else { return };
        let to_agent = &mut self.to_agent;
        let (lie, change) = (&mut self.lie, self.change);
        for byte in bytes {
            node.feed(*byte, local, &mut |frame| {
                if *lie > 0 && twist(frame, change, to_agent) {
                    *lie -= 1;
                } else {
                    to_agent.extend(frame.bytes());
                }
            });
        }
    }
}

/// Kind of the frame in `bytes`.
fn kind(bytes: &[u8]) -> Option<Kind> {
    let mut reader = FrameReader::new();
    bytes.iter().find_map(|byte| match reader.feed(*byte) {
        Received::Packet(header, _) => Kind::from_byte(header.kind),
        _ => None,
    })
}

/// Sends a decision changed, in a frame whose CRC is right; `false` for other frames.
fn twist(frame: &Frame, change: fn(&mut Decision), out: &mut VecDeque<u8>) -> bool {
    let mut reader = FrameReader::new();
    for byte in frame.bytes() {
        let Received::Packet(header, body) = reader.feed(*byte) else { continue };
        let Some(kind) = Kind::from_byte(header.kind) else { return false };
        let Ok(ToHost::Decision(mut decision)) = ToHost::decode(kind, body) else { return false };
        change(&mut decision);
        let message = ToHost::Decision(decision);
        out.extend(Frame::build(header, |place| message.encode(place)).unwrap().bytes());
        return true;
    }
    false
}

impl VirtualLink for FakeMcu<'_> {
    fn send(&mut self, now: Time, bytes: &[u8]) {
        if kind(bytes) == Some(Kind::Hello) {
            self.hello = bytes.to_vec();
        }
        if self.one_in(self.drop_one_in) {
            return;
        }
        let mut bytes = bytes.to_vec();
        if self.one_in(self.flip_one_in) {
            let place = usize::try_from(self.random >> 8).unwrap() % bytes.len();
            bytes[place] ^= 1 << (self.random % 8);
        }
        if self.one_in(self.double_one_in) {
            bytes.extend(bytes.clone());
        }
        if self.stall {
            self.stalled.extend(bytes);
        } else {
            self.deliver(now, &bytes);
        }
    }

    fn advance(&mut self, now: Time, received: &mut Vec<u8>) {
        self.local = now;
        let local = self.local(now);
        if let Some(node) = &mut self.node {
            let to_agent = &mut self.to_agent;
            node.poll(local, &mut |frame| to_agent.extend(frame.bytes()));
        }
        if !self.stall {
            let waiting: Vec<_> = self.stalled.drain(..).collect();
            self.deliver(now, &waiting);
            received.extend(self.to_agent.drain(..));
        }
    }

    fn next_event(&self) -> Option<Time> {
        if !self.to_agent.is_empty() && !self.stall {
            return Some(self.local);
        }
        let due = self.node.as_ref()?.next_poll()?;
        let wait = due.since(self.local(self.local)).us();
        Some(self.local.after_us(u64::from(wait + wait / 5_000)))
    }

    fn is_up(&self) -> bool {
        self.up
    }
}

pub(crate) const PERIOD_MS: u64 = 50;

pub(crate) fn settings(remote: bool, start: u32) -> Settings {
    Settings {
        period: Duration::from_ms(50),
        remote,
        boot_nonce: 0xA6E7_0000 + start,
        session_seed: 0x1234_5678_9abc + 2 * u64::from(start),
        caps: Caps { power_mw: NO_POWER_CAP, temp_mdeg_c: NO_TEMP_CAP },
        parking: false,
        upload_policy: false,
    }
}

pub(crate) type Sim<'p, L> = Simulation<'p, ScriptedPlatform, L>;

/// An agent in virtual time with one application `cam0` at 15 requests a second.
pub(crate) fn simulation<'p, L: VirtualLink>(
    policy: PolicyView<'p>,
    link: L,
    remote: bool,
    slowdown: &str,
) -> Sim<'p, L> {
    simulation_of_start(policy, link, remote, slowdown, 1)
}

/// The same for the agent's start number `start`: nonce and session numbers differ.
pub(crate) fn simulation_of_start<'p, L: VirtualLink>(
    policy: PolicyView<'p>,
    link: L,
    remote: bool,
    slowdown: &str,
    start: u32,
) -> Sim<'p, L> {
    simulation_with(policy, link, slowdown, settings(remote, start))
}

/// The same with all settings given.
pub(crate) fn simulation_with<'p, L: VirtualLink>(
    policy: PolicyView<'p>,
    link: L,
    slowdown: &str,
    settings: Settings,
) -> Sim<'p, L> {
    let core = AgentCore::new(policy, settings);
    let runtime = Runtime::new(core, ScriptedPlatform::new(&policy, 7));
    let scripts = vec![SlowdownScript::parse("--slowdown", slowdown).unwrap()];
    let engine = ScriptedEngine::new(&policy, scripts, 100, 7);
    let mut simulation = Simulation::new(runtime, engine, link);
    set(&mut simulation, "cam0=net-a,deadline=33ms,floor=74,rate=15");
    simulation
}

pub(crate) fn set<L: VirtualLink>(simulation: &mut Sim<'_, L>, spec: &str) {
    let spec = ApplicationSpec::parse("--app", spec).unwrap();
    let mut effects = Vec::new();
    let now = simulation.now();
    simulation.runtime.set_application(now, "--app", spec, &mut effects).unwrap();
    simulation.apply(effects);
}
