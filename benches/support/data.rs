//! Vectors to measure with: the real sets with their exact neighbours, and a seeded generator.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use half::f16;
use nearfield::{
    Collection, Hits, Id, Ids, ImportBatch, Metric, Result, Schema, VectorType, Vectors,
};

use super::Outcome;

/// One of the real sets.
#[derive(Debug)]
pub struct Set {
    pub name: &'static str,
    pub dimension: usize,
    pub metric: Metric,
    pub vector_type: VectorType,
    pub train: Array,
    pub queries: Array,
    /// Distance of the exact neighbours, 100 a query; l2 is not squared here.
    pub distances: Vec<f32>,
}

pub const SETS: [(&str, Metric, VectorType); 7] = [
    ("sift-5k-128", Metric::L2, VectorType::U8),
    ("cisi-minilm-384", Metric::Cosine, VectorType::F16),
    ("scifact-minilm-384", Metric::Cosine, VectorType::F16),
    ("npm-mpnet-768", Metric::Cosine, VectorType::F16),
    ("glove-50-60k", Metric::Cosine, VectorType::F16),
    ("fashion-mnist-784", Metric::L2, VectorType::U8),
    ("pypi-minilm-384-100k", Metric::Cosine, VectorType::F16),
];

/// Row-major elements of a file.
#[derive(Clone, Debug)]
pub enum Array {
    F16(Vec<f16>),
    U8(Vec<u8>),
}

impl Array {
    pub fn len(&self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Rows `from..to` as they are stored.
    pub fn rows(&self, dimension: usize, from: usize, to: usize) -> Vectors<'_> {
        let range = from * dimension..to * dimension;
        match self {
            Self::F16(values) => (&values[range]).into(),
            Self::U8(values) => (&values[range]).into(),
        }
    }

    pub fn row_f32(&self, dimension: usize, row: usize) -> Vec<f32> {
        let range = row * dimension..(row + 1) * dimension;
        match self {
            Self::F16(values) => values[range].iter().map(|value| value.to_f32()).collect(),
            Self::U8(values) => values[range].iter().map(|value| f32::from(*value)).collect(),
        }
    }

    pub fn owned(&self, dimension: usize, from: usize, to: usize) -> Vectors<'static> {
        let range = from * dimension..to * dimension;
        match self {
            Self::F16(values) => values[range].to_vec().into(),
            Self::U8(values) => values[range].to_vec().into(),
        }
    }
}

impl Set {
    /// Reads a set; `None` where the data is not there.
    pub fn load(wanted: &str) -> Outcome<Option<Self>> {
        let Some((name, metric, vector_type)) = SETS.into_iter().find(|set| set.0 == wanted) else {
            return Err(format!("no set {wanted:?}").into());
        };
        let dir: PathBuf = super::data_directory().join(name);
        if !dir.is_dir() {
            println!("{name}: skipped, no data in the directory of $NEARFIELD_DATA");
            return Ok(None);
        }
        let ext = if vector_type == VectorType::U8 { "u8" } else { "f16" };
        let (queries, dimension) = array(&npy(&dir.join(format!("queries.{ext}.npy")))?)?;
        let pixels = dir.join("train-images-idx3-ubyte.gz");
        let train = if pixels.is_file() {
            // Skips the header of the idx format.
            Array::U8(gunzip(&pixels)?.split_off(16))
        } else {
            array(&npy(&dir.join(format!("train.{ext}.npy")))?)?.0
        };
        let distances = npy(&dir.join("distances.npy"))?;
        let distances = distances.body.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok());
        let distances = distances.map(f32::from_le_bytes).collect();
        Ok(Some(Self { name, dimension, metric, vector_type, train, queries, distances }))
    }

    pub fn len(&self) -> usize {
        self.train.len() / self.dimension
    }

    pub fn query_count(&self) -> usize {
        self.queries.len() / self.dimension
    }

    pub fn schema(&self) -> Schema {
        Schema::new(self.dimension, self.metric).with_vector_type(self.vector_type)
    }

    /// The rows `ids`, in batches for an import.
    pub fn batches<'a>(&'a self, ids: &'a [u64]) -> impl Iterator<Item = Result<ImportBatch>> + 'a {
        ids.chunks(4_096).map(|ids| {
            let first = ids.first().map_or(0, |id| *id as usize);
            let dense = ids.iter().enumerate().all(|(at, id)| *id as usize == first + at);
            let vectors = if dense {
                self.train.owned(self.dimension, first, first + ids.len())
            } else {
                self.gather(ids)
            };
            Ok(ImportBatch {
                ids: Ids::from(ids.to_vec()),
                vectors,
                attributes: None,
                source_rows: ids.to_vec(),
                rejected: Vec::new(),
            })
        })
    }

    fn gather(&self, ids: &[u64]) -> Vectors<'static> {
        let d = self.dimension;
        let range = |id: &u64| *id as usize * d..(*id as usize + 1) * d;
        match &self.train {
            Array::F16(values) => {
                ids.iter().flat_map(|id| values[range(id)].to_vec()).collect::<Vec<_>>().into()
            }
            Array::U8(values) => {
                ids.iter().flat_map(|id| values[range(id)].to_vec()).collect::<Vec<_>>().into()
            }
        }
    }

    /// Distance of a row to a query in f64, as the neighbour lists have it.
    fn distance(&self, query: &[f32], row: usize) -> f64 {
        let row = self.train.row_f32(self.dimension, row);
        let pairs = || query.iter().zip(&row).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        match self.metric {
            Metric::Cosine => {
                let norms = pairs().fold((0.0, 0.0), |(x, y), (a, b)| (x + a * a, y + b * b));
                1.0 - pairs().map(|(a, b)| a * b).sum::<f64>() / (norms.0 * norms.1).sqrt()
            }
            _ => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        }
    }

    /// Share of the hits that are as near as the k-th exact neighbour, ties counted as hits.
    pub fn recall(&self, answers: &[Hits], k: usize) -> f64 {
        let slack = if self.metric == Metric::Cosine { 1e-7 } else { 0.0 };
        let bound =
            |query: usize| f64::from(self.distances[query * 100 + k - 1]) * (1.0 + 1e-6) + slack;
        self.recall_within(answers, k, bound)
    }

    /// As [`recall`](Self::recall) with the k-th distances of the `exact` answers.
    pub fn recall_against(&self, answers: &[Hits], exact: &[Hits], k: usize) -> f64 {
        let kth = |query: usize| {
            let vector = self.queries.row_f32(self.dimension, query);
            let rows = exact[query].iter().filter_map(|hit| number(&hit.id));
            let rows = rows.map(|row| self.distance(&vector, row as usize));
            rows.fold(0.0, f64::max) * (1.0 + 1e-6) + 1e-7
        };
        self.recall_within(answers, k, kth)
    }

    fn recall_within(&self, answers: &[Hits], k: usize, bound: impl Fn(usize) -> f64) -> f64 {
        let mut good = 0;
        for (query, hits) in answers.iter().enumerate() {
            let vector = self.queries.row_f32(self.dimension, query);
            let bound = bound(query);
            let near = |id: &u64| self.distance(&vector, *id as usize) <= bound;
            // A set: a row returned twice is one hit.
            let rows: HashSet<u64> =
                hits.iter().take(k).filter_map(|hit| number(&hit.id)).collect();
            good += rows.iter().filter(|row| near(row)).count();
        }
        good as f64 / (answers.len() * k) as f64
    }

    /// All queries, one after another in this thread; the answers and the seconds of each.
    pub fn answers(&self, rows: &Collection, exact: bool) -> Outcome<(Vec<Hits>, Vec<f64>)> {
        let mut seconds = Vec::new();
        let mut answers = Vec::new();
        for query in 0..self.query_count() {
            let vector = self.queries.rows(self.dimension, query, query + 1);
            let start = std::time::Instant::now();
            answers.push(rows.search(vector).exact(exact).run()?);
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok((answers, seconds))
    }
}

fn number(id: &Id) -> Option<u64> {
    match id {
        Id::U64(id) => Some(*id),
        Id::Utf8(_) => None,
    }
}

struct Npy {
    header: String,
    body: Vec<u8>,
}

/// The rows of an npy file.
pub fn vectors(path: &Path) -> Outcome<Array> {
    Ok(array(&npy(path)?)?.0)
}

fn npy(path: &Path) -> Outcome<Npy> {
    let bad = || format!("{} is no npy file of version 1", path.display());
    let bytes = std::fs::read(path)?;
    if !bytes.starts_with(b"\x93NUMPY\x01") || bytes.len() < 10 {
        return Err(bad().into());
    }
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(bytes.get(10..start).ok_or_else(bad)?).into_owned();
    Ok(Npy { header, body: bytes[start..].to_vec() })
}

/// The elements and how many of them a row has.
fn array(npy: &Npy) -> Outcome<(Array, usize)> {
    let shape = npy.header.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let dimension = shape
        .and_then(|(shape, _)| shape.split(',').nth(1)?.trim().parse().ok())
        .ok_or("an npy file without two dimensions")?;
    let pairs = || npy.body.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]));
    let values = if npy.header.contains("'<f2'") {
        Array::F16(pairs().collect())
    } else if npy.header.contains("'|u1'") {
        Array::U8(npy.body.clone())
    } else {
        return Err(format!("an npy file of other elements: {}", npy.header).into());
    };
    Ok((values, dimension))
}

fn gunzip(path: &Path) -> Outcome<Vec<u8>> {
    let mut child = Command::new("gzip").arg("-dc").arg(path).stdout(Stdio::piped()).spawn()?;
    let mut bytes = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut bytes)?;
    }
    if !child.wait()?.success() || bytes.len() < 16 {
        return Err(format!("gzip -dc {} failed", path.display()).into());
    }
    Ok(bytes)
}

/// Rows around 1,000 centres in 16 directions each; a row depends on seed and number alone.
#[derive(Clone, Debug)]
pub struct Synthetic {
    dimension: usize,
    seed: u64,
    centres: Vec<f32>,
    directions: Vec<f32>,
}

const CENTRES: usize = 1_000;
const DIRECTIONS: usize = 16;

impl Synthetic {
    pub fn new(dimension: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let centres = (0..CENTRES * dimension).map(|_| random.normal()).collect();
        let directions = (0..DIRECTIONS * dimension).map(|_| random.normal()).collect();
        Self { dimension, seed, centres, directions }
    }

    pub fn row(&self, number: u64, out: &mut Vec<f32>) {
        let mut random = Random(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851);
        let centre = (random.next() % CENTRES as u64) as usize * self.dimension;
        let at = out.len();
        out.extend_from_slice(&self.centres[centre..centre + self.dimension]);
        for direction in self.directions.chunks_exact(self.dimension) {
            let weight = random.normal() * 0.4;
            for (value, along) in out[at..].iter_mut().zip(direction) {
                *value += weight * along;
            }
        }
        for value in &mut out[at..] {
            *value += random.uniform() * 0.5;
        }
    }

    /// Rows `from..to`.
    pub fn rows(&self, from: u64, to: u64) -> Vec<f32> {
        let mut out = Vec::with_capacity((to - from) as usize * self.dimension);
        (from..to).for_each(|number| self.row(number, &mut out));
        out
    }

    /// Rows `0..count` with their numbers as ids, made as they are asked for.
    pub fn batches(&self, count: u64) -> impl Iterator<Item = Result<ImportBatch>> + '_ {
        (0..count).step_by(4_096).map(move |from| {
            let to = (from + 4_096).min(count);
            Ok(ImportBatch {
                ids: Ids::from((from..to).collect::<Vec<u64>>()),
                vectors: self.rows(from, to).into(),
                attributes: None,
                source_rows: (from..to).collect(),
                rejected: Vec::new(),
            })
        })
    }
}

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In -1..1.
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    /// Near enough to a normal distribution: the sum of four uniform ones, variance one.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum::<f32>() * 0.866
    }

    /// The first `count` of a random order of `0..n`.
    pub fn sample(&mut self, n: u64, count: usize) -> Vec<u64> {
        let mut numbers: Vec<u64> = (0..n).collect();
        for at in 0..count.min(numbers.len()) {
            let other = at + (self.next() % (n - at as u64)) as usize;
            numbers.swap(at, other);
        }
        numbers.truncate(count);
        numbers
    }
}
