//! What works.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use super::{DOCS, Ran, Shell, data, fvecs, hit_ids, npy, npy_header};

#[test]
fn json_lines_are_imported_searched_read_and_deleted() {
    let shell = Shell::new();
    shell.write("docs.jsonl", DOCS);
    let imported = shell.json(&["import", "db", "docs", "docs.jsonl", "--metric", "l2"]);
    assert_eq!(imported["rows"], 4);
    assert_eq!(imported["created"], true);
    assert_eq!((&imported["metric"], &imported["id_type"]), (&json!("l2"), &json!("utf8")));

    let found = shell.json(&["search", "db", "docs", "--values", "0.9,0", "-k", "2"]);
    assert_eq!(hit_ids(&found["queries"][0]), ["b", "a"]);
    let select = ["--select", "name,year"];
    let args = ["search", "db", "docs", "--like", "a", "-k", "2"];
    let found = shell.json(&[&args[..], &select].concat());
    assert_eq!(found["queries"][0]["query"], "a");
    assert_eq!(
        found["queries"][0]["hits"],
        json!([
            {"id": "b", "distance": 1.0, "score": -1.0, "attributes": {"name": "one", "year": 1991}},
            {"id": "c", "distance": 4.0, "score": -4.0, "attributes": {"name": "two", "year": null}},
        ])
    );

    let read = shell.json(&["get", "db", "docs", "d", "nobody", "b", "--vectors"]);
    assert_eq!(read["missing"], json!(["nobody"]));
    assert_eq!(read["rows"][0]["attributes"]["seen"], "2024-02-29T12:00:00Z");
    assert_eq!(read["rows"][1]["attributes"]["tags"], json!(["x", "y"]));
    assert_eq!(read["rows"][1]["vector"], json!([1.0, 0.0]));

    let set = [r#"{"year":null,"tags":["z"],"seen":"2024-03-01"}"#];
    let update = ["update", "db", "docs", "--where", "year = 1991", "--set"];
    assert_eq!(shell.json(&[&update[..], &set].concat())["updated"], 1);
    let byid = ["update", "db", "docs", "b", "nobody", "--set", r#"{"name":"uno"}"#];
    assert_eq!(shell.json(&byid)["updated"], 1);
    let read = shell.json(&["get", "db", "docs", "b"]);
    let found = &read["rows"][0]["attributes"];
    assert_eq!((&found["name"], &found["year"]), (&json!("uno"), &json!(null)));
    assert_eq!((&found["tags"], &found["seen"]), (&json!(["z"]), &json!("2024-03-01")));
    let deleted = shell.json(&["delete", "db", "docs", "b", "nobody"]);
    assert_eq!((&deleted["deleted"], &deleted["rows"]), (&json!(1), &json!(3)));
    let found = shell.json(&["search", "db", "docs", "--values", "0.9,0", "--exact"]);
    assert_eq!(hit_ids(&found["queries"][0]), ["a", "c", "d"]);
}

#[test]
fn an_index_file_of_another_library_is_imported_by_its_content_or_as_the_format_named() {
    let shell = Shell::new();
    let file = |name: &str| format!("{}/tests/fixtures/peers/{name}", env!("CARGO_MANIFEST_DIR"));
    let hnswlib = file("hnswlib-l2.bin");
    shell.fails(&["import", "db", "docs", &hnswlib], 1, "give the metric of its space");
    assert!(!shell.path("db").exists());
    let imported = shell.json(&["import", "db", "docs", &hnswlib, "--metric", "l2"]);
    assert_eq!((&imported["rows"], &imported["created"]), (&json!(36), &json!(true)));
    let named = ["import", "db", "more", &file("usearch-bf16.usearch"), "--format", "usearch"];
    let imported = shell.json(&named);
    assert_eq!((&imported["metric"], &imported["vector_type"]), (&json!("dot"), &json!("bf16")));
    shell.fails(&["import", "db", "x", &hnswlib, "--format", "faiss"], 1, "faiss writes");
    shell.fails(&["import", "db", "x", &file("refused-codes.index")], 1, "scalar codes");
    // Its vectors may be queries too.
    let queries = file("faiss-flat-l2.index");
    let found = shell.json(&["search", "db", "docs", "--vector", &queries, "-k", "1", "--exact"]);
    assert_eq!(hit_ids(&found["queries"][1]), [1007]);
}

#[test]
fn hits_are_picked_by_page_distance_and_group_and_found_by_sparse_vectors() {
    let shell = Shell::new();
    let docs = [
        r#"{"id":"a","vector":[0,0],"doc":"x","words":{"3":0.5}}"#,
        r#"{"id":"b","vector":[1,0],"doc":"x","words":{"7":1,"3":2}}"#,
        r#"{"id":"c","vector":[2,0],"doc":"y","words":null}"#,
    ];
    shell.write("docs.jsonl", docs.join("\n"));
    shell.json(&["import", "db", "docs", "docs.jsonl", "--metric", "l2"]);
    let found = |args: &[&str]| -> Vec<String> {
        let base = ["search", "db", "docs", "--values", "0,0"];
        let found = shell.json(&[&base, args].concat());
        hit_ids(&found["queries"][0]).iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(&["--offset", "1", "-k", "1"]), ["b"]);
    assert_eq!(found(&["--min-distance", "1"]), ["b", "c"]);
    assert_eq!(found(&["--group-by", "doc"]), ["a", "c"]);
    assert_eq!(found(&["--group-by", "doc", "-k", "1", "--per-group", "2"]), ["a", "b"]);
    assert_eq!(found(&["--mmr", "0", "-k", "2"]), ["a", "c"]);
    for (file, copy) in [("out.jsonl", "lines"), ("out.parquet", "table")] {
        shell.json(&["export", "db", "docs", file]);
        shell.json(&["import", "db", copy, file, "--metric", "l2"]);
        // Beside a vector and a file of vectors both count; here the sparse one alone.
        shell.write("asked.jsonl", r#"{"vector":[2,0]}"#);
        for vector in [["--values", "2,0"], ["--vector", "asked.jsonl"], ["--like", "c"]] {
            let both = ["search", "db", copy, "--sparse", "words=3:1,7:2", "-k", "1"];
            let both = [&both[..], &vector, &["--fusion", "weighted", "--alpha", "0"]].concat();
            assert_eq!(hit_ids(&shell.json(&both)["queries"][0]), ["b"], "{vector:?}");
        }
        let sparse = ["search", "db", copy, "--sparse", "words=3:1,7:2", "--explain"];
        let found = shell.json(&sparse);
        assert_eq!(hit_ids(&found["queries"][0]), ["b", "a"], "{file}");
        assert_eq!(found["queries"][0]["hits"][0]["score"], 4.0);
        assert_eq!(found["explanation"]["parts"][0]["plan"], "postings");
        let read = shell.json(&["get", "db", copy, "b"]);
        assert_eq!(read["rows"][0]["attributes"]["words"], json!({"3": 2.0, "7": 1.0}));
    }
}

#[test]
fn hits_are_shown_with_what_stands_around_them() {
    let shell = Shell::new();
    let rows = [("x", 1), ("x", 2), ("x", 4), ("y", 2), ("x", 3)];
    let line = |(at, (doc, position)): (usize, &(&str, i64))| {
        let text = format!("{doc}{position}");
        let row = json!({"id": at, "vector": [at], "doc": doc, "position": position, "text": text});
        format!("{row}\n")
    };
    shell.write("docs.jsonl", rows.iter().enumerate().map(line).collect::<String>());
    shell.ok(&["import", "db", "docs", "docs.jsonl", "--metric", "l2"]);
    let search = ["search", "db", "docs", "--values", "1.9", "-k", "1", "--select", "text"];
    let around = |args: &[&str]| -> Vec<String> {
        let found = shell.json(&[&search, args].concat());
        let window = found["queries"][0]["hits"][0]["window"].as_array().unwrap();
        let text = |row: &serde_json::Value| row["attributes"]["text"].as_str().unwrap().to_owned();
        window.iter().map(text).collect()
    };
    assert_eq!(around(&["--window", "1", "--document", "doc"]), ["x3", "x4"]);
    assert_eq!(around(&["--window", "2", "--group-by", "doc"]), ["x2", "x3", "x4"]);
    assert_eq!(around(&["--window", "0", "--document", "doc"]), ["x4"]);
    let many = ["--window", "18446744073709551615", "--document", "doc", "--where", "id = 2"];
    assert_eq!(around(&many), ["x1", "x2", "x3", "x4"]);
    let by_id = ["--window", "1", "--document", "doc", "--position", "id"];
    shell.fails(&[&search[..], &by_id].concat(), 1, "\"id\", of the positions of a window");
    let plain = shell.json(&search);
    assert!(plain["queries"][0]["hits"][0].get("window").is_none());
    let table = shell.ok(&[&search[..], &["--window", "1", "--document", "doc"]].concat()).stdout;
    let (_, around) = table.split_once("around 2\n").unwrap();
    assert!(around.contains("x3") && around.contains("x4") && !around.contains("x2"), "{table}");
}

#[test]
fn an_npy_file_is_numbered_and_takes_attributes_from_a_second_file() {
    let shell = Shell::new();
    shell.write("v.npy", npy(&[&[0.0, 1.0], &[1.0, 0.0], &[1.0, 1.0]]));
    shell.write("meta.jsonl", "{\"color\":\"red\"}\n{\"color\":\"blue\"}\n{\"color\":null}\n");
    let imported = shell.json(&["import", "db", "v", "v.npy", "--attributes", "meta.jsonl"]);
    assert_eq!((&imported["rows"], &imported["metric"]), (&json!(3), &json!("cosine")));
    let read = shell.json(&["get", "db", "v", "1"]);
    assert_eq!(read["rows"], json!([{"id": 1, "attributes": {"color": "blue"}}]));
}

#[test]
fn every_vector_of_a_file_is_answered_and_one_row_alone_if_asked() {
    let shell = Shell::with_docs();
    let queries: [&[f32]; 3] = [&[0.1, 0.0], &[1.1, 0.0], &[2.9, 0.0]];
    shell.write("q.npy", npy(&queries));
    shell.write("q.fvecs", fvecs(&queries));
    shell.write("q.jsonl", "{\"v\":[0.1,0]}\n{\"v\":[1.1,0]}\n{\"v\":[2.9,0]}\n");
    for file in ["q.npy", "q.fvecs", "q.jsonl"] {
        let found = shell.json(&["search", "db", "docs", "--vector", file, "-k", "1"]);
        let found: Vec<_> = found["queries"].as_array().unwrap().iter().map(hit_ids).collect();
        assert_eq!(found, [["a"], ["b"], ["d"]], "{file}");
        let args = ["search", "db", "docs", "--vector", file, "--row", "2", "-k", "1"];
        let found = shell.json(&args);
        assert_eq!(found["queries"].as_array().unwrap().len(), 1);
        assert_eq!(
            (hit_ids(&found["queries"][0]), &found["queries"][0]["query"]),
            (vec![&json!("d")], &json!(2))
        );
    }
}

#[test]
fn no_hits_all_hits_and_near_hits_are_answered() {
    let shell = Shell::with_docs();
    let hits = |extra: &[&str]| {
        let args = ["search", "db", "docs", "--values", "0,0"];
        let found = shell.json(&[&args[..], extra].concat());
        found["queries"][0]["hits"].as_array().unwrap().len()
    };
    assert_eq!(hits(&["-k", "0"]), 0);
    assert_eq!(hits(&["-k", "18446744073709551615"]), 4);
    assert_eq!(hits(&["-k", "10000000000", "--ef", "18446744073709551615"]), 4);
    assert_eq!(hits(&["--recall", "0.9"]), 4);
    let args = ["search", "db", "docs", "--values", "0,0", "--recall", "0.9", "--explain"];
    let recall = shell.json(&args)["explanation"]["recall"].as_f64().unwrap();
    assert!((recall - 0.9).abs() < 1e-6, "{recall}");
    assert_eq!(hits(&["--max-distance", "1"]), 2);
    assert_eq!(hits(&["--max-distance", "-1"]), 0);
    let like = shell.json(&["search", "db", "docs", "--like", "a", "-k", "18446744073709551615"]);
    assert_eq!(hit_ids(&like["queries"][0]), ["b", "c", "d"]);
}

#[test]
fn the_demo_finds_what_is_nearest() {
    let shell = Shell::new();
    let demo = shell.json(&["demo"]);
    assert_eq!((&demo["rows"], &demo["queries"]), (&json!(4_000), &json!(200)));
    assert_eq!(demo["exact"]["recall_at_10"], 1.0);
    for way in ["default", "graph"] {
        assert!(demo[way]["recall_at_10"].as_f64().unwrap() >= 0.95, "{demo}");
    }
    let left = std::fs::read_dir(shell.dir.path()).unwrap().count();
    assert_eq!(left, 0, "the demo leaves temporary files behind");
    let files = data("");
    assert_eq!(shell.json(&["demo", "--data", &files])["rows"], 4_000);
    let told = shell.ok(&["demo", "--dir", "kept"]).stdout;
    assert!(told.contains("recall@10") && told.contains("nearest to"), "{told}");
    assert_eq!(shell.json(&["stats", "kept"])["collections"][0]["rows"], 4_000);
}

#[test]
fn an_export_is_imported_as_the_collection_was_unless_another_is_asked_for() {
    let shell = Shell::new();
    shell.ok(&["create", "db", "brain", "--dim", "2", "--metric", "l2", "--type", "bf16"]);
    shell.write("rows.jsonl", "{\"id\": 1, \"vector\": [0.5, 2.0]}\n");
    shell.ok(&["import", "db", "brain", "rows.jsonl"]);
    for file in ["out.parquet", "out.arrow", "out.arrows"] {
        shell.ok(&["export", "db", "brain", file]);
        for (said, metric, vector_type) in [
            (&[][..], "l2", "bf16"),
            (&["--metric", "dot"], "dot", "bf16"),
            (&["--type", "f16"], "l2", "f16"),
        ] {
            let imported = shell.json(&[&["import", "db", "again", file], said].concat());
            let made = (&imported["metric"], &imported["vector_type"]);
            assert_eq!(made, (&json!(metric), &json!(vector_type)), "{file} {said:?}");
            shell.ok(&["drop", "db", "again", "--yes"]);
        }
    }
}

#[test]
fn what_is_kept_of_vectors_is_said_at_first_and_shown() {
    let shell = Shell::new();
    let created =
        shell.json(&["create", "db", "few", "--dim", "2", "--metric", "l2", "--raw", "f16"]);
    assert_eq!((&created["vector_type"], &created["raw"]), (&json!("f32"), &json!("f16")));
    let import = ["import", "db", "packages", &data("packages.parquet")];
    let imported = shell.json(&[&import[..], &["--raw", "none"]].concat());
    assert_eq!((&imported["vector_type"], &imported["raw"]), (&json!("f32"), &json!("none")));
    let search = ["search", "db", "packages", "--like", "17", "-k", "3"];
    let told = shell.ok(&[&search[..], &["--explain"]].concat()).stdout;
    assert!(told.contains("distances in segments are estimates"), "{told}");
    assert!(shell.ok(&["stats", "db", "packages"]).stdout.contains("f32 (raw none), cosine"));
    shell.ok(&[&import[..], &["--raw", "none"]].concat());
    shell.fails(&[&import[..], &["--raw", "f16"]].concat(), 1, "expected none, given f16");
}

#[test]
fn an_export_imports_as_the_same_rows() {
    let shell = Shell::new();
    shell.ok(&["import", "db", "packages", &data("packages.parquet")]);
    let list = ["--limit", "5000"];
    let rows = |name| shell.json(&[&["list", "db", name][..], &list].concat())["rows"].clone();
    let all = rows("packages");
    assert_eq!(all.as_array().unwrap().len(), 4_000);
    for file in ["out.parquet", "out.arrow", "out.jsonl"] {
        shell.ok(&["export", "db", "packages", file]);
        let imported = shell.json(&["import", "db", "again", file]);
        assert_eq!(imported["rows"], 4_000, "{file}");
        assert!(rows("again") == all, "{file} has other attributes");
        let vector = |name| shell.json(&["get", "db", name, "17", "--vectors"])["rows"].clone();
        assert_eq!(vector("again"), vector("packages"), "{file}");
        shell.ok(&["drop", "db", "again", "--yes"]);
    }
    shell.ok(&["export", "db", "packages", "some.jsonl", "--select", "year,name"]);
    let line = std::fs::read_to_string(shell.path("some.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let names: Vec<_> = line.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "name", "vector", "year"]);
}

#[test]
fn rows_are_listed_in_pages_in_order_of_id() {
    let shell = Shell::with_docs();
    let page = shell.json(&["list", "db", "docs", "--limit", "3", "--select", "name"]);
    assert_eq!(page["next_after"], "c");
    assert_eq!(page["rows"][2], json!({"id": "c", "attributes": {"name": "two"}}));
    let page = shell.json(&["list", "db", "docs", "--limit", "3", "--after", "c", "--select="]);
    assert_eq!(page, json!({"rows": [{"id": "d", "attributes": {}}], "next_after": null}));
    let all = shell.json(&["list", "db"]);
    assert_eq!(
        (&all["collections"][0]["name"], &all["collections"][0]["rows"]),
        (&json!("docs"), &json!(4))
    );
}

#[test]
fn a_second_import_replaces_rows_and_adds_columns() {
    let shell = Shell::with_docs();
    shell.write(
        "more.jsonl",
        "{\"id\":\"a\",\"vector\":[9,9],\"extra\":1.5}\n{\"id\":\"z\",\"vector\":[8,8]}\n",
    );
    let imported = shell.json(&["import", "db", "docs", "more.jsonl"]);
    assert_eq!((&imported["rows"], &imported["replaced"]), (&json!(2), &json!(1)));
    assert_eq!(imported["created"], false);
    let read = shell.json(&["get", "db", "docs", "a", "--select", "extra,name"]);
    assert_eq!(read["rows"][0]["attributes"], json!({"extra": 1.5, "name": null}));
    assert_eq!(shell.json(&["stats", "db", "docs"])["collections"][0]["rows"], 5);
}

#[test]
fn bad_rows_are_left_out_and_listed_if_asked() {
    let shell = Shell::new();
    let rows =
        "{\"id\":1,\"vector\":[1,0]}\n{\"id\":2,\"vector\":[1]}\n{\"id\":3,\"vector\":[0,1]}\nno\n";
    shell.write("some.jsonl", rows);
    let args = ["import", "db", "docs", "some.jsonl", "--on-bad"];
    let imported = shell.json(&[&args[..], &["skip"]].concat());
    assert_eq!((&imported["rows"], &imported["rejected_rows"]), (&json!(2), &json!(2)));
    assert_eq!(
        (&imported["rejected"][0]["row"], &imported["rejected"][1]["row"]),
        (&json!(1), &json!(3))
    );
    let told = shell.ok(&[&args[..], &["skip"]].concat()).stdout;
    assert!(told.contains("left out 2 rows"), "{told}");
}

#[test]
fn a_database_is_created_compacted_verified_copied_and_its_collections_renamed_and_dropped() {
    let shell = Shell::new();
    let created = shell.json(&[
        "create",
        "db",
        "docs",
        "--dim",
        "2",
        "--metric",
        "l2",
        "--type",
        "f16",
        "--ids",
        "u64",
        "--column",
        "year:int64",
        "--text",
        "body",
    ]);
    assert_eq!((&created["vector_type"], &created["id_type"]), (&json!("f16"), &json!("u64")));
    assert_eq!(created["columns"][1], json!({"name": "body", "data_type": "utf8", "text": true}));
    shell.write("v.npy", npy(&[&[0.0, 1.0], &[1.0, 0.0]]));
    shell.ok(&["import", "db", "docs", "v.npy"]);
    assert_eq!(shell.json(&["compact", "db", "docs"])["rows"], 2);
    let verified = shell.json(&["verify", "db"]);
    assert_eq!((&verified["ok"], &verified["collections"][0]["rows"]), (&json!(true), &json!(2)));
    shell.ok(&["backup", "db", "copy"]);
    shell.ok(&["rename", "db", "docs", "texts"]);
    shell.ok(&["drop", "db", "texts", "--yes"]);
    assert_eq!(shell.json(&["list", "db"])["collections"], json!([]));
    shell.ok(&["restore", "copy", "again"]);
    assert_eq!(
        shell.json(&["get", "again", "docs", "0", "--vectors"])["rows"][0]["vector"],
        json!([0.0, 1.0])
    );
}

#[test]
fn forgotten_rows_are_in_no_file() {
    let shell = Shell::new();
    let secret = "a secret of somebody";
    let docs = DOCS.replace("\"one\"", &format!("{secret:?}"));
    shell.write("docs.jsonl", &docs);
    shell.ok(&["import", "db", "docs", "docs.jsonl", "--metric", "l2"]);
    let holding = || {
        let files = std::fs::read_dir(shell.path("db/docs")).unwrap();
        let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file.unwrap().path());
        let held = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|at| at == secret.as_bytes());
        files.map(|file| read(file).unwrap()).filter(held).count()
    };
    assert_eq!(holding(), 1);
    shell.ok(&["delete", "db", "docs", "b"]);
    assert_eq!(holding(), 1, "it is hidden only");
    let forgotten = shell.json(&["forget", "db", "docs", "b", "c", "nobody"]);
    assert_eq!((&forgotten["forgotten"], &forgotten["rows"]), (&json!(1), &json!(2)));
    assert_eq!(holding(), 0);
    assert_eq!(shell.json(&["verify", "db"])["ok"], true);
    shell.fails(&["forget", "db", "docs"], 2, "required");
}

#[test]
fn a_packed_database_is_read_by_every_command_and_unpacked_to_be_written_to() {
    let shell = Shell::with_docs();
    let reads: [&[&str]; 6] = [
        &["search", "db", "docs", "--values", "0.9,0", "--select", "name,year"],
        &["get", "db", "docs", "d", "nobody", "--vectors"],
        &["list", "db", "docs"],
        &["count", "db", "docs", "--where", "year > 1990"],
        &["verify", "db"],
        &["list", "db"],
    ];
    let packed = shell.json(&["pack", "db", "file"]);
    assert_eq!((&packed["from"], &packed["to"]), (&json!("db"), &json!("file")));
    let inside = [&[0; 4096][..], &std::fs::read(shell.path("file")).unwrap()].concat();
    shell.write("inside", inside);
    shell.ok(&["unpack", "file", "first"]);
    shell.ok(&["unpack", "inside", "second", "--offset", "4096"]);
    for read in reads {
        let mut right = shell.json(read);
        for other in ["file", "first", "second"] {
            let args: Vec<&str> =
                read.iter().map(|arg| if *arg == "db" { other } else { arg }).collect();
            let mut found = shell.json(&args);
            for document in [&mut right, &mut found] {
                if let Some(document) = document.as_object_mut() {
                    document.retain(|name, _| !["seconds", "db", "path"].contains(&name.as_str()));
                }
            }
            assert_eq!(found, right, "{args:?}");
        }
    }
    assert_eq!(shell.json(&["stats", "file", "docs"])["collections"][0]["rows"], 4);
    shell.json(&["doctor", "file"]);
    shell.ok(&["export", "file", "docs", "out.jsonl"]);
    assert_eq!(shell.json(&["delete", "second", "docs", "a"])["deleted"], 1);
    for write in [&["delete", "file", "docs", "a"][..], &["compact", "file", "docs"]] {
        shell.fails(write, 1, "unpack it into a directory");
    }
    shell.fails(&["unpack", "inside", "third"], 1, "a file that pack has written");
    shell.fails(&["unpack", "db", "third"], 1, "backup copies it");
    shell.fails(&["pack", "db", "file"], 1, "exists already");
    shell.fails(&["unpack", "inside", "third", "--offset", "5"], 1, "expected a multiple of 64");
}

#[test]
fn people_get_tables_and_no_escape_sequences_of_others() {
    let shell = Shell::new();
    shell
        .write("x.jsonl", "{\"id\":\"a\",\"vector\":[1,0],\"text\":\"red \\u001b[31m\\nalert\"}\n");
    shell.ok(&["import", "db", "docs", "x.jsonl"]);
    for args in [
        &["list", "db"][..],
        &["list", "db", "docs"],
        &["get", "db", "docs", "a", "--vectors"],
        &["search", "db", "docs", "--values", "1,0", "--select", "text"],
        &["stats", "db"],
        &["verify", "db"],
    ] {
        let ran = shell.ok(args);
        assert!(ran.stdout.contains('│') && !ran.stdout.contains('\u{1b}'), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_reader_works_while_another_process_writes() {
    let shell = Shell::with_docs();
    let held = nearfield::Database::open(shell.path("db")).unwrap();
    let docs = held.open_collection("docs").unwrap();
    docs.upsert(&["e"], &[4.0_f32, 0.0], ()).unwrap();
    let found = shell.json(&["search", "db", "docs", "--values", "4,0", "-k", "1"]);
    assert_eq!(hit_ids(&found["queries"][0]), ["e"]);
    shell.ok(&["backup", "db", "copy"]);
    assert_eq!(shell.json(&["list", "copy"])["collections"][0]["rows"], 5);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let shell = Shell::new();
    shell.ok(&["import", "db", "packages", &data("packages.parquet")]);
    for json in [&["--json"][..], &[]] {
        let args = [&["list", "db", "packages", "--limit", "4000"][..], json].concat();
        let mut child =
            shell.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 64];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// The import is long: 100,000 rows, all alike, among which a graph has to be built.
#[cfg(unix)]
#[test]
fn an_interrupted_import_stores_nothing() {
    let shell = Shell::new();
    let header = npy_header(100_000, 64);
    let path = shell.write("v.npy", &header);
    let file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.set_len(header.len() as u64 + 100_000 * 64 * 4).unwrap();
    let mut command = shell.command(&["import", "db", "docs", "v.npy", "--metric", "l2"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !shell.path("db/docs").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stderr.contains("interrupted") && ran.stdout.is_empty(), "{ran:?}");
    assert!(!shell.path("db").exists(), "it was made for this import");
}

#[test]
fn rows_are_chosen_by_a_filter_in_every_command_that_reads_or_removes_them() {
    let shell = Shell::with_docs();
    let filter = ["--where", "year IS NOT NULL AND tags HAS 'x'"];
    let with = |args: &[&'static str]| [args, &filter].concat();
    let found = shell.json(&with(&["search", "db", "docs", "--values", "2,0", "--explain"]));
    let ids = hit_ids(&found["queries"][0]);
    assert_eq!(ids, ["b"]);
    assert_eq!(found["explanation"]["filter"]["matching_rows"], 1);
    assert_eq!(found["explanation"]["filter"]["filter"], filter[1]);
    assert_eq!(shell.json(&with(&["count", "db", "docs"]))["rows"], 1);
    assert_eq!(shell.json(&["count", "db", "docs"])["rows"], 4);
    assert_eq!(shell.json(&with(&["list", "db", "docs"]))["rows"][0]["id"], "b");
    assert_eq!(shell.json(&with(&["export", "db", "docs", "x.jsonl"]))["rows"], 1);
    let deleted = shell.json(&with(&["delete", "db", "docs"]));
    assert_eq!((&deleted["deleted"], &deleted["rows"]), (&json!(1), &json!(3)));
    shell.fails(&["delete", "db", "docs"], 2, "--where");
    shell.fails(&["delete", "db", "docs", "a", "--where", "TRUE"], 2, "--where");
    shell.fails(&["count", "db", "docs", "--where", "yeer > 1"], 1, "did you mean year?");
}

#[test]
fn help_and_version_are_answers() {
    let shell = Shell::new();
    assert!(shell.ok(&["--version"]).stdout.starts_with("nearfield "));
    let help = shell.ok(&["--help"]).stdout;
    for command in
        ["create", "import", "search", "get", "delete", "count", "list", "stats", "text-index"]
    {
        assert!(help.contains(command), "{help}");
        assert!(shell.ok(&[command, "--help"]).stdout.contains("Usage:"));
    }
}

/// A numpy array of bytes, signed or not.
fn npy_of_bytes(descr: &str, width: usize, bytes: &[u8]) -> Vec<u8> {
    let header = npy_header(bytes.len() / width, width);
    let mut file: Vec<u8> =
        String::from_utf8_lossy(&header[10..]).replace("<f4", descr).bytes().collect();
    file.splice(0..0, header[..10].iter().copied());
    file.extend(bytes);
    file
}

#[test]
fn packed_bits_are_imported_by_their_metric_or_type() {
    let shell = Shell::new();
    let bits = [0xF0, 0, 0xFF, 0xFE, 0, 2, 0x0F, 0];
    shell.write("bits.npy", npy_of_bytes("|u1", 2, &bits));
    let imported = shell.json(&["import", "db", "bits", "bits.npy", "--metric", "jaccard"]);
    assert_eq!((&imported["vector_type"], &imported["dimension"]), (&json!("b1"), &json!(16)));
    let args = ["import", "db", "short", "bits.npy", "--type", "b1", "--dim", "15"];
    let imported = shell.json(&args);
    assert_eq!((&imported["metric"], &imported["dimension"]), (&json!("hamming"), &json!(15)));

    let found = shell.json(&["search", "db", "short", "--values", "240,2", "-k", "2"]);
    let hits = &found["queries"][0]["hits"];
    assert_eq!(hit_ids(&found["queries"][0]), [0, 2]);
    assert_eq!((&hits[0]["distance"], &hits[0]["score"]), (&json!(1.0), &json!(-1.0)));
    let found = shell.json(&["search", "db", "bits", "--vector", "bits.npy", "--row", "0"]);
    assert_eq!(hit_ids(&found["queries"][0])[..2], [0, 1]);
    assert_eq!(found["queries"][0]["hits"][2]["distance"], 1.0);
    let read = shell.json(&["get", "db", "bits", "1", "--vectors"]);
    assert_eq!(read["rows"][0]["vector"], json!([255.0, 254.0]));

    for name in ["bits.jsonl", "bits.parquet"] {
        shell.ok(&["export", "db", "short", name]);
        let copy = name.replace('.', "-");
        // JSON does not say what its bytes are.
        let said: &[&str] = &["--type", "b1", "--dim", "15"];
        let said = if name == "bits.jsonl" { said } else { &[] };
        let imported = shell.json(&[&["import", "db", &copy, name], said].concat());
        assert_eq!(imported["dimension"], 15, "{name}");
        let found = shell.json(&["search", "db", &copy, "--like", "0", "-k", "1"]);
        assert_eq!(hit_ids(&found["queries"][0]), [2], "{name}");
    }
}

#[test]
fn signed_bytes_are_kept_and_brain_floats_rounded() {
    let shell = Shell::new();
    shell.write("signed.npy", npy_of_bytes("|i1", 2, &[0x80, 0x7F, 1, 0xFF]));
    let imported = shell.json(&["import", "db", "signed", "signed.npy", "--metric", "l2"]);
    assert_eq!(imported["vector_type"], "i8");
    let read = shell.json(&["get", "db", "signed", "0", "--vectors"]);
    assert_eq!(read["rows"][0]["vector"], json!([-128.0, 127.0]));
    let args = ["create", "db", "brain", "--dim", "2", "--metric", "l2", "--type", "bf16"];
    assert_eq!(shell.json(&args)["vector_type"], "bf16");
    shell.write("v.npy", npy(&[&[1.001, 3.0]]));
    shell.json(&["import", "db", "brain", "v.npy"]);
    let read = shell.json(&["get", "db", "brain", "0", "--vectors"]);
    assert_eq!(read["rows"][0]["vector"], json!([1.0, 3.0]));
    let created = shell.json(&["create", "db", "h", "--dim", "12", "--metric", "hamming"]);
    assert_eq!(created["vector_type"], "b1");
}

#[test]
fn a_search_that_is_explained_says_what_each_part_did() {
    let shell = Shell::new();
    shell.write("docs.jsonl", "{\"id\": 1, \"v\": [1, 0]}\n{\"id\": 2, \"v\": [0, 1]}\n");
    shell.json(&["import", "db", "docs", "docs.jsonl"]);
    let args = ["search", "db", "docs", "--values", "1,0", "-k", "1", "--explain"];
    let found = shell.json(&args);
    let part = &found["explanation"]["parts"][0];
    assert_eq!((&part["plan"], &part["rows_compared"]), (&"scan".into(), &2.into()));
    assert!(found["explanation"]["search_seconds"].as_f64().unwrap() > 0.0);
    let plain = shell.json(&args[..7]);
    assert!(plain.get("explanation").is_none());
}

#[test]
fn words_are_searched_alone_and_beside_a_vector() {
    let shell = Shell::new();
    let create = ["create", "db", "docs", "--dim", "1", "--metric", "l2", "--text", "body"];
    shell.ok(&[&create[..], &["--text", "title", "--language", "german"]].concat());
    shell.write(
        "docs.jsonl",
        "{\"id\": 1, \"vector\": [0], \"title\": \"Häuser\", \"body\": \"Seitenfehler in mmap\"}\n\
         {\"id\": 2, \"vector\": [1], \"title\": \"Bäume\", \"body\": \"ein Haus, zwei Häuser\"}\n\
         {\"id\": 3, \"vector\": [2], \"title\": null, \"body\": \"E0502\"}\n",
    );
    shell.ok(&["import", "db", "docs", "docs.jsonl"]);
    let search = |args: &[&str]| shell.json(&[&["search", "db", "docs"], args].concat());
    let ids = |args: &[&str]| -> Vec<u64> {
        let found = search(args);
        hit_ids(&found["queries"][0]).iter().filter_map(|id| id.as_u64()).collect()
    };
    assert_eq!(ids(&["--words", "haus"]), [2, 1]);
    assert_eq!(ids(&["--words", "haus", "--in", "title=2"]), [1]);
    assert_eq!(ids(&["--words", "haus", "--in", "title=0.1,body", "--where", "id > 1"]), [2]);
    assert_eq!(ids(&["--words", "+haus -mmap"]), [2]);
    assert_eq!(ids(&["--words", "-mmap +", "--plain"]), [1]);
    assert_eq!(ids(&["--values", "0", "--words", "e0502", "-k", "2"]), [3, 1]);
    assert_eq!(ids(&["--values", "0", "--words", "e0502", "-k", "1", "--alpha", "0.1"]), [3]);
    assert_eq!(ids(&["--like", "1", "--words", "e0502", "-k", "1"]), [3]);
    let shown = search(&["--words", "mmap", "--highlight", "--select", ""]);
    assert_eq!(shown["queries"][0]["hits"][0]["snippets"]["body"], "Seitenfehler in **mmap**");
    let table = shell.ok(&["search", "db", "docs", "--words", "mmap", "--highlight"]);
    assert!(table.stdout.contains("**mmap**"), "{}", table.stdout);
    shell.write("q.npy", npy(&[&[0.1], &[1.9]]));
    let found = search(&["--vector", "q.npy", "--words", "e0502 haus", "-k", "1"]);
    assert_eq!(found["queries"].as_array().map(Vec::len), Some(2));
    shell.fails(&["search", "db", "docs", "--words", "(a"], 1, "not closed");
    shell.fails(&["search", "db", "docs"], 2, "--words");
    shell.fails(
        &["create", "db", "other", "--dim", "1", "--metric", "l2", "--language", "x"],
        2,
        "x",
    );
}

#[test]
fn words_of_imported_texts_are_searched() {
    let shell = Shell::new();
    shell.write(
        "docs.jsonl",
        "{\"id\": 1, \"vector\": [0], \"title\": \"Häuser\", \"body\": \"ein Haus\", \"year\": 1}\n\
         {\"id\": 2, \"vector\": [1], \"title\": \"Bäume\", \"body\": \"zwei Häuser\", \"year\": 2}\n",
    );
    let import = |name: &str, more: &[&str]| {
        shell.ok(&[&["import", "db", name, "docs.jsonl", "--metric", "l2"], more].concat());
    };
    let ids = |name: &str, more: &[&str]| -> Vec<u64> {
        let found = shell.json(&[&["search", "db", name, "--words", "haus"], more].concat());
        hit_ids(&found["queries"][0]).iter().filter_map(|id| id.as_u64()).collect()
    };
    // A new collection.
    let german = ["--text", "body", "--text", "title", "--language", "german"];
    import("new", &german);
    assert_eq!(ids("new", &["--in", "body"]), [1, 2]);
    assert_eq!(ids("new", &["--in", "title"]), [1]);
    import("new", &german);
    import("new", &["--text", "title"]);
    assert_eq!(ids("new", &["--in", "title"]), [1], "the language stays");

    // One that is there.
    import("old", &[]);
    let words = ["search", "db", "old", "--words", "haus"];
    shell.fails(&words, 1, "or call `nearfield text-index`");
    shell.fails(&[&words[..], &["--in", "body"]].concat(), 1, "; `nearfield text-index` does that");
    import("old", &["--text", "title", "--language", "none"]);
    assert!(ids("old", &[]).is_empty());
    let index = |more: &[&str]| shell.json(&[&["text-index", "db", "old"], more].concat());
    assert_eq!(index(&["title", "--language", "german"])["changed"], true);
    assert_eq!(index(&["title", "--language", "de"])["changed"], false);
    assert_eq!(ids("old", &[]), [1]);
    let said = shell.ok(&["text-index", "db", "old", "body"]).stdout;
    assert_eq!(said, "body of old is indexed for search by words\n");
    assert_eq!(ids("old", &["--in", "body"]), [1]);
}

#[test]
fn codes_are_chosen_by_name_for_what_an_import_and_a_compaction_write() {
    let shell = Shell::new();
    let mut random = crate::common::Random::new(3);
    let rows: Vec<Vec<f32>> =
        (0..2_500).map(|_| (0..16).map(|_| random.unit()).collect()).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    shell.write("v.npy", npy(&rows));
    let code =
        || shell.json(&["stats", "db", "v"])["collections"][0]["segments"][0]["code"].clone();
    shell.ok(&["import", "db", "v", "v.npy", "--metric", "l2", "--codes", "product:16"]);
    assert_eq!(code(), "product");
    assert!(shell.ok(&["stats", "db", "v"]).stdout.contains("scan, product"));
    // A segment that is as it should be is not written anew: rows must change.
    shell.ok(&["delete", "db", "v", "7"]);
    shell.ok(&["compact", "db", "v", "--codes", "full"]);
    assert_eq!(code(), "full");
}

#[test]
fn memory_for_searches_is_told_and_chooses_codes() {
    let shell = Shell::new();
    shell.ok(&["import", "db", "packages", &data("packages.parquet"), "--serving-memory", "64MiB"]);
    let stats = |args: &[&str]| shell.json(args)["collections"][0].clone();
    let plain = stats(&["stats", "db", "packages"]);
    assert_eq!((&plain["serving_budget"], &plain["serving_problem"]), (&json!(null), &json!(null)));
    let bytes = plain["serving_bytes"].as_u64().unwrap();
    let less = (1 << 20).max(bytes - 1).to_string();
    let told = stats(&["stats", "db", "packages", "--serving-memory", &less]);
    assert_eq!(told["serving_budget"], json!(less.parse::<u64>().unwrap()));
    assert_eq!(told["serving_problem"].is_null(), bytes < 1 << 20, "{told}");
    let shown = shell.ok(&["stats", "db", "--serving-memory", "2 GB"]).stdout;
    assert!(shown.contains("searches read") && shown.contains("budget for it"), "{shown}");
    shell.fails(&["compact", "db", "packages", "--serving-memory", "64 megs"], 2, "64MiB");
    shell.fails(&["compact", "db", "packages", "--serving-memory", "0"], 1, "1048576");
}
