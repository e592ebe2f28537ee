//! Speed at a given recall from a few measured points. The benches of this package use it.

/// One setting of one peer: its recall and the seconds all queries took, round by round.
#[derive(Debug)]
pub struct Point {
    /// Part of the nearest that is found.
    pub recall: f64,
    /// Seconds of processor, one value a round.
    pub seconds: Vec<f64>,
}

/// Queries a second of one round where the front of the points passes `recall`, interpolated on a
/// logarithmic scale. The fastest point where all have more recall, NaN where all have less.
pub fn at_recall(points: &[Point], recall: f64, round: usize, queries: usize) -> f64 {
    let rates = points.iter().map(|point| (point.recall, queries as f64 / point.seconds[round]));
    let front = front(rates.collect());
    match front.iter().position(|point| point.0 >= recall) {
        None => f64::NAN,
        Some(0) => front[0].1,
        Some(at) => {
            let ((low, fast), (high, slow)) = (front[at - 1], front[at]);
            (fast.ln() + (recall - low) / (high - low) * (slow.ln() - fast.ln())).exp()
        }
    }
}

/// The (recall, rate) that no other beats in both, by rising recall.
fn front(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if kept.last().is_none_or(|last| point.1 > last.1) {
            kept.push(point);
        }
    }
    kept.reverse();
    kept
}
