//! How a database is run: the keyword arguments of `open`.

use nearfield::{CodeChoice, Durability, Memory, OpenOptions, Settings};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors::{raise, text_of, unknown_argument, wrong_type};
use crate::numbers::{count, flag};
use crate::schema::named;

const MODES: [(&str, bool); 2] = [("w", false), ("r", true)];
const DURABILITIES: [(&str, Durability); 3] =
    [("sync", Durability::Sync), ("buffered", Durability::Buffered), ("none", Durability::None)];
const MEMORIES: [(&str, Memory); 2] = [("mmap", Memory::Mapped), ("ram", Memory::Ram)];
const ARGUMENTS: [&str; 14] = [
    "mode",
    "offset",
    "durability",
    "threads",
    "memtable_bytes",
    "memory_budget",
    "graph_bytes",
    "m",
    "ef_construction",
    "ef_search",
    "code",
    "serving_budget",
    "memory",
    "compaction",
];

/// The options of an `open` call; `rest` are the settings for tuning, by the engine's names.
pub(crate) fn options(
    mode: Option<&Bound<'_, PyAny>>,
    durability: Option<&Bound<'_, PyAny>>,
    threads: usize,
    rest: Option<&Bound<'_, PyDict>>,
) -> PyResult<OpenOptions> {
    let mut settings = Settings::default();
    if let Some(durability) = durability {
        settings.durability = named("durability", &DURABILITIES, durability)?;
    }
    settings.threads = threads;
    for (name, value) in rest.into_iter().flatten() {
        apply(&mut settings, name.cast::<PyString>()?.to_str()?, &value)?;
    }
    let read_only = mode.map(|mode| named("mode", &MODES, mode)).transpose()?;
    Ok(OpenOptions::new().settings(settings).read_only(read_only.unwrap_or_default()))
}

fn apply(settings: &mut Settings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match name {
        "memtable_bytes" => settings.memtable_bytes = count(name, value)?,
        "memory_budget" => settings.memory_budget = count(name, value)?,
        "graph_bytes" => {
            settings.graph_bytes = u64::try_from(count(name, value)?).unwrap_or(u64::MAX);
        }
        "m" => settings.m = count(name, value)?,
        "ef_construction" => settings.ef_construction = count(name, value)?,
        "ef_search" => settings.ef_search = count(name, value)?,
        "code" => settings.code = code(value)?,
        "serving_budget" if value.is_none() => settings.serving_budget = None,
        "serving_budget" => settings.serving_budget = Some(count(name, value)?),
        "memory" => settings.memory = named("memory", &MEMORIES, value)?,
        "compaction" => settings.compaction = flag(name, value)?,
        _ => {
            return Err(unknown_argument(value.py(), "open", name, &ARGUMENTS));
        }
    }
    Ok(())
}

/// What leads searches to candidates.
pub(crate) fn code(value: &Bound<'_, PyAny>) -> PyResult<CodeChoice> {
    let Ok(given) = value.cast::<PyString>() else {
        return Err(wrong_type("code", "a string like \"auto\" or \"product:64\"", value));
    };
    let choice = text_of("code", given)?.parse::<CodeChoice>();
    choice.map_err(|error| raise(value.py(), &error))
}
