//! How a search was done, for people who wonder why it is slow.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use nearfield::{
    EfSource, FilterExplanation, PartExplanation, SearchList, SearchPlan, TermExplanation,
    WordsExplanation,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::hits::{Found, Hits};
use crate::rows::{escape, paragraph};

/// What a search found, how each part of the collection was searched for it, and what that took.
/// Made by `Collection.explain`.
///
/// >>> explained = docs.explain([0, 1], k=1)
/// >>> explained.parts[0]["plan"], explained.parts[0]["rows_compared"], explained.hits[0].id
/// ('scan', 2, 1)
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Explanation {
    found: Arc<Found>,
    recall: Option<f32>,
    parts: Vec<PartExplanation>,
    filter: Option<FilterExplanation>,
    words: Option<WordsExplanation>,
    /// To prepare the query, to search, to read.
    times: [Duration; 3],
    rerank: Option<Duration>,
}

/// Names of the numbers of a part, and what people are shown of them.
const COUNTS: [(&str, &str); 10] = [
    ("rows", "rows"),
    ("live_rows", "live"),
    ("nodes_expanded", "nodes"),
    ("codes_compared", "codes compared"),
    ("rows_compared", "rows compared"),
    ("postings_read", "postings"),
    ("bytes_touched", "bytes"),
    ("walk_cost", "to walk"),
    ("scan_cost", "to scan"),
    ("candidates", "candidates"),
];

impl Explanation {
    pub(crate) fn new(
        found: Arc<Found>,
        (recall, parts): (Option<f32>, Vec<PartExplanation>),
        filter: Option<FilterExplanation>,
        words: Option<WordsExplanation>,
        times: [Duration; 3],
        rerank: Option<Duration>,
    ) -> Self {
        Self { found, recall, parts, filter, words, times, rerank }
    }

    /// What was filtered and looked for, in lines.
    fn asked(&self) -> Vec<String> {
        let filter = self.filter.as_ref().map(|filter| {
            let FilterExplanation { filter, matching_rows, time, .. } = filter;
            format!("{filter}: {matching_rows} rows, {time:.1?}")
        });
        let recall = self.recall.map(|recall| format!("recall {recall} is asked for"));
        filter.into_iter().chain(self.words.as_ref().map(shown)).chain(recall).collect()
    }

    fn took(&self) -> String {
        let [prepare, search, read] = self.times;
        let rerank = self.rerank.map(|time| format!(" ({time:.1?} of it to rank)"));
        let rerank = rerank.unwrap_or_default();
        format!("prepare {prepare:.1?}, search {search:.1?}{rerank}, read {read:.1?}")
    }
}

#[pymethods]
impl Explanation {
    /// What `search` would have given.
    ///
    /// >>> docs.explain([3, 4], k=1).hits.ids.tolist()
    /// [2]
    #[getter]
    fn hits(&self) -> Hits {
        Hits { found: Arc::clone(&self.found) }
    }

    /// The recall that was asked for; None where none was.
    ///
    /// >>> docs.explain([3, 4], recall=0.95).recall
    /// 0.95
    #[getter]
    fn recall(&self) -> Option<f64> {
        // As it was written, which the nearest f32 is not.
        self.recall.and_then(|recall| recall.to_string().parse().ok())
    }

    /// A dict for each part that was searched, by the vector first, then by words and by sparse vectors: its
    /// "list" ("vector", "words" or "sparse", with the "column" of sparse vectors, else None), "segment" (None for rows in memory), "plan" ("scan", "scan_matching", "scan_codes", "walk",
    /// "walk_then_scan", "scan_codes_then_scan", "postings" of sparse vectors, "words"), "rows",
    /// "live_rows", "ef" (candidates that a walk was planned for), "slack" (how many times as far as the hits it
    /// went on, rather than for all of its candidates) and "ef_source" ("given", "settings", "measured" when
    /// the graph was built, "calibrated", "formula"), all three None where there was no walk, "nodes_expanded",
    /// "codes_compared", "rows_compared", "postings_read" (entries of inverted indexes), "bytes_touched", "walk_cost" and "scan_cost" (what the plan was chosen by, counted in
    /// distances; 0 where there was no choice), "candidates", "matching_rows" (of the filter, else None),
    /// "rounded" (whether distances of vectors are estimates, of rounded ones: `raw="none"`),
    /// "damaged" (tags of the sections in which damage was found; those that are not rows were done without),
    /// "seconds".
    ///
    /// >>> docs.explain([3, 4]).parts[0]["rows"]
    /// 2
    #[getter]
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let dict = |part: &PartExplanation| -> PyResult<Bound<'py, PyDict>> {
            let dict = PyDict::new(py);
            let (list, column) = list(&part.list);
            dict.set_item("list", list)?;
            dict.set_item("column", column)?;
            dict.set_item("segment", part.segment)?;
            dict.set_item("plan", plan(part.plan))?;
            for ((name, _), count) in COUNTS.iter().zip(counts(part)) {
                dict.set_item(name, count)?;
            }
            dict.set_item("ef", part.ef)?;
            dict.set_item("slack", part.slack.map(|slack| slack as f64 / 1e3))?;
            dict.set_item("ef_source", part.ef_source.map(source))?;
            dict.set_item("matching_rows", part.matching_rows)?;
            dict.set_item("rounded", part.rounded)?;
            dict.set_item("damaged", &part.damaged)?;
            dict.set_item("seconds", part.time.as_secs_f64())?;
            Ok(dict)
        };
        PyList::new(py, self.parts.iter().map(dict).collect::<PyResult<Vec<_>>>()?)
    }

    /// What was filtered: a dict of the "filter" as text, the "matching_rows" of the collection, what
    /// "served" it (pairs of a column and "remembered", "lookup", "sorted index", "bitmap index", "zones"
    /// or "column"), and the "seconds" that finding them took, a part of `prepare_seconds`. None without
    /// a filter.
    ///
    /// >>> docs.explain([3, 4], where="id = 1").filter["matching_rows"]
    /// 1
    #[getter]
    fn filter<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("filter", &filter.filter)?;
        dict.set_item("matching_rows", filter.matching_rows)?;
        let served = filter.served.iter().map(|(column, by)| (column, by.to_string()));
        dict.set_item("served", served.collect::<Vec<_>>())?;
        dict.set_item("seconds", filter.time.as_secs_f64())?;
        Ok(Some(dict))
    }

    /// What was looked for by words: a dict of the "columns" (pairs of a name and a weight) and the "terms",
    /// a dict for each with its "column", the "term" as the column cuts it, and the live "rows" that have it,
    /// whatever a filter leaves of them. No terms where the query has stop words alone; None without words.
    ///
    /// >>> docs.explain([3, 4]).words is None
    /// True
    #[getter]
    fn words<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(words) = &self.words else { return Ok(None) };
        let term = |term: &TermExplanation| -> PyResult<Bound<'py, PyDict>> {
            let dict = PyDict::new(py);
            dict.set_item("column", &term.column)?;
            dict.set_item("term", &term.term)?;
            dict.set_item("rows", term.rows)?;
            Ok(dict)
        };
        let dict = PyDict::new(py);
        dict.set_item("columns", words.columns.clone())?;
        dict.set_item("terms", words.terms.iter().map(term).collect::<PyResult<Vec<_>>>()?)?;
        Ok(Some(dict))
    }

    /// Seconds to check and convert the query, and to find the rows of the filter.
    ///
    /// >>> docs.explain([3, 4]).prepare_seconds < 60
    /// True
    #[getter]
    fn prepare_seconds(&self) -> f64 {
        self.times[0].as_secs_f64()
    }

    /// Seconds to search all parts and merge what they gave.
    ///
    /// >>> docs.explain([3, 4]).search_seconds < 60
    /// True
    #[getter]
    fn search_seconds(&self) -> f64 {
        self.times[1].as_secs_f64()
    }

    /// Seconds of `search_seconds` that the function which ranks took, with the reading of its candidates;
    /// None without one.
    ///
    /// >>> docs.explain([3, 4]).rerank_seconds is None
    /// True
    #[getter]
    fn rerank_seconds(&self) -> Option<f64> {
        self.rerank.map(|time| time.as_secs_f64())
    }

    /// Seconds to read columns and vectors of the hits.
    ///
    /// >>> docs.explain([3, 4]).read_seconds < 60
    /// True
    #[getter]
    fn read_seconds(&self) -> f64 {
        self.times[2].as_secs_f64()
    }

    fn __repr__(&self) -> String {
        let mut text = String::from("Explanation(\n");
        for line in self.asked() {
            let _ = writeln!(text, "  {line}");
        }
        for part in &self.parts {
            let _ = write!(text, "  {}: {}", place(part), plan(part.plan));
            for ((_, shown), count) in COUNTS.iter().zip(counts(part)).filter(|(_, n)| *n > 0) {
                let _ = write!(text, ", {count} {shown}");
            }
            let _ = writeln!(text, ", {:.1?}", part.time);
        }
        let _ = write!(text, "  {})", self.took());
        text
    }

    fn _repr_html_(&self) -> String {
        let mut html: String = self.asked().iter().map(|line| paragraph(line)).collect();
        html.push_str("<table><thead><tr><th>part</th><th>plan</th>");
        for (_, shown) in COUNTS {
            let _ = write!(html, "<th>{shown}</th>");
        }
        html.push_str("<th>time</th></tr></thead><tbody>");
        for part in &self.parts {
            let _ =
                write!(html, "<tr><td>{}</td><td>{}</td>", escape(&place(part)), plan(part.plan));
            for count in counts(part) {
                let _ = write!(html, "<td>{count}</td>");
            }
            let _ = write!(html, "<td>{:.1?}</td></tr>", part.time);
        }
        let _ = write!(html, "</tbody></table>{}", paragraph(&self.took()));
        html
    }
}

/// The columns and what is looked up in them, the first of many.
fn shown(words: &WordsExplanation) -> String {
    const SHOWN: usize = 20;
    let columns: Vec<&str> = words.columns.iter().map(|(name, _)| name.as_str()).collect();
    let term = |term: &TermExplanation| format!("{}:{} {} rows", term.column, term.term, term.rows);
    let mut terms: Vec<String> = words.terms.iter().take(SHOWN).map(term).collect();
    match words.terms.len() {
        0 => terms.push("no word is left".into()),
        many if many > SHOWN => terms.push(format!("{} more", many - SHOWN)),
        _ => {}
    }
    format!("words in {}: {}", columns.join(", "), terms.join(", "))
}

fn place(part: &PartExplanation) -> String {
    let place =
        part.segment.map_or_else(|| "memory".into(), |segment| format!("segment {segment}"));
    match list(&part.list) {
        ("sparse", Some(column)) => format!("{place} by {column}"),
        (list, _) => format!("{place} by {list}"),
    }
}

/// What a list is called, and the column of sparse vectors.
pub(crate) fn list(list: &SearchList) -> (&'static str, Option<&str>) {
    match list {
        SearchList::Vector => ("vector", None),
        SearchList::Words => ("words", None),
        SearchList::Sparse(column) => ("sparse", Some(column)),
        _ => ("other", None),
    }
}

fn plan(plan: SearchPlan) -> &'static str {
    match plan {
        SearchPlan::Scan => "scan",
        SearchPlan::ScanMatching => "scan_matching",
        SearchPlan::ScanCodes => "scan_codes",
        SearchPlan::Walk => "walk",
        SearchPlan::WalkThenScan => "walk_then_scan",
        SearchPlan::ScanCodesThenScan => "scan_codes_then_scan",
        SearchPlan::Postings => "postings",
        SearchPlan::Words => "words",
        _ => "other",
    }
}

fn source(source: EfSource) -> &'static str {
    match source {
        EfSource::Given => "given",
        EfSource::Settings => "settings",
        EfSource::Measured => "measured",
        EfSource::Calibrated => "calibrated",
        EfSource::Formula => "formula",
        _ => "other",
    }
}

fn counts(part: &PartExplanation) -> [u64; 10] {
    [
        part.rows,
        part.live_rows,
        part.nodes_expanded,
        part.codes_compared,
        part.rows_compared,
        part.postings_read,
        part.bytes_touched,
        part.walk_cost,
        part.scan_cost,
        part.candidates,
    ]
}
