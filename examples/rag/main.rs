//! Questions to a folder of Markdown, answered with citations.
//!
//! ```text
//! cargo run --release --example rag -- docs "What happens when a manifest is damaged?"
//! NEARFIELD_MINILM=path/to/all-MiniLM-L6-v2 cargo run --release --example rag -- docs "…"
//! ```
//!
//! Each section of each file becomes a row; the nearest sections become the sources of a prompt for
//! a language model, which is left to you. Without the folder of a model, texts are embedded by the
//! words they have: no model, but no download either. Asking again reads the files again and embeds
//! only what has changed.

mod markdown;
mod minilm;
mod rag;
mod words;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, question] = arguments.as_slice() else {
        return Err("usage: rag FOLDER QUESTION".into());
    };
    let embedder = match std::env::var_os("NEARFIELD_MINILM") {
        Some(model) => minilm::embedder(&PathBuf::from(model))?,
        None => words::embedder(),
    };
    let path = std::env::temp_dir().join(format!("rag-{}.nf", embedder.model()));
    let db = nearfield::Database::open(path)?;
    let sections = rag::index(&db, &PathBuf::from(folder), &embedder)?;
    let sources = rag::retrieve(&sections, question, 4)?;
    #[expect(clippy::print_stdout, reason = "an example shows what it found")]
    {
        println!("{}", rag::prompt(question, &sources));
    }
    Ok(())
}
