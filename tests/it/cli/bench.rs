//! `nearfield bench` on files of every kind.

use serde_json::{Value, json};

use super::{Shell, fvecs, npy};
use crate::common::Random;

/// Rows of random numbers.
fn rows(count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut random = Random::new(7);
    (0..count).map(|_| random.vector(dimension)).collect()
}

fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// Looks at what every answer must say, and that nothing is left behind; returns the lines by what was searched.
fn searches(shell: &Shell, answer: &Value) -> Vec<(Value, f64)> {
    let left = std::fs::read_dir(shell.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        left.filter(|name| name.to_string_lossy().starts_with("nearfield-")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(answer["build_seconds"].as_f64().unwrap() > 0.0, "{answer}");
    let vectors = answer["rows"].as_u64().unwrap() * answer["vector_bytes"].as_u64().unwrap();
    assert!(answer["disk_bytes"].as_u64().unwrap() > vectors, "{answer}");
    for part in ["peak_bytes", "own_bytes"] {
        let bytes = answer["memory"][part].as_u64();
        assert!(!cfg!(target_os = "linux") || bytes.unwrap() > 100_000, "{answer}");
    }
    let lines = answer["searches"].as_array().unwrap();
    let line = |line: &Value| {
        let number = |name: &str| line[name].as_f64().unwrap();
        assert!(number("p50_seconds") > 0.0 && number("p50_seconds") <= number("p99_seconds"));
        assert!(number("queries_per_second") > 0.0);
        (line["search"].clone(), number("recall"))
    };
    lines.iter().map(line).collect()
}

#[test]
fn rows_are_held_out_of_a_file_and_searched_for() {
    let shell = Shell::new();
    let rows = rows(300, 8);
    shell.write("v.npy", npy(&slices(&rows)));
    shell.write("v.fvecs", fvecs(&slices(&rows)));
    // A file that does not say how many rows it has, one of which cannot be stored.
    let mut lines: Vec<String> =
        rows.iter().map(|row| json!({"id": "x", "text": "a", "v": row}).to_string()).collect();
    lines[77] = json!({"id": "x", "v": null}).to_string();
    shell.write("v.jsonl", lines.join("\n"));
    for (file, rows) in [("v.npy", 270), ("v.fvecs", 270), ("v.jsonl", 269)] {
        let answer = shell.json(&["bench", file, "--metric", "l2", "-k", "5"]);
        let found = searches(&shell, &answer);
        // Without a graph there is one way to search, and it is exact.
        assert_eq!(found, [(json!("default"), 1.0), (json!("exact"), 1.0)], "{file}");
        assert_eq!((&answer["rows"], &answer["queries"]), (&json!(rows), &json!(30)), "{file}");
        assert_eq!(answer["left_out"], if file == "v.jsonl" { 1 } else { 0 });
        assert_eq!((&answer["held_out"], &answer["graph"]), (&json!(true), &json!(false)));
        assert_eq!((&answer["metric"], &answer["dimension"]), (&json!("l2"), &json!(8)));
    }
    let shown = shell.ok(&["bench", "v.npy", "--count", "299"]).stdout;
    for words in ["299 of its rows, held out", "recall@10", "exact", "f32, cosine", "one thread"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn graphs_are_timed_by_effort_and_asked_by_another_file() {
    let shell = Shell::new();
    let rows = rows(1_200, 24);
    shell.write("v.npy", npy(&slices(&rows[..1_000])));
    shell.write("q.npy", npy(&slices(&rows[1_000..])));
    let args = ["bench", "v.npy", "--graph", "--queries", "q.npy", "--count", "50"];
    let efforts = ["--ef", "10,400", "--recall", "0.9", "--codes", "full"];
    let answer = shell.json(&[&args[..], &efforts].concat());
    let found = searches(&shell, &answer);
    assert_eq!((&answer["rows"], &answer["queries"]), (&json!(1_000), &json!(50)));
    assert_eq!((&answer["held_out"], &answer["graph"]), (&json!(false), &json!(true)));
    assert_eq!(answer["codes"], json!(["full"]));
    let [_, (few, low), (many, high), (asked, recall), (exact, all)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((few, many, exact), (&json!({"ef": 10}), &json!({"ef": 400}), &json!("exact")));
    assert!((asked["recall"].as_f64().unwrap() - 0.9).abs() < 1e-6);
    assert!(low < high && *high > 0.99 && *recall > 0.8 && *all == 1.0, "{found:?}");
    // What is usual where nothing is said.
    let answer = shell.json(&["bench", "v.npy", "--graph", "--count", "5", "--metric", "l2"]);
    assert_eq!(searches(&shell, &answer).len(), 11);
}

#[test]
fn bits_are_benched_as_they_are_stored() {
    let shell = Shell::new();
    let mut random = Random::new(5);
    let mut byte = || random.below(256);
    let rows = (0..200).map(|_| json!({"v": [byte(), byte(), byte(), byte()]}).to_string());
    let rows: Vec<String> = rows.collect();
    shell.write("bits.jsonl", rows.join("\n"));
    let answer = shell.json(&["bench", "bits.jsonl", "--metric", "hamming", "--dim", "30"]);
    assert_eq!((&answer["vector_type"], &answer["dimension"]), (&json!("b1"), &json!(30)));
    assert!(searches(&shell, &answer).iter().all(|(_, recall)| *recall == 1.0));
}

#[test]
fn files_that_cannot_be_benched_are_refused() {
    let shell = Shell::new();
    shell.write("v.npy", npy(&[&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]]));
    shell.write("one.npy", npy(&[&[1.0, 2.0]]));
    shell.write("three.npy", npy(&[&[1.0, 2.0, 3.0]]));
    shell.write("nan.npy", npy(&[&[1.0, f32::NAN]]));
    shell.write("half.npy", npy(&[&[0.5, 2.0], &[0.5, 2.0]]));
    shell.write("empty.jsonl", "");
    for (args, code, word) in [
        (&["v.npy", "-k", "0"][..], 2, "-k"),
        (&["v.npy", "--count", "0"], 2, "--count"),
        (&["v.npy", "--count", "3"], 1, "at most 2"),
        (&["one.npy"], 1, "--queries"),
        (&["absent.npy"], 1, "absent.npy"),
        (&["empty.jsonl"], 1, "empty.jsonl"),
        (&["v.npy", "--queries", "three.npy"], 1, "3 dimensions"),
        (&["v.npy", "--queries", "nan.npy"], 1, "no query"),
        (&["v.npy", "--ef", "1,x"], 2, "--ef"),
        (&["v.npy", "--recall", "2"], 1, "recall"),
        (&["half.npy", "--metric", "hamming"], 1, "no row of half.npy can be stored; row 0"),
    ] {
        shell.fails(&[&["bench"], args].concat(), code, word);
    }
    let left = std::fs::read_dir(shell.dir.path()).unwrap().count();
    assert_eq!(left, 6, "temporary databases are removed after failures too");
}
