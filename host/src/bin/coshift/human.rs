//! Reports for people.

use std::fmt::Write;

use coshift_host::core::{Decider, LinkState, UploadStage};
use coshift_host::report::{AdaptationReport, ApplicationReport, Report, UploadReport};

/// What makes a new line: another decision or another decider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    decider: Decider,
    mode: Option<String>,
    level: Option<u8>,
    sub_networks: [Option<u8>; 4],
    shortfall: Option<(String, Option<String>)>,
}

impl Shown {
    pub(crate) fn of(report: &Report) -> Self {
        Self {
            decider: report.decider,
            mode: report.mode.clone(),
            level: report.run_level,
            sub_networks: report.sub_networks,
            shortfall: report
                .shortfall
                .as_ref()
                .map(|shortfall| (shortfall.what.clone(), shortfall.application.clone())),
        }
    }
}

/// A time since the start: `12.345s`, aligned.
pub(crate) fn time(us: u64) -> String {
    format!("{:>9.3}s", us as f64 / 1e6)
}

fn decider(decider: Decider) -> &'static str {
    match decider {
        Decider::Mcu => "mcu",
        Decider::Twin => "twin",
        Decider::InProcess => "in-process",
    }
}

fn level(report: &Report) -> String {
    match (report.run_level, report.level_khz) {
        (Some(level), Some(clocks)) => {
            let [cpu, gpu, emc] = clocks.map(|khz| (khz + 500) / 1000);
            format!("level {level} (CPU {cpu} GPU {gpu} EMC {emc} MHz)")
        }
        _ => "no level yet".into(),
    }
}

fn percent(bp: u16) -> String {
    format!("{:.2} %", f64::from(bp) / 100.0)
}

/// One line on the decision in force.
pub(crate) fn decision(report: &Report) -> String {
    let mut line =
        format!("{} {}: {}", time(report.time_us), decider(report.decider), level(report));
    for application in &report.applications {
        let _ = match (application.sub_network, application.accuracy_bp) {
            (Some(index), Some(bp)) => {
                write!(line, ", {} sub-network {index} ({})", application.name, percent(bp))
            }
            _ => write!(line, ", {} waits", application.name),
        };
    }
    // "Nothing is better" says nothing of why it runs: that was said when it changed.
    let reason = match (&report.changed, report.reason.as_deref()) {
        (Some(changed), Some("keep")) => Some(&changed.reason_text),
        _ => report.reason_text.as_ref(),
    };
    if let Some(reason) = reason {
        let _ = write!(line, "; {reason}");
    }
    if let Some(shortfall) = &report.shortfall {
        let _ = write!(line, ": {}", shortfall.text);
    }
    line
}

fn milliseconds(us: Option<u32>) -> String {
    us.map_or_else(|| "-".into(), |us| format!("{:.1} ms", f64::from(us) / 1000.0))
}

/// One line on an application.
pub(crate) fn application(application: &ApplicationReport) -> String {
    let rate = 1e6 / f64::from(application.period_us);
    let mut line = format!(
        "{}: {}, deadline {}, {rate:.4}/s, floor {}; ",
        application.name,
        application.network,
        milliseconds(Some(application.deadline_us)),
        percent(application.floor_bp),
    );
    let share = if application.requests == 0 {
        0.0
    } else {
        application.misses as f64 * 100.0 / application.requests as f64
    };
    let _ = write!(
        line,
        "{} requests, {} missed ({share:.2} %), latency p50 {} p99 {}, response p99 {}",
        application.requests,
        application.misses,
        milliseconds(application.latency_p50_us),
        milliseconds(application.latency_p99_us),
        milliseconds(application.response_p99_us),
    );
    if application.late_by_host > 0 {
        let _ = write!(line, ", {} late only on this machine", application.late_by_host);
    }
    if let Some(accuracy) = application.measured_accuracy_pct {
        let _ = write!(
            line,
            ", accuracy {accuracy:.2} % of {} images inferred ({} of a request's {} tiles, wall time \
             p50 {})",
            application.images,
            application.tiles_run.unwrap_or_default(),
            application.tiles.map_or_else(|| "unknown".into(), |tiles| tiles.to_string()),
            milliseconds(application.wall_p50_us),
        );
    }
    if application.early > 0 {
        let _ = write!(line, ", {} images left early", application.early);
    }
    if let Some(adaptation) = &application.adaptation {
        let _ = write!(line, ", {}", adapted(adaptation));
    }
    line
}

/// How an application's model was adapted to its images.
fn adapted(adaptation: &AdaptationReport) -> String {
    let AdaptationReport { times, time_us, from_images, accuracy_pct, .. } = adaptation;
    let at = time(*time_us);
    let mut text = format!(
        "adapted at {} from {from_images} of its images (number {times}): accuracy \
         {accuracy_pct:.2} % since the first",
        at.trim_start(),
    );
    if let Some(before) = adaptation.accuracy_before_pct {
        let _ = write!(text, ", {before:.2} % before");
    }
    text
}

/// Energy since the start, where something counts it.
fn energy(report: &Report) -> Option<String> {
    let joule = report.energy_mj? as f64 / 1e3;
    let source = report.energy_source.as_deref().unwrap_or("source unknown");
    Some(format!("energy: {joule:.2} J since the start ({source}, {})", report.board))
}

/// The link in words, with both sides' numbers where they do not match.
fn link(report: &Report) -> String {
    let range = |[min, current]: [u8; 2]| {
        if min == current { format!("{min}") } else { format!("{min} to {current}") }
    };
    let theirs = report.protocol.mcu.map_or_else(|| "unknown".into(), range);
    match report.link {
        LinkState::InProcess => "in-process".into(),
        LinkState::Down => "the port is gone".into(),
        LinkState::Greeting => "greeting the MCU; no answer yet".into(),
        LinkState::VersionsDiffer => format!(
            "protocol versions do not meet: agent {}, MCU {theirs}",
            range(report.protocol.agent)
        ),
        LinkState::PoliciesDiffer => format!(
            "policies differ: agent CRC {}, MCU CRC {}",
            report.policy_crc.agent,
            report.policy_crc.mcu.as_deref().unwrap_or("unknown")
        ),
        LinkState::InSession => format!("session {} with the MCU", report.session),
        LinkState::Silent => format!("session {}, the MCU is silent", report.session),
    }
}

/// How the upload of the policy goes.
fn policy_upload(upload: &UploadReport) -> String {
    let UploadReport { stage, received, length, begun_at, failure } = upload;
    let from = if *begun_at > 0 { format!(", from {begun_at} on") } else { String::new() };
    match stage {
        UploadStage::Waiting => "waits for a session".into(),
        UploadStage::Beginning => format!("announced, {length} bytes"),
        UploadStage::Sending => format!("{received} of {length} bytes{from}"),
        UploadStage::Committing => format!("{length} bytes{from}; the MCU checks them"),
        UploadStage::Restarting => format!("{length} bytes{from}; the MCU restarts on them"),
        UploadStage::Done => format!("done, {length} bytes{from}"),
        UploadStage::Failed => format!("given up: {}", failure.as_deref().unwrap_or("unknown")),
    }
}

/// Everything `coshift status` says.
pub(crate) fn status(report: &Report) -> String {
    let mut text = format!("{}\n", decision(report));
    if let Some(changed) = &report.changed {
        let since = changed.time_us as f64 / 1e6;
        let reason = report.reason_text.as_deref().unwrap_or("none yet");
        let _ = writeln!(text, "unchanged since {since:.3} s; now: {reason}");
    }
    let _ = writeln!(text, "decider: {}", decider(report.decider));
    let _ = writeln!(text, "link: {}", link(report));
    let theirs = report
        .protocol
        .mcu
        .map_or_else(|| "not heard".into(), |[min, current]| format!("{min}..={current}"));
    let [min, current] = report.protocol.agent;
    let _ = writeln!(text, "protocol: agent {min}..={current}, MCU {theirs}");
    let mcu_crc = report.policy_crc.mcu.as_deref().unwrap_or("not heard");
    let _ = writeln!(text, "policy CRC: agent {}, MCU {mcu_crc}", report.policy_crc.agent);
    if let Some(upload) = &report.policy_upload {
        let _ = writeln!(text, "policy upload: {}", policy_upload(upload));
    }
    if let Some(mcu) = &report.mcu {
        let [major, minor, patch] = mcu.version;
        let fault = mcu.last_fault.as_deref().unwrap_or("none");
        let _ = writeln!(
            text,
            "MCU: firmware {major}.{minor}.{patch}, boot {}, reset by {}, last fault {fault}",
            mcu.boot_nonce, mcu.reset_cause
        );
        if report.schema.mcu.as_ref() != Some(&report.schema.agent) {
            let theirs = report.schema.mcu.as_deref().unwrap_or("unknown");
            let _ = writeln!(
                text,
                "schema: agent {}, MCU {theirs}: the builds differ",
                report.schema.agent
            );
        }
    }
    if report.link != LinkState::InProcess {
        let _ = writeln!(
            text,
            "twin: {} takeovers, {} hand-backs, {} equal decisions in a row, {} differed, {} seeds",
            report.twin_takeovers,
            report.handbacks,
            report.equal_decisions,
            report.differing_decisions,
            report.seeds
        );
        let to_mcu = report.to_mcu.map_or_else(
            || "not reported yet".into(),
            |counters| format!("{} accepted, {} faults", counters.accepted, counters.faults()),
        );
        let _ = writeln!(
            text,
            "frames: from the MCU {} accepted, {} faults; to it {to_mcu}, {} not sent",
            report.from_mcu.accepted,
            report.from_mcu.faults(),
            report.frames_dropped
        );
    }
    let power = report.power_mw.map_or_else(|| "-".into(), watts);
    let predicted = report.predicted_power_mw.map_or_else(|| "-".into(), watts);
    let _ = writeln!(text, "power: {power} (decision expects {predicted})");
    if !report.doubted.is_empty() {
        let _ = writeln!(text, "not believed: {}", report.doubted.join(", "));
    }
    if let Some(energy) = energy(report) {
        let _ = writeln!(text, "{energy}");
    }
    for served in &report.applications {
        let _ = writeln!(text, "{}", application(served));
    }
    text
}

fn watts(mw: u32) -> String {
    format!("{:.2} W", f64::from(mw) / 1000.0)
}

/// The summary at the end of a run.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = format!(
        "end after {:.3} s: {} requests, {} missed, {} level changes, {} takeovers, {} hand-backs\n",
        report.time_us as f64 / 1e6,
        report.requests,
        report.misses,
        report.level_changes,
        report.twin_takeovers,
        report.handbacks
    );
    if let Some(energy) = energy(report) {
        let _ = writeln!(text, "{energy}");
    }
    for served in &report.applications {
        let _ = writeln!(text, "{}", application(served));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{AdaptationReport, adapted};

    #[test]
    fn an_adaptation_says_when_from_what_and_what_it_changed() {
        let mut adaptation = AdaptationReport {
            times: 3,
            time_us: 7_146_000,
            from_images: 100,
            images: 2_000,
            right: 1_092,
            accuracy_pct: 54.6,
            accuracy_before_pct: Some(17.47),
        };
        let since = "adapted at 7.146s from 100 of its images (number 3): accuracy 54.60 % since \
                     the first";
        assert_eq!(adapted(&adaptation), format!("{since}, 17.47 % before"));
        adaptation.accuracy_before_pct = None;
        assert_eq!(adapted(&adaptation), since);
    }
}
