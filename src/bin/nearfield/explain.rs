//! How a search was done, as JSON or as a table.

use std::io::{self, Write};

use nearfield::{
    Explanation, PartExplanation, SearchList, SearchPlan, TermExplanation, WordsExplanation,
};
use serde::Serialize;

use super::show;

/// Words of a query that people are shown.
const SHOWN_TERMS: usize = 40;

/// The numbers of one search.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    prepare_seconds: f64,
    search_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank_seconds: Option<f64>,
    read_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Filtered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Worded>,
    /// The recall that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    recall: Option<f32>,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Worded {
    /// The columns that were searched, with their weights.
    columns: Vec<(String, f32)>,
    terms: Vec<Term>,
}

#[derive(Debug, Serialize)]
struct Term {
    column: String,
    term: String,
    rows: u64,
}

#[derive(Debug, Serialize)]
struct Filtered {
    filter: String,
    matching_rows: u64,
    /// What answered for each column.
    served: Vec<(String, String)>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Part {
    /// "vector", "words", or "sparse" with the column.
    list: String,
    segment: Option<u64>,
    plan: &'static str,
    rows: u64,
    live_rows: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    matching_rows: Option<u64>,
    /// Candidates that the walk was planned for, thousandths of its slack, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    ef: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ef_source: Option<String>,
    nodes_expanded: u64,
    codes_compared: u64,
    rows_compared: u64,
    #[serde(skip_serializing_if = "is_zero")]
    postings_read: u64,
    bytes_touched: u64,
    walk_cost: u64,
    scan_cost: u64,
    candidates: u64,
    /// Whether distances are estimates.
    rounded: bool,
    /// Sections in which damage was found; those that are not rows were done without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<String>,
    seconds: f64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<&Explanation> for Explained {
    fn from(explained: &Explanation) -> Self {
        Self {
            prepare_seconds: explained.prepare.as_secs_f64(),
            search_seconds: explained.search.as_secs_f64(),
            rerank_seconds: explained.rerank.map(|time| time.as_secs_f64()),
            read_seconds: explained.read.as_secs_f64(),
            filter: explained.filter.as_ref().map(|filter| Filtered {
                filter: filter.filter.clone(),
                matching_rows: filter.matching_rows,
                served: filter
                    .served
                    .iter()
                    .map(|(column, by)| (column.clone(), by.to_string()))
                    .collect(),
                seconds: filter.time.as_secs_f64(),
            }),
            words: explained.words.as_ref().map(Worded::from),
            recall: explained.recall,
            parts: explained.parts.iter().map(Part::from).collect(),
        }
    }
}

impl From<&WordsExplanation> for Worded {
    fn from(words: &WordsExplanation) -> Self {
        let term = |term: &TermExplanation| Term {
            column: term.column.clone(),
            term: term.term.clone(),
            rows: term.rows,
        };
        Self { columns: words.columns.clone(), terms: words.terms.iter().map(term).collect() }
    }
}

impl Worded {
    /// A line of columns and a table of what was looked up in them.
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let column = |(name, weight): &(String, f32)| match weight {
            1.0 => show::plain(name),
            weight => format!("{} (weight {weight})", show::plain(name)),
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let columns = columns.join(", ");
        if self.terms.is_empty() {
            return writeln!(out, "no word is left to look for in {columns}");
        }
        writeln!(out, "words are looked for in {columns}")?;
        let mut table = show::table(["column", "word", "rows"]);
        for term in self.terms.iter().take(SHOWN_TERMS) {
            table.add_row(vec![
                comfy_table::Cell::new(show::plain(&term.column)),
                comfy_table::Cell::new(show::plain(&term.term)),
                show::right(show::count(term.rows)),
            ]);
        }
        writeln!(out, "{table}")?;
        match self.terms.len().saturating_sub(SHOWN_TERMS) {
            0 => Ok(()),
            more => writeln!(out, "and {} more", show::counted(more as u64, "word")),
        }
    }
}

impl From<&PartExplanation> for Part {
    fn from(part: &PartExplanation) -> Self {
        Self {
            list: match &part.list {
                SearchList::Vector => "vector".into(),
                SearchList::Words => "words".into(),
                SearchList::Sparse(column) => format!("sparse {column}"),
                _ => "other".into(),
            },
            segment: part.segment,
            plan: match part.plan {
                SearchPlan::Scan => "scan",
                SearchPlan::ScanMatching => "scan matching",
                SearchPlan::ScanCodes => "scan codes",
                SearchPlan::Walk => "walk",
                SearchPlan::WalkThenScan => "walk, then scan",
                SearchPlan::ScanCodesThenScan => "scan codes, then scan",
                SearchPlan::Postings => "postings",
                SearchPlan::Words => "words",
                _ => "other",
            },
            rows: part.rows,
            live_rows: part.live_rows,
            matching_rows: part.matching_rows,
            ef: part.ef,
            slack: part.slack,
            ef_source: part.ef_source.map(|source| source.to_string()),
            nodes_expanded: part.nodes_expanded,
            codes_compared: part.codes_compared,
            rows_compared: part.rows_compared,
            postings_read: part.postings_read,
            bytes_touched: part.bytes_touched,
            walk_cost: part.walk_cost,
            scan_cost: part.scan_cost,
            candidates: part.candidates,
            rounded: part.rounded,
            damaged: part.damaged.clone(),
            seconds: part.time.as_secs_f64(),
        }
    }
}

impl Explained {
    /// What was done for the recall that was asked for.
    fn print_recall(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(recall) = self.recall else { return Ok(()) };
        writeln!(out, "recall {recall} is asked for")?;
        for part in &self.parts {
            let (Some(segment), Some(source)) = (part.segment, &part.ef_source) else { continue };
            let slack = part.slack.map_or_else(String::new, |slack| {
                format!(", up to {}.{:03} times as far as the hits", slack / 1_000, slack % 1_000)
            });
            writeln!(out, "segment {segment}: candidates by {source}{slack}")?;
        }
        Ok(())
    }

    /// A table with a line for each part.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let time = |seconds| {
            show::time(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
        };
        if let Some(Filtered { filter, matching_rows, served, seconds }) = &self.filter {
            let found = show::counted(*matching_rows, "row");
            let by = served.iter().map(|(column, by)| format!("{}: {by}", show::plain(column)));
            let by = by.collect::<Vec<_>>().join(", ");
            writeln!(out, "{} finds {found} in {} ({by})", show::plain(filter), time(*seconds))?;
        }
        if let Some(words) = &self.words {
            words.print(out)?;
        }
        self.print_recall(out)?;
        let mut table = show::table([
            "part", "by", "plan", "rows", "live", "ef", "nodes", "codes", "compared", "postings",
            "read", "time",
        ]);
        for part in &self.parts {
            let place = part.segment.map_or_else(|| "memory".into(), |at| format!("segment {at}"));
            table.add_row(vec![
                comfy_table::Cell::new(place),
                comfy_table::Cell::new(show::plain(&part.list)),
                comfy_table::Cell::new(part.plan),
                show::right(show::count(part.rows)),
                show::right(show::count(part.matching_rows.unwrap_or(part.live_rows))),
                show::right(part.ef.map_or_else(String::new, show::count)),
                show::right(show::count(part.nodes_expanded)),
                show::right(show::count(part.codes_compared)),
                show::right(show::count(part.rows_compared)),
                show::right(show::count(part.postings_read)),
                show::right(show::size(part.bytes_touched)),
                show::right(time(part.seconds)),
            ]);
        }
        if !self.parts.is_empty() {
            writeln!(out, "{table}")?;
        }
        if self.parts.iter().any(|part| part.rounded) {
            writeln!(out, "distances in segments are estimates, of rounded vectors (raw none)")?;
        }
        for Part { segment, damaged, .. } in &self.parts {
            if let (Some(segment), false) = (segment, damaged.is_empty()) {
                writeln!(out, "segment {segment} is damaged in {}", damaged.join(", "))?;
            }
        }
        let [prepare, search, read] =
            [self.prepare_seconds, self.search_seconds, self.read_seconds].map(time);
        writeln!(out, "prepare {prepare}, search {search}, read {read}")
    }
}
