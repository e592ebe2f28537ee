//! The commands that README.md and the guide show: each page's in order, in a folder that has `examples/data`
//! as the root of the source has.

use std::fs;
use std::path::Path;

use super::{Shell, data};

#[test]
fn the_commands_of_readme_run() {
    assert!(run_commands(Path::new("README.md")) > 5);
}

#[test]
fn the_commands_of_the_guide_run() {
    let guide = Path::new("docs/guide");
    let pages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(guide)).unwrap();
    let pages = pages.map(|page| guide.join(page.unwrap().file_name()));
    assert!(pages.map(|page| run_commands(&page)).sum::<usize>() > 10);
}

/// Runs what a page shows in blocks of `sh` and begins with `nearfield`; returns how many commands there were.
fn run_commands(page: &Path) -> usize {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let shell = Shell::new();
    fs::create_dir_all(shell.path("examples/data")).unwrap();
    for name in ["packages.parquet", "queries.parquet"] {
        fs::copy(data(name), shell.path("examples/data").join(name)).unwrap();
    }
    let commands: Vec<Vec<String>> = blocks(&text, "sh")
        .flat_map(str::lines)
        .map(words)
        .filter(|words| words.first().is_some_and(|word| word == "nearfield"))
        .collect();
    for command in &commands {
        let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        let ran = shell.run(&args);
        assert_eq!(ran.code, Some(0), "{}: {command:?}: {ran:?}", page.display());
    }
    commands.len()
}

/// The contents of fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("```{language}\n");
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(fence.as_str())?;
        let (block, after) = from.split_once("```")?;
        rest = after;
        Some(block)
    })
}

/// A line as a shell divides it: at blanks outside of quotes, up to a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None if c == '#' && word.is_none() => break,
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn lines_are_divided_as_a_shell_does() {
    let line =
        r#"nearfield search my.nf a --words '"two words" -b' --where "c = 'd'"   # and more"#;
    let expected =
        ["nearfield", "search", "my.nf", "a", "--words", "\"two words\" -b", "--where", "c = 'd'"];
    assert_eq!(words(line), expected);
}
