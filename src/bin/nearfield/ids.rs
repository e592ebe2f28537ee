//! Ids as they are typed: of the kind that the collection has.

use nearfield::{Id, IdType, Ids, Schema};

use super::failure::Failure;

/// The rows of a write: by id, or those that a filter finds.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Written {
    /// Ids of the rows; those that do not exist are passed over
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// The rows for which this holds, as in SQL: "year < 2000 OR lang IS NULL"
    #[arg(long = "where", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}

/// Reads ids for a collection of this schema. Where it has no kind yet, numbers are numbers.
pub(crate) fn parse(typed: &[String], schema: &Schema) -> Result<Vec<Id>, Failure> {
    let number = |text: &String| text.parse::<u64>().ok().map(Id::U64);
    let text = |text: &String| Id::from(text.as_str());
    match schema.id_type() {
        Some(IdType::Utf8) => Ok(typed.iter().map(text).collect()),
        Some(IdType::U64) => typed
            .iter()
            .map(|typed| {
                number(typed).ok_or_else(|| {
                    Failure::refused(format!(
                        "id {:?} is no whole number from 0 to {}, as the ids of this collection are",
                        super::show::plain(typed),
                        u64::MAX
                    ))
                })
            })
            .collect(),
        None => Ok(match typed.iter().map(number).collect() {
            Some(numbers) => numbers,
            None => typed.iter().map(text).collect(),
        }),
    }
}

/// Ids of one kind as a batch.
pub(crate) fn batch(ids: &[Id]) -> Ids<'static> {
    let numbers: Option<Vec<u64>> = ids
        .iter()
        .map(|id| match id {
            Id::U64(id) => Some(*id),
            Id::Utf8(_) => None,
        })
        .collect();
    match numbers {
        Some(numbers) => numbers.into(),
        None => {
            let text = |id: &Id| match id {
                Id::U64(id) => id.to_string(),
                Id::Utf8(id) => id.to_string(),
            };
            ids.iter().map(text).collect::<Vec<String>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use nearfield::Metric;

    use super::*;

    fn typed(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn ids_are_read_as_the_kind_of_the_collection() {
        let schema = Schema::new(2, Metric::L2);
        let numbers = schema.clone().with_id_type(IdType::U64);
        let texts = schema.clone().with_id_type(IdType::Utf8);
        assert_eq!(parse(&typed(&["7"]), &numbers).unwrap(), [Id::U64(7)]);
        assert!(parse(&typed(&["7", "-1"]), &numbers).is_err());
        assert_eq!(parse(&typed(&["7"]), &texts).unwrap(), [Id::from("7")]);
        assert_eq!(parse(&typed(&["7"]), &schema).unwrap(), [Id::U64(7)]);
        assert_eq!(parse(&typed(&["7", "x"]), &schema).unwrap()[0], Id::from("7"));
    }
}
