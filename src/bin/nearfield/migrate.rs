//! `nearfield migrate`: collections of other vector databases. What reads them is Python; the command of the Python
//! package runs it before this program sees the arguments, which has it in its help and says where it is.

use std::ffi::OsString;

use clap::ValueEnum;

use super::failure::Failure;

/// Copy collections of another vector database; comes with the Python package
///
/// `nearfield migrate KIND --help` lists the options of each kind. Files, also of hnswlib, faiss and usearch, are read
/// by `nearfield import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is copied from
    kind: Option<Kind>,
    /// Where it is, the database to copy to, and options of the kind
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    rest: Vec<OsString>,
}

/// The kinds of `nearfield/migrate/__main__.py`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// Directory of Chroma's PersistentClient
    Chroma,
    /// Directory or address of LanceDB
    Lancedb,
    /// Directory of QdrantClient(path=…), or the address of a server
    Qdrant,
    /// HDF5 file, as ann-benchmarks has them
    Hdf5,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let kind = args.kind.and_then(|kind| kind.to_possible_value());
    let kind = kind.as_ref().map_or("KIND", |kind| kind.get_name());
    let rest = args.rest.iter().map(|word| format!(" {}", word.to_string_lossy()));
    Err(Failure::refused(format!(
        "`nearfield migrate` comes with the Python package, of which this program is not; run \
         `pip install nearfield`, then `python -m nearfield migrate {kind}{}`",
        rest.collect::<String>()
    )))
}
