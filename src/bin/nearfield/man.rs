//! `nearfield man`: manual pages, one of the program and one of each command.

#![expect(clippy::disallowed_methods, reason = "files of the user, not of a database")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;
use serde::Serialize;

use super::Cli;
use super::failure::Failure;
use super::output::Output;
use super::show;

/// Print the manual page, or write those of all commands into a directory
///
/// `nearfield man | man -l -` shows it. `nearfield man ~/.local/share/man/man1` installs all, so that
/// `man nearfield-search` finds its page.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory for nearfield.1, nearfield-search.1 and so on; created if it is absent
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Printed {
    page: String,
}

#[derive(Serialize)]
struct Written {
    pages: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let Some(dir) = &args.dir else {
        let page = render(&Man::new(program))?;
        let answer = Printed { page: String::from_utf8_lossy(&page).into_owned() };
        return output.answer(&answer, |out| out.write_all(&page));
    };
    fs::create_dir_all(dir).map_err(|error| refused("create", dir, &error))?;
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let write = |command: &clap::Command| {
        let man = Man::new(command.clone());
        let path = dir.join(man.get_filename());
        fs::write(&path, render(&man)?).map_err(|error| refused("write", &path, &error))?;
        Ok(path)
    };
    let pages = std::iter::once(&program).chain(commands).map(write);
    let answer = Written { pages: pages.collect::<Result<_, Failure>>()? };
    output.answer(&answer, |out| {
        let pages = show::counted(answer.pages.len() as u64, "page");
        writeln!(out, "wrote {pages} into {}", dir.display())
    })
}

fn render(man: &Man) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(Failure::Output)?;
    Ok(page)
}

fn refused(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::refused(format!(
        "cannot {action} {}: {error}; give a directory that can be written to",
        path.display()
    ))
}
