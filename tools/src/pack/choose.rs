//! Choice of sub-networks by accuracy and cost.

/// Cost and accuracy of a sub-network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Multiply-accumulates of one image.
    pub(super) macs: u64,
    /// Top-1 accuracy, %.
    pub(super) accuracy_pct: f64,
}

/// The front: places of the points that no cheaper or equally cheap one equals in accuracy, in
/// ascending cost and accuracy.
pub(super) fn front(points: &[Point]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..points.len()).collect();
    places.sort_by(|a, b| {
        let (a, b) = (points[*a], points[*b]);
        a.macs.cmp(&b.macs).then(b.accuracy_pct.total_cmp(&a.accuracy_pct))
    });
    let mut best = f64::NEG_INFINITY;
    places.retain(|place| {
        let better = points[*place].accuracy_pct > best;
        best = best.max(points[*place].accuracy_pct);
        better
    });
    places
}

/// The order to test points in: the cheapest and the dearest, then the front, then the front of the
/// rest, and so on; within each the one farthest in ln(MACs) from all before it.
pub(super) fn order(points: &[Point]) -> Vec<usize> {
    let mut rest: Vec<usize> = (0..points.len()).collect();
    let mut ordered = Vec::with_capacity(points.len());
    let ends = [
        rest.iter().copied().min_by_key(|place| points[*place].macs),
        rest.iter().copied().max_by_key(|place| points[*place].macs),
    ];
    for end in ends.into_iter().flatten() {
        if rest.contains(&end) {
            rest.retain(|place| *place != end);
            ordered.push(end);
        }
    }
    while !rest.is_empty() {
        let part: Vec<Point> = rest.iter().map(|place| points[*place]).collect();
        let layer: Vec<usize> = front(&part).into_iter().map(|place| rest[place]).collect();
        rest.retain(|place| !layer.contains(place));
        spread(points, &mut ordered, layer);
    }
    ordered
}

/// At most `count` places of a front in ascending cost, its ends among them, spread in ln(MACs).
pub(super) fn thinned(points: &[Point], front: Vec<usize>, count: usize) -> Vec<usize> {
    let mut rest = front;
    let mut chosen: Vec<usize> = rest.pop().into_iter().collect();
    if !rest.is_empty() {
        chosen.push(rest.remove(0));
    }
    spread(points, &mut chosen, rest);
    chosen.truncate(count);
    chosen.sort_by_key(|place| points[*place].macs);
    chosen
}

/// Appends `rest` to `chosen`, each time the place farthest in ln(MACs) from all chosen ones.
fn spread(points: &[Point], chosen: &mut Vec<usize>, mut rest: Vec<usize>) {
    let place_of = |place: usize| (points[place].macs as f64).max(1.0).ln();
    while !rest.is_empty() {
        let distance = |place: usize| {
            let from = chosen.iter().map(|known| (place_of(*known) - place_of(place)).abs());
            from.fold(f64::INFINITY, f64::min)
        };
        let farthest = (0..rest.len())
            .max_by(|a, b| distance(rest[*a]).total_cmp(&distance(rest[*b])))
            .unwrap_or(0);
        chosen.push(rest.remove(farthest));
    }
}

#[cfg(test)]
mod tests {
    use super::{Point, front, order, thinned};

    fn points(list: &[(u64, f64)]) -> Vec<Point> {
        list.iter()
            .map(|(macs, accuracy_pct)| Point { macs: *macs, accuracy_pct: *accuracy_pct })
            .collect()
    }

    #[test]
    fn the_front_is_what_nothing_cheaper_equals() {
        let points =
            points(&[(5, 90.0), (1, 80.0), (3, 79.0), (4, 90.0), (4, 85.0), (9, 95.0), (2, 80.0)]);
        assert_eq!(front(&points), [1, 3, 5]);
        assert_eq!(front(&[]), [0; 0]);
    }

    #[test]
    fn the_ends_are_tested_first_and_then_the_front() {
        let points = points(&[(10, 80.0), (20, 85.0), (40, 90.0), (21, 70.0), (80, 95.0)]);
        let order = order(&points);
        assert_eq!(order[..2], [0, 4]);
        assert_eq!(order.len(), 5);
        assert_eq!(order[4], 3, "dominated: last");
    }

    #[test]
    fn thinning_keeps_the_ends_and_spreads() {
        let points = points(&[(100, 80.0), (105, 81.0), (200, 85.0), (380, 89.0), (400, 90.0)]);
        assert_eq!(thinned(&points, front(&points), 3), [0, 2, 4]);
        assert_eq!(thinned(&points, front(&points), 9), [0, 1, 2, 3, 4]);
        assert_eq!(thinned(&points, vec![2], 3), [2]);
    }
}
