//! Every way to search the same rows, under the input's dimension, metric, element type and code: a hit is a
//! living row at its true distance, in order, and as many come back as there are.
#![no_main]

use std::sync::Arc;

use nearfield::testing::FaultDisk;
use nearfield::{
    CodeChoice, Collection, Hits, Id, Metric, OpenOptions, Raw, Schema, Settings, VectorType,
};

const SPACES: [(VectorType, Metric); 12] = {
    use {Metric::*, VectorType::*};
    [
        (F32, L2),
        (F32, Cosine),
        (F32, Dot),
        (F16, L2),
        (F16, Cosine),
        (Bf16, Dot),
        (I8, L2),
        (I8, Cosine),
        (U8, Dot),
        (B1, Hamming),
        (B1, Jaccard),
        (F32, L2),
    ]
};
const CODES: [CodeChoice; 6] = [
    CodeChoice::Auto,
    CodeChoice::Full,
    CodeChoice::Byte,
    CodeChoice::Half,
    CodeChoice::Bit,
    CodeChoice::Product { bytes: 8 },
];

/// What the first bytes of an input say.
struct Case<'a> {
    space: (VectorType, Metric),
    /// Elements of a row, bytes where a byte holds eight.
    dimension: usize,
    code: CodeChoice,
    graph: bool,
    k: usize,
    ef: usize,
    /// Every so many-th row is deleted.
    gone: u64,
    raw: Option<Raw>,
    rows: &'a [u8],
}

impl<'a> Case<'a> {
    fn of(data: &'a [u8]) -> Option<Self> {
        let (head, rows) = data.split_first_chunk::<8>()?;
        let space = SPACES[usize::from(head[0]) % SPACES.len()];
        let dimension = 1 + usize::from(head[1]) % 40;
        let rounded = space.0 == VectorType::F32 && head[7] % 4 == 1;
        Some(Self {
            space,
            dimension,
            code: CODES[usize::from(head[2]) % CODES.len()],
            graph: head[3] % 4 > 0,
            k: 1 + usize::from(head[4]) % 60,
            ef: 1 + usize::from(head[5]) % 100,
            gone: 2 + u64::from(head[6]),
            raw: rounded.then_some(Raw::F16),
            rows,
        })
    }

    /// Elements of a byte each, small enough to be exact in every type.
    fn vector(&self, bytes: &[u8]) -> Vec<f32> {
        let element = |byte: &u8| match self.space.0 {
            VectorType::U8 | VectorType::B1 => f32::from(*byte),
            VectorType::I8 => f32::from(*byte) - 128.0,
            _ => (f32::from(*byte) - 128.0) / 2.0,
        };
        bytes.iter().map(element).collect()
    }

    fn collection(&self) -> nearfield::Result<Collection> {
        let mut settings = Settings::default();
        settings.background = false;
        settings.graph_bytes = if self.graph { 0 } else { u64::MAX };
        settings.code = self.code;
        settings.m = 4;
        settings.ef_construction = 16;
        settings.threads = 1;
        let db =
            OpenOptions::new().settings(settings).disk(Arc::new(FaultDisk::new())).open("db")?;
        let bits = if self.space.0 == VectorType::B1 { 8 } else { 1 };
        let mut schema =
            Schema::new(bits * self.dimension, self.space.1).with_vector_type(self.space.0);
        if let Some(raw) = self.raw {
            schema = schema.with_raw(raw);
        }
        db.collection("docs", schema)
    }
}

fn pairs(hits: &Hits) -> Vec<(f32, Id)> {
    hits.iter().map(|hit| (hit.distance, hit.id.clone())).collect()
}

/// What the rows give, all of them compared by plain arithmetic.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum()
    };
    let ones = |byte: u8| f64::from(byte.count_ones());
    match metric {
        Metric::L2 => sum(&|a, b| (a - b) * (a - b)),
        Metric::Dot => -sum(&|a, b| a * b),
        Metric::Hamming => sum(&|a, b| ones(a as u8 ^ b as u8)),
        Metric::Jaccard => {
            let either = sum(&|a, b| ones(a as u8 | b as u8));
            if either == 0.0 { 0.0 } else { 1.0 - sum(&|a, b| ones(a as u8 & b as u8)) / either }
        }
        _ => {
            let norms = sum(&|a, _| a * a) * sum(&|_, b| b * b);
            if norms == 0.0 { 1.0 } else { 1.0 - sum(&|a, b| a * b) / norms.sqrt() }
        }
    }
}

fn compare(case: &Case<'_>, docs: &Collection) -> nearfield::Result<()> {
    let elements = case.dimension;
    let values = case.vector(&case.rows[..case.rows.len() / elements * elements]);
    let ids: Vec<u64> = (0..(values.len() / elements) as u64).collect();
    docs.upsert(&ids, &values, ())?;
    docs.compact()?;
    let gone: Vec<u64> = ids.iter().copied().filter(|id| id % case.gone == 0).collect();
    docs.delete(&gone)?;
    let query = &values[..elements];
    let metric = case.space.1;
    let row = |id: u64| &values[id as usize * elements..][..elements];
    let mut living: Vec<(f64, u64)> = ids
        .iter()
        .filter(|id| *id % case.gone > 0)
        .map(|id| (distance(metric, query, row(*id)), *id))
        .collect();
    living.sort_by(|a, b| a.0.total_cmp(&b.0));
    let search = || docs.search(query).k(case.k);
    let even = living.iter().filter(|(_, id)| id % 2 == 0).count();
    let named: Vec<String> = ids.iter().filter(|id| *id % 2 == 0).map(u64::to_string).collect();
    let filter =
        format!("id IN ({})", if named.is_empty() { "0".into() } else { named.join(", ") });
    for (hits, wanted, exact) in [
        (search().exact(true).run()?, living.len(), true),
        (search().ef(case.ef).run()?, living.len(), false),
        (search().run()?, living.len(), false),
        (search().filter(filter.as_str()).run()?, even, false),
    ] {
        assert_eq!(hits.len(), case.k.min(wanted), "hits");
        let pairs = pairs(&hits);
        assert!(pairs.is_sorted_by(|a, b| a.0 < b.0 || a.0 == b.0 && a.1 < b.1), "{pairs:?}");
        for (at, (found, id)) in pairs.iter().enumerate() {
            let Id::U64(id) = id else { panic!("{id} was never written") };
            let known = living.iter().find(|known| known.1 == *id);
            let Some((right, _)) = known else { panic!("row {id} is not among the living") };
            let near = (f64::from(*found) - right).abs() <= 1e-5 * right.abs().max(1.0);
            assert!(near, "row {id} is at {right}, not at {found}");
            if exact {
                let best = living[at].0;
                assert!(
                    (right - best).abs() <= 1e-5 * best.abs().max(1.0),
                    "{at}: {right}, {best}"
                );
            }
        }
    }
    assert!(docs.verify()?.problems.is_empty());
    Ok(())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(case) = Case::of(&data[..data.len().min(20_000)]) else { return };
    if case.rows.len() < case.dimension {
        return;
    }
    let docs = case.collection().expect("a collection of these settings");
    compare(&case, &docs).expect("a disk that does not fail");
});
