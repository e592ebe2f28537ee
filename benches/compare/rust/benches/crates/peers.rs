//! The crates side by side, each behind the same few functions, and the data they are given.

use std::path::Path;

use hnsw_rs::prelude::{AnnT, DistDot, DistL2, Hnsw, HnswIo};
use nearfield::{Collection, Id, Metric, OpenOptions, Schema};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use crate::support::Outcome;

const M: usize = 16;
const EF_CONSTRUCTION: usize = 200;
const K: usize = 10;

/// Rows and queries, row-major, and the distance of each query's k-th exact neighbour.
#[derive(Debug)]
pub struct Dataset {
    pub dimension: usize,
    pub metric: Metric,
    pub train: Vec<f32>,
    pub queries: Vec<f32>,
    pub worst: Vec<f64>,
}

impl Dataset {
    pub fn row_count(&self) -> usize {
        self.train.len() / self.dimension
    }

    pub fn query_count(&self) -> usize {
        self.queries.len() / self.dimension
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.train[row * self.dimension..(row + 1) * self.dimension]
    }

    pub fn query(&self, query: usize) -> &[f32] {
        &self.queries[query * self.dimension..(query + 1) * self.dimension]
    }

    /// Fills in `worst` by comparing everything.
    pub fn with_exact(mut self, k: usize) -> Self {
        self.worst = (0..self.query_count())
            .map(|query| {
                let mut all: Vec<f64> =
                    (0..self.row_count()).map(|row| self.distance(query, row)).collect();
                all.sort_by(f64::total_cmp);
                all[k.min(all.len()) - 1]
            })
            .collect();
        self
    }

    fn distance(&self, query: usize, row: usize) -> f64 {
        let pairs = || {
            self.query(query).iter().zip(self.row(row)).map(|(a, b)| (f64::from(*a), f64::from(*b)))
        };
        match self.metric {
            Metric::Cosine => {
                let norms = pairs().fold((0.0, 0.0), |(x, y), (a, b)| (x + a * a, y + b * b));
                1.0 - pairs().map(|(a, b)| a * b).sum::<f64>() / (norms.0 * norms.1).sqrt()
            }
            _ => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        }
    }

    /// Part of the k that are as near as the exact k-th; ties are hits, a row found twice is one.
    pub fn recall(&self, answers: &[Vec<u64>], k: usize) -> f64 {
        let slack = if self.metric == Metric::Cosine { 1e-7 } else { 0.0 };
        let mut good = 0;
        for (query, ids) in answers.iter().enumerate() {
            let bound = self.worst[query] * (1.0 + 1e-6) + slack;
            let mut ids = ids.clone();
            ids.sort_unstable();
            ids.dedup();
            good += ids.iter().filter(|id| self.distance(query, **id as usize) <= bound).count();
        }
        good as f64 / (answers.len() * k) as f64
    }
}

/// Which peer, and which codes it keeps.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Nearfield,
    HnswRs,
    Usearch(&'static str),
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Nearfield,
        Self::HnswRs,
        Self::Usearch("f32"),
        Self::Usearch("f16"),
        Self::Usearch("i8"),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nearfield => "nearfield",
            Self::HnswRs => "hnsw_rs",
            Self::Usearch("f16") => "usearch-f16",
            Self::Usearch("i8") => "usearch-i8",
            Self::Usearch(_) => "usearch-f32",
        }
    }

    /// usearch's i8 holds vectors of length 1.
    pub fn can(self, data: &Dataset) -> bool {
        !matches!(self, Self::Usearch("i8")) || data.metric == Metric::Cosine
    }
}

/// An opened index that answers one query.
pub trait Peer {
    fn search(&self, query: &[f32], ef: usize) -> Outcome<Vec<u64>>;
}

/// An ordinary collection with default settings.
pub struct Nearfield(Collection);

impl Nearfield {
    pub fn build(data: &Dataset, folder: &Path) -> Outcome {
        let db = OpenOptions::new().threads(1).open(folder.join("db"))?;
        let rows = db.collection("rows", Schema::new(data.dimension, data.metric))?;
        let ids: Vec<u64> = (0..data.row_count() as u64).collect();
        for ids in ids.chunks(10_000) {
            let (first, count) = (ids[0] as usize * data.dimension, ids.len() * data.dimension);
            rows.upsert(ids, &data.train[first..first + count], ())?;
        }
        rows.compact()?;
        Ok(db.close()?)
    }

    pub fn open(_: &Dataset, folder: &Path) -> Outcome<Self> {
        let db = OpenOptions::new().threads(1).read_only(true).open(folder.join("db"))?;
        Ok(Self(db.open_collection("rows")?))
    }
}

impl Peer for Nearfield {
    fn search(&self, query: &[f32], ef: usize) -> Outcome<Vec<u64>> {
        let hits = self.0.search(query).k(K).ef(ef).run()?;
        let number = |id: &Id| if let Id::U64(id) = id { Some(*id) } else { None };
        Ok(hits.iter().filter_map(|hit| number(&hit.id)).collect())
    }
}

/// Cosine is the dot product of vectors of length 1, as its documentation advises.
pub enum HnswRs {
    L2(Hnsw<'static, f32, DistL2>),
    Dot(Hnsw<'static, f32, DistDot>),
}

impl HnswRs {
    pub fn build(data: &Dataset, folder: &Path) -> Outcome {
        let layers = 16;
        match data.metric {
            Metric::Cosine => {
                let index =
                    Hnsw::<f32, _>::new(M, data.row_count(), layers, EF_CONSTRUCTION, DistDot {});
                for row in 0..data.row_count() {
                    index.insert((&unit(data.row(row)), row));
                }
                index.file_dump(folder, "index")?;
            }
            _ => {
                let index =
                    Hnsw::<f32, _>::new(M, data.row_count(), layers, EF_CONSTRUCTION, DistL2 {});
                for row in 0..data.row_count() {
                    index.insert((data.row(row), row));
                }
                index.file_dump(folder, "index")?;
            }
        }
        Ok(())
    }

    pub fn open(data: &Dataset, folder: &Path) -> Outcome<Self> {
        // The index borrows from its reader for good.
        let reader = Box::leak(Box::new(HnswIo::new(folder, "index")));
        Ok(match data.metric {
            Metric::Cosine => Self::Dot(reader.load_hnsw()?),
            _ => Self::L2(reader.load_hnsw()?),
        })
    }
}

impl Peer for HnswRs {
    fn search(&self, query: &[f32], ef: usize) -> Outcome<Vec<u64>> {
        let found = match self {
            Self::L2(index) => index.search(query, K, ef),
            Self::Dot(index) => index.search(&unit(query), K, ef),
        };
        Ok(found.iter().map(|neighbour| neighbour.d_id as u64).collect())
    }
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter().map(|value| value / norm).collect()
}

pub struct Usearch(Index);

impl Usearch {
    fn index(data: &Dataset, scalar: &str) -> Outcome<Index> {
        Ok(Index::new(&IndexOptions {
            dimensions: data.dimension,
            metric: if data.metric == Metric::Cosine { MetricKind::Cos } else { MetricKind::L2sq },
            quantization: match scalar {
                "i8" => ScalarKind::I8,
                "f16" => ScalarKind::F16,
                _ => ScalarKind::F32,
            },
            connectivity: M,
            expansion_add: EF_CONSTRUCTION,
            ..IndexOptions::default()
        })?)
    }

    pub fn build(data: &Dataset, folder: &Path, scalar: &str) -> Outcome {
        let index = Self::index(data, scalar)?;
        index.reserve(data.row_count())?;
        for row in 0..data.row_count() {
            index.add(row as u64, data.row(row))?;
        }
        Ok(index.save(&folder.join("index").to_string_lossy())?)
    }

    pub fn open(data: &Dataset, folder: &Path, scalar: &str) -> Outcome<Self> {
        let index = Self::index(data, scalar)?;
        index.load(&folder.join("index").to_string_lossy())?;
        Ok(Self(index))
    }
}

impl Peer for Usearch {
    fn search(&self, query: &[f32], ef: usize) -> Outcome<Vec<u64>> {
        if self.0.expansion_search() != ef {
            self.0.change_expansion_search(ef);
        }
        Ok(self.0.search(query, K)?.keys)
    }
}
