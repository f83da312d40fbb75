//! How the time of a call grows with the resolution, the width and the images a call.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use coshift_engine::family::{Family, OFA_10, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::tensors::write_whole;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;

use super::engine::{EngineArgs, on_noise};
use super::growth_plot::{Panel, Point, plot};
use super::measure::quantile;

const RESOLUTIONS: [usize; 5] = [128, 152, 176, 200, 224];
const WIDTHS: [f64; 5] = [0.6, 0.8, 1.0, 1.2, 1.4];
const BATCHES: [usize; 5] = [1, 2, 4, 8, 16];

/// Something to measure.
struct Subject {
    network: Network,
    macs: u64,
    images: Vec<f32>,
    space: Workspace,
    times: Vec<Duration>,
}

/// Measures the largest sub-network of OFA-MobileNetV3 in other sizes, on random weights, and writes
/// the plot.
///
/// # Errors
/// Names the file that cannot be written.
pub(super) fn run(args: &EngineArgs, path: &Path) -> Result<()> {
    let family: Family = serde_json::from_str(OFA_10)?;
    let side = family.resolution;
    let sizes = [
        ("resolution, pixels", RESOLUTIONS.map(|side| (side as f64, family.clone(), side, 1))),
        ("width (1.0 and 1.2 are published)", WIDTHS.map(|by| (by, wider(&family, by), side, 1))),
        ("images a call", BATCHES.map(|batch| (batch as f64, family.clone(), side, batch))),
    ];
    let mut random = Random(1);
    let mut panels = Vec::new();
    for (what, sizes) in sizes {
        let mut subjects = sizes
            .iter()
            .map(|(_, family, side, batch)| subject(args, family, *side, *batch, &mut random))
            .collect::<Result<Vec<_>>>()?;
        for round in 0..=args.rounds {
            for subject in &mut subjects {
                for _ in 0..args.runs {
                    let start = Instant::now();
                    let Subject { network, images, space, .. } = subject;
                    std::hint::black_box(network.run(0, images, space)?);
                    // The first round is for the caches and the clock.
                    if round > 0 {
                        subject.times.push(start.elapsed());
                    }
                }
            }
        }
        let points = sizes.iter().zip(&mut subjects).map(|((value, _, _, batch), subject)| {
            subject.times.sort_unstable();
            let ms = quantile(&subject.times, 0.5).as_secs_f64() * 1e3;
            let macs = (subject.macs * *batch as u64) as f64;
            println!("{what}: {value}: {:.1} M MACs, {ms:.2} ms", macs / 1e6);
            Point { value: *value, macs, ms }
        });
        panels.push(Panel { what, points: points.collect() });
    }
    let title = format!(
        "Largest OFA-MobileNetV3 at 224 pixels, width 1.0, one image, {} thread(s), unless said otherwise",
        args.threads
    );
    write_whole(path, plot(&title, &panels).as_bytes())?;
    println!("{}", path.display());
    Ok(())
}

fn subject(
    args: &EngineArgs,
    family: &Family,
    side: usize,
    batch: usize,
    random: &mut Random,
) -> Result<Subject> {
    let layout = Layout::new(family)?;
    let values = optimiser::start(&layout, random);
    let net = SubNet { resolution: Some(side), ..family.largest() };
    let calibrated = on_noise(&layout, &values, &net, random);
    let macs = layout.cost(&net).0;
    let network = Network::new(layout, values, &[calibrated])?;
    let images = (0..batch * side * side * 3).map(|_| random.normal()).collect();
    let mut space = Workspace::with_threads(args.threads);
    space.reserve(&network, batch);
    Ok(Subject { network, macs, images, space, times: Vec::new() })
}

/// The family with every layer's channels times `by`, rounded as the family does.
fn wider(family: &Family, by: f64) -> Family {
    let wide = |channels: usize| Family::rounded((channels as f64 * by) as f32);
    let mut family = family.clone();
    for stage in &mut family.stages {
        stage.channels = wide(stage.channels);
    }
    for channels in
        [&mut family.stem, &mut family.first, &mut family.final_expand, &mut family.feature_mix]
    {
        *channels = wide(*channels);
    }
    family.name = format!("ofa-mbv3-{by}");
    family
}

#[cfg(test)]
mod tests {
    use super::wider;
    use coshift_engine::family::{Family, OFA_10, OFA_12};

    #[test]
    fn the_published_widths_are_two_of_them() {
        let one: Family = serde_json::from_str(OFA_10).unwrap();
        assert_eq!(wider(&one, 1.0), Family { name: "ofa-mbv3-1".into(), ..one.clone() });
        let two: Family = serde_json::from_str(OFA_12).unwrap();
        let Family { name, resolutions, .. } = two.clone();
        assert_eq!(Family { name, resolutions, ..wider(&one, 1.2) }, two);
    }
}
