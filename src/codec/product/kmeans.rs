//! The centroids of points: Lloyd's iterations from points drawn with a seed. The same bits on every
//! tier.

/// Rounds in which centroids move to the mean of their points.
const ROUNDS: usize = 10;

/// `C` centroids of `points` of `axes` elements each, axis by axis, and behind them what these leave of
/// the points.
#[inline(always)]
pub(super) fn centroids<const C: usize>(points: &[f32], axes: usize, seed: u64) -> Vec<f32> {
    let point = |at: usize| &points[at * axes..][..axes];
    let count = points.len() / axes;
    let mut centroids = vec![0.0; axes * C];
    let mut random = seed;
    for number in 0..C {
        // One of each stretch, so that no point is drawn twice.
        let (first, end) = (number * count / C, (number + 1) * count / C);
        let at = first + below(&mut random, end - first);
        put::<C>(&mut centroids, number, point(at.min(count - 1)));
    }
    let mut owners = vec![(0, 0.0); count];
    for _ in 0..ROUNDS {
        own::<C>(points, axes, &centroids, &mut owners);
        let mut sums = vec![0.0_f64; axes * C];
        let mut counts = [0_u32; C];
        for (at, (number, _)) in owners.iter().enumerate() {
            counts[*number] += 1;
            for (sums, x) in sums.chunks_exact_mut(C).zip(point(at)) {
                sums[*number] += f64::from(*x);
            }
        }
        for (centroids, sums) in centroids.chunks_exact_mut(C).zip(sums.chunks_exact(C)) {
            for ((centroid, sum), count) in centroids.iter_mut().zip(sums).zip(counts) {
                if count > 0 {
                    #[expect(clippy::cast_possible_truncation, reason = "a mean of f32")]
                    let mean = (sum / f64::from(count)) as f32;
                    *centroid = mean;
                }
            }
        }
        // A centroid without points takes the one that is farthest from its own.
        for number in (0..C).filter(|number| counts[*number] == 0) {
            let farthest = owners.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
            let Some((at, _)) = farthest.filter(|(_, owner)| owner.1 > 0.0) else { break };
            put::<C>(&mut centroids, number, point(at));
            owners[at].1 = 0.0;
        }
    }
    own::<C>(points, axes, &centroids, &mut owners);
    let left = owners.iter().enumerate().flat_map(|(at, (number, _))| {
        let along = centroids.chunks_exact(C);
        point(at).iter().zip(along).map(|(x, centroids)| x - centroids[*number])
    });
    let left: Vec<f32> = left.collect();
    centroids.extend(left);
    centroids
}

/// Tells each point the nearest centroid.
#[inline(always)]
fn own<const C: usize>(
    points: &[f32],
    axes: usize,
    centroids: &[f32],
    owners: &mut [(usize, f32)],
) {
    for (point, owner) in points.chunks_exact(axes).zip(owners) {
        *owner = nearest::<C>(point, centroids);
    }
}

/// The number of the centroid nearest to `x`, the first of equals, and the squared distance to it.
#[inline(always)]
pub(super) fn nearest<const C: usize>(x: &[f32], centroids: &[f32]) -> (usize, f32) {
    let mut distances = [0.0; C];
    for (x, centroids) in x.iter().zip(centroids.as_chunks::<C>().0) {
        for (distance, centroid) in distances.iter_mut().zip(centroids) {
            let difference = x - centroid;
            *distance += difference * difference;
        }
    }
    let mut least = [f32::INFINITY; 16];
    for distances in distances.as_chunks::<16>().0 {
        for (least, distance) in least.iter_mut().zip(distances) {
            *least = least.min(*distance);
        }
    }
    let least = least.iter().fold(f32::INFINITY, |least, distance| least.min(*distance));
    (distances.iter().position(|distance| *distance == least).unwrap_or(0), least)
}

fn put<const C: usize>(centroids: &mut [f32], number: usize, point: &[f32]) {
    for (centroids, x) in centroids.chunks_exact_mut(C).zip(point) {
        centroids[number] = *x;
    }
}

/// A number below `end` (0 where that is 0); SplitMix64.
pub(super) fn below(state: &mut u64, end: usize) -> usize {
    usize::try_from(bits(state) % (end as u64).max(1)).unwrap_or(0)
}

/// The next bits of SplitMix64.
pub(super) fn bits(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
