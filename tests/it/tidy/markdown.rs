//! Links and headings of Markdown documents.

use std::fs;
use std::path::Path;

/// A link of a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) line: usize,
}

/// The relative links of a document, `[text](target)` and `[label]: target`.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, content) in prose(text) {
        let content = without_code(content);
        let mut targets: Vec<&str> = content
            .match_indices("](")
            .filter_map(|(at, _)| content[at + 2..].split_once(')'))
            .map(|(target, _)| target)
            .collect();
        if content.starts_with('[') {
            targets.extend(content.split_once("]: ").map(|(_, target)| target));
        }
        for target in targets {
            let target = target.split_whitespace().next().unwrap_or_default();
            let target = target.trim_start_matches('<').trim_end_matches('>');
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push(Link { target: target.to_owned(), line });
            }
        }
    }
    links
}

/// Why a link of the document `from` leads nowhere, if it does.
pub(crate) fn broken(root: &Path, from: &Path, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    if file.starts_with('/') {
        return Some("is absolute; make it relative to the document".to_owned());
    }
    let path = match file {
        "" => root.join(from),
        _ => root.join(from).parent()?.join(file),
    };
    if !path.exists() {
        return Some("names no file".to_owned());
    }
    if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let headings = anchors(&fs::read_to_string(&path).unwrap());
    (!headings.iter().any(|heading| heading == anchor))
        .then(|| format!("names no heading; there are: {}", headings.join(", ")))
}

/// What the headings of a document are called in links, and explicit `id="…"` anchors.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let plain = slug(title);
            let mut name = plain.clone();
            let mut repeats = 0;
            while anchors.contains(&name) {
                repeats += 1;
                name = format!("{plain}-{repeats}");
            }
            anchors.push(name);
        }
        let explicit = line.split(" id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
        anchors.extend(explicit.map(|(name, _)| name.to_owned()));
    }
    anchors
}

fn slug(title: &str) -> String {
    let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Numbered lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// The line without its `code`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_outside_code_are_found() {
        let text = "# A\nsee [b](b.md#x \"t\") and `[no](no.md)` [web](https://example.org)\n\
                    ```\n[no](no.md)\n```\n[label]: c.md\n";
        let found: Vec<_> = links(text).into_iter().map(|l| (l.target, l.line)).collect();
        assert_eq!(found, [("b.md#x".to_owned(), 2), ("c.md".to_owned(), 6)]);
    }

    #[test]
    fn headings_become_anchors() {
        let text = "# The `wal` file: v1\n## Same\n## Same\n<a id=\"here\"></a>\n#no\n";
        assert_eq!(anchors(text), ["the-wal-file-v1", "same", "same-1", "here"]);
    }

    #[test]
    fn missing_files_and_headings_are_broken() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let from = Path::new("examples/data/README.md");
        assert!(broken(root, from, "make.py").is_none());
        assert!(broken(root, from, "#where-it-comes-from").is_none());
        assert!(broken(root, from, "absent.md").is_some());
        assert!(broken(root, from, "#absent").is_some());
        assert!(broken(root, from, "/examples/data/README.md").is_some());
    }
}
