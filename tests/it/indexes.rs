//! Indexes over columns: a filter that they answer finds what a look at every row finds, through updates,
//! deletions, flushes and compactions.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch,
    TimestampMicrosecondArray,
};
use nearfield::{
    Collection, DataType, Database, Durability, FilterAnswer, IdType, Metric, OpenOptions,
    ScanOptions, Schema, Settings,
};

use crate::common::{Random, Scratch};

/// Times as text and as microseconds.
const TIMES: [(&str, i64); 5] = [
    ("1969-12-31T23:59:59Z", -1_000_000),
    ("1970-01-01T00:00:00Z", 0),
    ("2001-09-09T01:46:40Z", 1_000_000_000_000_000),
    ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
    ("2024-02-29T00:00:01Z", 1_709_164_801_000_000),
];
const WHOLE: [i64; 7] = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
const FLOATS: [f64; 8] =
    [f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, -2.5, f64::MAX];

/// The attributes of a row; `never` has no value in any.
#[derive(Clone, Debug, Default)]
struct Row {
    many: Option<i64>,
    few: Option<i64>,
    x: Option<f64>,
    time: Option<i64>,
    s: Option<String>,
    word: Option<String>,
    flag: Option<bool>,
    tags: Option<Vec<Option<String>>>,
}

type Model = BTreeMap<u64, Row>;

fn schema() -> Schema {
    Schema::new(1, Metric::L2)
        .with_id_type(IdType::U64)
        .column("many", DataType::Int64)
        .column("few", DataType::Int64)
        .column("x", DataType::Float64)
        .column("time", DataType::Timestamp)
        .column("s", DataType::Utf8)
        .column("word", DataType::Utf8)
        .column("flag", DataType::Bool)
        .column("tags", DataType::ListUtf8)
        .column("never", DataType::Int64)
}

fn batch(rows: &[&Row]) -> RecordBatch {
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    for row in rows {
        row.tags.iter().flatten().for_each(|tag| tags.values().append_option(tag.as_ref()));
        tags.append(row.tags.is_some());
    }
    let rows = || rows.iter();
    let many: ArrayRef = Arc::new(rows().map(|row| row.many).collect::<Int64Array>());
    let few: ArrayRef = Arc::new(rows().map(|row| row.few).collect::<Int64Array>());
    let x: ArrayRef = Arc::new(rows().map(|row| row.x).collect::<Float64Array>());
    let time = rows().map(|row| row.time).collect::<TimestampMicrosecondArray>();
    let time: ArrayRef = Arc::new(time.with_timezone("UTC"));
    let s: ArrayRef = Arc::new(rows().map(|row| row.s.clone()).collect::<LargeStringArray>());
    let word: ArrayRef = Arc::new(rows().map(|row| row.word.clone()).collect::<LargeStringArray>());
    let flag: ArrayRef = Arc::new(rows().map(|row| row.flag).collect::<BooleanArray>());
    let tags: ArrayRef = Arc::new(tags.finish());
    RecordBatch::try_from_iter_with_nullable([
        ("many", many, true),
        ("few", few, true),
        ("x", x, true),
        ("time", time, true),
        ("s", s, true),
        ("word", word, true),
        ("flag", flag, true),
        ("tags", tags, true),
    ])
    .unwrap()
}

fn pick<T: Clone>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize].clone()
}

fn many(random: &mut Random) -> i64 {
    if random.below(8) == 0 { pick(random, &WHOLE) } else { random.below(5_000) as i64 - 900 }
}

fn float(random: &mut Random) -> f64 {
    if random.below(6) == 0 {
        pick(random, &FLOATS)
    } else {
        random.below(3_000) as f64 / 4.0 - 100.0
    }
}

/// Texts whose first bytes are the same, some of them to the end of others.
fn long(random: &mut Random) -> String {
    match random.below(10) {
        0 => pick(random, &["", "the same", "é", "the same beginning"]).to_owned(),
        _ => format!("the same beginning {}", random.below(2_000)),
    }
}

fn word(random: &mut Random) -> String {
    pick(random, &["", "a", "ab", "b", "ba", "Ünder", "long enough for two keys"]).to_owned()
}

fn tag(random: &mut Random) -> String {
    format!("tag {}", random.below(40) * random.below(3))
}

fn row(random: &mut Random) -> Row {
    fn some<T>(random: &mut Random, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if random.below(7) == 0 { None } else { Some(make(random)) }
    }
    Row {
        many: some(random, many),
        few: some(random, |random| random.below(9) as i64 - 4),
        x: some(random, float),
        time: some(random, |random| {
            pick(random, &TIMES).1 + random.below(3) as i64 * (random.below(4_000) as i64 - 2_000)
        }),
        s: some(random, long),
        word: some(random, word),
        flag: some(random, |random| random.below(50) > 0),
        tags: some(random, |random| {
            (0..random.below(4)).map(|_| some(random, tag)).collect::<Vec<_>>()
        }),
    }
}

type Truth = Option<bool>;

fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

fn and(a: Truth, b: Truth) -> Truth {
    if a == Some(false) || b == Some(false) { Some(false) } else { a.zip(b).map(|(a, b)| a && b) }
}

/// What a filter says of the row of an id.
type Holds = Box<dyn Fn(u64, &Row) -> Truth>;

fn compared<T: PartialOrd + ?Sized>(by: &str, a: &T, b: &T) -> bool {
    match by {
        "=" => a == b,
        "<>" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    }
}

/// A comparison of a column, as text and as what it says.
fn comparison(random: &mut Random) -> (String, Holds) {
    let by = pick(random, &["=", "<>", "<", "<=", ">", ">="]);
    match random.below(6) {
        0 => {
            let n = many(random);
            let holds = move |_, row: &Row| row.many.map(|value| compared(by, &value, &n));
            (format!("many {by} {n}"), Box::new(holds))
        }
        1 => {
            let n = random.below(11) as i64 - 5;
            let holds = move |_, row: &Row| row.few.map(|value| compared(by, &value, &n));
            (format!("few {by} {n}"), Box::new(holds))
        }
        2 => {
            let x = Some(float(random)).filter(|x| x.is_finite()).unwrap_or(-7.25);
            let holds = move |_, row: &Row| row.x.map(|value| compared(by, &value, &x));
            (format!("x {by} {x:?}"), Box::new(holds))
        }
        3 => {
            let (text, time) = pick(random, &TIMES);
            let holds = move |_, row: &Row| row.time.map(|value| compared(by, &value, &time));
            (format!("time {by} TIMESTAMP '{text}'"), Box::new(holds))
        }
        4 => {
            let text = long(random);
            let filter = format!("s {by} '{text}'");
            let holds = move |_, row: &Row| row.s.as_ref().map(|value| compared(by, value, &text));
            (filter, Box::new(holds))
        }
        _ => {
            let text = word(random);
            let filter = format!("word {by} '{text}'");
            let holds =
                move |_, row: &Row| row.word.as_ref().map(|value| compared(by, value, &text));
            (filter, Box::new(holds))
        }
    }
}

/// Another condition on one column.
fn other(random: &mut Random) -> (String, Holds) {
    fn list<T: std::fmt::Debug>(values: &[T]) -> String {
        format!("{values:?}").replace(['[', ']'], "").replace('"', "'")
    }
    let values = 1 + random.below(14);
    match random.below(12) {
        0 => {
            let (low, high) = (many(random), many(random));
            let holds = move |_, row: &Row| row.many.map(|value| low <= value && value <= high);
            (format!("many BETWEEN {low} AND {high}"), Box::new(holds))
        }
        1 => {
            let given: Vec<i64> = (0..values).map(|_| many(random)).collect();
            let text = format!("many IN ({})", list(&given));
            (text, Box::new(move |_, row| row.many.map(|value| given.contains(&value))))
        }
        2 => {
            let given: Vec<f64> =
                (0..values).map(|_| float(random)).filter(|x| x.is_finite()).chain([0.0]).collect();
            let text = format!("x IN ({})", list(&given));
            (text, Box::new(move |_, row| row.x.map(|value| given.contains(&value))))
        }
        3 => {
            let given: Vec<String> = (0..values).map(|_| long(random)).collect();
            let text = format!("s IN ({})", list(&given));
            (text, Box::new(move |_, row| row.s.as_ref().map(|value| given.contains(value))))
        }
        4 => {
            let end = ["", "the s", "the same beginning 1", "é", "the same beginning 10"];
            let prefix = pick(random, &end);
            let holds = move |_, row: &Row| row.s.as_ref().map(|value| value.starts_with(prefix));
            (format!("s LIKE '{prefix}%'"), Box::new(holds))
        }
        5 => {
            let holds = |_, row: &Row| row.word.as_ref().map(|value| value.contains('a'));
            ("word ILIKE '%A%'".to_owned(), Box::new(holds))
        }
        6 => {
            let tag = tag(random);
            let text = format!("tags HAS '{tag}'");
            let holds = move |_, row: &Row| {
                row.tags.as_ref().map(|tags| tags.iter().flatten().any(|known| *known == tag))
            };
            (text, Box::new(holds))
        }
        7 | 8 => {
            let all = random.below(2) == 0;
            let given: Vec<String> = (0..values % 3 + 1).map(|_| tag(random)).collect();
            let text = format!("tags HAS {} ({})", if all { "ALL" } else { "ANY" }, list(&given));
            let holds = move |_, row: &Row| {
                let tags = row.tags.as_ref()?;
                let has = |tag: &String| tags.iter().flatten().any(|known| known == tag);
                Some(if all { given.iter().all(has) } else { given.iter().any(has) })
            };
            (text, Box::new(holds))
        }
        9 => ("flag".to_owned(), Box::new(|_, row| row.flag)),
        10 => {
            let id = random.below(3_000);
            (format!("id < {id}"), Box::new(move |given, _| Some(given < id)))
        }
        _ => {
            let wanted = random.below(2) == 0;
            let at = random.below(6);
            let column = ["many", "x", "s", "word", "tags", "never"][at as usize];
            let text = format!("{column} IS {}NULL", if wanted { "" } else { "NOT " });
            let holds = move |_, row: &Row| {
                let null = match at {
                    0 => row.many.is_none(),
                    1 => row.x.is_none(),
                    2 => row.s.is_none(),
                    3 => row.word.is_none(),
                    4 => row.tags.is_none(),
                    _ => true,
                };
                Some(null == wanted)
            };
            (text, Box::new(holds))
        }
    }
}

/// A random filter as text, and what it says of a row.
fn condition(random: &mut Random, depth: u64) -> (String, Holds) {
    match random.below(if depth == 0 { 2 } else { 7 }) {
        0 => comparison(random),
        1 => other(random),
        2 => {
            let (text, holds) = condition(random, depth - 1);
            (format!("NOT ({text})"), Box::new(move |id, row| not(holds(id, row))))
        }
        kind => {
            let (a, b) = (condition(random, depth - 1), condition(random, depth - 1));
            if kind < 5 {
                let holds = move |id, row: &Row| and((a.1)(id, row), (b.1)(id, row));
                return (format!("({}) AND ({})", a.0, b.0), Box::new(holds));
            }
            let holds = move |id, row: &Row| not(and(not((a.1)(id, row)), not((b.1)(id, row))));
            (format!("({}) OR ({})", a.0, b.0), Box::new(holds))
        }
    }
}

fn matching(model: &Model, holds: &Holds) -> Vec<u64> {
    let found = model.iter().filter(|(id, row)| holds(**id, row) == Some(true));
    found.map(|(id, _)| *id).collect()
}

/// The collection answers filters as a look at every row does.
fn check(
    docs: &Collection,
    model: &Model,
    random: &mut Random,
    trace: &[String],
    served: &mut HashSet<FilterAnswer>,
) {
    for _ in 0..12 {
        let (text, holds) = condition(random, 2);
        let expected = matching(model, &holds);
        let context = || format!("{text}\n{}", trace.join("\n"));
        assert_eq!(docs.count(&text).unwrap(), expected.len() as u64, "{}", context());
        let scan = docs.scan(ScanOptions::new().filter(&text)).unwrap();
        let found: Vec<u64> = scan
            .flat_map(|records| records.unwrap().ids)
            .map(|id| match id {
                nearfield::Id::U64(id) => id,
                nearfield::Id::Utf8(id) => panic!("{id:?} is no number"),
            })
            .collect();
        assert_eq!(found, expected, "{}", context());
        let (text, _) = condition(random, 1);
        let explained = docs.search(&[0.0_f32]).filter(&text).explain().unwrap();
        served.extend(explained.filter.unwrap().served.into_iter().map(|(_, by)| by));
    }
}

fn open(scratch: &Scratch) -> Database {
    let mut settings = Settings::default();
    settings.durability = Durability::None;
    settings.compaction = false;
    OpenOptions::new().settings(settings).open(scratch.path()).unwrap()
}

#[test]
fn filters_answered_by_indexes_find_what_a_look_at_every_row_finds() {
    let mut served = HashSet::new();
    for seed in 0..4 {
        let mut random = Random::new(seed + 40);
        let scratch = Scratch::new();
        let mut db = open(&scratch);
        let mut docs = db.collection("docs", schema()).unwrap();
        let mut model = Model::new();
        let mut trace = vec![format!("seed {seed}")];
        for step in 0..16 {
            match if step == 0 { 0 } else { random.below(7) } {
                0 | 1 => {
                    let count = if step == 0 { 2_500 } else { random.below(400) + 1 };
                    let written: Model =
                        (0..count).map(|_| (random.below(3_000), row(&mut random))).collect();
                    let ids: Vec<u64> = written.keys().copied().collect();
                    let rows: Vec<&Row> = written.values().collect();
                    docs.upsert(&ids, vec![0.0_f32; ids.len()], &batch(&rows)).unwrap();
                    trace.push(format!("upsert {} rows", ids.len()));
                    model.extend(written);
                    if step == 0 {
                        // Rows in memory have no index.
                        docs.compact().unwrap();
                    }
                }
                2 => {
                    let ids: Vec<u64> = (0..30).map(|_| random.below(3_000)).collect();
                    let value = row(&mut random);
                    docs.update(&ids, &batch(&vec![&value; ids.len()])).unwrap();
                    trace.push(format!("update {ids:?} {value:?}"));
                    for id in ids {
                        model.entry(id).and_modify(|row| *row = value.clone());
                    }
                }
                3 => {
                    let (text, holds) = condition(&mut random, 1);
                    let value = row(&mut random);
                    let values = batch(&[&value]).project(&[0, 4, 7]).unwrap();
                    trace.push(format!("update where {text} {value:?}"));
                    let found = matching(&model, &holds);
                    let updated = docs.update_where(&text, &values).unwrap();
                    assert_eq!(updated, found.len() as u64, "{}", trace.join("\n"));
                    for id in found {
                        let row = model.get_mut(&id).unwrap();
                        (row.many, row.s) = (value.many, value.s.clone());
                        row.tags.clone_from(&value.tags);
                    }
                }
                4 => {
                    let (text, holds) = condition(&mut random, 1);
                    let text = format!("({text}) AND id < 500");
                    let before = model.len();
                    model.retain(|id, row| *id >= 500 || holds(*id, row) != Some(true));
                    trace.push(format!("delete where {text}"));
                    let deleted = docs.delete_where(&text).unwrap();
                    assert_eq!(deleted, (before - model.len()) as u64, "{}", trace.join("\n"));
                }
                5 => {
                    docs.compact().unwrap();
                    trace.push("compact".into());
                }
                _ => {
                    db.close().unwrap();
                    db = open(&scratch);
                    docs = db.open_collection("docs").unwrap();
                    trace.push("reopen".into());
                }
            }
            check(&docs, &model, &mut random, &trace, &mut served);
        }
        docs.compact().unwrap();
        assert!(docs.verify().unwrap().problems.is_empty());
    }
    use FilterAnswer::{BitmapIndex, Column, SortedIndex, Zones};
    assert!([BitmapIndex, Column, SortedIndex, Zones].iter().all(|by| served.contains(by)));
}

#[test]
fn what_indexes_find_for_thousands_of_conditions_is_not_kept_all_at_once() {
    const ROWS: u64 = 200_000;
    let scratch = Scratch::new();
    let db = open(&scratch);
    let docs = db.collection("docs", schema()).unwrap();
    let many = |id: u64| (id * 7_919 % 1_000_003) as i64;
    let rows: Vec<Row> =
        (0..ROWS).map(|id| Row { many: Some(many(id)), ..Row::default() }).collect();
    let ids: Vec<u64> = (0..ROWS).collect();
    docs.upsert(&ids, vec![0.0_f32; ids.len()], &batch(&rows.iter().collect::<Vec<_>>())).unwrap();
    docs.compact().unwrap();
    // Bits of all rows for each condition would be 75 MB.
    let range = |at: i64| format!("many BETWEEN {} AND {}", at * 310, at * 310 + 9);
    let text: Vec<String> = (0..3_000).map(range).collect();
    let inside = |id: &u64| many(*id) % 310 <= 9 && many(*id) / 310 < 3_000;
    let explained = docs.search(&[0.0_f32]).k(1).filter(text.join(" OR ")).explain().unwrap();
    let filter = explained.filter.unwrap();
    assert_eq!(filter.matching_rows, ids.iter().filter(|id| inside(id)).count() as u64);
    let by: HashSet<FilterAnswer> = filter.served.iter().map(|(_, by)| *by).collect();
    assert!([FilterAnswer::SortedIndex, FilterAnswer::Column].iter().all(|way| by.contains(way)));
}

#[test]
fn an_index_answers_where_it_can_and_says_so() {
    use FilterAnswer::{BitmapIndex, Column, Lookup, Remembered, SortedIndex, Zones};
    const ROWS: u64 = 9_000;
    let scratch = Scratch::new();
    let db = open(&scratch);
    let docs = db.collection("docs", schema()).unwrap();
    let made = |id: u64| Row {
        many: Some((id * 7_919 % 1_000_003) as i64),
        x: (id % 9 > 0).then_some((id * 31 % 8_999) as f64),
        word: Some(["a", "ab", "b"][(id % 3) as usize].to_owned()),
        flag: Some(id % 2 == 0),
        tags: Some(vec![Some(format!("tag {}", id % 200))]),
        ..Row::default()
    };
    let rows: Vec<Row> = (0..ROWS).map(made).collect();
    let ids: Vec<u64> = (0..ROWS).collect();
    docs.upsert(&ids, vec![0.0_f32; ids.len()], &batch(&rows.iter().collect::<Vec<_>>())).unwrap();
    let served = |filter: &str| -> Vec<(String, FilterAnswer)> {
        docs.search(&[0.0_f32]).k(1).filter(filter).explain().unwrap().filter.unwrap().served
    };
    assert_eq!(served("many < 100"), [("many".to_owned(), Column)], "rows in memory have none");
    docs.compact().unwrap();
    let cases = [
        ("many = 7919", "many", SortedIndex),
        ("many BETWEEN 100 AND 900", "many", SortedIndex),
        ("many IN (7919, 15838, 1, 2, 3, 4, 5, 6, 7, 8, 9)", "many", SortedIndex),
        ("x > 8990", "x", SortedIndex),
        ("word LIKE '%b'", "word", BitmapIndex),
        ("tags HAS 'tag 7'", "tags", BitmapIndex),
        ("never IS NULL", "never", Zones),
        ("flag", "flag", BitmapIndex),
        ("many < -5", "many", SortedIndex),
        ("many < 900000", "many", Column),
        ("id = 3", "id", Lookup),
    ];
    for (filter, column, by) in cases {
        assert_eq!(served(filter), [(column.to_owned(), by)], "{filter}");
        assert_eq!(served(filter), [(column.to_owned(), Remembered)], "{filter}");
    }
    let both = served("many < 5000 AND x > 100");
    assert_eq!(both, [("many".to_owned(), SortedIndex), ("x".to_owned(), Column)]);
}
