//! Rows that were read back, as JSON objects or as a table.

use std::io::{self, Write};

use nearfield::{Id, Records};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::cells::Cells;
use super::show;

/// Some rows, for documents a list of objects.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) records: &'a Records,
    /// Elements of a vector.
    pub(crate) width: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(serialize_with = "show::id_as_json")]
    id: &'a Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
    attributes: Cells<'a>,
}

impl Rows<'_> {
    /// Adds each row to a list that is being written.
    pub(crate) fn write_json<S: SerializeSeq>(&self, list: &mut S) -> Result<(), S::Error> {
        let Records { ids, vectors, attributes, .. } = self.records;
        for (row, id) in ids.iter().enumerate() {
            let vector = vectors.as_ref().map(|all| show::elements(all, self.width, row));
            let attributes = Cells { batch: attributes, row };
            list.serialize_element(&Row { id, vector, attributes })?;
        }
        Ok(())
    }

    /// Prints the rows as a table.
    pub(crate) fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let Records { ids, vectors, attributes, .. } = self.records;
        let schema = attributes.schema_ref();
        let mut headings = vec!["id"];
        headings.extend(schema.fields().iter().map(|field| field.name().as_str()));
        if vectors.is_some() {
            headings.push("vector");
        }
        let mut table = show::table(headings);
        for (row, id) in ids.iter().enumerate() {
            let mut cells = vec![show::id(id)];
            let values = Cells { batch: attributes, row }.values();
            cells.extend(values.map(|value| show::plain(&value.to_string())));
            if let Some(vectors) = vectors {
                cells.push(show::vector(vectors, self.width, row));
            }
            table.add_row(cells);
        }
        writeln!(out, "{table}")
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.records.len()))?;
        self.write_json(&mut list)?;
        list.end()
    }
}
