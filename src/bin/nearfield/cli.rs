//! The command line `nearfield`: everything the library does, one command each. The program is `main.rs`; the
//! Python package includes the same modules.
//!
//! A command is a file with its arguments and a `run`. It reads through [`output::Output`] what
//! form of answer is wanted and knows the library by its public interface alone. Answers go to
//! standard output, messages and progress to standard error.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 damage found by `verify`, problems found by `doctor` or rows
//! lost that `repair` could not save, 130 interrupted.

mod args;
mod bench;
mod cells;
mod collections;
mod compact;
mod completions;
mod copy;
mod count;
mod create;
mod delete;
mod demo;
mod doctor;
mod explain;
mod export;
mod failure;
mod forget;
mod get;
mod held_out;
mod hits;
mod ids;
mod import;
mod interrupt;
mod list;
mod man;
mod memory;
mod migrate;
mod open;
mod output;
mod picks;
mod progress;
mod queries;
mod recall;
mod repair;
mod rows;
mod scratch;
mod search;
mod show;
mod stats;
mod text_index;
mod timing;
mod update;
mod verify;

use std::ffi::OsString;
use std::io::Write;

use clap::{Parser, Subcommand};

pub(crate) use demo::Files as DemoFiles;
use failure::Failure;
use output::Output;

/// What differs between the program and the command of the Python package.
pub(crate) struct Program {
    /// The files of `nearfield demo`; without them it is told where they are.
    pub(crate) demo: Option<DemoFiles>,
}

/// An embedded vector database: what SQLite is to rows, for embeddings.
///
/// A database is a directory of collections; a row of a collection is an id, a vector and
/// attributes. `nearfield demo` shows all of it in a few seconds.
#[derive(Debug, Parser)]
#[command(name = "nearfield", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the answer as one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Args),
    Import(import::Args),
    Search(Box<search::Args>),
    Get(get::Args),
    Delete(delete::Args),
    Forget(forget::Args),
    Update(update::Args),
    Count(count::Args),
    List(list::Args),
    Stats(stats::Args),
    Verify(verify::Args),
    Compact(compact::Args),
    TextIndex(text_index::Args),
    Backup(copy::BackupArgs),
    Restore(copy::RestoreArgs),
    Pack(copy::PackArgs),
    Unpack(copy::UnpackArgs),
    Repair(repair::Args),
    Doctor(doctor::Args),
    Export(export::Args),
    Migrate(migrate::Args),
    Drop(collections::DropArgs),
    Rename(collections::RenameArgs),
    Bench(bench::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Does what the arguments say, the first of which is the program itself; returns the exit code.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>, program: &Program) -> u8 {
    let code = match Cli::try_parse_from(arguments) {
        Ok(cli) => match run(&cli.command, program, &Output::new(cli.json)) {
            Ok(()) => 0,
            Err(failure) => failure.report(),
        },
        Err(refusal) => {
            // Help and refusals alike; there is nobody left to tell if this fails.
            let _ = refusal.print();
            u8::try_from(refusal.exit_code()).unwrap_or(2)
        }
    };
    // In a process of Python's nobody else does; what was written by an answer has been already.
    let _ = std::io::stdout().flush();
    code
}

fn run(command: &Command, program: &Program, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create::run(args, output),
        Command::Import(args) => import::run(args, output),
        Command::Search(args) => search::run(args, output),
        Command::Get(args) => get::run(args, output),
        Command::Delete(args) => delete::run(args, output),
        Command::Forget(args) => forget::run(args, output),
        Command::Update(args) => update::run(args, output),
        Command::Count(args) => count::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Stats(args) => stats::run(args, output),
        Command::Verify(args) => verify::run(args, output),
        Command::Compact(args) => compact::run(args, output),
        Command::TextIndex(args) => text_index::run(args, output),
        Command::Backup(args) => copy::backup(args, output),
        Command::Restore(args) => copy::restore(args, output),
        Command::Pack(args) => copy::pack(args, output),
        Command::Unpack(args) => copy::unpack(args, output),
        Command::Repair(args) => repair::run(args, output),
        Command::Doctor(args) => doctor::run(args, output),
        Command::Export(args) => export::run(args, output),
        Command::Migrate(args) => migrate::run(args),
        Command::Drop(args) => collections::drop(args, output),
        Command::Rename(args) => collections::rename(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::Demo(args) => demo::run(args, program.demo.as_ref(), output),
        Command::Completions(args) => completions::run(args, output),
        Command::Man(args) => man::run(args, output),
    }
}
