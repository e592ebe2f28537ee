//! The best nodes of a walk: a sorted array of packed numbers.
//!
//! ```text
//! key  distance (32 bits, made to order as an integer) · node (30) · hidden (1) · expanded (1)
//! ```
//! One comparison of keys orders by (distance, node). A hidden node (its row is dead, or no hit of a
//! filter) is walked through and never found. The pool is full when it keeps `ef` nodes and enough
//! visible ones among them. Of hidden nodes no more than the nearest are kept: a walk that began in
//! the midst of them passes on to what is visible.
//!
//! While a graph is built, nodes at equal distances are ordered by a mix that differs from owner to
//! owner; by row alone, the copies of a vector would all link to the same few rows.

/// Bits of a node in a key.
const NODE_MASK: u32 = (1 << 30) - 1;
const EXPANDED: u64 = 1;
const HIDDEN: u64 = 2;

/// How many nodes a pool keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Nodes in all, hidden or not; at least 1.
    pub(crate) ef: usize,
    /// Visible nodes among them at least, at most `ef`: more nodes than `ef` are kept for them.
    pub(crate) visible: usize,
    /// Most hidden nodes.
    pub(crate) hidden: usize,
}

impl Keep {
    /// `ef` nodes where none is hidden.
    pub(crate) fn all(ef: usize) -> Self {
        Self { ef, visible: ef, hidden: usize::MAX }
    }

    /// The same for a graph of `rows` nodes.
    pub(super) fn within(self, rows: usize) -> Self {
        let ef = self.ef.clamp(1, rows.max(1));
        Self { ef, visible: self.visible.clamp(1, ef), hidden: self.hidden }
    }
}

/// How nodes at one distance are ordered: by `(node ^ salt) × factor mod 2³⁰`, where the factor is
/// odd, so that it can be undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ties {
    salt: u32,
    factor: u32,
    inverse: u32,
}

impl Ties {
    /// By node.
    pub(super) const PLAIN: Self = Self { salt: 0, factor: 1, inverse: 1 };

    /// In an order of the owner's own.
    pub(super) fn mixed(owner: u32) -> Self {
        const FACTOR: u32 = 0x9E37_79B1;
        const INVERSE: u32 = inverse_of(FACTOR);
        Self { salt: owner & NODE_MASK, factor: FACTOR, inverse: INVERSE }
    }

    #[inline(always)]
    pub(super) fn rank(self, node: u32) -> u32 {
        (node ^ self.salt).wrapping_mul(self.factor) & NODE_MASK
    }

    #[inline(always)]
    fn node(self, rank: u32) -> u32 {
        (rank.wrapping_mul(self.inverse) & NODE_MASK) ^ self.salt
    }
}

/// The inverse of an odd number mod 2³², by Newton's iteration.
const fn inverse_of(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

/// The nodes that a walk keeps.
#[derive(Debug)]
pub(super) struct Pool {
    keys: Vec<u64>,
    keep: Keep,
    /// Nodes that are not hidden.
    visible: usize,
    /// No node before it is unexpanded.
    cursor: usize,
    /// Largest distance that can still enter.
    bound: f32,
    /// Key of the farthest hidden node, once there are as many as are kept.
    farthest_hidden: Option<u64>,
    ties: Ties,
}

impl Default for Pool {
    fn default() -> Self {
        let (bound, ties) = (f32::INFINITY, Ties::PLAIN);
        let keep = Keep::all(1);
        Self { keys: Vec::new(), keep, visible: 0, cursor: 0, bound, farthest_hidden: None, ties }
    }
}

impl Pool {
    /// Empties the pool.
    pub(super) fn reset(&mut self, keep: Keep, ties: Ties) {
        self.keys.clear();
        self.keep = keep;
        self.farthest_hidden = None;
        self.visible = 0;
        self.cursor = 0;
        self.bound = f32::INFINITY;
        self.ties = ties;
    }

    /// How many nodes there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.keys.capacity()
    }

    /// How many nodes in front of the next unexpanded one are expanded.
    #[inline(always)]
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// How many of a thousand kept nodes are visible.
    pub(super) fn visible_share(&self) -> u32 {
        u32::try_from(self.visible * 1000 / self.keys.len().max(1)).unwrap_or(0)
    }

    /// Whether any node that is kept is hidden.
    #[inline(always)]
    pub(super) fn has_hidden(&self) -> bool {
        self.visible < self.keys.len()
    }

    /// How far the visible node at place `at` is, nearest first; infinitely where there are fewer.
    #[inline(always)]
    pub(super) fn distance_at(&self, at: usize) -> f32 {
        if at >= self.visible {
            return f32::INFINITY;
        }
        let key = if self.has_hidden() {
            self.keys.iter().filter(|key| **key & HIDDEN == 0).nth(at)
        } else {
            self.keys.get(at)
        };
        key.map_or(f32::INFINITY, |key| distance_of(*key))
    }

    /// Whether a node at `distance` can enter.
    #[inline(always)]
    pub(super) fn admits(&self, distance: f32) -> bool {
        distance <= self.bound
    }

    /// Adds a node that was not added before. True when it is the nearest unexpanded one now.
    #[inline(always)]
    pub(super) fn insert(&mut self, distance: f32, node: u32, hidden: bool) -> bool {
        let low = u64::from(self.ties.rank(node)) << 2 | if hidden { HIDDEN } else { 0 };
        let key = u64::from(ordered(distance)) << 32 | low;
        let at = self.keys.partition_point(|other| *other < key);
        let ef = self.keep.ef;
        if self.keys.len() == ef && self.visible == ef && !hidden {
            // Full and nothing hidden: the last makes room.
            if let Some(behind) = self.keys.get_mut(at..).filter(|behind| !behind.is_empty()) {
                shift(behind);
                behind[0] = key;
                self.cursor = self.cursor.min(at);
                self.bound = self.keys.last().map_or(f32::INFINITY, |last| distance_of(*last));
            }
            return at <= self.cursor;
        }
        if hidden && self.farthest_hidden.is_some_and(|farthest| farthest < key) {
            return false;
        }
        let full = self.is_full();
        if full && at == self.keys.len() {
            return false;
        }
        self.keys.insert(at, key);
        self.visible += usize::from(!hidden);
        self.cursor = self.cursor.min(at);
        if hidden && self.keys.len() - self.visible >= self.keep.hidden {
            self.bound_hidden();
        }
        if full || self.is_full() {
            self.trim();
        }
        at <= self.cursor
    }

    /// Whether there are as many nodes as are kept.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.visible >= self.keep.visible && self.keys.len() >= self.keep.ef
    }

    /// Cuts what is more than is kept, and sets the bound.
    #[inline(always)]
    fn trim(&mut self) {
        while let Some(&last) = self.keys.last() {
            let seen = usize::from(last & HIDDEN == 0);
            if self.keys.len() <= self.keep.ef || self.visible < self.keep.visible + seen {
                self.bound = distance_of(last);
                return;
            }
            self.keys.pop();
            self.visible -= seen;
        }
    }

    /// Drops the farthest hidden node if there is one too many, and finds the one that is now.
    #[inline(never)]
    fn bound_hidden(&mut self) {
        let last = |keys: &[u64]| keys.iter().rposition(|key| key & HIDDEN != 0);
        let mut farthest = last(&self.keys);
        if let Some(at) = farthest.filter(|_| self.keys.len() - self.visible > self.keep.hidden) {
            self.keys.remove(at);
            self.cursor -= usize::from(at < self.cursor);
            farthest = last(&self.keys[..at]);
        }
        self.farthest_hidden = farthest.map(|at| self.keys[at]);
    }

    /// The nearest unexpanded node, now marked as expanded.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<(f32, u32)> {
        while let Some(key) = self.keys.get_mut(self.cursor) {
            self.cursor += 1;
            if *key & EXPANDED == 0 {
                *key |= EXPANDED;
                let key = *key;
                return Some((distance_of(key), self.node_of(key)));
            }
        }
        None
    }

    /// The node that `pop` gives next if nothing nearer enters.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u32> {
        let key = *self.keys.get(self.cursor)?;
        (key & EXPANDED == 0).then(|| self.node_of(key))
    }

    /// The visible nodes, nearest first.
    #[inline(always)]
    pub(super) fn visible(&self) -> impl Iterator<Item = (f32, u32)> + '_ {
        let keys = self.keys.iter().filter(|key| **key & HIDDEN == 0);
        keys.map(|key| (distance_of(*key), self.node_of(*key)))
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "takes the low half")]
    fn node_of(&self, key: u64) -> u32 {
        self.ties.node(key as u32 >> 2)
    }
}

/// Moves all one place to the back, the last out.
#[inline(always)]
fn shift(keys: &mut [u64]) {
    const AT_ONCE: usize = 8;
    let mut end = keys.len();
    while end > AT_ONCE {
        let mut part = [0; AT_ONCE];
        part.copy_from_slice(&keys[end - AT_ONCE - 1..end - 1]);
        keys[end - AT_ONCE..end].copy_from_slice(&part);
        end -= AT_ONCE;
    }
    for index in (1..end).rev() {
        keys[index] = keys[index - 1];
    }
}

/// The bits of a distance (not NaN), made to order like it.
#[inline(always)]
fn ordered(distance: f32) -> u32 {
    let bits = distance.to_bits();
    let negative = (bits.cast_signed() >> 31).cast_unsigned();
    bits ^ (negative | 1 << 31)
}

#[inline(always)]
fn distance_of(key: u64) -> f32 {
    let bits = (key >> 32) as u32;
    let positive = (bits.cast_signed() >> 31).cast_unsigned();
    f32::from_bits(bits ^ (!positive | 1 << 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_keep_their_order_and_value() {
        let distances =
            [f32::NEG_INFINITY, -1e30, -1.0, -1e-40, 0.0, 1e-40, 0.5, 1.0, 1e30, f32::INFINITY];
        for pair in distances.windows(2) {
            assert!(ordered(pair[0]) < ordered(pair[1]));
        }
        for distance in distances {
            assert_eq!(distance_of(u64::from(ordered(distance)) << 32), distance);
        }
    }

    #[test]
    fn mixed_ties_can_be_undone() {
        for owner in [0, 1, 77, NODE_MASK] {
            let ties = Ties::mixed(owner);
            for node in [0, 1, 2, 1000, NODE_MASK] {
                assert_eq!(ties.node(ties.rank(node)), node);
            }
        }
    }

    #[test]
    fn the_nearest_visible_are_kept_and_hidden_ones_do_not_count() {
        let mut pool = Pool::default();
        pool.reset(Keep::all(2), Ties::PLAIN);
        for (distance, node, hidden) in
            [(5.0, 5, false), (1.0, 1, true), (4.0, 4, false), (2.0, 2, true), (6.0, 6, true)]
        {
            pool.insert(distance, node, hidden);
        }
        assert!(!pool.admits(5.5));
        assert_eq!(pool.pop(), Some((1.0, 1)));
        pool.insert(3.0, 3, false);
        assert_eq!(pool.visible().collect::<Vec<_>>(), [(3.0, 3), (4.0, 4)]);
        pool.insert(0.5, 0, true);
        assert_eq!(pool.peek(), Some(0));
        let walked: Vec<u32> = std::iter::from_fn(|| pool.pop()).map(|(_, node)| node).collect();
        assert_eq!(walked, [0, 2, 3, 4]);
    }
    #[test]
    fn a_pool_is_full_with_enough_nodes_and_enough_visible_ones_among_them() {
        let mut pool = Pool::default();
        pool.reset(Keep { ef: 4, visible: 2, hidden: 9 }, Ties::PLAIN);
        for node in 0..4_u16 {
            pool.insert(f32::from(node), node.into(), node > 0);
        }
        assert!(pool.admits(1e9), "one of two is visible");
        pool.insert(9.0, 9, false);
        assert!(pool.admits(9.0) && !pool.admits(9.5), "two of five are");
        pool.insert(0.5, 7, false);
        assert!(pool.admits(2.0) && !pool.admits(2.5), "two of the nearest four are");
        assert_eq!(pool.visible().collect::<Vec<_>>(), [(0.0, 0), (0.5, 7)]);
    }

    #[test]
    fn of_hidden_nodes_the_nearest_are_kept_and_the_walk_goes_on_behind_them() {
        let mut pool = Pool::default();
        pool.reset(Keep { ef: 2, visible: 2, hidden: 2 }, Ties::PLAIN);
        pool.insert(3.0, 3, true);
        pool.insert(1.0, 1, true);
        assert_eq!(pool.pop(), Some((1.0, 1)));
        assert_eq!(pool.pop(), Some((3.0, 3)));
        assert!(!pool.insert(4.0, 4, true), "there are two nearer ones");
        pool.insert(8.0, 8, false);
        assert!(pool.insert(2.0, 2, true));
        assert_eq!(pool.pop(), Some((2.0, 2)));
        assert_eq!(pool.pop(), Some((8.0, 8)), "3 has made room for 2");
        pool.insert(0.5, 5, true);
        assert_eq!(pool.pop(), Some((0.5, 5)));
        assert_eq!(pool.pop(), None, "1 and 8 are expanded, 2 is gone");
        pool.insert(7.0, 7, false);
        assert!(!pool.admits(8.5));
        assert_eq!(pool.visible().collect::<Vec<_>>(), [(7.0, 7), (8.0, 8)]);
    }
}
