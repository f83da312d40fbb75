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
    let coefficients = Coefficients::read(&format!("{at}.latency"), &file.latency, context)?;
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
    Scaled {
        p: f64,
        cpu_ref_mhz: f64,
        cpu_ms_per_block: f64,
        gpu_mhz_ms_per_mmac: f64,
        emc_mhz_ms_per_mb: f64,
    },
    Anchored {
        p: f64,
        cpu_share: f64,
        emc_over_gpu: f64,
        scale: f64,
    },
    Explicit {
        cpu_ref_mhz: f64,
    },
}

/// A number that a rule needs: the error says so where it is missing.
fn needed(
    at: &str,
    name: &str,
    value: Option<f64>,
    (lowest, highest): (f64, f64),
    latency: &LatencyFile,
    context: &Context<'_>,
) -> Result<f64, BoardError> {
    let field = format!("{at}.{name}");
    let Some(value) = value else {
        let problem = format!("missing field `{name}`, rule \"{}\" needs it", word(latency));
        return Err(context.error(&field, problem));
    };
    context.within(&field, value, lowest, highest)
}

impl Coefficients {
    fn read(at: &str, file: &LatencyFile, context: &Context<'_>) -> Result<Self, BoardError> {
        let fields = [
            ("cpu_ref_mhz", file.cpu_ref_mhz, (1.0, 20_000.0)),
            ("p", file.p, (1.0, 100.0)),
            ("cpu_ms_per_block", file.cpu_ms_per_block, (0.0, 1e3)),
            ("gpu_mhz_ms_per_mmac", file.gpu_mhz_ms_per_mmac, (0.0, 1e6)),
            ("emc_mhz_ms_per_mb", file.emc_mhz_ms_per_mb, (0.0, 1e6)),
            ("cpu_share", file.cpu_share, (0.0, 0.99)),
            ("emc_over_gpu", file.emc_over_gpu, (0.0, 1e3)),
            ("anchor_scale", file.anchor_scale, (1e-3, 1e3)),
        ];
        let known: &[&str] = match file.rule {
            Rule::Scaled => &[
                "cpu_ref_mhz",
                "p",
                "cpu_ms_per_block",
                "gpu_mhz_ms_per_mmac",
                "emc_mhz_ms_per_mb",
            ],
            Rule::Anchored => &["p", "cpu_share", "emc_over_gpu", "anchor_scale"],
            Rule::Explicit => &["cpu_ref_mhz"],
        };
        for (name, value, _) in fields {
            if value.is_some() && !known.contains(&name) {
                let problem = format!("rule \"{}\" does not know it", word(file));
                return Err(context.error(&format!("{at}.{name}"), problem));
            }
        }
        let read = |wanted: &str| {
            let (name, value, range) = fields
                .into_iter()
                .find(|(name, ..)| *name == wanted)
                .unwrap_or(("", None, (0.0, 0.0)));
            needed(at, name, value, range, file, context)
        };
        Ok(match file.rule {
            Rule::Scaled => Self::Scaled {
                p: read("p")?,
                cpu_ref_mhz: read("cpu_ref_mhz")?,
                cpu_ms_per_block: read("cpu_ms_per_block")?,
                gpu_mhz_ms_per_mmac: read("gpu_mhz_ms_per_mmac")?,
                emc_mhz_ms_per_mb: read("emc_mhz_ms_per_mb")?,
            },
            Rule::Anchored => Self::Anchored {
                p: read("p")?,
                cpu_share: read("cpu_share")?,
                emc_over_gpu: read("emc_over_gpu")?,
                scale: if file.anchor_scale.is_some() { read("anchor_scale")? } else { 1.0 },
            },
            Rule::Explicit => Self::Explicit { cpu_ref_mhz: read("cpu_ref_mhz")? },
        })
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
            needed(at, name, value, (1e-6, MAX_COUNT), &network.latency, context)
        };
        if sub.law.is_some() && !matches!(self, Self::Explicit { .. }) {
            return Err(context.error(&format!("{at}.law"), "goes with rule \"explicit\" only"));
        }
        if sub.anchor_ms.is_some() && !matches!(self, Self::Anchored { .. }) {
            let problem = "goes with rule \"anchored\" only";
            return Err(context.error(&format!("{at}.anchor_ms"), problem));
        }
        let law = match *self {
            Self::Scaled {
                p,
                cpu_ref_mhz,
                cpu_ms_per_block,
                gpu_mhz_ms_per_mmac,
                emc_mhz_ms_per_mb,
            } => {
                let mega = f64::from(network.tiles) / 1e6;
                let macs = need("macs", sub.macs.map(|count| count as f64))?;
                let bytes = need("bytes", sub.bytes.map(|count| count as f64))?;
                LatencyLaw {
                    gpu_mhz_ms: gpu_mhz_ms_per_mmac * macs * mega,
                    emc_mhz_ms: emc_mhz_ms_per_mb * bytes * mega,
                    cpu_ms: cpu_ms_per_block * need("blocks", sub.blocks.map(f64::from))?,
                    cpu_ref_mhz,
                    p,
                }
            }
            Self::Anchored { p, cpu_share, emc_over_gpu, scale } => {
                let Some(top) = levels.last() else {
                    return Err(context.error("levels", "at least one level goes"));
                };
                let whole_ms = need("anchor_ms", sub.anchor_ms)? * scale;
                let gpu_ms =
                    whole_ms * (1.0 - cpu_share) / (1.0 + emc_over_gpu.powf(p)).powf(p.recip());
                LatencyLaw {
                    gpu_mhz_ms: gpu_ms * top.gpu_mhz(),
                    emc_mhz_ms: gpu_ms * emc_over_gpu * top.emc_mhz(),
                    cpu_ms: whole_ms * cpu_share,
                    cpu_ref_mhz: top.cpu_mhz(),
                    p,
                }
            }
            Self::Explicit { cpu_ref_mhz } => {
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
