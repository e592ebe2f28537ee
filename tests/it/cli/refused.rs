//! What is refused, and how: an exit code, a message that says what to do, never a panic.

use std::fs;

use serde_json::json;

use super::{Shell, data, npy};

#[test]
fn names_that_are_not_there_are_answered_with_the_nearest() {
    let shell = Shell::with_docs();
    for (args, word) in [
        (&["search", "db", "dosc", "--values", "1,2"][..], "did you mean \"docs\""),
        (&["search", "nothing", "docs", "--values", "1,2"], "database nothing"),
        (&["search", "db", "docs", "--values", "1,2", "--select", "nmae"], "did you mean \"name\""),
        (&["get", "db", "docs", "a", "--select", "nmae"], "did you mean \"name\""),
        (&["list", "db", "docs", "--select", "nmae"], "did you mean \"name\""),
        (&["export", "db", "docs", "x.jsonl", "--select", "nmae"], "did you mean \"name\""),
        (&["get", "db", "docs", "nobody"], "nobody"),
        (&["search", "db", "docs", "--like", "nobody"], "nobody"),
        (&["delete", "db", "dosc", "a"], "docs"),
        (&["update", "db", "docs", "a", "--set", "{\"nmae\": 1}"], "did you mean \"name\""),
        (&["stats", "db", "dosc"], "docs"),
        (&["verify", "db", "dosc"], "docs"),
        (&["compact", "db", "dosc"], "docs"),
        (&["drop", "db", "dosc", "--yes"], "docs"),
        (&["rename", "db", "dosc", "x"], "docs"),
        (&["export", "db", "dosc", "x.jsonl"], "docs"),
        (&["compact", "nothing", "docs"], "database nothing"),
        (&["backup", "nothing", "x"], "database nothing"),
        (&["restore", "nothing", "x"], "database nothing"),
        (&["list", "nothing"], "database nothing"),
        (&["delete", "nothing", "docs", "a"], "database nothing"),
    ] {
        shell.fails(args, 1, word);
    }
    assert!(!shell.path("nothing").exists());
    assert!(!shell.path("x.jsonl").exists());
}

#[test]
fn vectors_that_cannot_be_compared_are_refused() {
    let shell = Shell::with_docs();
    shell.write("three.npy", npy(&[&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]]));
    shell.write("one.npy", npy(&[&[1.0], &[2.0]]));
    shell.write("nan.npy", npy(&[&[1.0, f32::NAN]]));
    shell.write("ragged.jsonl", "{\"v\":[1,2]}\n{\"v\":[1]}\n");
    let search = |rest: &[&str], word| {
        shell.fails(&[&["search", "db", "docs"][..], rest].concat(), 1, word);
    };
    search(&["--values", "1,2,3"], "3 dimensions");
    search(&["--values", "nan,1"], "NaN");
    search(&["--values", "1e39,1"], "inf");
    search(&["--values", "1,2", "--max-distance", "nan"], "NaN");
    search(&["--vector", "three.npy"], "3 dimensions");
    search(&["--vector", "one.npy"], "1 dimensions");
    search(&["--vector", "nan.npy"], "NaN");
    search(&["--vector", "ragged.jsonl"], "row 1");
    search(&["--vector", "three.npy", "--row", "0"], "3 dimensions");
    search(&["--vector", "ragged.jsonl", "--row", "7"], "no row 7");
    search(&["--vector", "absent.npy"], "absent.npy");
}

#[test]
fn windows_of_columns_that_number_nothing_are_refused() {
    let shell = Shell::with_docs();
    for (document, position, word) in [
        ("name", "position", "\"position\", of the positions of a window"),
        ("nmae", "year", "did you mean \"name\""),
        ("name", "seen", "expected int64, given utf8"),
        ("tags", "year", "tags"),
    ] {
        let window = ["--window", "1", "--document", document, "--position", position];
        let search = ["search", "db", "docs", "--values", "1,2"];
        shell.fails(&[&search[..], &window].concat(), 1, word);
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let shell = Shell::with_docs();
    for (args, word) in [
        (&["search", "db", "docs"][..], "--vector"),
        (&["search", "db", "docs", "--values", "1,x"], "\"x\""),
        (&["search", "db", "docs", "--values", "1,2", "-k", "-1"], "-1"),
        (&["search", "db", "docs", "--values", "1,2", "-k", "99999999999999999999"], "99999"),
        (&["search", "db", "docs", "--values", "1,2", "--like", "a"], "--like"),
        (&["search", "db", "docs", "--like", "a", "--row", "1"], "--row"),
        (&["search", "db", "docs", "--values", "1,2", "--alpha", "0.5"], "--alpha makes several"),
        (&["search", "db", "docs", "--values", "1,2", "--fusion", "rrf"], "--fusion makes several"),
        (
            &["search", "db", "docs", "--sparse", "a=1:2", "--words", "x", "--fusion", "weighted"],
            "--alpha",
        ),
        (&["search", "db", "docs", "--sparse", "a=1:2", "--exact"], "leave --exact out"),
        (&["search", "db", "docs", "--sparse", "a=1:2", "--recall", "0.9"], "leave --recall out"),
        (&["search", "db", "docs", "--values", "1,2", "--recall", "0.9", "--ef", "9"], "--ef"),
        (&["search", "db", "docs", "--values", "1,2", "--window", "1"], "--document"),
        (&["search", "db", "docs", "--values", "1,2", "--document", "name"], "--window"),
        (
            &["search", "db", "docs", "--values", "1,2", "--window", "-1", "--document", "name"],
            "-1",
        ),
        (&["update", "db", "docs", "--set", "{\"year\": 1}"], "--where"),
        (&["update", "db", "docs", "a", "--set", "{}"], "no column"),
        (&["update", "db", "docs", "a", "--set", "year=1"], "JSON"),
        (&["create", "db", "x", "--dim", "2"], "--metric"),
        (&["create", "db", "x", "--dim", "2", "--metric", "l1"], "cosine"),
        (&["create", "db", "x", "--dim", "2", "--metric", "l2", "--column", "a:int"], "int64"),
        (&["get", "db", "docs"], "ID"),
        (&["drop", "db", "docs"], "--yes"),
        (&["export", "db", "docs", "x.csv"], ".parquet"),
        (&["serach", "db"], "search"),
    ] {
        shell.fails(args, 2, word);
    }
    assert_eq!(shell.json(&["list", "db"])["collections"].as_array().unwrap().len(), 1);
}

#[test]
fn schemas_that_cannot_be_are_refused() {
    let shell = Shell::with_docs();
    let long = "x".repeat(10_000);
    let create = |name: &str, rest: &[&str], word: &str| {
        let args = ["create", "db", name, "--metric", "l2"];
        shell.fails(&[&args[..], rest].concat(), 1, word);
    };
    for name in ["a/b", "../x", "..", ".hidden", "", "a b", "é", &long] {
        create(name, &["--dim", "2"], "collection name");
        shell.fails(&["import", "db", name, &data("packages.parquet")], 1, "collection name");
        shell.fails(&["rename", "db", "docs", name], 1, "collection name");
        shell.fails(&["drop", "db", name, "--yes"], 1, "collection name");
        shell.fails(&["search", "db", name, "--values", "1"], 1, "collection name");
    }
    create("x", &["--dim", "0"], "dimension 0");
    create("x", &["--dim", "65537"], "65537");
    create("x", &["--dim", "18446744073709551615"], "dimension");
    create("docs", &["--dim", "2"], "exists already");
    create("x", &["--dim", "2", "--column", "id:int64"], "reserved");
    create("x", &["--dim", "2", "--column", "a:int64", "--text", "a"], "twice");
    create("x", &["--dim", "2", "--column", ":int64"], "column name");
    create("x", &["--dim", "2", "--text", &long], "column name");
    assert!(!shell.path("x").exists());
}

#[test]
fn columns_that_have_no_words_are_refused() {
    let shell = Shell::with_docs();
    let import = |name: &str, rest: &[&str], word: &str| {
        let args = ["import", "db", name, "docs.jsonl"];
        shell.fails(&[&args[..], rest].concat(), 1, word);
    };
    for name in ["docs", "other"] {
        import(name, &["--text", "year"], "--text year: the column is of type int64");
        import(
            name,
            &["--text", "nope"],
            "--text nope: docs.jsonl has no such column; it has name",
        );
    }
    assert_eq!(shell.json(&["list", "db"])["collections"].as_array().unwrap().len(), 1);
    import("fresh", &["--text", "nope"], "no such column");
    shell.fails(&["import", "none", "x", "docs.jsonl", "--text", "year"], 1, "of type int64");
    assert!(!shell.path("none").exists());
    shell.fails(&["import", "db", "docs", "docs.jsonl", "--language", "german"], 2, "--text");
    shell.fails(&["text-index", "db", "docs", "nope"], 1, "nope");
    shell.fails(&["text-index", "db", "docs", "year"], 1, "year");
    shell.fails(&["text-index", "db", "docs", "name", "--language", "klingon"], 2, "klingon");
    shell.ok(&["text-index", "db", "docs", "name"]);
    let german = ["--text", "name", "--language", "german"];
    import("docs", &german, "; `nearfield text-index` has it indexed anew");
}

#[test]
fn ids_of_the_wrong_kind_are_refused() {
    let shell = Shell::new();
    shell.write("v.npy", npy(&[&[0.0, 1.0]]));
    shell.ok(&["import", "db", "numbers", "v.npy"]);
    for id in ["abc", "-1", "1.5", "18446744073709551616", ""] {
        for command in ["get", "delete"] {
            shell.fails(&[command, "db", "numbers", "--", id], 1, "whole number");
        }
        shell.fails(&["search", "db", "numbers", "--like", id], 1, "whole number");
        shell.fails(&["list", "db", "numbers", "--after", id], 1, "whole number");
    }
    shell.write("texts.jsonl", "{\"id\":\"x\",\"vector\":[1,2]}\n");
    shell.fails(&["import", "db", "numbers", "texts.jsonl"], 1, "expected integers, given strings");
    assert_eq!(shell.json(&["list", "db"])["collections"][0]["rows"], 1);
}

#[test]
fn files_that_cannot_be_imported_leave_nothing_behind() {
    let shell = Shell::new();
    let parquet = fs::read(data("packages.parquet")).unwrap();
    let array = npy(&[&[1.0, 2.0], &[3.0, 4.0]]);
    shell.write("cut.parquet", &parquet[..parquet.len() / 2]);
    shell.write("head.parquet", &parquet[..20]);
    shell.write("cut.npy", &array[..array.len() - 3]);
    shell.write("empty.jsonl", "");
    shell.write("empty.parquet", "");
    shell.write("image.png", b"\x89PNG\r\n\x1a\n0000");
    shell.write("noise.parquet", [0x5a; 4096]);
    shell.write("no-vector.jsonl", "{\"id\":1,\"a\":2}\n");
    shell.write("nan.npy", npy(&[&[1.0, 2.0], &[3.0, f32::NAN]]));
    shell.write("twice.jsonl", "{\"id\":1,\"v\":[1,2],\"w\":[1,2]}\n");
    for (file, word) in [
        ("cut.parquet", "cut.parquet"),
        ("head.parquet", "head.parquet"),
        ("cut.npy", "cut.npy"),
        ("empty.jsonl", "empty.jsonl"),
        ("empty.parquet", "empty.parquet"),
        ("image.png", "format"),
        ("noise.parquet", "noise.parquet"),
        ("no-vector.jsonl", "vector"),
        ("nan.npy", "row 1"),
        ("twice.jsonl", "2 columns"),
        ("absent.npy", "absent.npy"),
        (".", "."),
    ] {
        shell.fails(&["import", "db", "docs", file], 1, word);
        assert!(!shell.path("db").exists(), "{file}");
    }
    let name = "a".repeat(200);
    shell.write("good.npy", npy(&[&[1.0, 2.0]]));
    shell.fails(&["import", "db", &name, "good.npy"], 1, "collection name");
    assert!(!shell.path("db").exists());
    // What was there before stays.
    shell.ok(&["create", "db", "other", "--dim", "2", "--metric", "l2"]);
    shell.fails(&["import", "db", "docs", "nan.npy"], 1, "row 1");
    let left = shell.json(&["list", "db"]);
    assert_eq!(left["collections"].as_array().unwrap().len(), 1);
    // Nor does a collection keep columns that nothing is in.
    shell.write("late.jsonl", "{\"id\":1,\"v\":[1,2],\"new\":\"a\"}\n{\"id\":2,\"v\":[1]}\n");
    let columns = || shell.json(&["stats", "db", "other"])["collections"][0]["columns"].clone();
    let before = columns();
    assert!(before.is_array(), "{before}");
    shell.fails(&["import", "db", "other", "late.jsonl"], 1, "row 1");
    assert_eq!(columns(), before);
    let skipped = ["import", "db", "other", "late.jsonl", "--on-bad", "skip"];
    assert_eq!(shell.json(&skipped)["rows"], 1);
    assert_ne!(columns(), before);
}

#[test]
fn columns_that_are_not_in_the_file_are_refused() {
    let shell = Shell::new();
    let import = |rest: &[&str], word| {
        let file = data("packages.parquet");
        shell.fails(&[&["import", "db", "docs", &file][..], rest].concat(), 1, word);
    };
    import(&["--id", "nmae"], "did you mean \"name\"");
    import(&["--vector", "embeding"], "did you mean \"embedding\"");
    import(&["--columns", "name,yaer"], "did you mean \"year\"");
    import(&["--vector", "name"], "list of numbers");
    import(&["--id", "embedding"], "id");
    import(&["--attributes", "absent.jsonl"], "attributes");
    assert!(!shell.path("db").exists());
}

#[test]
fn a_file_of_another_shape_is_refused_and_the_collection_stays() {
    let shell = Shell::with_docs();
    shell.write("three.npy", npy(&[&[1.0, 2.0, 3.0]]));
    shell.write("two.jsonl", "{\"id\":\"q\",\"vector\":[1,2],\"year\":\"late\"}\n");
    shell.fails(&["import", "db", "docs", "three.npy"], 1, "dimension");
    shell.write("ok.jsonl", "{\"id\":\"q\",\"vector\":[1,2]}\n");
    shell.fails(&["import", "db", "docs", "ok.jsonl", "--metric", "cosine"], 1, "metric");
    shell.fails(&["import", "db", "docs", "ok.jsonl", "--type", "u8"], 1, "vector type");
    shell.fails(&["import", "db", "docs", "two.jsonl"], 1, "year");
    let all = shell.json(&["list", "db", "docs"]);
    assert_eq!(all["rows"].as_array().unwrap().len(), 4);
}

#[test]
fn writers_are_refused_while_another_process_holds_the_database() {
    let shell = Shell::with_docs();
    let held = nearfield::Database::open(shell.path("db")).unwrap();
    for args in [
        &["import", "db", "docs", "docs.jsonl"][..],
        &["create", "db", "x", "--dim", "2", "--metric", "l2"],
        &["delete", "db", "docs", "a"],
        &["compact", "db", "docs"],
        &["drop", "db", "docs", "--yes"],
        &["rename", "db", "docs", "x"],
    ] {
        shell.fails(args, 1, &format!("pid {}", std::process::id()));
    }
    held.close().unwrap();
    drop(held);
    shell.ok(&["delete", "db", "docs", "a"]);
}

#[test]
fn damage_is_found_by_verify_and_told_with_exit_code_3() {
    let shell = Shell::new();
    shell.ok(&["import", "db", "packages", &data("packages.parquet")]);
    let doctor = shell.json(&["doctor", "db"]);
    assert_eq!(
        (&doctor["problems"], &doctor["parts"][2]["name"]),
        (&json!([]), &json!("collection packages"))
    );
    let files = fs::read_dir(shell.path("db/packages")).unwrap();
    let largest =
        files.map(|entry| entry.unwrap()).max_by_key(|entry| entry.metadata().unwrap().len());
    let path = largest.unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = shell.run(&["verify", "db", "--json"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["ok"], false);
    assert_eq!(found["collections"][0]["problems"].as_array().unwrap().len(), 1);
    for args in [&["verify", "db"][..], &["doctor", "db", "--verify"]] {
        let told = shell.run(args);
        assert!(told.code == Some(3) && told.stdout.contains("corrupt"), "{told:?}");
    }
}

#[test]
fn repair_saves_what_is_whole_and_tells_what_is_not_with_exit_code_3() {
    let shell = Shell::new();
    shell.ok(&["import", "db", "packages", &data("packages.parquet")]);
    let rows = shell.json(&["count", "db", "packages"])["rows"].as_u64().unwrap();
    let whole = shell.json(&["repair", "db", "copy"]);
    assert_eq!(whole["collections"][0]["rows"], rows);
    assert_eq!((&whole["collections"][0]["losses"], &whole["lost"]), (&json!([]), &json!([])));
    let files = fs::read_dir(shell.path("db/packages")).unwrap();
    let mut paths = files.map(|entry| entry.unwrap().path());
    let path = paths.find(|path| path.extension().is_some_and(|end| end == "nfs")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = shell.run(&["repair", "db", "saved", "--json"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let loss = &found["collections"][0]["losses"][0];
    let lost = loss["rows"].as_u64().unwrap();
    assert!(lost > 0 && loss["ids"].as_array().unwrap().len() as u64 == lost, "{ran:?}");
    assert_eq!(loss["section"], "RAWV/0");
    assert_eq!(shell.json(&["count", "saved", "packages"])["rows"], rows - lost);
    shell.ok(&["verify", "saved"]);
    let told = shell.run(&["repair", "db", "again"]);
    let lines = ["saved", "RAWV", "lost", "ids: "];
    assert!(lines.iter().all(|word| told.stdout.contains(word)), "{told:?}");
    shell.fails(&["repair", "db", "saved"], 1, "exists already");
    shell.fails(&["repair", "nowhere", "x"], 1, "not found");
}

#[test]
fn directories_that_are_no_databases_are_left_alone() {
    let shell = Shell::with_docs();
    fs::create_dir(shell.path("other")).unwrap();
    shell.write("other/file", "mine");
    fs::create_dir(shell.path("bare")).unwrap();
    for command in ["list", "stats", "verify"] {
        shell.fails(&[command, "other"], 1, "not a nearfield database");
        shell.fails(&[command, "bare"], 1, "database bare not found");
        shell.fails(&[command, "docs.jsonl"], 1, "docs.jsonl");
    }
    shell.fails(&["create", "other", "x", "--dim", "2", "--metric", "l2"], 1, "not a nearfield");
    shell.fails(&["import", "other", "x", "docs.jsonl"], 1, "not a nearfield");
    shell.fails(&["delete", "bare", "x", "1"], 1, "database bare not found");
    shell.fails(&["demo", "--dir", "db"], 1, "exists already");
    shell.fails(&["demo", "--data", "absent"], 1, "absent");
    // What the Python package does is said where it is not.
    shell.fails(&["migrate", "chroma", "old", "new", "--name", "docs"], 1, "pip install nearfield");
    shell.fails(&["migrate", "chrome"], 2, "lancedb");
    shell.fails(&["backup", "db", "other"], 1, "exists already");
    shell.fails(&["restore", "db", "docs.jsonl"], 1, "exists already");
    shell.fails(&["export", "db", "docs", "nowhere/x.jsonl"], 1, "nowhere");
    assert_eq!(fs::read_to_string(shell.path("other/file")).unwrap(), "mine");
    assert_eq!(fs::read_dir(shell.path("bare")).unwrap().count(), 0);
}

#[test]
fn bits_that_do_not_fit_are_refused() {
    let shell = Shell::new();
    shell.write("two.jsonl", "{\"v\":[255,255]}\n");
    shell.write("floats.npy", npy(&[&[0.5, 0.25]]));
    let import = |rest: &[&str], word| {
        shell.fails(&[&["import", "db", "bits"][..], rest].concat(), 1, word);
    };
    import(&["two.jsonl", "--type", "b1", "--dim", "17"], "another dimension");
    import(&["two.jsonl", "--type", "b1", "--dim", "12"], "beyond the dimension");
    import(&["two.jsonl", "--type", "b1", "--metric", "cosine"], "hamming or jaccard");
    import(&["two.jsonl", "--type", "u8", "--metric", "hamming"], "hamming or jaccard");
    import(&["two.jsonl", "--type", "u8", "--dim", "16"], "another dimension");
    import(&["floats.npy", "--metric", "hamming"], "eight bits");
    shell.ok(&["create", "db", "bits", "--dim", "16", "--metric", "hamming"]);
    shell.write("three.jsonl", "{\"v\":[1,2,3]}\n");
    import(&["three.jsonl"], "bytes of a vector of bits");
    let search = |rest: &[&str], word| {
        shell.fails(&[&["search", "db", "bits"][..], rest].concat(), 1, word);
    };
    search(&["--values", "1"], "2 bytes");
    search(&["--values", "1,256"], "eight bits");
    search(&["--vector", "three.jsonl"], "24 dimensions");
}

#[test]
fn codes_that_there_are_none_of_are_refused_with_those_that_there_are() {
    let shell = Shell::with_docs();
    for command in [&["import", "db", "more", "docs.jsonl"][..], &["compact", "db", "docs"]] {
        for (codes, word) in [
            ("haf", "did you mean \"half\""),
            ("product", "product:64"),
            ("product:7", "8 to 1024"),
            ("product:1025", "8 to 1024"),
            ("product:-8", "8 to 1024"),
            ("", "expected \"auto\""),
        ] {
            shell.fails(&[command, &["--codes", codes]].concat(), 2, word);
        }
    }
}
