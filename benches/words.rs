//! Search by words and by both: how good the answers are on sets with judgements, and what they take.
//!
//! `cargo bench --features cli --bench words -- [--texts N] [--queries N] [--smoke]`
//!
//! Quality is nDCG@10 and the recall of 100, as the sets' own reference figures: BM25 over title and text,
//! exact neighbours, and both fused. A plain BM25 written out here stands beside the engine's.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use nearfield::arrow_array::cast::AsArray;
use nearfield::arrow_array::types::{Float64Type, Int64Type};
use nearfield::arrow_array::{Array, ArrayRef, LargeStringArray, RecordBatch, StringArray};
use nearfield::{
    Collection, Database, Durability, Fusion, Hits, Id, Metric, Normalize, OpenOptions, Schema,
    Settings, TextOptions, Vectors, Words,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use support::data::Set;
use support::{Args, Outcome, figure, median, quantile};

const BENCH: &str = "words";
/// Rows of a list that is judged.
const DEPTH: usize = 100;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        for (set, queries) in
            [("scifact-minilm-384", ""), ("scifact-minilm-384", "_train"), ("cisi-minilm-384", "")]
        {
            if !(args.smoke() && queries == "_train") {
                quality(args, set, queries)?;
            }
        }
        speed(args)
    })
}

/// The columns of a Parquet file, all rows as one batch each.
fn table(path: &Path) -> Outcome<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

fn strings(batches: &[RecordBatch], name: &str) -> Vec<String> {
    let text = |array: &ArrayRef| -> Vec<String> {
        if let Some(texts) = array.as_any().downcast_ref::<StringArray>() {
            return texts.iter().map(|text| text.unwrap_or("").to_owned()).collect();
        }
        let texts = array.as_string::<i64>();
        texts.iter().map(|text| text.unwrap_or("").to_owned()).collect()
    };
    batches.iter().filter_map(|batch| batch.column_by_name(name)).flat_map(text).collect()
}

fn numbers(batches: &[RecordBatch], name: &str) -> Vec<f64> {
    let number = |array: &ArrayRef| -> Vec<f64> {
        if let Some(values) = array.as_primitive_opt::<Int64Type>() {
            return values.values().iter().map(|value| *value as f64).collect();
        }
        if let Some(values) = array.as_primitive_opt::<Float64Type>() {
            return values.values().to_vec();
        }
        let values = array.as_primitive::<nearfield::arrow_array::types::Int32Type>();
        values.values().iter().map(|value| f64::from(*value)).collect()
    };
    batches.iter().filter_map(|batch| batch.column_by_name(name)).flat_map(number).collect()
}

/// What is judged relevant to each query.
type Judgements = BTreeMap<usize, HashMap<u64, f64>>;

fn judgements(path: &Path) -> Outcome<Judgements> {
    let batches = table(path)?;
    let rows = numbers(&batches, "query_row").into_iter().zip(numbers(&batches, "doc_row"));
    let mut judged = Judgements::new();
    for ((query, row), relevance) in rows.zip(numbers(&batches, "relevance")) {
        judged.entry(query as usize).or_default().insert(row as u64, relevance);
    }
    Ok(judged)
}

/// nDCG@10 and the recall of 100, means over the queries.
fn judged(
    queries: &Judgements,
    mut answer: impl FnMut(usize) -> Outcome<Vec<u64>>,
) -> Outcome<(f64, f64)> {
    let (mut gain, mut recall) = (0.0, 0.0);
    for (query, relevant) in queries {
        let found = answer(*query)?;
        let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let relevance = |row: &u64| relevant.get(row).copied().unwrap_or(0.0);
        let at = |(rank, relevance): (usize, f64)| (2f64.powf(relevance) - 1.0) * discount(rank);
        let found_gain: f64 = found.iter().take(10).map(relevance).enumerate().map(at).sum();
        let mut ideal: Vec<f64> = relevant.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        gain += found_gain / ideal.into_iter().take(10).enumerate().map(at).sum::<f64>().max(1e-9);
        let positive = relevant.values().filter(|relevance| **relevance > 0.0).count();
        let hits = found.iter().take(DEPTH).filter(|row| relevance(row) > 0.0).count();
        recall += hits as f64 / positive.max(1) as f64;
    }
    let count = queries.len().max(1) as f64;
    Ok((gain / count, recall / count))
}

fn ids(hits: &Hits) -> Vec<u64> {
    let number = |id: &Id| match id {
        Id::U64(id) => *id,
        Id::Utf8(_) => u64::MAX,
    };
    hits.iter().map(|hit| number(&hit.id)).collect()
}

fn batch(texts: &[String]) -> Outcome<RecordBatch> {
    let texts: ArrayRef = Arc::new(LargeStringArray::from_iter_values(texts));
    Ok(RecordBatch::try_from_iter([("body", texts)])?)
}

fn open(dir: &Path, background: bool) -> Outcome<Database> {
    let mut settings = Settings::default();
    settings.durability = Durability::None;
    settings.background = background;
    Ok(OpenOptions::new().settings(settings).open(dir.join("db"))?)
}

fn quality(args: &Args, name: &str, kind: &str) -> Outcome {
    let Some(set) = Set::load(name)? else { return Ok(()) };
    let dir = support::data_directory().join(name);
    let meta = table(&dir.join("meta.parquet"))?;
    let texts = strings(&meta, "title").into_iter().zip(strings(&meta, "text"));
    let texts: Vec<String> = texts.map(|(title, text)| format!("{title} {text}")).collect();
    let mut queries = judgements(&dir.join(format!("qrels{kind}.parquet")))?;
    if args.smoke() {
        queries = queries.into_iter().take(5).collect();
    }
    let asked = strings(&table(&dir.join(format!("queries{kind}_meta.parquet")))?, "text");
    let vectors = support::data::vectors(&dir.join(format!("queries{kind}.f16.npy")))?;
    let scratch = support::directory()?;
    let db = open(scratch.path(), false)?;
    let all: Vec<u64> = (0..texts.len() as u64).collect();
    let rows = set.train.rows(set.dimension, 0, texts.len());
    let fill = |name: &str, options: TextOptions| -> Outcome<Collection> {
        let docs = db.collection(name, set.schema().text_with("body", options))?;
        docs.upsert(&all, rows.clone(), &batch(&texts)?)?;
        docs.compact()?;
        Ok(docs)
    };
    let docs = fill("english", TextOptions::new())?;
    let plain = fill("plain", TextOptions::new().no_language())?;
    let vector = |query: usize| -> Vectors<'_> { vectors.rows(set.dimension, query, query + 1) };
    let show = |label: &str, (ndcg, recall): (f64, f64)| {
        figure(BENCH, &format!("{name}{kind} {label}"), ndcg, "nDCG@10");
        figure(BENCH, &format!("{name}{kind} {label}"), recall, "R@100");
    };
    let words = |query: usize| Words::plain(&asked[query]);
    show(
        "vector",
        judged(&queries, |query| {
            Ok(ids(&docs.search(vector(query)).exact(true).k(DEPTH).run()?))
        })?,
    );
    show(
        "words",
        judged(&queries, |query| Ok(ids(&docs.search_words(words(query)).k(DEPTH).run()?)))?,
    );
    show(
        "words as they are",
        judged(&queries, |query| Ok(ids(&plain.search_words(words(query)).k(DEPTH).run()?)))?,
    );
    let reference = Reference::new(&texts);
    show(
        "words as they are, written out",
        judged(&queries, |query| Ok(reference.search(&asked[query], DEPTH)))?,
    );
    let z = Fusion::Weighted { alpha: 0.5, normalize: Normalize::ZScore };
    for (label, fusion) in [
        ("reciprocal ranks", Fusion::default()),
        ("weighted 0.3", Fusion::weighted(0.3)),
        ("weighted 0.5", Fusion::weighted(0.5)),
        ("weighted 0.7", Fusion::weighted(0.7)),
        ("weighted 0.5 by deviation", z),
    ] {
        show(
            label,
            judged(&queries, |query| {
                let both = docs.search(vector(query)).exact(true).words(words(query));
                Ok(ids(&both.fusion(fusion).k(DEPTH).run()?))
            })?,
        );
    }
    Ok(())
}

/// BM25 as it is written in books, over words in lower case.
struct Reference {
    texts: Vec<HashMap<String, f64>>,
    lengths: Vec<f64>,
    found: HashMap<String, f64>,
    mean: f64,
}

fn cut(text: &str) -> impl Iterator<Item = String> + '_ {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase)
}

impl Reference {
    fn new(texts: &[String]) -> Self {
        let mut found: HashMap<String, f64> = HashMap::new();
        let (mut counts, mut lengths) = (Vec::new(), Vec::new());
        for text in texts {
            let mut count: HashMap<String, f64> = HashMap::new();
            cut(text).for_each(|word| *count.entry(word).or_default() += 1.0);
            count.keys().for_each(|word| *found.entry(word.clone()).or_default() += 1.0);
            lengths.push(count.values().sum());
            counts.push(count);
        }
        let mean = lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
        Self { texts: counts, lengths, found, mean }
    }

    fn search(&self, query: &str, k: usize) -> Vec<u64> {
        let rows = self.texts.len() as f64;
        let mut scores = vec![0.0; self.texts.len()];
        for word in cut(query) {
            let found = self.found.get(&word).copied().unwrap_or(0.0);
            let idf = (1.0 + (rows - found + 0.5) / (found + 0.5)).ln();
            for (row, text) in self.texts.iter().enumerate() {
                let Some(times) = text.get(&word) else { continue };
                let length = 1.2 * (0.25 + 0.75 * self.lengths[row] / self.mean);
                scores[row] += idf * times * 2.2 / (times + length);
            }
        }
        let mut order: Vec<usize> = (0..scores.len()).filter(|row| scores[*row] > 0.0).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        order.into_iter().take(k).map(|row| row as u64).collect()
    }
}

/// Short texts: real ones, or made-up words that are as unequal.
fn short_texts(count: usize) -> Outcome<Vec<String>> {
    let path = support::data_directory().join("pypi-minilm-384-100k/meta.parquet");
    let mut texts = Vec::new();
    if path.is_file() {
        let meta = table(&path)?;
        let names = strings(&meta, "name").into_iter().zip(strings(&meta, "summary"));
        texts.extend(names.take(count).map(|(name, summary)| format!("{name}: {summary}")));
    }
    let mut state = 7_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    while texts.len() < count {
        let words = (0..12).map(|_| format!("w{}", (30_000_f64.powf(next())) as u64));
        texts.push(words.collect::<Vec<_>>().join(" "));
    }
    Ok(texts)
}

fn speed(args: &Args) -> Outcome {
    let count = args.size("--texts", 100_000, 3_000)?;
    let runs = args.size("--queries", 2_000, 20)?;
    let texts = short_texts(count)?;
    let dir = support::directory()?;
    let db = open(dir.path(), false)?;
    let ids: Vec<u64> = (0..count as u64).collect();
    let mut spent = Vec::new();
    for indexed in [false, true] {
        let schema = Schema::new(1, Metric::L2);
        let schema = if indexed {
            schema.text("body")
        } else {
            schema.column("body", nearfield::DataType::Utf8)
        };
        let docs = db.collection(if indexed { "texts" } else { "bare" }, schema)?;
        let clock = support::Clock::start();
        for (ids, texts) in ids.chunks(10_000).zip(texts.chunks(10_000)) {
            docs.upsert(ids, vec![0.0_f32; ids.len()], &batch(texts)?)?;
        }
        docs.compact()?;
        spent.push((clock.wall(), clock.cpu()));
    }
    let [(_, bare), (wall, cpu)] = spent[..] else { return Ok(()) };
    figure(BENCH, "ingest with an index, into a segment", count as f64 / wall, "texts/s");
    figure(BENCH, "ingest with an index, into a segment", count as f64 / cpu, "texts/CPU s");
    figure(BENCH, "the index alone", (cpu - bare) / count as f64 * 1e6, "CPU us/text");
    let docs = db.open_collection("texts")?;
    for terms in [1, 3, 8] {
        let (mut times, mut hits) = (Vec::new(), 0);
        for run in 0..runs {
            let text = &texts[run * 7_919 % texts.len()];
            let mut words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
            words.retain(|word| word.len() > 2);
            let turn = run % words.len().max(1);
            words.rotate_left(turn);
            words.truncate(terms);
            let words = Words::plain(words.join(" "));
            let start = Instant::now();
            hits += docs.search_words(words).run()?.len();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let name = format!("{count} texts, {terms} words ({} hits)", hits / runs.max(1));
        figure(BENCH, &name, median(&times), "ms, median");
        figure(BENCH, &name, quantile(&times, 0.99), "ms, 99th of 100");
    }
    for query in ["\"python library\"", "+python +library -test", "pyth*", "pyhton~1", "w1 w2*"] {
        let mut times = Vec::new();
        for _ in 0..runs.min(200) {
            let start = Instant::now();
            docs.search_words(query).run()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        figure(BENCH, &format!("{count} texts, {query}"), median(&times), "ms, median");
    }
    Ok(())
}
