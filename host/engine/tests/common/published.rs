//! Published specialised networks as sub-networks of the families.

use coshift_engine::family::SubNet;
use coshift_engine::layout::Layout;
use serde_json::Value;

use super::need::data;

/// The published network of 595 M multiply-accumulates, 80.0 % on ImageNet, for images of 236 pixels.
pub(crate) const FLOPS_595: &str = "flops-595M_top1-80.0_finetune-75";

/// A file of the measured data.
pub(crate) fn json(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(data(name)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// A specialised network's description as a sub-network of the family, where the measured data are.
pub(crate) fn specialised(layout: &Layout, name: &str) -> Option<SubNet> {
    let file = |what: &str| json(&format!("ofa/ofa_specialized/{name}/{what}.config"));
    let (config, run) = (file("net")?, file("run")?);
    let family = layout.family();
    let mut net = family.largest();
    net.resolution = Some(run["image_size"].as_u64().unwrap() as usize);
    let mut blocks = config["blocks"].as_array().unwrap()[1..].iter().peekable();
    let mut first = 0;
    for (stage, depth) in family.stages.iter().zip(&mut net.depths) {
        *depth = 0;
        while let Some(block) = blocks.next_if(|block| {
            let conv = &block["mobile_inverted_conv"];
            conv["out_channels"] == stage.channels && conv["use_se"] == stage.squeeze_excite
        }) {
            let conv = &block["mobile_inverted_conv"];
            let read = |key: &str| conv[key].as_u64().unwrap() as usize;
            net.kernels[first + *depth] = read("kernel_size");
            net.expands[first + *depth] = read("expand_ratio");
            *depth += 1;
        }
        first += stage.max_depth;
    }
    assert_eq!(blocks.next(), None);
    Some(net)
}
