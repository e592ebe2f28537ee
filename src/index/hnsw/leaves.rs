//! Rows dealt into small overlapping groups of near ones.

use std::cmp::Ordering;

use rayon::ThreadPool;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::rounds::Spread;
use crate::codec::{Block, BlockPairs, BlockSource, BlocksOp, LINE};
use crate::kernel::Isa;
use crate::types::Row;

/// Most rows of a leaf: as many codes as the caches next to a core hold.
pub(super) const LEAF_ROWS: usize = 1024;
/// Fewer than these are put together with others.
const LEAST_ROWS: usize = LEAF_ROWS / 8;
/// Most leaders that rows are compared with at once, beside twice as many of the whole.
const MOST_LEADERS: usize = 1000;
/// Leaders for the rows that would fill a leaf: their groups differ in size.
const LEADERS_OF_A_LEAF: usize = 2;
/// How often a group is divided before it is cut up as it is.
const MOST_DEPTH: usize = 8;
/// Rows that a thread takes at a time.
const CHUNK_ROWS: usize = 256;

/// Rows that are to be divided.
struct Group {
    depth: usize,
    rows: Vec<Row>,
}

/// Deals the first `count` rows into leaves of at most [`LEAF_ROWS`], each to the nearest leaders: to as many
/// as `fans` says at first, in groups that are too large again, and to one afterwards. The rows of a leaf ascend. The
/// same from any number of threads. Once `keep_going` says no, they are not complete.
pub(super) fn deal<S: BlockSource>(
    isa: Isa,
    source: &S,
    count: usize,
    fans: [usize; 2],
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Vec<Vec<Row>> {
    let mut leaves = Vec::new();
    let mut groups = vec![Group { depth: 0, rows: (0..).take(count).collect() }];
    while !groups.is_empty() && keep_going() {
        let dealt = divide(isa, source, &groups, fans, pool, keep_going);
        let mut next = Vec::new();
        for (group, children) in groups.iter().zip(dealt) {
            let mut small: Vec<Row> = Vec::new();
            for rows in children {
                let depth = group.depth + 1;
                if rows.len() > LEAF_ROWS && depth < MOST_DEPTH && rows.len() < group.rows.len() {
                    next.push(Group { depth, rows });
                } else if rows.len() >= LEAST_ROWS {
                    // Mostly one: what cannot be divided is alike.
                    leaves.extend(rows.chunks(LEAF_ROWS).map(<[Row]>::to_vec));
                } else {
                    if small.len() + rows.len() > LEAF_ROWS {
                        leaves.push(std::mem::take(&mut small));
                    }
                    small.extend(rows);
                    small.sort_unstable();
                    small.dedup();
                }
            }
            if !small.is_empty() {
                leaves.push(small);
            }
        }
        groups = next;
    }
    leaves
}

/// The rows of each group that each of its leaders is given.
fn divide<S: BlockSource>(
    isa: Isa,
    source: &S,
    groups: &[Group],
    fans: [usize; 2],
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Vec<Vec<Vec<Row>>> {
    pool.install(|| {
        let leaders: Vec<Leaders<S::Block>> = groups
            .par_iter()
            .map(|group| {
                let fan = fans.get(group.depth).copied().unwrap_or(1);
                let want = group.rows.len() * fan * LEADERS_OF_A_LEAF / LEAF_ROWS;
                let most = if group.depth == 0 { 2 * MOST_LEADERS } else { MOST_LEADERS };
                let rows: Vec<Row> = Spread::of(&group.rows).take(want.clamp(2, most)).collect();
                Leaders { fan: fan.min(rows.len()), block: source.run_blocks(isa, LayOut(&rows)) }
            })
            .collect();
        let chunks: Vec<(usize, &[Row])> = groups
            .iter()
            .enumerate()
            .flat_map(|(index, group)| group.rows.chunks(CHUNK_ROWS).map(move |rows| (index, rows)))
            .collect();
        let chosen: Vec<Vec<u16>> = chunks
            .par_iter()
            .map(|(index, rows)| {
                let assign = Assign { leaders: &leaders[*index], rows };
                if keep_going() { source.run_blocks(isa, assign) } else { Vec::new() }
            })
            .collect();
        let mut counts: Vec<Vec<usize>> =
            leaders.iter().map(|leaders| vec![0; leaders.block.len()]).collect();
        for ((index, _), chosen) in chunks.iter().zip(&chosen) {
            chosen.iter().for_each(|leader| counts[*index][usize::from(*leader)] += 1);
        }
        // With the room that they take: there are as many as rows in the graph, several times over.
        let room = |counts: Vec<usize>| counts.into_iter().map(Vec::with_capacity).collect();
        let mut dealt: Vec<Vec<Vec<Row>>> = counts.into_iter().map(room).collect();
        for ((index, rows), chosen) in chunks.iter().zip(&chosen) {
            for (row, chosen) in rows.iter().zip(chosen.chunks(leaders[*index].fan)) {
                for leader in chosen {
                    dealt[*index][usize::from(*leader)].push(*row);
                }
            }
        }
        dealt
    })
}

struct Leaders<B> {
    /// How many of them take a row.
    fan: usize,
    block: B,
}

struct LayOut<'a>(&'a [Row]);

impl<B: Block> BlocksOp<B> for LayOut<'_> {
    type Output = B;

    #[inline(always)]
    fn run<P: BlockPairs<Block = B>>(self, pairs: P) -> B {
        let mut block = B::default();
        pairs.lay_out(self.0, &mut block);
        block
    }
}

/// For each row the nearest leaders.
struct Assign<'a, B> {
    leaders: &'a Leaders<B>,
    rows: &'a [Row],
}

impl<B: Block> BlocksOp<B> for Assign<'_, B> {
    type Output = Vec<u16>;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "leaders are at most twice MOST_LEADERS")]
    fn run<P: BlockPairs<Block = B>>(self, pairs: P) -> Vec<u16> {
        let Self { leaders: Leaders { fan, block: leaders }, rows } = self;
        let mut block = B::default();
        pairs.lay_out(rows, &mut block);
        let mut lines = vec![[0.0; LINE]; LINE * leaders.panels()];
        let mut chosen = Vec::with_capacity(rows.len() * fan);
        let mut best = Vec::new();
        for panel in 0..block.panels() {
            pairs.score_panel(&block, panel, leaders, &mut lines);
            let rows = (rows.len() - panel * LINE).min(LINE);
            for line in lines.chunks_exact(leaders.panels()).take(rows) {
                nearest(pairs, line, leaders.len(), *fan, *fan, &mut best);
                chosen.extend(best.iter().map(|(_, at)| *at as u16));
            }
        }
        chosen
    }
}

/// Lines of which each lane's least is taken.
const SETS: usize = 4;

/// The `k` least, at most [`LINE`], of the `len` distances in `lines` and their places, in no order; with
/// them, up to `most` in all, some more that are hardly farther.
#[inline(always)]
pub(super) fn nearest<P: BlockPairs>(
    pairs: P,
    lines: &[[f32; LINE]],
    len: usize,
    k: usize,
    most: usize,
    found: &mut Vec<(f32, u32)>,
) {
    found.clear();
    let whole = &lines[..len / LINE];
    // The k-th least of the least of so many parts: no less than the k-th of all.
    let mut least = [[f32::INFINITY; LINE]; SETS];
    let (fours, rest) = whole.as_chunks::<SETS>();
    for lines in fours {
        for set in 0..SETS {
            least[set] = lesser(&least[set], &lines[set]);
        }
    }
    for (least, line) in least.iter_mut().zip(rest) {
        *least = lesser(least, line);
    }
    let least = least.as_flattened_mut();
    let (_, bound, _) = least.select_nth_unstable_by(k - 1, f32::total_cmp);
    let bound = *bound;
    for (first, line) in (0..).step_by(LINE).zip(&lines[..len.div_ceil(LINE)]) {
        let mut near = pairs.at_most(line, bound);
        while near != 0 {
            let place = first + near.trailing_zeros();
            near &= near - 1;
            if (place as usize) < len {
                found.push((line[place as usize % LINE], place));
            }
        }
    }
    if found.len() > most {
        found.select_nth_unstable_by(most - 1, order);
        found.truncate(most);
    }
}

/// Nearer places first, and of those as near the first.
#[inline(always)]
pub(super) fn order(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

#[inline(always)]
fn lesser(a: &[f32; LINE], b: &[f32; LINE]) -> [f32; LINE] {
    let mut out = *a;
    for lane in 0..LINE {
        out[lane] = if b[lane] < out[lane] { b[lane] } else { out[lane] };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Coded, clustered, pool};
    use super::*;
    use crate::codec::codes::CodeKind;
    use crate::kernel::noise::bits;
    use crate::types::Metric;

    struct Nearest<'a> {
        lines: &'a [[f32; LINE]],
        len: usize,
        k: usize,
        most: usize,
    }

    impl<B: Block> BlocksOp<B> for Nearest<'_> {
        type Output = Vec<(f32, u32)>;

        #[inline(always)]
        fn run<P: BlockPairs<Block = B>>(self, pairs: P) -> Self::Output {
            let mut found = Vec::new();
            nearest(pairs, self.lines, self.len, self.k, self.most, &mut found);
            found.sort_unstable_by(order);
            found
        }
    }

    #[test]
    fn the_nearest_of_a_line_are_found_on_every_tier() {
        let values = clustered(1, 40, 8, 1.0, 0.0);
        let coded = Coded::new(CodeKind::Half, Metric::L2, 8, &values);
        let mut next = bits(5);
        for len in [1, 5, 15, 16, 17, 40, 64, 100, 500] {
            // Few different distances, so that many are equal.
            let drawn = |next: &mut dyn FnMut() -> u64| (next() % 60) as f32;
            let lines: Vec<[f32; LINE]> =
                (0..len / LINE + 1).map(|_| std::array::from_fn(|_| drawn(&mut next))).collect();
            let mut all: Vec<(f32, u32)> =
                lines.as_flattened()[..len].iter().copied().zip(0..).collect();
            all.sort_unstable_by(order);
            for isa in Isa::available() {
                for (k, most) in [(1, 1), (8, 8), (12, 24)] {
                    let asked = Nearest { lines: &lines, len, k, most };
                    let found = coded.source().run_blocks(isa, asked);
                    assert!(found.len() >= k.min(len) && found.len() <= most, "{len} {k}");
                    assert_eq!(found, all[..found.len()], "{len} {k} {}", isa.name());
                }
            }
        }
    }

    #[test]
    fn leaves_hold_every_row_and_are_small() {
        let alike = vec![0.5; 20_000 * 8];
        for values in [clustered(1, 20_000, 8, 1.0, 0.0), alike] {
            let coded = Coded::new(CodeKind::Byte, Metric::L2, 8, &values);
            let source = coded.source();
            let leaves = deal(Isa::detect(), &source, 20_000, [8, 2], &pool(2), &|| true);
            let mut times = vec![0; 20_000];
            for leaf in &leaves {
                assert!(leaf.len() <= LEAF_ROWS);
                leaf.iter().for_each(|row| times[*row as usize] += 1);
            }
            assert!(times.iter().all(|times| (1..=16).contains(times)));
            let again = deal(Isa::detect(), &source, 20_000, [8, 2], &pool(1), &|| true);
            assert!(leaves == again);
        }
    }
}
