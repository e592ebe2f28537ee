//! Sums of lookups, one for each byte of a row in a table of its own: as many loads as bytes, which
//! no vector instruction of today makes in less time.

/// Numbers of a table.
pub(crate) const ENTRIES: usize = 256;

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
