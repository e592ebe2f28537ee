//! A folder of Markdown as sections: the text under one heading each.

use std::fs;
use std::io;
use std::path::Path;

/// Longer sections are divided between paragraphs.
const MOST_CHARS: usize = 1_200;

/// A piece of a file, short enough to be embedded whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The file, relative to the folder, with slashes.
    pub(crate) file: String,
    /// Its first line, from 1.
    pub(crate) line: usize,
    pub(crate) heading: String,
    pub(crate) text: String,
}

/// The sections of every `.md` file below `folder`, in the order of their paths.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Section>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut sections = Vec::new();
    for path in files {
        split(&name(folder, &path), &fs::read_to_string(&path)?, &mut sections);
    }
    Ok(sections)
}

fn name(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    relative.to_string_lossy().replace('\\', "/")
}

/// Divides a document at its headings, and where a section grows long at an empty line.
fn split(file: &str, document: &str, sections: &mut Vec<Section>) {
    let empty = |line: usize, heading: &str| Section {
        file: file.to_owned(),
        line,
        heading: heading.to_owned(),
        text: String::new(),
    };
    let mut section = empty(1, file);
    let mut fenced = false;
    for (index, line) in document.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        let heading = !fenced && line.starts_with('#') && title.starts_with(' ');
        let long = line.trim().is_empty() && section.text.len() > MOST_CHARS;
        if heading || long {
            let name = if heading { title.trim() } else { section.heading.as_str() };
            let next = empty(index + if heading { 1 } else { 2 }, name);
            push(std::mem::replace(&mut section, next), sections);
        }
        section.text.push_str(line);
        section.text.push('\n');
    }
    push(section, sections);
}

/// Keeps a section if there is more to it than its heading.
fn push(mut section: Section, sections: &mut Vec<Section>) {
    let words = section
        .text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .any(|line| line.chars().any(char::is_alphanumeric));
    if words {
        section.text = section.text.trim().to_owned();
        sections.push(section);
    }
}
