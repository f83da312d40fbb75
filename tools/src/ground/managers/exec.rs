//! A manager of the user's own: a program that reads one JSON object a line and answers each with
//! one.
//!
//! It is told, in `event`: `start` (levels with clocks and idle power, applications with their
//! tables and targets), `time` (when it asked to be called), `done` (a request), `targets`,
//! `limits`. Each carries `now_us` and the monitors. An answer has any of `level` (index),
//! `sub_networks` (an index for each application), `park` (whether the agent may park) and
//! `next_us` (when to be called next; a control period of 50 ms later unless it says something
//! else); what it leaves out stays. `docs/scenarios.md` shows a session.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use coshift_shared::units::MAX_APPLICATIONS;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Event, Manager, Orders, Seen, Setting, When};

/// Control period where the program says none, µs.
const PERIOD_US: u64 = 50_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    level: Option<usize>,
    sub_networks: Option<Vec<usize>>,
    park: Option<bool>,
    next_us: Option<u64>,
}

#[derive(Debug)]
struct Pipe {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// The manager.
#[derive(Debug)]
pub struct Exec<'s> {
    setting: Setting<'s>,
    command: String,
    pipe: RefCell<Pipe>,
    orders: Orders,
    next_us: u64,
    fault: Option<String>,
}

impl<'s> Exec<'s> {
    /// Starts the program (through `sh -c`) and tells it of the board and the applications.
    ///
    /// # Errors
    /// Says why the program does not run or what is wrong with its first answer.
    pub fn new(setting: Setting<'s>, command: &str) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("exec:{command}: {error}");
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("exec:{command}: no pipes"));
        };
        let pipe = RefCell::new(Pipe { child, input, output: BufReader::new(output) });
        let mut sub_networks = [None; MAX_APPLICATIONS];
        let count = setting.applications().len();
        sub_networks.iter_mut().take(count).for_each(|place| *place = Some(0));
        let clocks = *setting.levels().last().ok_or("no levels")?;
        let orders =
            Orders { clocks, when: When::BetweenRequests, park: None, waits: false, sub_networks };
        let command = command.to_owned();
        let mut exec = Self { setting, command, pipe, orders, next_us: PERIOD_US, fault: None };
        let start = exec.start();
        exec.ask(0, &start);
        match exec.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(exec),
        }
    }

    fn start(&self) -> Value {
        let setting = &self.setting;
        let levels = setting.levels().iter().enumerate().map(|(index, level)| {
            json!({
                "cpu_mhz": level.cpu_mhz(), "gpu_mhz": level.gpu_mhz(), "emc_mhz": level.emc_mhz(),
                "idle_w": setting.idle_w(index),
            })
        });
        let levels: Vec<Value> = levels.collect();
        let count = levels.len();
        let applications = setting.applications().iter().enumerate().map(|(index, spec)| {
            let accuracies = setting.accuracies_bp(index);
            let rows = accuracies.iter().enumerate().map(|(sub, accuracy)| {
                let latency = (0..count).map(|level| setting.latency_us(index, sub, level));
                let energy = (0..count).map(|level| setting.energy_uj(index, sub, level));
                json!({
                    "accuracy_pct": f64::from(*accuracy) / 100.0,
                    "latency_us": latency.collect::<Vec<_>>(),
                    "energy_uj": energy.collect::<Vec<_>>(),
                })
            });
            let mut targets = self.targets(index, 0);
            targets["name"] = json!(spec.name);
            targets["period_us"] = json!(setting.period_us(index));
            targets["miss_target"] = json!(spec.miss_target);
            targets["sub_networks"] = json!(rows.collect::<Vec<_>>());
            targets
        });
        let applications: Vec<Value> = applications.collect();
        let limits = setting.scenario.limits_at(0);
        json!({
            "event": "start", "now_us": 0, "levels": levels, "applications": applications,
            "park_level": setting.scenario.board.park_level,
            "power_cap_mw": limits.power_mw, "temp_cap_mdeg_c": limits.temp_mdeg_c,
        })
    }

    fn targets(&self, application: usize, now_us: u64) -> Value {
        let targets = self.setting.applications()[application].targets_at(now_us);
        json!({
            "application": application,
            "deadline_us": targets.deadline_us,
            "accuracy_floor_pct": f64::from(targets.floor_bp) / 100.0,
            "energy_budget_uj": targets.energy_budget_uj,
        })
    }

    fn ask(&mut self, now_us: u64, message: &Value) {
        let answer = self.exchange(message).and_then(|answer| self.obey(now_us, &answer));
        if let Err(problem) = answer {
            self.fault.get_or_insert(format!("exec:{}: {problem}", self.command));
        }
    }

    fn exchange(&self, message: &Value) -> Result<Answer, String> {
        let mut pipe = self.pipe.borrow_mut();
        let sent = writeln!(pipe.input, "{message}").and_then(|()| pipe.input.flush());
        let mut line = String::new();
        let read = sent.and_then(|()| pipe.output.read_line(&mut line));
        match read {
            // What has ended is noticed by reading or by writing, whichever comes first.
            Ok(0) => return Err("ended before the run did".into()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                return Err("ended before the run did".into());
            }
            Err(error) => return Err(error.to_string()),
            Ok(_) => {}
        }
        serde_json::from_str(&line).map_err(|error| {
            let event = message["event"].as_str().unwrap_or("");
            format!("answer to {event}: {error}: {}", line.trim_end())
        })
    }

    fn obey(&mut self, now_us: u64, answer: &Answer) -> Result<(), String> {
        let levels = self.setting.levels();
        if let Some(level) = answer.level {
            self.orders.clocks = *levels
                .get(level)
                .ok_or_else(|| format!("level: 0 to {} goes, {level} found", levels.len() - 1))?;
        }
        for (application, sub_network) in answer.sub_networks.iter().flatten().enumerate() {
            if application >= self.setting.applications().len() {
                return Err(format!("sub_networks: {application} applications go, more found"));
            }
            let count = self.setting.accuracies_bp(application).len();
            if *sub_network >= count {
                let most = count - 1;
                return Err(format!(
                    "sub_networks[{application}]: 0 to {most} goes, {sub_network} found"
                ));
            }
            self.orders.sub_networks[application] = Some(*sub_network);
        }
        if let Some(park) = answer.park {
            let level = self.setting.scenario.board.park_level.filter(|_| park);
            self.orders.park = level.map(|level| levels[level]);
        }
        if let Some(next_us) = answer.next_us {
            self.next_us = next_us.max(now_us + 1);
        }
        Ok(())
    }
}

impl Manager for Exec<'_> {
    fn next_us(&self) -> Option<u64> {
        Some(self.next_us)
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        let now = seen.now_us;
        let mut message = match event {
            Event::Time => {
                self.next_us = now + PERIOD_US;
                json!({ "event": "time" })
            }
            Event::Done(done) => json!({
                "event": "done", "application": done.application,
                "latency_us": done.latency_us, "response_us": done.response_us,
                "missed": done.missed, "sub_network": done.sub_network, "level": done.level,
                "steady": done.steady,
            }),
            Event::Targets { application } => {
                let mut message = self.targets(application, now);
                message["event"] = json!("targets");
                message
            }
            Event::Limits(limits) => json!({
                "event": "limits", "power_cap_mw": limits.power_mw,
                "temp_cap_mdeg_c": limits.temp_mdeg_c,
            }),
            Event::Board | Event::Released { .. } | Event::Started { .. } => return,
        };
        message["now_us"] = json!(now);
        message["power_mw"] = json!(seen.readings.power_mw.map(|reading| reading.value));
        let zone = seen.readings.temperatures_mdeg_c[0];
        message["temp_mdeg_c"] = json!(zone.map(|reading| reading.value));
        self.ask(now, &message);
    }

    fn orders(&self) -> Orders {
        self.orders
    }

    fn fault(&self) -> Option<String> {
        self.fault.clone()
    }
}

impl Drop for Exec<'_> {
    fn drop(&mut self) {
        let child = &mut self.pipe.get_mut().child;
        // It has nothing to lose: there is no run any more.
        let _ended = child.kill().and_then(|()| child.wait());
    }
}
