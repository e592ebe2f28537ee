//! Which columns of a file are the ids, the vectors and the attributes.
//!
//! Works on names and kinds alone, so that Arrow schemas and JSON fields are chosen from by the
//! same rules. Every refusal lists the columns there are.

use std::path::Path;

use crate::error::{Error, Result};
use crate::types::spelling::nearest_name;
use crate::types::{DataType, IdType, VectorType};

use super::{Info, ReadOptions};

const ID_NAME: &str = "id";
const VECTOR_NAMES: [&str; 4] = ["vector", "embedding", "emb", "values"];

/// A column as a reader finds it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    /// Its type in the words of the file format.
    pub(super) type_name: String,
    pub(super) kind: Kind,
    /// The ids that it could hold.
    pub(super) id_type: Option<IdType>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Attribute(DataType),
    Vector(VectorType),
    Unsupported,
}

/// Positions of the chosen columns.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// None: row numbers.
    pub(super) id: Option<usize>,
    /// None only where no vector is wanted.
    pub(super) vector: Option<usize>,
    pub(super) kept: Vec<usize>,
}

/// Chooses among `found` and notes the outcome in `info`.
pub(super) fn choose(
    path: &Path,
    found: &[Found],
    options: &ReadOptions,
    want_vector: bool,
    info: &mut Info,
) -> Result<Choice> {
    let chooser = Chooser { path, found };
    chooser.refuse_doubles()?;
    let id = chooser.id(options)?;
    let vector = if want_vector { Some(chooser.vector(options)?) } else { None };
    let taken = |column: &usize| Some(*column) != id && Some(*column) != vector;
    let wanted: Vec<usize> = match &options.columns {
        None => (0..found.len()).filter(taken).collect(),
        Some(names) => {
            let asked: Result<Vec<usize>> = names.iter().map(|name| chooser.named(name)).collect();
            let mut asked: Vec<usize> = asked?.into_iter().filter(taken).collect();
            asked.sort_unstable();
            asked.dedup();
            asked
        }
    };
    let mut kept = Vec::new();
    for column in wanted {
        let Found { name, type_name, kind, .. } = &found[column];
        match kind {
            Kind::Attribute(data_type) => {
                kept.push(column);
                info.columns.push((name.clone(), *data_type));
            }
            _ if options.columns.is_some() => {
                return Err(chooser.refusal(format!(
                    "column {name:?} is of type {type_name}, which an attribute cannot be"
                )));
            }
            _ => info.skipped.push((name.clone(), type_name.clone())),
        }
    }
    info.id_type = Some(id.and_then(|id| found[id].id_type).unwrap_or(IdType::U64));
    info.vector_type = vector.and_then(|vector| match found[vector].kind {
        Kind::Vector(vector_type) => Some(vector_type),
        _ => None,
    });
    Ok(Choice { id, vector, kept })
}

struct Chooser<'a> {
    path: &'a Path,
    found: &'a [Found],
}

impl Chooser<'_> {
    fn refusal(&self, what: impl AsRef<str>) -> Error {
        let columns: Vec<String> = self
            .found
            .iter()
            .take(100)
            .map(|column| format!("{} ({})", column.name, column.type_name))
            .collect();
        let columns = match columns.as_slice() {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        Error::invalid(format!(
            "{}: {}; the columns are: {columns}",
            self.path.display(),
            what.as_ref()
        ))
    }

    fn refuse_doubles(&self) -> Result<()> {
        let mut names: Vec<&str> = self.found.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(self.refusal(format!("two columns are named {:?}", pair[0]))),
            None => Ok(()),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.found.iter().position(|column| column.name == name)
    }

    fn named(&self, name: &str) -> Result<usize> {
        self.position(name).ok_or_else(|| {
            let names = self.found.iter().map(|column| column.name.as_str());
            let hint = match nearest_name(name, names.clone()) {
                Some(near) => format!("; did you mean {near:?}?"),
                None => {
                    format!("; the columns are: {}", names.take(100).collect::<Vec<_>>().join(", "))
                }
            };
            Error::not_found(format!("{}: column {name:?}", self.path.display()), hint)
        })
    }

    fn id(&self, options: &ReadOptions) -> Result<Option<usize>> {
        if options.row_numbers {
            return Ok(None);
        }
        let id = match &options.id {
            Some(name) => Some(self.named(name)?),
            None => self.position(ID_NAME),
        };
        match id {
            Some(id) if self.found[id].id_type.is_none() => Err(self.refusal(format!(
                "column {:?} cannot be the id: it is of type {}, ids are integers or strings; \
                 name another column or number the rows",
                self.found[id].name, self.found[id].type_name
            ))),
            id => Ok(id),
        }
    }

    fn vector(&self, options: &ReadOptions) -> Result<usize> {
        let is_vector = |column: &usize| matches!(self.found[*column].kind, Kind::Vector(_));
        if let Some(name) = &options.vector {
            let column = self.named(name)?;
            if is_vector(&column) {
                return Ok(column);
            }
            return Err(self.refusal(format!("column {name:?} is not a list of numbers")));
        }
        let candidates: Vec<usize> = (0..self.found.len()).filter(is_vector).collect();
        if let [only] = candidates.as_slice() {
            return Ok(*only);
        }
        let usual = |column: &&usize| {
            VECTOR_NAMES.iter().any(|name| self.found[**column].name.eq_ignore_ascii_case(name))
        };
        match (candidates.iter().filter(usual).collect::<Vec<_>>().as_slice(), candidates.len()) {
            ([only], _) => Ok(**only),
            (_, 0) => Err(self.refusal("no column is a list of numbers, so there is no vector")),
            (_, many) => Err(self.refusal(format!(
                "{many} columns are lists of numbers; name the one that is the vector"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind, id_type: Option<IdType>) -> Found {
        Found { name: name.into(), type_name: "T".into(), kind, id_type }
    }

    fn vector(name: &str) -> Found {
        column(name, Kind::Vector(VectorType::F32), None)
    }

    fn pick(found: &[Found], options: &ReadOptions) -> Result<Choice> {
        choose(Path::new("a.parquet"), found, options, true, &mut Info::default())
    }

    #[test]
    fn the_only_list_of_numbers_is_the_vector_whatever_its_name() {
        let found = [column("n", Kind::Attribute(DataType::Int64), Some(IdType::U64)), vector("x")];
        let choice = pick(&found, &ReadOptions::default()).unwrap();
        assert_eq!((choice.id, choice.vector, choice.kept), (None, Some(1), vec![0]));
    }

    #[test]
    fn among_several_lists_a_usual_name_wins_and_two_usual_names_are_ambiguous() {
        let found = [vector("scores"), vector("Embedding")];
        assert_eq!(pick(&found, &ReadOptions::default()).unwrap().vector, Some(1));
        let found = [vector("vector"), vector("embedding")];
        let message = pick(&found, &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains("2 columns") && message.contains("embedding (T)"), "{message}");
        let named = ReadOptions::default().vector("vector");
        assert_eq!(pick(&found, &named).unwrap().vector, Some(0));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let found = [vector("embedding"), column("title", Kind::Attribute(DataType::Utf8), None)];
        for options in [
            ReadOptions::default().columns(["titel"]),
            ReadOptions::default().id("Titles"),
            ReadOptions::default().vector("title2"),
        ] {
            let message = pick(&found, &options).unwrap_err().to_string();
            assert!(message.contains("did you mean \"title\""), "{message}");
        }
        let message = pick(&found, &ReadOptions::default().id("zzz")).unwrap_err().to_string();
        assert!(message.contains("embedding, title"), "{message}");
    }

    #[test]
    fn a_named_attribute_of_an_unsupported_type_is_refused_and_an_unnamed_one_is_noted() {
        let found = [vector("v"), column("blob", Kind::Unsupported, None)];
        assert!(pick(&found, &ReadOptions::default().columns(["blob"])).is_err());
        let mut info = Info::default();
        choose(Path::new("a"), &found, &ReadOptions::default(), true, &mut info).unwrap();
        assert_eq!(info.skipped, [("blob".to_owned(), "T".to_owned())]);
    }

    #[test]
    fn an_id_column_that_cannot_hold_ids_is_refused_unless_rows_are_numbered() {
        let found = [vector("v"), column("id", Kind::Attribute(DataType::Float64), None)];
        assert!(pick(&found, &ReadOptions::default()).is_err());
        let choice = pick(&found, &ReadOptions::default().row_numbers()).unwrap();
        assert_eq!((choice.id, choice.kept), (None, vec![1]));
    }
}
