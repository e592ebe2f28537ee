//! What messages may say: nothing of a row, no column by its name, no directory above the database.

use std::path::Path;

use crate::collection::options::Schema;

/// What is left out of messages.
#[derive(Debug)]
pub(super) struct Discretion {
    /// What comes before the names of files of the database.
    directory: String,
    /// Names that are replaced, as they are quoted, and by what.
    names: Vec<(String, String)>,
}

impl Discretion {
    pub(super) fn new(path: &Path) -> Self {
        // Without a separator at its end.
        let path = path.components().as_path().display();
        let directory = format!("{path}{}", std::path::MAIN_SEPARATOR);
        Self { directory, names: Vec::new() }
    }

    /// Has the columns of `schema` called by their number and type.
    pub(super) fn hide(&mut self, schema: &Schema) {
        self.names = schema
            .columns()
            .iter()
            .enumerate()
            .map(|(number, column)| {
                (format!("{:?}", column.name), format!("{number} ({})", column.data_type))
            })
            .collect();
    }

    /// A message without what may not be told.
    pub(super) fn say(&self, message: &str) -> String {
        let message = message.replace(&self.directory, "");
        self.names.iter().fold(message, |message, (name, by)| message.replace(name, by))
    }

    /// The same of a message that may speak of a row: without all that is quoted, and without ids.
    pub(super) fn say_of_rows(&self, message: &str) -> String {
        without_ids(&without_quoted(&self.say(message)))
    }
}

/// Texts of rows, as messages quote them, are left out.
fn without_quoted(message: &str) -> String {
    let (mut said, mut quoted, mut escaped) = (String::new(), false, false);
    for c in message.chars() {
        match c {
            '"' if !escaped => {
                quoted = !quoted;
                said.push_str(if quoted { "\"…" } else { "\"" });
            }
            _ if !quoted => said.push(c),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    said
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
        discretion.hide(&schema);
        let file = path.join("docs");
        let message =
            format!("{} is corrupt: column {:?}, {:?}", file.display(), "a \"b", "salary");
        assert_eq!(discretion.say(&message), "docs is corrupt: column 0 (int64), 1 (utf8)");
        for (said, left) in [
            ("id 17 is live twice", "id … is live twice"),
            ("id \"x\\\"y 5\" is live", "id \"…\" is live"),
            ("the word \"secret\" and \"é\\\\\" stand", "the word \"…\" and \"…\" stand"),
            (
                "seg-000001.nfs is corrupt in IDSC: row 5",
                "seg-000001.nfs is corrupt in IDSC: row 5",
            ),
            ("an unclosed \"secret", "an unclosed \"…"),
        ] {
            assert_eq!(discretion.say_of_rows(said), left);
        }
    }

    #[test]
    fn a_holder_is_named_without_the_directory_of_its_command() {
        let since = "2026-01-01T00:00:00Z";
        let note = format!("pid 7, command some/where/python3, since {since}");
        assert_eq!(holder(&note), format!("pid 7, command python3, since {since}"));
        assert_eq!(holder(""), "a process that left no note");
    }
}
