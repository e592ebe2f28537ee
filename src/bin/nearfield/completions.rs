//! `nearfield completions`: what makes a shell complete commands and options.

use clap::CommandFactory;
use serde::Serialize;

use super::Cli;
use super::failure::Failure;
use super::output::Output;

/// Print a script that has a shell complete commands and options
///
/// bash: into ~/.local/share/bash-completion/completions/nearfield. zsh: into a file `_nearfield` in a
/// directory of $fpath. fish: into ~/.config/fish/completions/nearfield.fish. powershell: at the end of the
/// file $PROFILE.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Serialize)]
struct Answer {
    shell: String,
    script: String,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nearfield", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let answer = Answer { shell: args.shell.to_string(), script };
    output.answer(&answer, |out| out.write_all(answer.script.as_bytes()))
}
