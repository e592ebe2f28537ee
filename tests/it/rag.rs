//! The example of questions to a folder of Markdown, over this repository's own documents and with a
//! real model where there is one.

#![expect(clippy::disallowed_methods, reason = "documents, not files of a database")]

use std::fs;
use std::path::{Path, PathBuf};

use nearfield::{Database, Embedder, Id};

#[path = "../../examples/rag/rag.rs"]
mod answer;
#[path = "../../examples/rag/markdown.rs"]
mod markdown;
#[path = "../../examples/rag/minilm.rs"]
mod minilm;
#[path = "../../examples/rag/words.rs"]
mod words;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("notes")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join("notes").join(name), text).unwrap();
    }
    dir
}

fn ask(dir: &Path, embedder: &Embedder, question: &str) -> Vec<(String, usize)> {
    let db = Database::open(dir.join("rag.nf")).unwrap();
    let sections = answer::index(&db, &dir.join("notes"), embedder).unwrap();
    let sources = answer::retrieve(&sections, question, 3).unwrap();
    assert!(answer::prompt(question, &sources).contains("[1] "));
    sources.into_iter().map(|source| (source.section.file, source.section.line)).collect()
}

#[test]
fn sections_begin_at_headings_and_know_their_lines() {
    let dir = folder(&[(
        "a.md",
        "intro\n# One\n\nfirst\n```\n# no heading\n```\n## Empty\n# Two\nsecond",
    )]);
    let sections = markdown::read(&dir.path().join("notes")).unwrap();
    let found: Vec<_> = sections.iter().map(|s| (s.line, s.heading.as_str())).collect();
    assert_eq!(found, [(1, "a.md"), (2, "One"), (9, "Two")]);
    assert!(sections[1].text.contains("# no heading"));
}

#[test]
fn a_question_to_our_own_documents_is_answered_with_the_right_page() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path().join("rag.nf")).unwrap();
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let sections = answer::index(&db, &docs, &words::embedder()).unwrap();
    for (question, page) in [
        ("why is there no CURRENT file beside the numbered manifests?", "decisions/004"),
        ("what is the layout of a frame of the log?", "format.md"),
        ("why are bits packed bytes, as numpy.packbits packs them?", "decisions/012"),
    ] {
        let sources = answer::retrieve(&sections, question, 3).unwrap();
        let files: Vec<_> = sources.iter().map(|source| source.section.file.as_str()).collect();
        assert!(files.iter().any(|file| file.starts_with(page)), "{question}: {files:?}");
    }
}

#[test]
fn only_what_has_changed_is_embedded_again() {
    let dir = folder(&[
        ("cats.md", "# Cats\nCats purr when they are content."),
        ("rust.md", "# Rust\nThe borrow checker replaces the garbage collector."),
    ]);
    let embedder = words::embedder();
    assert_eq!(ask(dir.path(), &embedder, "do cats purr?")[0], ("cats.md".into(), 1));
    fs::write(dir.path().join("notes/cats.md"), "# Dogs\nDogs bark.").unwrap();
    fs::remove_file(dir.path().join("notes/rust.md")).unwrap();
    assert_eq!(ask(dir.path(), &embedder, "do dogs bark?"), [("cats.md".into(), 1)]);
    let db = Database::open(dir.path().join("rag.nf")).unwrap();
    let sections = db.open_collection("sections").unwrap();
    let before = sections.stats().unwrap().seq;
    let again = answer::index(&db, &dir.path().join("notes"), &embedder).unwrap();
    assert_eq!(again.stats().unwrap().seq, before, "nothing was written");
    assert!(again.contains(Id::from("cats.md:1")).unwrap());
}

#[test]
fn a_real_model_finds_what_is_said_in_other_words() {
    let Some(model) = std::env::var_os("NEARFIELD_MINILM") else {
        eprintln!("skipped: NEARFIELD_MINILM names no folder of all-MiniLM-L6-v2");
        return;
    };
    let dir = folder(&[
        ("cats.md", "# Cats\nA kitten sleeps on the warm windowsill all afternoon."),
        ("rust.md", "# Rust\nOwnership frees memory without a garbage collector."),
        ("bread.md", "# Bread\nKnead the dough, let it rise, then bake until golden."),
    ]);
    let embedder = minilm::embedder(&PathBuf::from(model)).unwrap();
    for (question, file) in [
        ("Where does the young feline take its nap?", "cats.md"),
        ("How are resources released by the programming language?", "rust.md"),
        ("What is the recipe for a loaf?", "bread.md"),
    ] {
        assert_eq!(ask(dir.path(), &embedder, question)[0].0, file, "{question}");
    }
}
