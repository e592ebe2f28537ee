//! The house rules as a test: floors, file length, module docs, words and links.
//!
//! The rules and their reasons are in CONTRIBUTING.md and docs/architecture.md. A failure names
//! the file and line and says what to do.

mod markdown;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// A room of the house: a module at the root of the crate.
struct Room {
    name: &'static str,
    floor: usize,
    /// The rooms below that it may import; `a::b` allows that one module only.
    may_import: &'static [&'static str],
}

const fn room(name: &'static str, floor: usize, may_import: &'static [&'static str]) -> Room {
    Room { name, floor, may_import }
}

/// Floor of the modules that may import everything and that nothing below may import.
const ROOF: usize = 6;

/// The ground floor may be imported by every room, the rooms on it included.
const GROUND: usize = 0;

const ROOMS: &[Room] = &[
    room("types", GROUND, &[]),
    room("error", GROUND, &[]),
    room("bytes", GROUND, &[]),
    room("span", GROUND, &[]),
    room("sync", GROUND, &[]),
    room("kernel", 1, &[]),
    room("storage", 1, &[]),
    room("codec", 2, &["kernel"]),
    room("filter", 2, &[]),
    room("index", 3, &["kernel", "codec", "filter::rowset"]),
    room("text", 3, &["storage", "filter::rowset"]),
    room("segment", 4, &["index", "text", "codec", "filter", "storage", "kernel"]),
    room("collection", 5, &["segment", "text", "codec", "filter", "storage"]),
    room("database", ROOF, &[]),
    room("memory", ROOF, &[]),
    room("bare", ROOF, &[]),
    room("interop", ROOF, &[]),
    room("lib", ROOF, &[]),
];

/// Most lines of code in a file, tests, comments and blank lines aside.
const MAX_LINES: usize = 400;
/// Most lines of code in a file of tests.
const MAX_TEST_LINES: usize = 800;

/// Where `unsafe` may be written.
const UNSAFE_ROOMS: [&str; 2] = ["src/kernel/", "src/storage/mmap.rs"];

/// What may not be left in a file, in pieces so that this file passes.
const NOTES: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!")];

/// Directories that exist only on somebody's machine.
pub(crate) const MACHINE_PATHS: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("C:", "\\Users"),
];

#[test]
fn imports_go_down_only() {
    let files = files_under("src", &["rs"]);
    let problems = files.iter().flat_map(|file| {
        let edges = Source::parse(&file.text).imports(&module_path(&file.name));
        edges.into_iter().filter_map(|import| {
            let problem = forbidden(&module_path(&file.name), &import.path)?;
            Some(format!("{}:{}: {problem}", file.name, import.line))
        })
    });
    report(problems);
}

#[test]
fn the_architecture_page_shows_the_floors_of_this_test() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.replace('`', "")).collect::<Vec<_>>();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
    let built = |name: &str| {
        let room = root().join("src").join(name.replace("::", "/"));
        room.exists() || room.with_extension("rs").exists()
    };
    report(ROOMS.iter().filter(|r| r.floor != GROUND && r.floor != ROOF).filter_map(|room| {
        let edges: Vec<_> = room.may_import.iter().copied().filter(|edge| built(edge)).collect();
        let row = [format!(" {} ", room.floor), format!(" {} ", room.name)];
        let found = rows.iter().find(|cells| cells.get(1..3) == Some(&row[..]));
        let shown = found.map(|cells| cells[3].trim().to_owned());
        (built(room.name) && shown.as_deref() != Some(&edges.join(", "))).then(|| {
            format!("docs/architecture.md: {} may import [{}]", room.name, edges.join(", "))
        })
    }));
}

/// Promises stand in lists and in the table; each names its tests.
#[test]
fn every_promise_of_the_durability_page_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/durability.md")).unwrap();
    let mut tests = files_under("src", &["rs"]);
    tests.extend(files_under("tests", &["rs"]));
    tests.extend(files_under("bindings/python/tests", &["py"]));
    let exists = |name: &str| {
        let definitions = [format!("fn {name}("), format!("def {name}(")];
        tests.iter().any(|file| definitions.iter().any(|found| file.text.contains(found.as_str())))
    };
    report((1..).zip(page.lines()).filter_map(|(number, line)| {
        let row = line.starts_with("| `");
        let spans = line.split('`').skip(1).step_by(2);
        let names: Vec<&str> = spans.filter(|span| span.matches('_').count() > 2).collect();
        let missing = names.iter().find(|name| !exists(name));
        let what = match missing {
            Some(name) => format!("there is no test {name}"),
            None if names.is_empty() && (row || line.starts_with("- ")) => {
                "a promise names no test that proves it".to_owned()
            }
            None => return None,
        };
        Some(format!("docs/durability.md:{number}: {what}"))
    }));
}

#[test]
fn files_stay_short() {
    let files = files_under("", &["rs"]);
    report(files.iter().filter_map(|file| {
        let limit = if file.is_test() { MAX_TEST_LINES } else { MAX_LINES };
        let lines = Source::parse(&file.text).lines_of_code();
        (lines > limit).then(|| {
            format!("{}:1: {lines} lines of code, at most {limit}; split the file", file.name)
        })
    }));
}

#[test]
fn every_module_says_what_it_is() {
    let files = files_under("", &["rs"]);
    report(
        files.iter().filter(|file| !file.is_test() || file.name.starts_with("tests/")).filter_map(
            |file| {
                let first =
                    file.text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
                let documented = first.is_some_and(|line| line.starts_with("//! "));
                (!documented).then(|| {
                    format!(
                        "{}:1: open with //! and say what the module is and must not know",
                        file.name
                    )
                })
            },
        ),
    );
}

#[test]
fn no_notes_to_self_are_left() {
    let files = files_under("", &["rs", "py", "pyi", "md", "toml", "yml", "sh", "run"]);
    report(files.iter().flat_map(|file| {
        file.matches(|line, at, note| {
            let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !word(line[..at].chars().next_back())
                && (note.ends_with('!') || !word(line[at + note.len()..].chars().next()))
        })
    }));
}

#[test]
fn no_file_names_a_directory_of_one_machine() {
    let files = files_under("", &["rs", "py", "pyi", "md", "toml", "yml", "sh", "run", "json"]);
    report(files.iter().flat_map(|file| file.machine_paths()));
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let files = files_under("src", &["rs"]);
    let outside =
        files.iter().filter(|f| !UNSAFE_ROOMS.iter().any(|room| f.name.starts_with(room)));
    report(outside.flat_map(|file| {
        let lines = Source::parse(&file.text).lines_with("unsafe");
        lines.into_iter().map(|line| {
            format!("{}:{line}: unsafe is for src/kernel/ and src/storage/mmap.rs", file.name)
        })
    }));
}

#[test]
fn links_in_documents_resolve() {
    let files = files_under("", &["md"]);
    report(files.iter().flat_map(|file| {
        let links = markdown::links(&file.text);
        links.into_iter().filter_map(|link| {
            let problem = markdown::broken(&root(), Path::new(&file.name), &link.target)?;
            Some(format!("{}:{}: link to {} {problem}", file.name, link.line, link.target))
        })
    }));
}

/// Why a module may not import a path from the root of the crate, if it may not.
fn forbidden(module: &[String], path: &[String]) -> Option<String> {
    let from = module.first()?;
    let Some(here) = ROOMS.iter().find(|room| room.name == from) else {
        return Some(format!("{from} has no floor; give it one in ROOMS in tests/it/tidy.rs"));
    };
    let to = path.first()?;
    if here.floor == ROOF || from == to {
        return None;
    }
    let Some(there) = ROOMS.iter().find(|room| room.name == to) else {
        return Some(format!("crate::{to} is no room; import it from the room that defines it"));
    };
    let allowed = there.floor == GROUND
        || here.may_import.iter().any(|edge| {
            let mut parts = edge.split("::");
            parts.by_ref().zip(path).all(|(part, name)| part == name) && parts.next().is_none()
        });
    (!allowed).then(|| {
        let allowed = if here.may_import.is_empty() {
            "only the ground floor".to_owned()
        } else {
            format!("only {} and the ground floor", here.may_import.join(", "))
        };
        format!(
            "{from} (floor {}) imports {} (floor {}); it may import {allowed}",
            here.floor,
            path.join("::"),
            there.floor
        )
    })
}

/// `src/segment/columns.rs` is `["segment", "columns"]`. A command line is a crate of its own and
/// counts as the roof.
fn module_path(name: &str) -> Vec<String> {
    let inner = name.trim_start_matches("src/").trim_end_matches(".rs");
    if inner.starts_with("bin/") {
        return vec!["lib".to_owned()];
    }
    let parts = inner.split('/').filter(|part| *part != "mod");
    parts.map(str::to_owned).collect()
}

/// A text file of the repository; its name is relative to the root.
struct File {
    name: String,
    text: String,
}

impl File {
    /// An integration test, or the unit tests of a module in files of their own.
    fn is_test(&self) -> bool {
        self.name.starts_with("tests/")
            || self.name.ends_with("/tests.rs")
            || self.name.contains("/tests/")
    }

    /// The notes to self that `counts` accepts, given line, position and note.
    fn matches(&self, counts: impl Fn(&str, usize, &str) -> bool) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        let found = lines.flat_map(|(index, line)| {
            let notes = NOTES.iter().filter(|note| {
                line.match_indices(**note).any(|(position, _)| counts(line, position, note))
            });
            let place = format!("{}:{}", self.name, index + 1);
            notes.map(move |note| format!("{place}: {note} is left; do it or drop it"))
        });
        found.collect()
    }

    fn machine_paths(&self) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        let found = lines.filter_map(|(index, line)| {
            let path = MACHINE_PATHS.iter().find(|path| {
                line.match_indices(**path).any(|(position, _)| {
                    let before = line[..position].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}/*".contains(c))
                })
            })?;
            let (name, line) = (&self.name, index + 1);
            Some(format!("{name}:{line}: {path} exists on one machine; use a relative path"))
        });
        found.collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a directory with one of the extensions (or, without a dot, of that name).
fn files_under(directory: &str, extensions: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let extension = name.rsplit('.').next().unwrap();
            if path.is_dir() {
                if is_ours(&path, name) {
                    directories.push(path);
                }
            } else if extensions.contains(&extension) {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                files.push(File { name, text });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Not build output, not a virtual environment, not what a fuzzer collected, not hidden.
fn is_ours(path: &Path, name: &str) -> bool {
    let hidden = name.starts_with('.') && ![".ci", ".github"].contains(&name);
    let made = ["target", "corpus", "artifacts", "node_modules", "__pycache__"].contains(&name);
    !hidden && !made && !path.join("pyvenv.cfg").exists() && !path.join("CACHEDIR.TAG").exists()
}

fn report(problems: impl IntoIterator<Item = String>) {
    let problems: Vec<_> = problems.into_iter().collect();
    assert!(problems.is_empty(), "{} problem(s):\n{}", problems.len(), problems.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Vec<String> {
        path.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn the_table_of_rooms_points_downward() {
        for here in ROOMS {
            for edge in here.may_import {
                let name = edge.split("::").next().unwrap();
                let there = ROOMS.iter().find(|room| room.name == name).unwrap();
                assert!(there.floor < here.floor, "{} imports {edge}", here.name);
            }
        }
    }

    #[test]
    fn upward_sideways_and_unknown_imports_are_forbidden() {
        for (from, to) in [
            ("kernel", "codec::full"),
            ("storage", "kernel"),
            ("index::flat", "filter::eval"),
            ("index::flat", "storage::disk"),
            ("segment", "collection::Snapshot"),
            ("collection", "database::Database"),
            ("codec", "Metric"),
            ("attic", "types"),
        ] {
            assert!(forbidden(&path(from), &path(to)).is_some(), "{from} -> {to}");
        }
        for (from, to) in [
            ("index::flat", "filter::rowset::RowSet"),
            ("segment", "filter"),
            ("segment::search", "segment::layout"),
            ("error", "types::Id"),
            ("database", "collection"),
        ] {
            assert_eq!(forbidden(&path(from), &path(to)), None, "{from} -> {to}");
        }
    }

    #[test]
    fn notes_and_machine_paths_are_found_at_their_line() {
        let text = format!("fine\nx = \"{}x\"\n", MACHINE_PATHS[2]);
        let file = File { name: "a.rs".to_owned(), text };
        assert!(file.machine_paths()[0].starts_with("a.rs:2: "));
        let relative = format!("target{}x", MACHINE_PATHS[2]);
        assert!(File { name: String::new(), text: relative }.machine_paths().is_empty());
        let note = File { name: "a.rs".to_owned(), text: format!("\n\n// {} x", NOTES[0]) };
        assert_eq!(note.matches(|_, _, _| true).len(), 1);
    }
}
