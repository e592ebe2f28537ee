use super::*;
use crate::bytes::AlignedBytes;
use crate::codec::full::Stage;
use crate::codec::full::{encode_rows, score_rows};
use crate::kernel::noise::noise;
use crate::types::{Metric, Row, VectorType};

struct One<'a, G>(BitRows<'a, G>, &'a BitQuery, usize);

impl<G: Guard> kernel::Op for One<'_, G> {
    type Output = [[f32; BLOCK_ROWS]; 2];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let Self(bits, query, block) = self;
        let estimates = bits.estimates(kernel, query, block);
        [estimates, bits.least(query, block, &estimates)]
    }
}

/// Estimates, bounds and exact distances of the rows in `values` to a query; `None` when the codec
/// refuses the query.
fn told(space: Space, values: &[f32], query: &[f32]) -> Option<Vec<[f32; 3]>> {
    let count = values.len() / space.dimension;
    let (vectors, norms) = encode_rows(space, &values.into(), count).expect("finite");
    let norms: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
    let rows = Rows {
        vectors: Guarded::trusted(vectors.as_slice()),
        inverse_norms: Guarded::trusted(&norms),
    };
    let codec = BitCodec::train(space, rows, count);
    let codec = BitCodec::parse(&codec.to_bytes(), space).expect("just written");
    let mut codes = AlignedBytes::zeroed(codec.bytes(count));
    let all = 0..count.div_ceil(BLOCK_ROWS);
    codec.encode(Isa::detect(), rows, count, all.clone(), codes.as_mut_slice());
    let query = Query::new(space, query);
    let mut exact = vec![0.0; count];
    let wanted: Vec<Row> = (0..count as Row).collect();
    score_rows(Isa::detect(), &query, rows, &wanted, &mut exact);
    let coded = codec.query(Isa::detect(), &query)?;
    let bits = BitRows { codec: &codec, blocks: Guarded::trusted(codes.as_slice()) };
    let mut told = Vec::new();
    for block in all {
        let estimates = kernel::run(Isa::detect(), One(bits, &coded, block));
        for isa in Isa::available() {
            let other = kernel::run(isa, One(bits, &coded, block));
            let bits = |x: [f32; BLOCK_ROWS]| x.map(f32::to_bits);
            assert_eq!(other.map(bits), estimates.map(bits), "{}", isa.name());
            let mut again = AlignedBytes::zeroed(codec.block_bytes());
            codec.encode(isa, rows, count, block..block + 1, again.as_mut_slice());
            let at = block * codec.block_bytes();
            assert_eq!(again.as_slice(), &codes.as_slice()[at..][..again.len()]);
        }
        let [distance, least] = estimates;
        told.extend(distance.into_iter().zip(least));
    }
    told.truncate(count);
    Some(
        told.into_iter()
            .zip(exact)
            .map(|((distance, least), exact)| [distance, least, exact])
            .collect(),
    )
}

#[test]
fn estimates_are_near_and_few_distances_below_their_bounds() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for vector_type in [VectorType::F32, VectorType::F16] {
            for dimension in [32, 50, 99, 384, 784, 4_096] {
                let space = Space { dimension, vector_type, metric, stage: Stage::Given };
                let count = if dimension > 1_000 { 100 } else { 1_000 };
                let mut next = noise(dimension as u64);
                let offset: Vec<f32> = (0..dimension).map(|_| 0.5 * next()).collect();
                let values: Vec<f32> =
                    (0..count * dimension).map(|at| next() + offset[at % dimension]).collect();
                let query: Vec<f32> = offset.iter().map(|x| next() + x).collect();
                let told = told(space, &values, &query).expect("of the size of the rows");
                let below = told.iter().filter(|[_, least, exact]| exact < least).count();
                // One side of a normal distribution beyond 1.9 deviations: 2.9 %.
                assert!(below * 100 <= count * 5, "{space:?}: {below} below");
                let mut worst = 0.0_f32;
                let (mut bias, mut error) = (0.0, 0.0);
                for [distance, least, exact] in &told {
                    worst = worst.max((distance - exact).abs() / (distance - least));
                    bias += (distance - exact) / count as f32;
                    error += (distance - least) / count as f32;
                }
                assert!(worst < 2.6, "{space:?}: {worst} errors");
                assert!(bias.abs() < 0.2 * error, "{space:?}: {bias} of {error}");
            }
        }
    }
}

#[test]
fn what_has_no_size_or_too_large_a_one_is_refused_or_told_without_nan() {
    let space =
        |metric| Space { dimension: 64, vector_type: VectorType::F32, metric, stage: Stage::Given };
    let mut next = noise(4);
    let plain: Vec<f32> = (0..64 * 70).map(|_| next()).collect();
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for factor in [0.0, 1e-42, 1e-20, 1.0, 1e18, 1e38] {
            let values: Vec<f32> = plain.iter().map(|x| x * factor).collect();
            for query in [0.0, 1e-42, 1.0, 1e30] {
                let query: Vec<f32> = plain[64..128].iter().map(|x| x * query).collect();
                for [distance, least, exact] in
                    told(space(metric), &values, &query).unwrap_or_default()
                {
                    let sound = least <= distance || distance.is_infinite() || factor > 1e18;
                    assert!(sound, "{metric} {factor}: {distance} {least} {exact}");
                }
            }
        }
        let zero = told(space(metric), &plain, &[0.0; 64]);
        assert_eq!(zero.is_none(), metric == Metric::Cosine);
        // Copies of a row are what they are, and all the same.
        let same = told(space(metric), &[0.25; 64 * 40], &plain[..64]).expect("of their size");
        assert!(same.iter().all(|[distance, ..]| distance == &same[0][0]));
        assert!(same.iter().all(|[distance, _, exact]| (distance - exact).abs() < 1e-4));
    }
    let none = told(space(Metric::L2), &plain, &[1e30; 64]);
    assert!(none.is_none(), "squares beyond all f32");
}

#[test]
fn a_zero_row_is_at_cosine_distance_one() {
    let space = Space {
        dimension: 128,
        vector_type: VectorType::F32,
        metric: Metric::Cosine,
        stage: Stage::Given,
    };
    let mut next = noise(6);
    let mut values: Vec<f32> = (0..128 * 50).map(|_| next() + 0.3).collect();
    values[..128].fill(0.0);
    let query = values[256..384].to_vec();
    let told = told(space, &values, &query).expect("of their size");
    let [distance, least, exact] = told[0];
    assert_eq!(exact, 1.0);
    assert!(least <= 1.0 && (distance - 1.0).abs() < 0.2, "{distance} {least}");
}

#[test]
fn parameters_of_another_codec_or_space_are_refused() {
    let space = Space {
        dimension: 40,
        vector_type: VectorType::F32,
        metric: Metric::L2,
        stage: Stage::Given,
    };
    let bytes = BitCodec::new(space, vec![0.5; 40]).to_bytes();
    assert!(BitCodec::parse(&bytes, space).is_some());
    assert!(BitCodec::parse(&bytes, Space { dimension: 41, ..space }).is_none());
    for at in 0..HEADER_BYTES {
        let mut other = bytes.clone();
        other[at] ^= 4;
        assert!(BitCodec::parse(&other, space).is_none(), "{at}");
    }
    for len in [0, 63, 64, bytes.len() - 4, bytes.len() - 1] {
        assert!(BitCodec::parse(&bytes[..len], space).is_none(), "{len}");
    }
    let long = [&bytes[..], &[0]].concat();
    assert!(BitCodec::parse(&long, space).is_none());
    let mut nan = bytes.clone();
    nan[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(BitCodec::parse(&nan, space).is_none());
    let small = Space { dimension: 3, ..space };
    assert!(BitCodec::parse(&BitCodec::new(small, vec![0.0; 3]).to_bytes(), small).is_none());
}
