//! Answers of searches, as JSON or as tables.

use std::collections::BTreeMap;
use std::io::{self, Write};

use nearfield::{Hit, Hits, Id, Snippets};
use serde::{Serialize, Serializer};

use super::cells::Cells;
use super::rows::Rows;
use super::show;

/// What a query is called: its row in the file, or the id of the row it was made from.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Label {
    Row(u64),
    Id(#[serde(serialize_with = "show::id_as_json")] Id),
}

/// The answer of one query.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) query: Label,
    #[serde(rename = "hits", serialize_with = "hits_as_json")]
    pub(crate) found: Found,
}

/// Hits to be shown.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) hits: Hits,
}

#[derive(Serialize)]
struct JsonHit<'a> {
    #[serde(serialize_with = "show::id_as_json")]
    id: &'a Id,
    distance: f32,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Cells<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippets: Option<BTreeMap<&'a str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Rows<'a>>,
}

impl Found {
    /// The hits, each with its row of attributes and the pieces of its texts.
    fn shown(&self) -> impl Iterator<Item = (&Hit, Option<Cells<'_>>, Option<&Snippets>)> {
        let attributes = |row| self.hits.attributes.as_ref().map(|batch| Cells { batch, row });
        let snippets = |row| self.hits.snippets.as_ref().and_then(|all| all.get(row));
        let hits = self.hits.iter().enumerate();
        hits.map(move |(row, hit)| (hit, attributes(row), snippets(row)))
    }

    /// For each hit what stands around it, if that was asked for.
    fn windows(&self) -> Option<impl Iterator<Item = Rows<'_>>> {
        let windows = self.hits.windows.as_ref()?;
        // No vectors are among them.
        Some(windows.iter().map(|records| Rows { records, width: 0 }))
    }
}

fn hits_as_json<S: Serializer>(found: &Found, serializer: S) -> Result<S::Ok, S::Error> {
    let mut windows = found.windows();
    serializer.collect_seq(found.shown().map(|(hit, attributes, snippets)| JsonHit {
        id: &hit.id,
        distance: hit.distance,
        score: hit.score,
        attributes,
        snippets: snippets.map(|all| {
            all.iter().map(|(name, snippet)| (name.as_str(), snippet.marked("**", "**"))).collect()
        }),
        window: windows.as_mut().and_then(Iterator::next),
    }))
}

/// Prints the answers, each as a table.
pub(crate) fn print(answers: &[Answer], out: &mut dyn Write) -> io::Result<()> {
    if answers.is_empty() {
        return writeln!(out, "no queries");
    }
    for answer in answers {
        if answers.len() > 1 {
            match &answer.query {
                Label::Row(row) => writeln!(out, "query {row}")?,
                Label::Id(id) => writeln!(out, "like {}", show::id(id))?,
            }
        }
        print_found(&answer.found, out)?;
    }
    Ok(())
}

fn print_found(found: &Found, out: &mut dyn Write) -> io::Result<()> {
    let schema = found.hits.attributes.as_ref().map(|batch| batch.schema());
    let columns = schema.iter().flat_map(|schema| schema.fields().iter());
    let headings = ["id", "distance", "score"].into_iter();
    let headings = headings.chain(columns.map(|field| field.name().as_str()));
    let pieces = found.hits.snippets.is_some().then_some("words in");
    let mut table = show::table(headings.chain(pieces));
    for (hit, attributes, snippets) in found.shown() {
        let mut cells = vec![
            comfy_table::Cell::new(show::id(&hit.id)),
            show::right(format!("{:.6}", hit.distance)),
            show::right(format!("{:.6}", hit.score)),
        ];
        let values = attributes.iter().flat_map(Cells::values);
        cells.extend(values.map(|value| show::plain(&value.to_string()).into()));
        cells.extend(snippets.map(|snippets| {
            let marked = snippets.iter().filter(|(_, snippet)| !snippet.marks.is_empty());
            let lines = marked.map(|(name, snippet)| {
                format!("{}: {}", show::plain(name), show::plain(&snippet.marked("**", "**")))
            });
            lines.collect::<Vec<_>>().join("\n").into()
        }));
        table.add_row(cells);
    }
    if table.is_empty() {
        return writeln!(out, "no hits");
    }
    writeln!(out, "{table}")?;
    for (hit, rows) in found.hits.iter().zip(found.windows().into_iter().flatten()) {
        writeln!(out, "around {}", show::id(&hit.id))?;
        rows.write_table(out)?;
    }
    Ok(())
}
