//! Networks of a board file: figures checked, latency laws worked out.

use super::check::Context;
use super::file::{BoardFile, LatencyFile, NetworkFile, Rule, SubNetworkFile};
use super::{BoardError, Level, MAX_SUB_NETWORKS, Network, SubNetwork};
use crate::law::LatencyLaw;

/// Most of a count that is still exact as a number of the laws.
const MAX_COUNT: f64 = 1e12;

pub(super) fn networks(
    read: &BoardFile,
    levels: &[Level],
    context: &Context<'_>,
) -> Result<Vec<Network>, BoardError> {
    let mut networks = Vec::new();
    for (name, file) in &read.network {
        let at = format!("network.{name}");
        context.name(&at, name, 16)?;
        networks.push(network(&at, name, file, levels, context)?);
    }
    Ok(networks)
}

fn network(
    at: &str,
    name: &str,
    file: &NetworkFile,
    levels: &[Level],
    context: &Context<'_>,
) -> Result<Network, BoardError> {
    context.within(&format!("{at}.tiles"), f64::from(file.tiles), 1.0, 1e6)?;
    let activity =
        context.within(&format!("{at}.activity"), file.activity.unwrap_or(1.0), 1e-3, 10.0)?;
    let model_hash = match &file.model_hash {
        Some(text) if text.len() == 16 => u64::from_str_radix(text, 16).ok(),
        Some(_) => None,
        None => Some(0),
    };
    let Some(model_hash) = model_hash else {
        return Err(context.error(&format!("{at}.model_hash"), "16 hexadecimal digits go"));
    };
    if file.sub_network.is_empty() || file.sub_network.len() > MAX_SUB_NETWORKS {
        let problem =
            format!("1 to {MAX_SUB_NETWORKS} sub-networks go, {} found", file.sub_network.len());
        return Err(context.error(&format!("{at}.sub_network"), problem));
    }
    let coefficients = Coefficients::read(at, file, context)?;
    let mut sub_networks: Vec<SubNetwork> = Vec::new();
    for (index, sub) in file.sub_network.iter().enumerate() {
        let at = format!("{at}.sub_network[{index}]");
        context.within(&format!("{at}.accuracy_pct"), sub.accuracy_pct, 0.0, 100.0)?;
        if sub_networks.last().is_some_and(|before| before.accuracy_pct > sub.accuracy_pct) {
            let problem = "sub-networks sorted by accuracy go, this one is less accurate than the \
                           one before it";
            return Err(context.error(&format!("{at}.accuracy_pct"), problem));
        }
        if sub_networks.iter().any(|before| before.id == sub.id) {
            let problem = format!("ids that differ go, {} is there twice", sub.id);
            return Err(context.error(&format!("{at}.id"), problem));
        }
        if let Some(threshold) = sub.exit_threshold {
            context.within(&format!("{at}.exit_threshold"), threshold, 0.0, 1.0)?;
        }
        let latency = coefficients.law(&at, sub, file, levels, context)?;
        sub_networks.push(SubNetwork {
            id: sub.id,
            accuracy_pct: sub.accuracy_pct,
            macs: sub.macs,
            params: sub.params,
            blocks: sub.blocks,
            resolution: sub.resolution,
            exit_threshold: sub.exit_threshold,
            latency,
        });
    }
    Ok(Network { name: name.into(), tiles: file.tiles, activity, model_hash, sub_networks })
}

/// The rule of a network with the coefficients that go with it.
enum Coefficients {
    Scaled { p: f64, cpu_ms_per_block: f64, gpu_mhz_ms_per_mmac: f64, emc_mhz_ms_per_mb: f64 },
    Anchored { p: f64, cpu_ms_per_block: f64, emc_over_gpu: f64, scale: f64 },
    Explicit,
}

impl Coefficients {
    fn read(at: &str, file: &NetworkFile, context: &Context<'_>) -> Result<Self, BoardError> {
        let latency = &file.latency;
        let at = format!("{at}.latency");
        context.within(&format!("{at}.cpu_ref_mhz"), latency.cpu_ref_mhz, 1.0, 20_000.0)?;
        let field = |name: &str, value: Option<f64>, lowest: f64, highest: f64| {
            let field = format!("{at}.{name}");
            let Some(value) = value else {
                let problem =
                    format!("missing field `{name}`, rule \"{}\" needs it", word(latency));
                return Err(context.error(&field, problem));
            };
            context.within(&field, value, lowest, highest)
        };
        let foreign = |given: &[(&str, Option<f64>)]| match given.iter().find(|(_, v)| v.is_some())
        {
            Some((name, _)) => {
                let problem = format!("rule \"{}\" does not know it", word(latency));
                Err(context.error(&format!("{at}.{name}"), problem))
            }
            None => Ok(()),
        };
        let anchored_only =
            [("emc_over_gpu", latency.emc_over_gpu), ("anchor_scale", latency.anchor_scale)];
        let scaled_only = [
            ("gpu_mhz_ms_per_mmac", latency.gpu_mhz_ms_per_mmac),
            ("emc_mhz_ms_per_mb", latency.emc_mhz_ms_per_mb),
        ];
        match latency.rule {
            Rule::Scaled => {
                foreign(&anchored_only)?;
                Ok(Self::Scaled {
                    p: field("p", latency.p, 1.0, 100.0)?,
                    cpu_ms_per_block: field(
                        "cpu_ms_per_block",
                        latency.cpu_ms_per_block,
                        0.0,
                        1e3,
                    )?,
                    gpu_mhz_ms_per_mmac: field(
                        "gpu_mhz_ms_per_mmac",
                        latency.gpu_mhz_ms_per_mmac,
                        0.0,
                        1e6,
                    )?,
                    emc_mhz_ms_per_mb: field(
                        "emc_mhz_ms_per_mb",
                        latency.emc_mhz_ms_per_mb,
                        0.0,
                        1e6,
                    )?,
                })
            }
            Rule::Anchored => {
                foreign(&scaled_only)?;
                Ok(Self::Anchored {
                    p: field("p", latency.p, 1.0, 100.0)?,
                    cpu_ms_per_block: field(
                        "cpu_ms_per_block",
                        latency.cpu_ms_per_block,
                        0.0,
                        1e3,
                    )?,
                    emc_over_gpu: field("emc_over_gpu", latency.emc_over_gpu, 0.0, 1e3)?,
                    scale: field(
                        "anchor_scale",
                        Some(latency.anchor_scale.unwrap_or(1.0)),
                        1e-3,
                        1e3,
                    )?,
                })
            }
            Rule::Explicit => {
                foreign(&anchored_only)?;
                foreign(&scaled_only)?;
                foreign(&[("p", latency.p), ("cpu_ms_per_block", latency.cpu_ms_per_block)])?;
                Ok(Self::Explicit)
            }
        }
    }

    fn law(
        &self,
        at: &str,
        sub: &SubNetworkFile,
        network: &NetworkFile,
        levels: &[Level],
        context: &Context<'_>,
    ) -> Result<LatencyLaw, BoardError> {
        let need = |name: &str, value: Option<f64>| {
            let field = format!("{at}.{name}");
            let Some(value) = value else {
                let problem =
                    format!("missing field `{name}`, rule \"{}\" needs it", word(&network.latency));
                return Err(context.error(&field, problem));
            };
            context.within(&field, value, 1e-6, MAX_COUNT)
        };
        let cpu_ref_mhz = network.latency.cpu_ref_mhz;
        let blocks = || need("blocks", sub.blocks.map(f64::from));
        let explicit = matches!(self, Self::Explicit);
        if !explicit && sub.law.is_some() {
            return Err(context.error(&format!("{at}.law"), "goes with rule \"explicit\" only"));
        }
        if !matches!(self, Self::Anchored { .. }) && sub.anchor_ms.is_some() {
            let problem = "goes with rule \"anchored\" only";
            return Err(context.error(&format!("{at}.anchor_ms"), problem));
        }
        let law = match *self {
            Self::Scaled { p, cpu_ms_per_block, gpu_mhz_ms_per_mmac, emc_mhz_ms_per_mb } => {
                let tiles = f64::from(network.tiles);
                let macs = need("macs", sub.macs.map(|count| count as f64))?;
                let bytes = need("bytes", sub.bytes.map(|count| count as f64))?;
                LatencyLaw {
                    gpu_mhz_ms: gpu_mhz_ms_per_mmac * tiles * macs / 1e6,
                    emc_mhz_ms: emc_mhz_ms_per_mb * tiles * bytes / 1e6,
                    cpu_ms: cpu_ms_per_block * blocks()?,
                    cpu_ref_mhz,
                    p,
                }
            }
            Self::Anchored { p, cpu_ms_per_block, emc_over_gpu, scale } => {
                let Some(top) = levels.last() else {
                    return Err(context.error("levels", "at least one level goes"));
                };
                let cpu_ms = cpu_ms_per_block * blocks()?;
                let anchor_ms = need("anchor_ms", sub.anchor_ms)? * scale;
                let rest_ms = anchor_ms - cpu_ms * cpu_ref_mhz / top.cpu_mhz();
                if rest_ms <= 0.0 {
                    let problem = format!(
                        "more than the launch part of its blocks ({:.3} ms) goes",
                        (anchor_ms - rest_ms) / scale
                    );
                    return Err(context.error(&format!("{at}.anchor_ms"), problem));
                }
                let gpu_ms = rest_ms / (1.0 + emc_over_gpu.powf(p)).powf(p.recip());
                LatencyLaw {
                    gpu_mhz_ms: gpu_ms * top.gpu_mhz(),
                    emc_mhz_ms: gpu_ms * emc_over_gpu * top.emc_mhz(),
                    cpu_ms,
                    cpu_ref_mhz,
                    p,
                }
            }
            Self::Explicit => {
                let Some(law) = sub.law else {
                    let problem = "missing field `law`, rule \"explicit\" needs it";
                    return Err(context.error(&format!("{at}.law"), problem));
                };
                let within = |name: &str, value: f64, lowest: f64, highest: f64| {
                    context.within(&format!("{at}.law.{name}"), value, lowest, highest)
                };
                LatencyLaw {
                    gpu_mhz_ms: within("gpu_mhz_ms", law.gpu_mhz_ms, 0.0, 1e9)?,
                    emc_mhz_ms: within("emc_mhz_ms", law.emc_mhz_ms, 0.0, 1e9)?,
                    cpu_ms: within("cpu_ms", law.cpu_ms, 0.0, 1e6)?,
                    cpu_ref_mhz,
                    p: within("p", law.p, 1.0, 100.0)?,
                }
            }
        };
        // What a policy image can hold: 1 µs to 2^30 µs.
        for (index, level) in levels.iter().enumerate() {
            let us = law.us(level);
            if !(1.0..=f64::from(1 << 30)).contains(&us) {
                let problem =
                    format!("a latency of 1 to 2^30 µs goes, {us:.1} µs at level {index}");
                return Err(context.error(at, problem));
            }
        }
        Ok(law)
    }
}

fn word(latency: &LatencyFile) -> &'static str {
    match latency.rule {
        Rule::Scaled => "scaled",
        Rule::Anchored => "anchored",
        Rule::Explicit => "explicit",
    }
}
