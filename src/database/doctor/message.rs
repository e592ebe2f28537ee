//! What messages may say: nothing of a row, no column by its name, no directory above the database.

use std::path::Path;

use crate::collection::options::Schema;
use crate::error::Error;

/// What is left out of messages.
#[derive(Clone, Debug)]
pub(super) struct Discretion {
    /// What comes before the names of files of the database.
    directory: String,
    /// Columns as messages quote them, and what they are called instead.
    columns: Vec<(String, String)>,
}

impl Discretion {
    pub(super) fn new(path: &Path) -> Self {
        // Without a separator at its end.
        let path = path.components().as_path().display();
        let directory = format!("{path}{}", std::path::MAIN_SEPARATOR);
        Self { directory, columns: Vec::new() }
    }

    /// Has the columns of `schema` called by their number and type, or by name where `names` are told.
    pub(super) fn know(&mut self, schema: &Schema, names: bool) {
        let column = |(number, column): (usize, &crate::types::Column)| {
            let quoted = format!("{:?}", column.name);
            let called = match names {
                true => quoted.clone(),
                false => format!("{number} ({})", column.data_type),
            };
            (quoted, called)
        };
        self.columns = schema.columns().iter().enumerate().map(column).collect();
    }

    /// A message without ids and without all that it quotes, which may be of a row, but for columns.
    pub(super) fn say(&self, message: &str) -> String {
        let message = self.without_directory(message);
        let (mut said, mut rest) = (String::new(), message.as_str());
        while let Some(start) = rest.find(['"', '`']) {
            let (before, from) = rest.split_at(start);
            let (quoted, after) = from.split_at(quotation(from));
            let column = self.columns.iter().find(|(column, _)| column == quoted);
            said += before;
            said += column.map_or("\"…\"", |(_, called)| called);
            rest = after;
        }
        without_ids(&(said + rest))
    }

    /// What an error says; what files of a later version ask for is quoted and no data.
    pub(super) fn say_error(&self, error: &Error) -> String {
        match error {
            Error::Incompatible { .. } => self.without_directory(&error.to_string()),
            error => self.say(&error.to_string()),
        }
    }

    fn without_directory(&self, message: &str) -> String {
        message.replace(&self.directory, "")
    }
}

/// Bytes of the quotation that `text` begins with. Backticks, in which nothing is escaped, go as far as the last.
fn quotation(text: &str) -> usize {
    if text.starts_with('`') {
        return text.rfind('`').filter(|end| *end > 0).map_or(text.len(), |end| end + 1);
    }
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Of ids that are numbers, too.
fn without_ids(message: &str) -> String {
    let mut pieces = message.split("id ");
    let mut said = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        said.push_str("id ");
        said.push_str(if rest.len() < piece.len() { "…" } else { "" });
        said.push_str(rest);
    }
    said
}

/// Who holds a lock, by its note: `pid 7, command /usr/bin/python3, since …`, without directories.
pub(super) fn holder(note: &str) -> String {
    let Some((pid, rest)) = note.split_once(", command ") else {
        return "a process that left no note".into();
    };
    let (command, since) = rest.rsplit_once(", since ").unwrap_or((rest, "not known"));
    let command = command.rsplit(['/', '\\']).next().unwrap_or_default();
    format!("{pid}, command {command}, since {since}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DataType, Metric};

    #[test]
    fn messages_name_no_directory_no_column_and_no_data() {
        let path = Path::new("somewhere").join("my.nf");
        let mut discretion = Discretion::new(&path);
        let schema = Schema::new(1, Metric::L2).column("a \"b", DataType::Int64).text("salary");
        discretion.know(&schema, false);
        let file = path.join("docs");
        let message =
            format!("{} is corrupt: column {:?}, {:?}", file.display(), "a \"b", "salary");
        assert_eq!(discretion.say(&message), "docs is corrupt: column 0 (int64), 1 (utf8)");
        let mut told = discretion.clone();
        told.know(&schema, true);
        let quoted = format!("{message}, the word \"secret\"");
        let named = "docs is corrupt: column \"a \\\"b\", \"salary\", the word \"…\"";
        assert_eq!(told.say(&quoted), named);
        for (said, left) in [
            ("id 17 is live twice", "id … is live twice"),
            ("id \"x\\\"y 5\" is live", "id \"…\" is live"),
            ("the word \"secret\" and \"é\\\\\" stand", "the word \"…\" and \"…\" stand"),
            ("byte 3 of `sec`r\"et`; the end", "byte 3 of \"…\"; the end"),
            (
                "seg-000001.nfs is corrupt in IDSC: row 5",
                "seg-000001.nfs is corrupt in IDSC: row 5",
            ),
            ("an unclosed \"secret", "an unclosed \"…\""),
            ("an unclosed `secret", "an unclosed \"…\""),
        ] {
            assert_eq!(discretion.say(said), left);
        }
        let reason = "it requires feature \"x\"".to_owned();
        let error = Error::Incompatible { file, reason };
        let said = "docs cannot be read by this version: it requires feature \"x\"";
        assert_eq!(discretion.say_error(&error), said);
    }

    #[test]
    fn a_holder_is_named_without_the_directory_of_its_command() {
        let since = "2026-01-01T00:00:00Z";
        let note = format!("pid 7, command some/where/python3, since {since}");
        assert_eq!(holder(&note), format!("pid 7, command python3, since {since}"));
        assert_eq!(holder(""), "a process that left no note");
    }
}
