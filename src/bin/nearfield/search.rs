//! `nearfield search`: the rows nearest to vectors, or to a row that is there, and those that have words.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nearfield::{Collection, Fields, Fusion, Id, Query, Vectors, Words};
use serde::Serialize;

use crate::args::{self, Names, Numbers, Weights};
use crate::explain::Explained;
use crate::failure::Failure;
use crate::hits::{self, Answer, Found, Label};
use crate::interrupt::Interrupt;
use crate::output::{Output, note};
use crate::{ids, open, queries, show};

/// Queries searched between two looks at Ctrl-C.
const CHUNK: usize = 256;

/// Search for the rows nearest to a vector, to all vectors of a file, or to a row; by words; or by both
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database directory
    db: PathBuf,
    /// Name of the collection
    name: String,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    worded: Worded,
    /// With --vector: only this row of the file, from 0
    #[arg(long, value_name = "I", conflicts_with_all = ["like", "values"])]
    row: Option<u64>,
    /// Most hits of a query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Candidates a graph search keeps: more are slower and find more [default: 100]
    #[arg(long, value_name = "N")]
    ef: Option<usize>,
    /// Compare with every row instead of walking graphs
    #[arg(long)]
    exact: bool,
    /// Only hits at most this far away
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    max_distance: Option<f32>,
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

/// What is looked for by words, beside a vector or instead of one.
#[derive(Debug, clap::Args)]
struct Worded {
    /// Words in the columns of text: "rust +mmap -windows \"page fault\" segf* mispeled~1"; beside a vector, both
    /// give one order
    #[arg(
        long, value_name = "QUERY", allow_hyphen_values = true,
        required_unless_present_any = ["vector", "like", "values"]
    )]
    words: Option<String>,
    /// The words as they are, without operators
    #[arg(long, requires = "words")]
    plain: bool,
    /// Columns to search by words, with weights: title=2,body [default: all columns of text]
    #[arg(long = "in", value_name = "A=W,B", requires = "words", value_parser = args::weights)]
    columns: Option<Weights>,
    /// Share of the vector's scores, 0 to 1, in a weighted sum with those of the words [default:
    /// reciprocal ranks]
    #[arg(long, value_name = "ALPHA", requires = "words")]
    alpha: Option<f32>,
    /// Show the piece of each text in which the words stand, the words in **
    #[arg(long, requires = "words")]
    highlight: bool,
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
    let db = open::reader(&args.db)?;
    let collection = db.open_collection(&args.name)?;
    let Answers { elapsed, answers, explained } = match &args.asked {
        Asked { vector: Some(file), .. } => file_queries(args, &collection, file)?,
        Asked { like: Some(typed), .. } => {
            let (id, vector) = vector_of(args, &collection, typed)?;
            // One more, because the row finds itself.
            let k = if args.k == 0 { 0 } else { args.k.saturating_add(1) };
            single(args, &collection, Some(vector), k, Some(id))?
        }
        Asked { values: Some(Numbers(values)), .. } => {
            single(args, &collection, Some(values.as_slice().into()), args.k, None)?
        }
        _ => single(args, &collection, None, args.k, None)?,
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

fn single(
    args: &Args,
    collection: &Collection,
    vector: Option<Vectors<'_>>,
    k: usize,
    like: Option<Id>,
) -> Result<Answers, Failure> {
    let start = Instant::now();
    let query_of = query(args, collection, vector).k(k);
    let (hits, explained) = if args.explain {
        let explanation = query_of.explain()?;
        let explained = Explained::from(&explanation);
        (explanation.hits, Some(explained))
    } else {
        (query_of.run()?, None)
    };
    let elapsed = start.elapsed();
    let query = like.clone().map_or(Label::Row(0), Label::Id);
    let found = Found { hits, k: args.k, except: like };
    Ok(Answers { elapsed, answers: vec![Answer { query, found }], explained })
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
            let found = if args.worded.words.is_some() {
                let each = (first..first + rows.len()).map(|row| {
                    interrupt.check()?;
                    let vector = piece.vectors.get(row * width..(row + 1) * width);
                    Ok(query(args, collection, vector).k(args.k).run()?)
                });
                each.collect::<Result<Vec<_>, Failure>>()?
            } else {
                query(args, collection, Some(vectors)).k(args.k).run_batch()?
            };
            all.elapsed += start.elapsed();
            all.answers.extend(rows.iter().zip(found).map(|(row, hits)| Answer {
                query: Label::Row(*row),
                found: Found { hits, k: args.k, except: None },
            }));
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

fn query<'a>(args: &Args, collection: &Collection, vectors: Option<Vectors<'a>>) -> Query<'a> {
    let Worded { words, plain, columns, alpha, highlight } = &args.worded;
    let words = words.as_ref().map(|words| match plain {
        true => Words::plain(words),
        false => Words::new(words),
    });
    let mut query = match (vectors, words) {
        (Some(vectors), None) => collection.search(vectors),
        (Some(vectors), Some(words)) => collection.search(vectors).words(words),
        (None, words) => collection.search_words(words.unwrap_or_else(|| Words::plain(""))),
    };
    query = query.exact(args.exact);
    if let Some(Weights(columns)) = columns {
        query = query.columns(columns.iter().cloned());
    }
    if let Some(alpha) = alpha {
        query = query.fusion(Fusion::weighted(*alpha));
    }
    if *highlight {
        query = query.highlight(SNIPPET);
    }
    if let Some(ef) = args.ef {
        query = query.ef(ef);
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
