//! Sums of lookups, one for each byte of a row in a table of its own.
//!
//! Of a few rows that is as many loads as bytes, which no vector instruction of today makes in less
//! time. Of many rows, bytes of one place are looked up together, where a tier has permutations of
//! bytes; those take tables of bytes, and so the numbers in two planes.

/// Numbers of a table.
pub(crate) const ENTRIES: usize = 256;
/// Rows looked up together.
pub(crate) const ROWS: usize = 64;

/// The low bytes of a table's numbers, and the high ones.
pub(crate) type Planes = [[u8; ENTRIES]; 2];

#[inline(always)]
pub(super) fn sums<const R: usize>(tables: &[[u16; ENTRIES]], rows: [&[u8]; R]) -> [u32; R] {
    for row in rows {
        assert_eq!(tables.len(), row.len());
    }
    let mut sums = [0; R];
    for (at, table) in tables.iter().enumerate() {
        for (sum, row) in sums.iter_mut().zip(&rows) {
            *sum += u32::from(table[usize::from(row[at])]);
        }
    }
    sums
}

/// What the other tiers agree with.
#[inline(always)]
pub(super) fn sums_of_many(planes: &[Planes], rows: &[&[u8]; ROWS]) -> [u32; ROWS] {
    for row in rows {
        assert_eq!(planes.len(), row.len());
    }
    let mut sums = [0; ROWS];
    for (at, [low, high]) in planes.iter().enumerate() {
        for (sum, row) in sums.iter_mut().zip(rows) {
            let code = usize::from(row[at]);
            *sum += u32::from(low[code]) + (u32::from(high[code]) << 8);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isa, Kernel, Op, run};

    struct Sums<'a>(&'a [[u16; ENTRIES]], [&'a [u8]; 4]);

    impl Op for Sums<'_> {
        type Output = ([u32; 4], [u32; 4]);

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Self::Output {
            let Self(tables, rows) = self;
            (kernel.look_up(tables, rows), rows.map(|row| kernel.look_up(tables, [row])[0]))
        }
    }

    struct Many<'a>(&'a [Planes], [&'a [u8]; ROWS]);

    impl Op for Many<'_> {
        type Output = [u32; ROWS];

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Self::Output {
            kernel.look_up_many(self.0, &self.1)
        }
    }

    #[test]
    fn every_tier_adds_up_the_numbers_of_many_rows_at_once() {
        let mut next = crate::kernel::noise::bits(2);
        // Beside each number of bytes that are taken at a time, and of those after which sums are
        // taken out, whose numbers are the greatest there are.
        for length in (0..35).chain([46, 94, 255, 256, 257, 263, 511, 512, 520, 1_024]) {
            let most = length > 200;
            let number = |bits: u64| if most { u16::MAX } else { (bits >> 48) as u16 };
            let tables: Vec<[u16; ENTRIES]> =
                (0..length).map(|_| std::array::from_fn(|_| number(next()))).collect();
            let planes: Vec<Planes> = tables
                .iter()
                .map(|table| [table.map(|x| x as u8), table.map(|x| (x >> 8) as u8)])
                .collect();
            // Lengths without a stride, so that rows begin at any place.
            let bytes: Vec<u8> = (0..ROWS * length).map(|_| (next() >> 32) as u8).collect();
            let rows: [&[u8]; ROWS] = std::array::from_fn(|row| &bytes[row * length..][..length]);
            for isa in Isa::available() {
                let sums = run(isa, Many(&planes, rows));
                let expected = rows.map(|row| run(isa, Sums(&tables, [row; 4])).0[0]);
                assert_eq!(sums, expected, "{} {length}", isa.name());
            }
        }
    }

    #[test]
    fn every_tier_adds_up_the_number_of_each_byte() {
        let mut next = crate::kernel::noise::bits(1);
        for length in (0..70).chain([96, 255, 1_024]) {
            let tables: Vec<[u16; ENTRIES]> =
                (0..length).map(|_| std::array::from_fn(|_| (next() >> 48) as u16)).collect();
            let bytes: Vec<u8> = (0..4 * length).map(|_| (next() >> 32) as u8).collect();
            let row = |at: usize| &bytes[at * length..][..length];
            let rows = [row(0), row(1), row(2), row(3)];
            let expected = rows.map(|row| {
                let entry = |(at, code): (usize, &u8)| u32::from(tables[at][usize::from(*code)]);
                row.iter().enumerate().map(entry).sum::<u32>()
            });
            for isa in Isa::available() {
                let sums = run(isa, Sums(&tables, rows));
                assert_eq!(sums, (expected, expected), "{} {length}", isa.name());
            }
        }
    }
}
