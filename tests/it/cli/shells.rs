//! What shells and the system's manual are given: completions and pages.

use std::collections::BTreeSet;
use std::fs;

use super::Shell;

/// The commands that `--help` lists.
fn commands(shell: &Shell) -> BTreeSet<String> {
    let help = shell.ok(&["--help"]).stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let name = |line: &str| Some(line.strip_prefix("  ")?.split(' ').next()?.to_owned());
    let names = list.lines().filter_map(name).filter(|name| !name.is_empty() && name != "help");
    let names: BTreeSet<String> = names.collect();
    assert!(names.contains("search") && names.len() > 20, "{help}");
    names
}

#[test]
fn completions_of_every_shell_name_all_commands_and_their_options() {
    let shell = Shell::new();
    for kind in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = shell.ok(&["completions", kind]).stdout;
        for word in commands(&shell) {
            assert!(script.contains(&word), "{kind}: {word}");
        }
        for option in ["group-by", "text-index", "durability", "cosine"] {
            // A word that is in no option, so that the others are not found by chance.
            assert_eq!(script.contains(option), option != "durability", "{kind}: {option}");
        }
        assert_eq!(shell.json(&["completions", kind])["script"], script, "{kind}");
    }
    shell.fails(&["completions", "tcsh"], 2, "bash");
}

#[cfg(unix)]
#[test]
fn bash_completes_what_is_typed_by_the_script() {
    let shell = Shell::new();
    let script = shell.write("nearfield.bash", shell.ok(&["completions", "bash"]).stdout);
    let typed = r#"
        . "$1" || exit 1
        COMP_WORDS=(nearfield sea) COMP_CWORD=1; _nearfield nearfield sea nearfield
        echo "${COMPREPLY[@]}"
        COMP_WORDS=(nearfield search db docs --wi) COMP_CWORD=4; _nearfield nearfield --wi docs
        echo "${COMPREPLY[@]}"
    "#;
    let mut bash = std::process::Command::new("bash");
    let Ok(ran) = bash.args(["--norc", "-c", typed, "bash"]).arg(script).output() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "search\n--window\n", "{ran:?}");
}

#[test]
fn every_command_has_a_page_in_the_manual() {
    let shell = Shell::new();
    let written = shell.json(&["man", "share/man1"]);
    let names = commands(&shell);
    assert_eq!(written["pages"].as_array().unwrap().len(), names.len() + 1);
    let page = |name: &str| fs::read_to_string(shell.path("share/man1").join(name)).unwrap();
    let whole = page("nearfield.1");
    for name in &names {
        let own = page(&format!("nearfield-{name}.1"));
        assert!(own.starts_with(".ie") && own.contains(".SH SYNOPSIS"), "{own}");
        assert!(own.contains(&format!("nearfield\\-{}", name.replace('-', "\\-"))), "{own}");
        assert!(whole.contains(&name.replace('-', "\\-")), "{name}");
    }
    assert!(page("nearfield-search.1").contains("\\-\\-window"));
    assert_eq!(shell.ok(&["man"]).stdout, whole);
    assert_eq!(shell.json(&["man"])["page"], whole);
    shell.ok(&["man", "share/man1"]);
    shell.write("file", "");
    shell.fails(&["man", "file/man1"], 1, "cannot create");
}
