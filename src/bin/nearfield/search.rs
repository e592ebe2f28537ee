//! `nearfield search`: the rows nearest to vectors, or to a row that is there, and those that have words.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nearfield::{Collection, Fields, Fusion, Id, Query, Vectors, Words};
use serde::Serialize;

use super::args::{self, Names, Numbers, SparseWeights, Weights};
use super::explain::Explained;
use super::failure::Failure;
use super::hits::{self, Answer, Found, Label};
use super::interrupt::Interrupt;
use super::output::{Output, note};
use super::picks::Picks;
use super::{ids, open, queries, show};

/// Queries searched between two looks at Ctrl-C.
const CHUNK: usize = 256;

/// Search for the rows nearest to a vector, to all vectors of a file, or to a row; by words; or by both
#[derive(Debug, clap::Args)]
#[command(group(
    clap::ArgGroup::new("sought")
        .args(["vector", "like", "values", "sparse", "words"])
        .required(true)
        .multiple(true)
))]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    #[command(flatten)]
    asked: Asked,
    /// A sparse vector and the column it is compared with: indices and weights separated by commas; beside a
    /// vector or words, all give one order
    #[arg(long, value_name = "COLUMN=3:0.5,…", value_parser = args::sparse_weights)]
    sparse: Option<SparseWeights>,
    #[command(flatten)]
    worded: Worded,
    /// How several orders become one: rrf, by reciprocal ranks, or weighted, by scores, which needs --alpha
    /// [default: weighted with --alpha, else rrf]
    #[arg(long, value_enum)]
    fusion: Option<Fusing>,
    /// Share of the first scores, those of the vector, 0 to 1, in a weighted sum with those of words and
    /// sparse vectors
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f32>,
    /// With --vector: only this row of the file, from 0
    #[arg(long, value_name = "I", conflicts_with_all = ["like", "values"])]
    row: Option<u64>,
    /// Most hits of a query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Candidates a graph search keeps: more are slower and find more [default: 100]
    #[arg(long, value_name = "N")]
    ef: Option<usize>,
    /// Share of the true nearest rows to find, on average over queries like the rows: above 0, at most 1
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["ef", "exact"])]
    recall: Option<f32>,
    /// Compare with every row instead of walking graphs
    #[arg(long)]
    exact: bool,
    /// Only hits at most this far away
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    max_distance: Option<f32>,
    #[command(flatten)]
    picks: Picks,
    /// Only rows for which this holds, as in SQL: "lang = 'en' AND year >= 2019"
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Columns to show, separated by commas
    #[arg(long, value_name = "A,B", value_parser = args::names)]
    select: Option<Names>,
    /// Say how the search was done: plans, counts and times of each part
    #[arg(long, conflicts_with = "vector")]
    explain: bool,
}

/// How several orders become one.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Fusing {
    /// By reciprocal ranks
    Rrf,
    /// By scores, weighted
    Weighted,
}

impl Args {
    /// Whether several orders become one.
    fn is_fused(&self) -> bool {
        let Asked { vector, like, values } = &self.asked;
        let vector = vector.is_some() || like.is_some() || values.is_some();
        let lists = [vector, self.sparse.is_some(), self.worded.words.is_some()];
        lists.into_iter().filter(|list| *list).count() > 1
    }

    /// Refuses what says how to fuse where there is one order, or says it twice.
    fn check_fusion(&self) -> Result<(), Failure> {
        let said = match (self.fusion, self.alpha) {
            (None, None) => return Ok(()),
            (Some(Fusing::Weighted), None) => {
                return Err(Failure::usage("--fusion weighted needs --alpha, 0 to 1"));
            }
            (Some(Fusing::Rrf), Some(_)) => {
                return Err(Failure::usage(
                    "--alpha is of --fusion weighted, given with rrf; leave one of them out",
                ));
            }
            (Some(_), _) => "--fusion",
            (None, Some(_)) => "--alpha",
        };
        if self.is_fused() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{said} makes several orders one; give two of a vector, --sparse and --words"
        )))
    }
}

/// What is looked for by words, beside a vector or instead of one.
#[derive(Debug, clap::Args)]
struct Worded {
    /// Words in the columns of text: "rust +mmap -windows \"page fault\" segf* mispeled~1"; beside a vector, both
    /// give one order
    #[arg(long, value_name = "QUERY", allow_hyphen_values = true)]
    words: Option<String>,
    /// The words as they are, without operators
    #[arg(long, requires = "words")]
    plain: bool,
    /// Columns to search by words, with weights: title=2,body [default: all columns of text]
    #[arg(long = "in", value_name = "A=W,B", requires = "words", value_parser = args::weights)]
    columns: Option<Weights>,
    /// Show the piece of each text in which the words stand, the words in **
    #[arg(long, requires = "words")]
    highlight: bool,
}

impl Worded {
    fn words(&self) -> Option<Words> {
        let words = self.words.as_ref()?;
        Some(if self.plain { Words::plain(words) } else { Words::new(words) })
    }

    fn apply<'a>(&self, mut query: Query<'a>) -> Query<'a> {
        if let Some(words) = self.words() {
            query = query.words(words);
        }
        if let Some(Weights(columns)) = &self.columns {
            query = query.columns(columns.iter().cloned());
        }
        if self.highlight {
            query = query.highlight(SNIPPET);
        }
        query
    }
}

/// Characters of a piece of text.
const SNIPPET: usize = 160;

#[derive(Debug, clap::Args)]
#[group(required = false, multiple = false)]
struct Asked {
    /// File of query vectors: .npy, .fvecs, .jsonl, .parquet, …; all are answered
    #[arg(long, value_name = "FILE")]
    vector: Option<PathBuf>,
    /// The row of this id: more like it, itself left out
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    like: Option<String>,
    /// The vector itself: numbers separated by commas
    #[arg(long, value_name = "0.1,0.2,…", allow_hyphen_values = true, value_parser = args::numbers)]
    values: Option<Numbers>,
}

#[derive(Serialize)]
struct Document {
    seconds: f64,
    queries: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explained>,
}

/// Answers and the time that they took.
#[derive(Default)]
struct Answers {
    elapsed: Duration,
    answers: Vec<Answer>,
    explained: Option<Explained>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    args.check_fusion()?;
    args.picks.check()?;
    let db = open::reader(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let Answers { elapsed, answers, explained } = match &args.asked {
        Asked { vector: Some(file), .. } => file_queries(args, &collection, file)?,
        Asked { like: Some(typed), .. } => {
            let (id, vector) = vector_of(args, &collection, typed)?;
            let others = nearfield::col("id").ne(id.clone());
            single(args, collection.search(vector).filter(others), Label::Id(id))?
        }
        Asked { values: Some(Numbers(values)), .. } => {
            single(args, collection.search(values.as_slice()), Label::Row(0))?
        }
        _ => {
            let query = match (&args.sparse, args.worded.words()) {
                (Some(SparseWeights { column, vector }), None) => {
                    alone(args)?;
                    collection.search_sparse(column, vector)
                }
                (_, words) => collection.search_words(words.unwrap_or_else(|| Words::plain(""))),
            };
            single(args, query, Label::Row(0))?
        }
    };
    let seconds = elapsed.as_secs_f64();
    let document = Document { seconds, queries: answers, explanation: explained };
    output.answer(&document, |out| {
        hits::print(&document.queries, out)?;
        document.explanation.as_ref().map_or(Ok(()), |explained| explained.print(out))
    })?;
    let queries = match document.queries.len() {
        1 => String::new(),
        many => format!("{} queries in ", show::count(many as u64)),
    };
    note(format_args!("{queries}{}", show::time(elapsed)));
    Ok(())
}

/// Refuses what is of vectors where a sparse one alone is searched by.
fn alone(args: &Args) -> Result<(), Failure> {
    let refused =
        |name| Failure::usage(format!("sparse vectors are searched exactly; leave {name} out"));
    match (args.exact, args.ef, args.recall) {
        (true, ..) => Err(refused("--exact")),
        (_, Some(_), _) => Err(refused("--ef")),
        (_, _, Some(_)) => Err(refused("--recall")),
        _ => Ok(()),
    }
}

fn single<'a>(args: &'a Args, query: Query<'a>, label: Label) -> Result<Answers, Failure> {
    let start = Instant::now();
    let query_of = complete(args, query);
    let (hits, explained) = if args.explain {
        let explanation = query_of.explain()?;
        let explained = Explained::from(&explanation);
        (explanation.hits, Some(explained))
    } else {
        (query_of.run()?, None)
    };
    let elapsed = start.elapsed();
    let answer = Answer { query: label, found: Found { hits } };
    Ok(Answers { elapsed, answers: vec![answer], explained })
}

fn file_queries(args: &Args, collection: &Collection, file: &Path) -> Result<Answers, Failure> {
    let interrupt = Interrupt::catch();
    let schema = collection.schema()?;
    let width = schema.row_elements();
    let mut all = Answers::default();
    for piece in queries::read(file, &schema, args.row)? {
        let piece = piece?;
        for (chunk, rows) in piece.rows.chunks(CHUNK).enumerate() {
            interrupt.check()?;
            let first = chunk * CHUNK;
            let range = first * width..(first + rows.len()) * width;
            let Some(vectors) = piece.vectors.get(range) else { break };
            let start = Instant::now();
            let found = if args.is_fused() {
                let each = (0..rows.len()).filter_map(|row| {
                    let vector = vectors.get(row * width..(row + 1) * width)?;
                    let found = || {
                        interrupt.check()?;
                        Ok(complete(args, collection.search(vector)).run()?)
                    };
                    Some(found())
                });
                each.collect::<Result<Vec<_>, Failure>>()?
            } else {
                complete(args, collection.search(vectors)).run_batch()?
            };
            all.elapsed += start.elapsed();
            all.answers.extend(
                rows.iter()
                    .zip(found)
                    .map(|(row, hits)| Answer { query: Label::Row(*row), found: Found { hits } }),
            );
        }
        if args.row.is_some() && !all.answers.is_empty() {
            break;
        }
    }
    match args.row {
        Some(row) if all.answers.is_empty() => {
            Err(Failure::refused(format!("{} has no row {row}", file.display())))
        }
        _ => Ok(all),
    }
}

/// The query with all that is asked for beside the vectors.
fn complete<'a>(args: &'a Args, query: Query<'a>) -> Query<'a> {
    let query = args.picks.apply(query.k(args.k).exact(args.exact));
    let mut query = args.worded.apply(query);
    if let Some(SparseWeights { column, vector }) = args.sparse.as_ref().filter(|_| args.is_fused())
    {
        query = query.sparse(column, vector);
    }
    if let Some(alpha) = args.alpha {
        query = query.fusion(Fusion::weighted(alpha));
    }
    if let Some(ef) = args.ef {
        query = query.ef(ef);
    }
    if let Some(recall) = args.recall {
        query = query.recall(recall);
    }
    if let Some(distance) = args.max_distance {
        query = query.max_distance(distance);
    }
    if let Some(filter) = &args.filter {
        query = query.filter(filter);
    }
    if let Some(Names(names)) = &args.select {
        query = query.select(names);
    }
    query
}

/// The vector of the row that is asked for.
fn vector_of(
    args: &Args,
    collection: &Collection,
    typed: &String,
) -> Result<(Id, Vectors<'static>), Failure> {
    let asked = ids::parse(std::slice::from_ref(typed), &collection.schema()?)?;
    let records = collection.get(ids::batch(&asked), &Fields::none().with_vectors())?;
    match (asked.into_iter().next(), records.vectors) {
        (Some(id), Some(vectors)) if !vectors.is_empty() => Ok((id, vectors)),
        _ => Err(Failure::refused(format!(
            "no row of {} has the id {}",
            args.name,
            show::plain(typed)
        ))),
    }
}
