//! The card of a model.

use std::fmt;

use coshift_engine::model::Model;

use super::{IMAGES_LICENCE, PackArgs, shown};
use crate::train::Settings;

/// What the model is meant to reach: sub-networks on the front, ratio of the largest MACs to the
/// smallest, accuracy of the largest and of the smallest on the test set, %.
const WANTED: (usize, f64, f64, f64) = (8, 6.0, 94.0, 90.0);

/// What the card tells.
#[derive(Debug)]
pub(super) struct Card<'a> {
    pub(super) model: &'a Model,
    pub(super) settings: &'a Settings,
    pub(super) epochs: u32,
    pub(super) seconds: f64,
    pub(super) args: &'a PackArgs,
    pub(super) candidates: usize,
    pub(super) tested: usize,
    pub(super) validation_images: usize,
    pub(super) calibration_images: usize,
    pub(super) shipped_images: usize,
    pub(super) weights_bytes: u64,
}

impl Card<'_> {
    /// What the model does not reach of what it is meant to.
    pub(super) fn shortfalls(&self) -> Vec<String> {
        let mut list = Vec::new();
        let subs = &self.model.sub_networks;
        let (Some(smallest), Some(largest)) = (subs.first(), subs.last()) else {
            return list;
        };
        let (count, span, top, bottom) = WANTED;
        if self.epochs < self.settings.epochs {
            list.push(format!(
                "the training was not finished: {} of {} epochs",
                self.epochs, self.settings.epochs
            ));
        }
        if subs.len() < count {
            list.push(format!("{} sub-networks on the front, at least {count} wanted", subs.len()));
        }
        let found = largest.macs as f64 / smallest.macs as f64;
        if found < span {
            list.push(format!("MACs span a factor of {found:.1}, at least {span} wanted"));
        }
        for (name, sub, wanted) in [("largest", largest, top), ("smallest", smallest, bottom)] {
            let found = sub.accuracy_pct;
            if found < wanted {
                list.push(format!("the {name} reaches {found:.2} %, at least {wanted} % wanted"));
            }
        }
        if largest.net != self.model.family.finest() {
            list.push("the largest sub-network of the family is no more accurate than the smallest and is left out".into());
        }
        list
    }

    fn command(&self) -> String {
        let Settings {
            epochs,
            warm_up,
            whole,
            random,
            batch,
            rate,
            decay,
            smoothing,
            taught,
            taught_by,
            // The family's, not an option's.
            finest: _,
            widened,
            shares,
            seed,
            limit,
            // `pack` refuses such a training.
            alone: _,
        } = self.settings;
        let limit = limit.map(|limit| format!(" --limit {limit}")).unwrap_or_default();
        let whole = if *whole > 0 { format!(" --whole {whole}") } else { String::new() };
        let teacher = match (taught, taught_by) {
            (Some(taught), Some(hash)) => {
                format!(" --teacher checkpoint-{hash}.safetensors --taught {taught}")
            }
            _ => String::new(),
        };
        let widen = widened.as_ref().map(|hash| format!(" --widen checkpoint-{hash}.safetensors"));
        format!(
            "coshift-tools train --out {} --epochs {epochs} --warm-up {warm_up}{whole} --random {random} \
             --batch {batch} --rate {rate} --decay {decay} --smoothing {smoothing} \
             --shares {shares} --seed {seed}{limit}{}{teacher}",
            shown(&self.args.from),
            widen.unwrap_or_default()
        )
    }
}

impl fmt::Display for Card<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Model { family, model_hash, sub_networks, weights, published: _ } = self.model;
        let images = sub_networks.first().map_or(0, |sub| sub.images);
        let PackArgs { count, random, seed, .. } = self.args;
        writeln!(f, "# {}\n", family.name)?;
        writeln!(
            f,
            "A dynamic super-network for {side}×{side} grey images of Fashion-MNIST: one set of weights \
             (`{weights}`, {} bytes, hash `{model_hash}`), {} sub-networks. Written by \
             `coshift-tools pack`; `coshift-tools eval` measures it again.\n",
            self.weights_bytes,
            sub_networks.len(),
            side = family.resolution,
        )?;
        let shortfalls = self.shortfalls();
        if !shortfalls.is_empty() {
            writeln!(f, "**Not as it is meant to be:**\n")?;
            for shortfall in &shortfalls {
                writeln!(f, "- {shortfall}")?;
            }
            writeln!(f)?;
        }
        let (head, line) =
            if family.resolutions.is_empty() { ("", "") } else { (" resolution |", "---:|") };
        writeln!(
            f,
            "| index | accuracy % | images | on the images here % | MACs | parameters | blocks | depths | kernels | expand ratios |{head}"
        )?;
        writeln!(f, "|---:|---:|---:|---:|---:|---:|---:|---|---|---|{line}")?;
        for sub in sub_networks {
            let active = |list: &[usize]| {
                let mut first = 0;
                let mut text = Vec::new();
                for (stage, depth) in family.stages.iter().zip(&sub.net.depths) {
                    let used = list[first..first + depth].iter().map(usize::to_string);
                    text.push(used.collect::<Vec<_>>().join(" "));
                    first += stage.max_depth;
                }
                text.join(" / ")
            };
            let depths: Vec<_> = sub.net.depths.iter().map(usize::to_string).collect();
            writeln!(
                f,
                "| {} | {:.2} | {} | {} | {} | {} | {} | {} | {} | {} |{}",
                sub.index,
                sub.accuracy_pct,
                sub.images,
                sub.shipped_accuracy_pct.map_or_else(|| "-".into(), |pct| format!("{pct:.1}")),
                sub.macs,
                sub.params,
                sub.blocks,
                depths.join(" / "),
                active(&sub.net.kernels),
                active(&sub.net.expands),
                if head.is_empty() {
                    String::new()
                } else {
                    format!(" {} |", family.side(&sub.net))
                }
            )?;
        }
        writeln!(f, "\n![Accuracy against multiply-accumulates](accuracy.svg)\n")?;
        writeln!(
            f,
            "Depths, kernels and expand ratios are given stage by stage; blocks count the first, not \
             elastic, block too; parameters are those in use, normalisations folded.\n"
        )?;
        if !head.is_empty() {
            writeln!(
                f,
                "A sub-network of another resolution than {side} takes the images brought to it, \
                 bilinearly, which is not counted in its MACs.\n",
                side = family.resolution
            )?;
        }
        writeln!(f, "## Training\n")?;
        writeln!(f, "```\n{}\n```\n", self.command())?;
        writeln!(
            f,
            "{} of {} epochs, {:.0} s on the CPU in {} threads (wall clock), seed {}. Sandwich rule \
             with in-place distillation; the running average of the weights is what is shipped.\n",
            self.epochs,
            self.settings.epochs,
            self.seconds,
            self.settings.shares,
            self.settings.seed
        )?;
        if let Some(note) = &self.args.note {
            writeln!(f, "{note}\n")?;
        }
        writeln!(f, "## Choice\n")?;
        writeln!(
            f,
            "```\ncoshift-tools pack --from {} --out {} --count {count} --random {random} --seed {seed}\n```\n",
            shown(&self.args.from),
            shown(&self.args.out)
        )?;
        writeln!(
            f,
            "{} candidates were calibrated on {} training images and judged on {} training images that \
             no weight was learned from; the {} most promising, spread over MACs, were measured on all \
             {images} test images, and the table's are those on the front of these that are less \
             accurate than the largest, and the largest. That choice has seen the test images: \
             differences between neighbours are a little too favourable (standard error of one \
             accuracy: about {:.2} points).\n",
            self.candidates,
            self.calibration_images,
            self.validation_images,
            self.tested,
            standard_error(images)
        )?;
        writeln!(f, "## Images\n")?;
        writeln!(
            f,
            "`t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz` are the first {} test images of \
             Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017), under the MIT licence in `{IMAGES_LICENCE}`. \
             They are easier than the rest: accuracies on them alone have their own column.",
            self.shipped_images
        )
    }
}

/// Standard error of an accuracy near 91 %, points.
fn standard_error(images: usize) -> f64 {
    100.0 * (0.91 * 0.09 / images.max(1) as f64).sqrt()
}
