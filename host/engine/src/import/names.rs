//! Both generations of names in the published checkpoints, as the layout's.
//!
//! Files of the first generation say `mobile_inverted_conv` where later ones say `conv`. Convolutions
//! and normalisations that are elastic stand inside a module of the same name (`conv.conv`,
//! `bn.bn`); files saved from other versions of a module have one where the network has two, or two
//! where it has one. Other names are kept.

/// Parts that end a name inside a module, each of them alone.
const ENDS: [&str; 3] = ["conv", "bn", "linear"];

/// Units of a block.
const UNITS: [&str; 3] = ["inverted_bottleneck", "depth_conv", "point_linear"];

/// The published name.
#[must_use]
pub fn published(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["blocks", block, "mobile_inverted_conv" | "conv", unit, ref rest @ ..]
            if UNITS.contains(&unit) =>
        {
            let elastic = block != "0";
            let name = format!("blocks.{block}.conv.{unit}");
            // Squeeze-excite is never doubled.
            if rest.first() == Some(&"se") { join(&name, rest) } else { end(&name, rest, elastic) }
        }
        [
            layer @ ("first_conv" | "final_expand_layer" | "feature_mix_layer" | "classifier"),
            ref rest @ ..,
        ] => end(layer, rest, false),
        _ => name.to_owned(),
    }
}

fn join(name: &str, rest: &[&str]) -> String {
    [&[name], rest].concat().join(".")
}

/// `conv.conv.weight` or `conv.weight`, as `doubled` says, from either.
fn end(name: &str, rest: &[&str], doubled: bool) -> String {
    let (module, rest) = match rest {
        [module, again, rest @ ..] if ENDS.contains(module) && module == again => (*module, rest),
        [module, rest @ ..] if ENDS.contains(module) => (*module, rest),
        _ => return join(name, rest),
    };
    // Matrices that shrink a kernel belong to the outer module.
    let inner = doubled && !rest.first().is_some_and(|part| part.ends_with("_matrix"));
    let module = if inner { format!("{module}.{module}") } else { module.to_owned() };
    join(&format!("{name}.{module}"), rest)
}

#[cfg(test)]
mod tests {
    use super::published;

    #[test]
    fn both_generations_become_the_published_names() {
        for (from, to) in [
            ("first_conv.conv.weight", "first_conv.conv.weight"),
            ("first_conv.conv.conv.weight", "first_conv.conv.weight"),
            ("first_conv.bn.bn.running_mean", "first_conv.bn.running_mean"),
            (
                "blocks.0.mobile_inverted_conv.depth_conv.conv.weight",
                "blocks.0.conv.depth_conv.conv.weight",
            ),
            ("blocks.0.conv.point_linear.bn.bn.bias", "blocks.0.conv.point_linear.bn.bias"),
            (
                "blocks.3.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight",
                "blocks.3.conv.inverted_bottleneck.conv.conv.weight",
            ),
            (
                "blocks.3.mobile_inverted_conv.inverted_bottleneck.conv.weight",
                "blocks.3.conv.inverted_bottleneck.conv.conv.weight",
            ),
            (
                "blocks.12.mobile_inverted_conv.depth_conv.bn.running_var",
                "blocks.12.conv.depth_conv.bn.bn.running_var",
            ),
            (
                "blocks.12.mobile_inverted_conv.depth_conv.conv.5to3_matrix",
                "blocks.12.conv.depth_conv.conv.5to3_matrix",
            ),
            (
                "blocks.5.mobile_inverted_conv.depth_conv.se.fc.reduce.weight",
                "blocks.5.conv.depth_conv.se.fc.reduce.weight",
            ),
            ("classifier.linear.linear.weight", "classifier.linear.weight"),
            ("classifier.linear.bias", "classifier.linear.bias"),
            ("feature_mix_layer.conv.weight", "feature_mix_layer.conv.weight"),
            ("blocks.1.conv1.conv.conv.weight", "blocks.1.conv1.conv.conv.weight"),
            ("layers.0.weight", "layers.0.weight"),
            ("", ""),
        ] {
            assert_eq!(published(from), to);
            assert_eq!(published(to), to, "already published");
        }
    }
}
