//! Search by words end to end: the rows and scores of a plain BM25 written out here, whatever the rows
//! went through before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::testing::{Disk, FaultDisk};
use nearfield::{
    Collection, DataType, Database, Error, IdType, Language, Metric, OpenOptions, Schema, Settings,
    TextOptions, Words,
};

use crate::common::{Random, Scratch};

/// The texts of a row, and a number to filter by.
#[derive(Clone, Debug, Default)]
struct Row {
    title: Option<String>,
    body: Option<String>,
    n: i64,
}

type Model = BTreeMap<u64, Row>;

const PLAIN: fn() -> TextOptions = || TextOptions::new().no_language();

fn schema() -> Schema {
    Schema::new(1, Metric::L2)
        .with_id_type(IdType::U64)
        .text_with("title", PLAIN())
        .text_with("body", PLAIN().k1(0.9).b(0.4))
        .column("n", DataType::Int64)
}

fn batch(rows: &[&Row]) -> RecordBatch {
    let title: ArrayRef =
        Arc::new(rows.iter().map(|row| row.title.clone()).collect::<LargeStringArray>());
    let body: ArrayRef =
        Arc::new(rows.iter().map(|row| row.body.clone()).collect::<LargeStringArray>());
    let n: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>());
    let columns = [("title", title), ("body", body), ("n", n)];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn open(path: &std::path::Path) -> Database {
    let mut settings = Settings::default();
    settings.background = false;
    settings.memtable_bytes = 64 << 10;
    OpenOptions::new().settings(settings).open(path).unwrap()
}

fn text(random: &mut Random) -> Option<String> {
    if random.below(12) == 0 {
        return None;
    }
    // Some words come far more often than others.
    let word = |random: &mut Random| {
        let range = 1 + random.below(40);
        format!("w{}", random.below(range))
    };
    let count = random.below(14);
    Some((0..count).map(|_| word(random)).collect::<Vec<_>>().join(" "))
}

fn row(random: &mut Random) -> Row {
    Row { title: text(random), body: text(random), n: random.below(5) as i64 }
}

/// A lookup as this test understands it.
#[derive(Clone, Copy)]
enum Leaf {
    Word(&'static str),
    Phrase(&'static [&'static str]),
    Prefix(&'static str),
}

/// A query of one level: in every row all of `must`, none of `not`.
#[derive(Clone, Copy)]
struct Asked {
    text: &'static str,
    must: &'static [Leaf],
    should: &'static [Leaf],
    not: &'static [Leaf],
}

const ASKED: [Asked; 8] = [
    Asked {
        text: "w1 w7 absent",
        must: &[],
        should: &[Leaf::Word("w1"), Leaf::Word("w7")],
        not: &[],
    },
    Asked {
        text: "+w1 w2 -w3",
        must: &[Leaf::Word("w1")],
        should: &[Leaf::Word("w2")],
        not: &[Leaf::Word("w3")],
    },
    Asked { text: "\"w0 w1\"", must: &[Leaf::Phrase(&["w0", "w1"])], should: &[], not: &[] },
    Asked { text: "w2*", must: &[Leaf::Prefix("w2")], should: &[], not: &[] },
    Asked { text: "W4 AND w5", must: &[Leaf::Word("w4"), Leaf::Word("w5")], should: &[], not: &[] },
    Asked {
        text: "w6 NOT \"w1 w0 w0\"",
        must: &[],
        should: &[Leaf::Word("w6")],
        not: &[Leaf::Phrase(&["w1", "w0", "w0"])],
    },
    Asked { text: "(w8 OR w9) AND w0", must: &[Leaf::Word("w0")], should: &[], not: &[] },
    Asked { text: "w1-w2", must: &[], should: &[Leaf::Word("w1"), Leaf::Word("w2")], not: &[] },
];

fn times(leaf: Leaf, words: &[&str]) -> f64 {
    let count = match leaf {
        Leaf::Word(word) => words.iter().filter(|found| **found == word).count(),
        Leaf::Prefix(prefix) => words.iter().filter(|found| found.starts_with(prefix)).count(),
        Leaf::Phrase(phrase) => {
            words.windows(phrase.len()).filter(|found| *found == phrase).count()
        }
    };
    count as f64
}

/// BM25 of each row of a column, and whether it has the lookup.
fn scores(leaf: Leaf, texts: &BTreeMap<u64, Vec<&str>>, k1: f64, b: f64) -> BTreeMap<u64, f64> {
    let filled = texts.values().filter(|words| !words.is_empty());
    let rows = filled.clone().count() as f64;
    let mean = filled.map(|words| words.len() as f64).sum::<f64>() / rows;
    let idf = |leaf: Leaf| {
        let found = texts.values().filter(|words| times(leaf, words) > 0.0).count() as f64;
        (1.0 + (rows - found + 0.5) / (found + 0.5)).ln()
    };
    let idf = match leaf {
        Leaf::Phrase(words) => words.iter().map(|word| idf(Leaf::Word(word))).sum(),
        _ => idf(leaf),
    };
    let score = |(id, words): (&u64, &Vec<&str>)| {
        let times = times(leaf, words);
        let length = k1 * (1.0 - b + b * words.len() as f64 / mean);
        (times > 0.0).then(|| (*id, idf * times * (k1 + 1.0) / (times + length)))
    };
    texts.iter().filter_map(score).collect()
}

/// The rows that a query finds in the model, with their scores.
fn expected(model: &Model, asked: Asked, weights: [f64; 2]) -> BTreeMap<u64, f64> {
    let words = |text: &Option<String>| -> Vec<String> {
        text.iter()
            .flat_map(|text| text.split(' '))
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let titles: BTreeMap<u64, Vec<String>> =
        model.iter().map(|(id, row)| (*id, words(&row.title))).collect();
    let bodies: BTreeMap<u64, Vec<String>> =
        model.iter().map(|(id, row)| (*id, words(&row.body))).collect();
    let columns = [(titles, 1.2, 0.75), (bodies, 0.9, 0.4)];
    let of = |leaf: Leaf| {
        let mut sum: BTreeMap<u64, f64> = BTreeMap::new();
        for ((texts, k1, b), weight) in columns.iter().zip(weights) {
            let texts: BTreeMap<u64, Vec<&str>> = texts
                .iter()
                .map(|(id, words)| (*id, words.iter().map(String::as_str).collect()))
                .collect();
            for (id, score) in scores(leaf, &texts, *k1, *b) {
                *sum.entry(id).or_default() += weight * score;
            }
        }
        sum
    };
    let mut total: BTreeMap<u64, f64> = BTreeMap::new();
    let mut found: BTreeSet<u64> = model.keys().copied().collect();
    for leaf in asked.must {
        let scores = of(*leaf);
        found.retain(|id| scores.contains_key(id));
        scores.iter().for_each(|(id, score)| *total.entry(*id).or_default() += score);
    }
    let mut any = BTreeSet::new();
    for leaf in asked.should {
        let scores = of(*leaf);
        any.extend(scores.keys().copied());
        scores.iter().for_each(|(id, score)| *total.entry(*id).or_default() += score);
    }
    if asked.must.is_empty() {
        found.retain(|id| any.contains(id));
    }
    for leaf in asked.not {
        let scores = of(*leaf);
        found.retain(|id| !scores.contains_key(id));
    }
    if asked.text.starts_with('(') {
        let (eight, nine) = (of(Leaf::Word("w8")), of(Leaf::Word("w9")));
        found.retain(|id| eight.contains_key(id) || nine.contains_key(id));
        for scores in [eight, nine] {
            scores.iter().for_each(|(id, score)| *total.entry(*id).or_default() += score);
        }
    }
    found.into_iter().map(|id| (id, total[&id])).collect()
}

fn found(hits: &nearfield::Hits) -> Vec<(u64, f32)> {
    let number = |id: &nearfield::Id| match id {
        nearfield::Id::U64(id) => *id,
        nearfield::Id::Utf8(_) => panic!("ids are numbers"),
    };
    hits.iter().map(|hit| (number(&hit.id), hit.score)).collect()
}

/// The collection answers as the model does: the same rows, the same scores, in order.
fn agree(docs: &Collection, model: &Model, label: &str) {
    for asked in ASKED {
        for weights in [[1.0, 1.0], [2.5, 0.5]] {
            let columns = [("title", weights[0] as f32), ("body", weights[1] as f32)];
            let query = || docs.search_words(asked.text).columns(columns);
            let all = expected(model, asked, weights);
            let hits = query().k(10_000).run().unwrap();
            let pairs = found(&hits);
            let context = format!("{label}: {}", asked.text);
            assert_eq!(
                pairs.iter().map(|pair| pair.0).collect::<BTreeSet<_>>(),
                all.keys().copied().collect(),
                "{context}"
            );
            assert_eq!(pairs.len(), all.len(), "{context}");
            for (id, score) in &pairs {
                let right = all[id];
                assert!(
                    (f64::from(*score) - right).abs() < 1e-4 * right.max(1.0),
                    "{context}: {id} {score} {right}"
                );
            }
            assert!(
                pairs.windows(2).all(|pair| pair[0].1 > pair[1].1
                    || (pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0)),
                "{context}"
            );
            assert_eq!(
                found(&query().k(7).run().unwrap()),
                pairs[..pairs.len().min(7)],
                "{context}"
            );
            let filtered = query().k(5).filter("n = 3").run().unwrap();
            let right: Vec<_> =
                pairs.iter().filter(|pair| model[&pair.0].n == 3).take(5).copied().collect();
            assert_eq!(found(&filtered), right, "{context}");
        }
    }
}

fn put(docs: &Collection, model: &mut Model, ids: &[u64], random: &mut Random) {
    let rows: Vec<Row> = ids.iter().map(|_| row(random)).collect();
    docs.upsert(ids, vec![0.0_f32; ids.len()], &batch(&rows.iter().collect::<Vec<_>>())).unwrap();
    model.extend(ids.iter().copied().zip(rows));
}

fn update(docs: &Collection, model: &mut Model, ids: &[u64], random: &mut Random) {
    let ids: Vec<u64> = ids.iter().copied().filter(|id| model.contains_key(id)).collect();
    let rows: Vec<Row> = ids.iter().map(|_| row(random)).collect();
    let body: ArrayRef =
        Arc::new(rows.iter().map(|row| row.body.clone()).collect::<LargeStringArray>());
    let columns = [("body", body, true)];
    docs.update(&ids, &RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    for (id, row) in ids.iter().zip(rows) {
        model.get_mut(id).unwrap().body = row.body;
    }
}

#[test]
fn scores_are_those_of_bm25_whatever_became_of_the_rows() {
    let scratch = Scratch::new();
    let mut random = Random::new(5);
    let mut model = Model::new();
    let db = open(&scratch.path());
    let docs = db.collection("docs", schema()).unwrap();
    agree_nothing(&docs);
    put(&docs, &mut model, &(0..300).collect::<Vec<_>>(), &mut random);
    agree(&docs, &model, "in memory");
    docs.compact().unwrap();
    agree(&docs, &model, "in a segment");
    put(&docs, &mut model, &(250..420).collect::<Vec<_>>(), &mut random);
    for id in 420..440 {
        put(&docs, &mut model, &[id], &mut random);
    }
    agree(&docs, &model, "in a segment and memory, some replaced");
    update(&docs, &mut model, &[3, 4, 5, 260, 425], &mut random);
    update(&docs, &mut model, &[4, 5, 6, 425, 426], &mut random);
    let gone: Vec<u64> = (0..440).step_by(7).collect();
    docs.delete(&gone).unwrap();
    model.retain(|id, _| !gone.contains(id));
    agree(&docs, &model, "updated and deleted");
    let before = docs.snapshot().unwrap();
    let kept = model.clone();
    docs.compact().unwrap();
    agree(&docs, &model, "merged");
    update(&docs, &mut model, &[8, 9, 10], &mut random);
    let n: ArrayRef = Arc::new(Int64Array::from(vec![3]));
    docs.update(&[11], &RecordBatch::try_from_iter([("n", n)]).unwrap()).unwrap();
    model.get_mut(&11).unwrap().n = 3;
    agree(&docs, &model, "updated in a segment");
    assert!(docs.stats().unwrap().text_index_bytes > 0);
    let right = expected(&kept, ASKED[0], [1.0, 1.0]);
    let old = before.search_words(ASKED[0].text).k(10_000).run().unwrap();
    assert_eq!(old.len(), right.len(), "a snapshot stays what it was");
    db.close().unwrap();

    let db = open(&scratch.path());
    let docs = db.open_collection("docs").unwrap();
    agree(&docs, &model, "replayed");
    put(&docs, &mut model, &(500..800).collect::<Vec<_>>(), &mut random);
    docs.compact().unwrap();
    drop((docs, db));
    let db = open(&scratch.path());
    let docs = db.open_collection("docs").unwrap();
    agree(&docs, &model, "opened again");
    assert_eq!(docs.stats().unwrap().text_index_bytes, 0, "the indexes are those on disk");
    docs.verify().unwrap();
    let reader = scratch.reader();
    agree(&reader.open_collection("docs").unwrap(), &model, "in a reader");
}

fn agree_nothing(docs: &Collection) {
    assert!(docs.search_words("w1 \"w2 w3\" w4*").run().unwrap().is_empty());
}

#[test]
fn an_index_may_come_later_and_be_cut_otherwise() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let schema =
        Schema::new(1, Metric::L2).column("note", DataType::Utf8).column("n", DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    let add = |ids: &[u64], texts: &[&str]| {
        let notes: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
        let batch = RecordBatch::try_from_iter([("note", notes)]).unwrap();
        docs.upsert(ids, vec![0.0_f32; ids.len()], &batch).unwrap();
    };
    add(&[1, 2], &["the houses", "Die Häuser"]);
    docs.compact().unwrap();
    add(&[3], &["a house"]);
    let error = docs.search_words("house").run().unwrap_err().to_string();
    assert!(error.contains("add_text_index"), "{error}");
    assert!(matches!(docs.add_text_index("nope", TextOptions::new()), Err(Error::NotFound { .. })));
    assert!(matches!(docs.add_text_index("n", TextOptions::new()), Err(Error::InvalidArgument(_))));
    assert!(docs.add_text_index("note", TextOptions::new()).unwrap());
    assert!(!docs.add_text_index("note", TextOptions::new()).unwrap());
    let ids = |query: &str| {
        let hits = docs.search_words(query).run().unwrap();
        let mut ids: Vec<u64> = found(&hits).into_iter().map(|pair| pair.0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids("house"), [1, 3]);
    docs.compact().unwrap();
    assert_eq!(ids("house"), [1, 3]);
    let german = TextOptions::new().language(Language::German);
    assert!(docs.add_text_index("note", german).unwrap());
    assert_eq!(ids("haus"), [2]);
    assert_eq!(docs.schema().unwrap().text_options("note"), Some(german));
    docs.flush().unwrap();
    db.close().unwrap();
    let db = open(&scratch.path());
    let docs = db.open_collection("docs").unwrap();
    assert_eq!(docs.schema().unwrap().text_options("note"), Some(german));
    assert_eq!(docs.search_words("haus").run().unwrap().len(), 1);
    let other = Schema::new(1, Metric::L2).text_with("note", TextOptions::new().k1(2.0));
    assert!(matches!(db.collection("docs", other), Err(Error::SchemaMismatch { .. })));
}

#[test]
fn queries_of_nothing_find_nothing_and_mistakes_are_pointed_at() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs =
        db.collection("docs", Schema::new(1, Metric::L2).text("body").text("title")).unwrap();
    let body: ArrayRef = Arc::new(LargeStringArray::from(vec![
        "the searching of std::fs (for foo-bar)",
        "",
        "error E0502: cannot borrow `x`",
        "of the",
    ]));
    let batch = RecordBatch::try_from_iter([("body", body)]).unwrap();
    docs.upsert(&[1, 2, 3, 4], vec![0.0_f32; 4], &batch).unwrap();
    let ids = |words: Words| -> Vec<u64> {
        let mut ids: Vec<u64> =
            found(&docs.search_words(words).run().unwrap()).iter().map(|pair| pair.0).collect();
        ids.sort_unstable();
        ids
    };
    for nothing in ["", "  ", "the of", "\"\"", "+the", "…", "()", "*", "~", "the -of", "absent~1"]
    {
        assert!(ids(nothing.into()).is_empty(), "{nothing:?}");
    }
    for (query, right) in [
        ("searches", &[1][..]),
        ("E0502:", &[3]),
        ("std::fs", &[1]),
        ("(for foo-bar)", &[1]),
        ("+foo-bar", &[1]),
        ("+bar-foo", &[]),
        ("body:borrow", &[3]),
        ("title:borrow", &[]),
        ("serch~1", &[1]),
        ("serching~1", &[1]),
        ("sea*", &[1]),
        ("searching*", &[1]),
        ("borow~", &[3]),
        ("error: foo", &[1, 3]),
        ("--foo", &[1]),
        ("C++ `x`", &[3]),
        ("cannot AND borrow", &[3]),
        ("foo OR borrow", &[1, 3]),
        ("NOT foo borrow", &[3]),
        ("+(foo borrow) -x", &[1]),
    ] {
        assert_eq!(ids(query.into()), right, "{query:?}");
    }
    assert_eq!(ids(Words::plain("\"foo AND (borrow* -x")), [1, 3]);
    for (query, message, column) in [
        ("foo \"bar", "not closed", 5),
        ("(foo", "not closed", 1),
        ("foo AND", "nothing behind", 5),
        ("OR foo", "nothing before", 1),
        ("foo~3", "3 letters", 5),
        ("-foo", "leave out", 1),
        ("äö AND AND b", "nothing behind", 4),
        ("a OR", "nothing behind", 3),
        ("a OR -b", "has no sign", 6),
        ("a OR NOT b", "has no sign", 6),
    ] {
        let error = docs.search_words(query).run().unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains(message) && shown.contains(&format!("column {column}\n")),
            "{shown}"
        );
        let Error::Words { position, column: told, .. } = error else { panic!("{error:?}") };
        assert_eq!((told, query[..position].chars().count() + 1), (column, column), "{shown}");
    }
    let deep = "(".repeat(10_000);
    assert!(docs.search_words(deep).run().unwrap_err().to_string().contains("within each other"));
    let many = |word: &str| (0..3_000).map(|n| format!("{word}{n} ")).collect::<String>();
    let refused = |query: String, says: &str| {
        let error = docs.search_words(query).run().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(many("w"), "more than 1024 words");
    refused(many("\"borrow x\" "), "more than 1024 words");
    refused("w* ".repeat(40), "more than 32 words with * or ~");
    refused(format!("\"{}\"", many("w")), "at most 64");
    refused(format!("+{}", "b-".repeat(500)), "at most 64");
    // Of any text the first words are looked for.
    assert_eq!(ids(Words::plain(format!("borrow {}", many("w")))), [3]);
    assert_eq!(ids(Words::plain("猫 本 ".repeat(100) + "borrow")), [3]);
    assert!(docs.search_words("x".repeat(2 << 20)).run().is_err());
    assert!(docs.search_words("x").columns([("nope", 1.0)]).run().is_err());
    assert!(docs.search_words("x").columns([("body", f32::NAN)]).run().is_err());
    assert!(docs.search_words("x").columns([("body", 1.0), ("body", 1.0)]).run().is_err());
    assert_eq!(docs.search_words("borrow").run_batch().unwrap().len(), 1);
    assert!(docs.search_words("borrow").k(0).run().unwrap().is_empty());
    assert_eq!(docs.search_words("borrow").k(usize::MAX).run().unwrap().len(), 1);
}

#[test]
fn parts_of_a_word_go_together_and_scripts_without_spaces_are_found_by_one_character() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs = db.collection("docs", Schema::new(1, Metric::L2).text("body")).unwrap();
    let texts =
        ["std::fs::file", "std::io", "黒猫がいる", "猫の本", "京都大学", "東京都庁", "IL-2", "il"];
    let body: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
    let batch = RecordBatch::try_from_iter([("body", body)]).unwrap();
    docs.upsert(&[1, 2, 3, 4, 5, 6, 7, 8], vec![0.0_f32; 8], &batch).unwrap();
    for (query, right) in [
        ("std -std::f*", &[2][..]),
        ("+std::f*", &[1]),
        ("+IL-2~1", &[7]),
        ("猫", &[3, 4]),
        ("+猫の", &[4]),
        ("猫*", &[3, 4]),
        ("本", &[4]),
        ("る", &[3]),
        ("+東京都*", &[6]),
        ("\"東京都\"", &[6]),
        ("京都", &[5, 6]),
        ("\"猫の 本\"", &[4]),
        ("\"黒猫 本\"", &[]),
    ] {
        let mut ids: Vec<u64> =
            found(&docs.search_words(query).run().unwrap()).iter().map(|pair| pair.0).collect();
        ids.sort_unstable();
        assert_eq!(ids, right, "{query:?}");
    }
    let hits = docs.search_words("猫").highlight(10).run().unwrap();
    let marked =
        hits.snippets.unwrap().iter().map(|of| of["body"].marked("<", ">")).collect::<Vec<_>>();
    assert!(marked.iter().all(|text| text.contains('<')), "{marked:?}");
    // A mark at every word of a long text takes no longer than reading it.
    let long: ArrayRef = Arc::new(LargeStringArray::from(vec!["rare ".repeat(50_000)]));
    let batch = RecordBatch::try_from_iter([("body", long)]).unwrap();
    docs.upsert(&[9], vec![0.0_f32], &batch).unwrap();
    let hits = docs.search_words("rare").highlight(usize::MAX).run().unwrap();
    assert_eq!(hits.snippets.unwrap()[0]["body"].marks.len(), 50_000);
}

#[test]
fn snippets_show_the_words_that_were_found() {
    let scratch = Scratch::new();
    let db = open(&scratch.path());
    let docs = db.collection("docs", Schema::new(1, Metric::L2).text("body")).unwrap();
    let filler = "nothing to see here and there ".repeat(30);
    let long = format!("{filler}a page was faulting in über mmap, {filler}page");
    let body: ArrayRef =
        Arc::new(LargeStringArray::from(vec![Some(&long[..]), None, Some("東京都 page")]));
    let batch = RecordBatch::try_from_iter_with_nullable([("body", body, true)]).unwrap();
    docs.upsert(&[1, 2, 3], vec![0.0_f32; 3], &batch).unwrap();
    let of = |query: &str, most| {
        let hits = docs.search_words(query).highlight(most).run().unwrap();
        let snippets = hits.snippets.clone().unwrap();
        found(&hits).into_iter().map(|pair| pair.0).zip(snippets).collect::<BTreeMap<_, _>>()
    };
    let snippet = &of("\"page faults\" MMAP", 60)[&1]["body"];
    let marked = snippet.marked("[", "]");
    assert!(
        marked.contains("a [page] was [faulting] in über [mmap],") || marked.contains("[mmap]"),
        "{marked}"
    );
    assert!(snippet.text.chars().count() <= 60 && snippet.cut_before && snippet.cut_after);
    assert!(of("fault* ubre~2", 60)[&1]["body"].marked("[", "]").contains("[faulting]"));
    assert_eq!(of("京都", 60)[&3]["body"].marked("[", "]"), "東[京都] page");
    let short = &of("page", 3)[&1]["body"];
    assert!(short.text.chars().count() <= 3, "{short:?}");
    assert_eq!(of("page", 0)[&1]["body"].text, "");
}

/// What searches had to make in memory is on disk after a compaction, though nothing is to be merged.
#[test]
fn compaction_writes_the_index_that_a_lone_segment_lacks() {
    let disk = FaultDisk::new();
    let mut settings = Settings::default();
    settings.background = false;
    let options = OpenOptions::new().settings(settings);
    let open = |disk: &FaultDisk| options.clone().disk(Arc::new(disk.clone())).open("/db").unwrap();
    let db = open(&disk);
    let bare = Schema::new(1, Metric::L2).column("title", DataType::Utf8);
    let bare = bare.column("body", DataType::Utf8).column("n", DataType::Int64);
    let docs = db.collection("docs", bare.with_id_type(IdType::U64)).unwrap();
    let (mut model, mut random) = (Model::new(), Random::new(5));
    put(&docs, &mut model, &(0..80).collect::<Vec<_>>(), &mut random);
    docs.compact().unwrap();
    docs.add_text_index("title", PLAIN()).unwrap();
    docs.add_text_index("body", PLAIN().k1(0.9).b(0.4)).unwrap();
    agree(&docs, &model, "made in memory");
    assert!(docs.stats().unwrap().text_index_bytes > 0);
    let report = docs.compact().unwrap();
    assert_eq!((report.segments_before, report.segments_after), (1, 1));
    let after = |docs: &Collection, label: &str| {
        agree(docs, &model, label);
        assert_eq!(docs.stats().unwrap().text_index_bytes, 0, "{label}: on disk");
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new(), "{label}");
    };
    after(&docs, "written");
    let written = |docs: &Collection| docs.stats().unwrap().written_compaction_bytes;
    let before = written(&docs);
    docs.compact().unwrap();
    assert_eq!(written(&docs), before, "nothing is left to do");
    drop((docs, db));
    let db = open(&disk);
    after(&db.open_collection("docs").unwrap(), "opened again");
    drop(db);

    // One that is damaged is as good as none.
    let dir = std::path::Path::new("/db/docs");
    let files = disk.list(dir).unwrap();
    let file = files.iter().find(|file| file.name.ends_with(".attr")).unwrap();
    let path = dir.join(&file.name);
    disk.edit(&path, |bytes| {
        let at = (0..bytes.len() - 8).find(|at| &bytes[*at..*at + 6] == b"NFTEXT").unwrap();
        bytes[at + 600] ^= 4;
    })
    .unwrap();
    let db = open(&disk);
    let docs = db.open_collection("docs").unwrap();
    assert_eq!(docs.verify().unwrap().problems.len(), 1);
    docs.compact().unwrap();
    after(&docs, "mended");
}

/// Whatever byte of an index is damaged, the answers are right.
#[test]
fn a_damaged_index_is_made_anew() {
    let mut settings = Settings::default();
    settings.background = false;
    let options = OpenOptions::new().settings(settings);
    let disk = FaultDisk::new();
    let open = |disk: &FaultDisk| options.clone().disk(Arc::new(disk.clone())).open("/db");
    let db = open(&disk).unwrap();
    let docs = db.collection("docs", schema()).unwrap();
    let (mut model, mut random) = (Model::new(), Random::new(3));
    put(&docs, &mut model, &(0..60).collect::<Vec<_>>(), &mut random);
    docs.compact().unwrap();
    drop((docs, db));
    let whole = disk.kill_image();
    let dir = std::path::Path::new("/db/docs");
    let file =
        whole.list(dir).unwrap().into_iter().find(|file| file.name.ends_with(".attr")).unwrap();
    let path = dir.join(&file.name);
    let bytes = whole.read_range(&path, 0, file.len).unwrap();
    let packs: Vec<usize> =
        (0..bytes.len() - 8).filter(|at| &bytes[*at..*at + 6] == b"NFTEXT").collect();
    assert_eq!(packs.len(), 2, "an index for each column");
    let query = |disk: &FaultDisk| -> Result<bool, Error> {
        let db = open(disk)?;
        let docs = db.open_collection("docs")?;
        let hits = docs.search_words("w1 w7").k(100).run()?;
        let right = expected(
            &model,
            Asked { text: "", must: &[], should: &[Leaf::Word("w1"), Leaf::Word("w7")], not: &[] },
            [1.0, 1.0],
        );
        assert_eq!(
            found(&hits).iter().map(|pair| pair.0).collect::<BTreeSet<_>>(),
            right.keys().copied().collect()
        );
        let made_anew = docs.stats()?.text_index_bytes > 0;
        let problems = docs.verify()?.problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        Ok(made_anew)
    };
    let mut made_anew = 0;
    let end = bytes.len().min(packs[1] + 4_000);
    for at in (packs[0]..end).step_by(97) {
        let disk = whole.kill_image();
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        disk.remove_file(&path).unwrap();
        let mut out = disk.create(&path).unwrap();
        out.append(&bad).unwrap();
        out.sync().unwrap();
        drop(out);
        match query(&disk) {
            Ok(anew) => made_anew += usize::from(anew),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    assert!(made_anew > 20, "{made_anew}");
}
