//! The program `nearfield`.

#[path = "cli.rs"]
mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let demo = cli::DemoFiles {
        rows: include_bytes!("../../../examples/data/packages.parquet"),
        queries: include_bytes!("../../../examples/data/queries.parquet"),
        neighbors: include_bytes!("../../../examples/data/neighbors.parquet"),
    };
    let program = cli::Program { demo: Some(demo) };
    ExitCode::from(cli::main(std::env::args_os(), &program))
}
