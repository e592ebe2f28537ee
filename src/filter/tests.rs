//! Filters against an evaluator written apart, row by row in three-valued logic; bad input.

use std::sync::Arc;

use proptest::prelude::*;

use super::like::Pattern;
use super::naive::{Row, Truth, and, array, cell, columns, compare, like, not, or};
use super::{Filter, Known, Value, col};
use crate::error::Error;
use crate::types::{Column, DataType, IdType, SparseVector};

fn found(filter: &Filter, rows: &[Row]) -> Result<Vec<bool>, Error> {
    super::naive::found(filter, rows, IdType::U64)
}

/// A condition in a form of its own, for the naive evaluator.
#[derive(Clone, Debug)]
enum Naive {
    Always(bool),
    Compare(&'static str, &'static str, Value),
    Between(&'static str, Value, Value),
    In(&'static str, Vec<Value>),
    Null(&'static str),
    Like(String, bool),
    Prefix(String),
    Part(String),
    Has(Vec<String>, bool),
    Flag,
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Naive {
    fn truth(&self, row: &Row) -> Truth {
        let text = |holds: &dyn Fn(&str) -> bool| row.s.as_deref().map(holds);
        match self {
            Self::Always(value) => Some(*value),
            Self::Compare(column, op, value) => compare(&cell(row, column), op, value),
            Self::Between(column, low, high) => {
                let cell = cell(row, column);
                and(compare(&cell, ">=", low), compare(&cell, "<=", high))
            }
            Self::In(column, values) => {
                let cell = cell(row, column);
                values.iter().map(|value| compare(&cell, "=", value)).fold(Some(false), or)
            }
            Self::Null(column) => Some(match *column {
                "tags" => row.tags.is_none(),
                "splade" => row.splade.is_none(),
                column => cell(row, column) == Value::Null,
            }),
            Self::Like(pattern, ignore_case) => {
                text(&|text| like(pattern, Some('\\'), *ignore_case, text))
            }
            Self::Prefix(prefix) => text(&|text| text.starts_with(prefix)),
            Self::Part(part) => text(&|text| text.contains(part)),
            Self::Has(values, all) => row.tags.as_ref().map(|tags| {
                let has = |value: &String| tags.iter().flatten().any(|tag| tag == value);
                if *all { values.iter().all(has) } else { values.iter().any(has) }
            }),
            Self::Flag => row.flag,
            Self::Not(inner) => not(inner.truth(row)),
            Self::And(parts) => parts.iter().map(|part| part.truth(row)).fold(Some(true), and),
            Self::Or(parts) => parts.iter().map(|part| part.truth(row)).fold(Some(false), or),
        }
    }

    fn filter(&self) -> Filter {
        let fold = |parts: &[Self], join: fn(Filter, Filter) -> Filter| {
            parts.iter().map(Self::filter).reduce(join).expect("parts")
        };
        match self {
            Self::Always(true) => Filter::always(),
            Self::Always(false) => Filter::never(),
            Self::Compare(column, op, value) => {
                let (column, value) = (col(*column), value.clone());
                match *op {
                    "=" => column.eq(value),
                    "<>" => column.ne(value),
                    "<" => column.lt(value),
                    "<=" => column.le(value),
                    ">" => column.gt(value),
                    _ => column.ge(value),
                }
            }
            Self::Between(column, low, high) => col(*column).between(low.clone(), high.clone()),
            Self::In(column, values) => col(*column).is_in(values.clone()),
            Self::Null(column) => col(*column).is_null(),
            Self::Like(pattern, true) => col("s").ilike_with_escape(pattern, '\\'),
            Self::Like(pattern, false) => col("s").like_with_escape(pattern, '\\'),
            Self::Prefix(prefix) => col("s").starts_with(prefix),
            Self::Part(part) => col("s").contains(part),
            Self::Has(values, true) => col("tags").has_all(values.clone()),
            Self::Has(values, false) => col("tags").has_any(values.clone()),
            Self::Flag => col("flag").is_true(),
            Self::Not(inner) => inner.filter().not(),
            Self::And(parts) => fold(parts, |a, b| a.and(b)),
            Self::Or(parts) => fold(parts, |a, b| a.or(b)),
        }
    }
}

fn ints() -> impl Strategy<Value = i64> {
    let big = 1i64 << 53;
    prop_oneof![
        -3..4i64,
        Just(big - 1),
        Just(big),
        Just(big + 1),
        Just(i64::MIN),
        Just(i64::MAX),
        Just(i64::MAX - 1),
        any::<i64>()
    ]
}

fn floats() -> impl Strategy<Value = f64> {
    let big = (1i64 << 53) as f64;
    prop_oneof![
        (-6..7i32).prop_map(|half| f64::from(half) / 2.0),
        Just(-0.0),
        Just(big),
        Just(big + 2.0),
        Just(i64::MAX as f64),
        Just(i64::MIN as f64),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(1e300),
        Just(5e-324),
    ]
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[aAbé%_' ]{0,4}", Just("Straße".to_owned()), Just("ÉA".to_owned())]
}

fn patterns() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[aAbéÉ' ]",
        Just("%".to_owned()),
        Just("_".to_owned()),
        Just("\\%".to_owned())
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let x = prop_oneof![4 => floats(), 1 => Just(f64::NAN)];
    let tags = prop::collection::vec(prop::option::weighted(0.9, "[ab]{1,2}"), 0..4);
    let row = (
        prop_oneof![0..5u64, Just(u64::MAX), Just(1 << 63)],
        prop::option::of(any::<bool>()),
        prop::option::of(ints()),
        prop::option::of(x),
        prop::option::of(words()),
        prop::option::of(-2..3i64),
        prop::option::of(tags),
        prop::option::of((0..3u32).prop_map(|index| SparseVector::new([index], [1.0]).unwrap())),
    );
    let row = row.prop_map(|(id, flag, n, x, s, t, tags, splade)| Row {
        id,
        flag,
        n,
        x,
        s,
        t,
        tags,
        splade,
    });
    prop::collection::vec(row, 0..150)
}

fn values(column: &'static str) -> BoxedStrategy<Value> {
    let numbers = || {
        prop_oneof![
            ints().prop_map(Value::from),
            floats().prop_map(Value::from),
            Just(Value::Int(u64::MAX.into())),
            Just(Value::Int(i128::MAX)),
            Just(Value::Int(i128::MIN)),
        ]
    };
    let value = match column {
        "flag" => any::<bool>().prop_map(Value::from).boxed(),
        "s" => words().prop_map(Value::from).boxed(),
        "t" => (-2..3i64).prop_map(Value::Timestamp).boxed(),
        _ => numbers().boxed(),
    };
    prop_oneof![9 => value, 1 => Just(Value::Null)].boxed()
}

fn leaf() -> impl Strategy<Value = Naive> {
    let column = || prop::sample::select(vec!["id", "n", "x", "s", "t"]);
    let op = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let compared = (column(), op).prop_flat_map(|(column, op)| {
        values(column).prop_map(move |value| Naive::Compare(column, op, value))
    });
    let flagged = (prop::sample::select(vec!["=", "<>"]), values("flag"))
        .prop_map(|(op, value)| Naive::Compare("flag", op, value));
    let between = column().prop_flat_map(|column| {
        (values(column), values(column))
            .prop_map(move |(low, high)| Naive::Between(column, low, high))
    });
    let member = prop::sample::select(vec!["id", "n", "x", "s", "t", "flag"]);
    let member = member.prop_flat_map(|column| {
        prop::collection::vec(values(column), 0..12).prop_map(move |list| Naive::In(column, list))
    });
    let null = prop::sample::select(vec!["id", "n", "x", "s", "t", "flag", "tags", "splade"]);
    prop_oneof![
        4 => compared,
        1 => flagged,
        1 => between,
        2 => member,
        1 => null.prop_map(Naive::Null),
        2 => (patterns(), any::<bool>()).prop_map(|(pattern, fold)| Naive::Like(pattern, fold)),
        1 => words().prop_map(Naive::Prefix),
        1 => words().prop_map(Naive::Part),
        2 => (prop::collection::vec("[ab]{1,2}", 0..3), any::<bool>())
            .prop_map(|(list, all)| Naive::Has(list, all)),
        1 => Just(Naive::Flag),
        1 => any::<bool>().prop_map(Naive::Always),
    ]
}

fn naive() -> impl Strategy<Value = Naive> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Naive::Not(inner.into())),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Naive::And),
            prop::collection::vec(inner, 1..4).prop_map(Naive::Or),
        ]
    })
}

proptest! {
    #[test]
    fn a_filter_finds_what_a_naive_evaluator_finds(naive in naive(), rows in rows()) {
        let filter = naive.filter();
        let expected: Vec<bool> = rows.iter().map(|row| naive.truth(row) == Some(true)).collect();
        // The other evaluator, which goes through the filter, is right as well.
        prop_assert_eq!(&super::naive::expected(&filter, &rows, IdType::U64), &expected, "{}", filter);
        let found = found(&filter, &rows).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(found, expected, "{}", filter);
    }

    #[test]
    fn the_text_of_a_filter_is_read_back_as_the_same(naive in naive()) {
        let filter = naive.filter();
        let text = filter.to_string();
        let back = Filter::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&back, &filter, "{}", text);
        prop_assert_eq!(back.to_string(), text);
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(
        text in "([a-z\"'(),<>=! 0-9.éA-]|AND|OR|NOT|IN|LIKE|HAS|NULL|BETWEEN){0,12}"
    ) {
        match Filter::parse(&text) {
            Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string()).expect("printed"), filter),
            Err(Error::Filter { position, message, .. }) => {
                prop_assert!(!message.is_empty());
                prop_assert!(position.is_none_or(|at| text.is_char_boundary(at)));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn the_three_spellings_mean_the_same() {
    use serde_json::json;
    for (text, json) in [
        ("n >= 2019", json!({"n": {"$gte": 2019}})),
        ("s = 'en'", json!({"s": "en"})),
        ("n > 1 AND n < 9", json!({"n": {"$gt": 1, "$lt": 9}})),
        (
            "n IN (1, 2) OR s NOT IN ('a')",
            json!({"$or": [{"n": {"$in": [1, 2]}}, {"s": {"$nin": ["a"]}}]}),
        ),
        ("NOT (flag = TRUE)", json!({"$not": {"flag": true}})),
        ("NOT (x <= 1.5)", json!({"x": {"$not": {"$lte": 1.5}}})),
        ("s IS NULL AND n IS NOT NULL", json!({"$and": [{"s": null}, {"n": {"$exists": true}}]})),
        ("s LIKE 'a%' AND s NOT ILIKE '_b'", json!({"s": {"$like": "a%", "$nilike": "_b"}})),
        ("s STARTS WITH 'a'", json!({"s": {"$prefix": "a"}})),
        ("s CONTAINS 'a'", json!({"s": {"$contains": "a"}})),
        ("n BETWEEN 1 AND 2.0", json!({"n": {"$between": [1, 2.0]}})),
        ("tags HAS 'a'", json!({"tags": {"$has": "a"}})),
        ("tags HAS ALL ['a', 'b']", json!({"tags": {"$has_all": ["a", "b"]}})),
        ("tags HAS ANY ('a', 'b')", json!({"tags": {"$has_any": ["a", "b"]}})),
        ("n <> 3", json!({"n": {"$ne": 3}})),
        ("not (n = 1 or n = 2)", json!({"$nor": [{"n": 1}, {"n": 2}]})),
        ("3 < n", json!({"n": {"$gt": 3}})),
    ] {
        let parsed = Filter::parse(text).expect(text);
        assert_eq!(parsed, Filter::from_json(&json).expect(text), "{text}");
        parsed.bind(&columns(), Some(IdType::U64)).expect(text);
    }
}

/// The text of the error, with the place marked.
fn refusal(text: &str) -> String {
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => return error.to_string(),
    };
    match filter.bind(&columns(), Some(IdType::U64)) {
        Ok(_) => panic!("{text} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn bad_texts_are_answered_with_the_place_and_what_was_meant() {
    for (text, parts) in [
        ("", &["empty"][..]),
        ("  ", &["empty"]),
        ("year = 1", &["no column \"year\"", "column 1"]),
        ("tag HAS 'a'", &["did you mean tags?", "column 1"]),
        ("n = 1 AMD n = 2", &["found AMD", "column 7; did you mean AND?"]),
        ("s LIK 'a'", &["did you mean LIKE?", "column 3"]),
        ("s = 'abc", &["has no end", "column 5"]),
        ("s = \"abc\"", &["text is written 'abc'"]),
        ("s = abc", &["text is written 'abc'"]),
        ("n = 'x'", &["column \"n\" is int64", "the text 'x'"]),
        ("n = '5'", &["without quotes"]),
        ("s = 5", &["is utf8", "the number 5", "single quotes"]),
        ("flag > TRUE", &["no order"]),
        ("n", &["no condition"]),
        ("t > 5", &["is timestamp", "the number 5", "2024-02-29"]),
        ("t > 'yesterday'", &["no time"]),
        ("t > TIMESTAMP 'x'", &["no time"]),
        ("t > TIMESTAMP '2024'", &["'2024' is no time", "2024-02-29"]),
        ("DATE '20240229' < t", &["'20240229' is no time"]),
        ("t IN (TIMESTAMP '1709164800')", &["'1709164800' is no time"]),
        ("tags = NULL", &["list_utf8 and cannot be compared with NULL", "HAS"]),
        ("tags IN (NULL)", &["list_utf8 and cannot be compared with NULL", "HAS"]),
        ("tags NOT BETWEEN NULL AND NULL", &["list_utf8 and cannot be compared with NULL"]),
        ("tags = 'a'", &["list_utf8", "HAS"]),
        ("tags IN ('a')", &["list_utf8", "HAS"]),
        ("s HAS 'a'", &["is utf8", "HAS asks columns of list_utf8"]),
        ("n LIKE 'a'", &["is int64", "LIKE asks columns of utf8"]),
        ("id = 'a'", &["the id is u64"]),
        ("(n = 1", &["opens here", "column 1"]),
        ("n = 1)", &["closes nothing", "column 6"]),
        ("n = 1 AND", &["found the end", "column 10"]),
        ("n IN 1", &["list in brackets"]),
        ("n IN (1 2)", &["expected , or )"]),
        ("n BETWEEN 1 OR 2", &["expected AND"]),
        ("n IS 5", &["expected NULL"]),
        ("n & 1", &["write AND"]),
        ("n = 1x", &["1x is no number"]),
        ("n = NaN", &["expected a value", "NaN is equal to nothing"]),
        ("x < inf", &["expected a value", "1e999"]),
        ("s LIKE 'a\\' ESCAPE '\\'", &["nothing follows the escape"]),
        ("s LIKE 'a' ESCAPE 'ab'", &["one character"]),
        ("é = 1", &["no column"]),
        ("a-b = 1", &["quoted by \""]),
    ] {
        let error = refusal(text);
        for part in parts {
            assert!(error.contains(part), "{text:?} gave {error:?}, not {part:?}");
        }
    }
    assert_eq!(
        refusal("n = 1 AND yaer = 2"),
        "filter: there is no column \"yaer\" at column 11; there are flag, n, x, s, t, tags, \
         splade, a \"b\", id\n  n = 1 AND yaer = 2\n            ^"
    );
}

#[test]
fn a_column_counts_characters_and_a_position_bytes() {
    let text = "s = 'é' AND yaer = 1";
    let shown = refusal(text);
    assert!(shown.contains("\"yaer\" at column 13;"), "{shown}");
    assert!(shown.ends_with("\n  s = 'é' AND yaer = 1\n              ^"), "{shown}");
    let filter = Filter::parse(text).expect("well formed");
    match filter.bind(&columns(), None).map(drop) {
        Err(Error::Filter { position, column, .. }) => {
            assert_eq!((position, column), (text.find("yaer"), Some(13)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(text.find("yaer"), Some(13), "é is two bytes");
}

#[test]
fn bad_dictionaries_are_answered_with_the_path() {
    use serde_json::json;
    for (json, parts) in [
        (json!([]), &["expected an object, given an array"][..]),
        (json!({"n": {"$gtt": 1}}), &["n.$gtt", "did you mean $gt?"]),
        (json!({"n": {"gt": 1}}), &["n.gt", "did you mean $gt?"]),
        (json!({"a": {"b": {"c": {"$gt": 1}}}}), &["a.b", "write {\"a.b.c\": …}"]),
        (json!({"$an": []}), &["$an", "did you mean $and?"]),
        (json!({"$and": [{"n": {"$in": 5}}]}), &["$and.n.$in: expected an array, given a number"]),
        (json!({"n": [1]}), &["given an array", "$in"]),
        (json!({"n": {}}), &["no operator is given"]),
        (json!({}), &["no condition is given", "leave the filter out", "\"TRUE\""]),
        (json!({"$and": []}), &["$and: no condition is given", "\"TRUE\""]),
        (json!({"$or": []}), &["$or: no condition is given"]),
        (json!({"$nor": []}), &["$nor: no condition is given"]),
        (json!({"$not": {}}), &["$not: no condition is given"]),
        (json!({"$and": [{"n": 1}, {}]}), &["$and: no condition is given"]),
        (json!({"n": {"$between": [1]}}), &["two values, given 1"]),
        (json!({"n": {"$gt": null}}), &["n.$gt: null is neither smaller nor larger", "IS NULL"]),
        (json!({"n": {"$gte": null}}), &["n.$gte: null is", "leave the condition out"]),
        (json!({"n": {"$not": {"$lt": null}}}), &["n.$not.$lt: null is", "{\"$eq\": null}"]),
        (json!({"n": {"$lte": f64::NAN}}), &["n.$lte: null is"]),
        (json!({"n": {"$between": [null, 1]}}), &["n.$between: null is"]),
        (json!({"n": {"$between": [1, null]}}), &["n.$between: null is"]),
        (json!({"n": {"$exists": 1}}), &["takes a bool"]),
        (json!({"s": {"$like": 1}}), &["expected a string"]),
        (json!({"n": {"$not": {"$not": {"$eq": 1}}}}), &["other operators"]),
    ] {
        let error = Filter::from_json(&json).expect_err("bad").to_string();
        for part in parts {
            assert!(error.contains(part), "{json} gave {error:?}, not {part:?}");
        }
    }
    assert!(Filter::from_json(&json!({"n": {"$eq": f64::NAN}})).is_ok(), "NaN is null in JSON");
    let null = Filter::from_json(&json!({"n": {"$ne": null}})).expect("with a value");
    assert_eq!(null, col("n").is_not_null());
    assert_ne!(col("n").eq(None::<i64>), col("n").is_null(), "as in SQL");
    let nan = col("x").lt(f64::NAN).bind(&columns(), None).expect_err("NaN").to_string();
    assert!(nan.contains("NaN is equal to nothing"), "{nan}");
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    let deep = "(".repeat(10_000) + "n = 1" + &")".repeat(10_000);
    assert!(refusal(&deep).contains("more than 256 deep"));
    let fine = "NOT (".repeat(200) + "n = 1" + &")".repeat(200);
    assert_eq!(Filter::parse(&fine).expect("200 levels"), col("n").eq(1));
    let mut built = col("n").eq(1);
    for _ in 0..100_000 {
        built = built.not().and(col("x").lt(1)).or(col("s").eq("a"));
    }
    let (copy, text) = (built.clone(), built.to_string());
    assert_eq!(copy, built);
    assert!(built.bind(&columns(), None).expect_err("deep").to_string().contains("256 deep"));
    assert!(refusal(&text).contains("256 deep"));
    let mut json = serde_json::json!({"n": 1});
    for _ in 0..1_000 {
        json = serde_json::json!({"$not": json});
    }
    assert!(Filter::from_json(&json).expect_err("deep").to_string().contains("256 deep"));
    // Chains are flat, however long.
    let chain = (0..10_000).map(|n| col("n").eq(n)).reduce(|a, b| a.or(b)).expect("conditions");
    let rows = [Row { n: Some(9_999), ..Row::default() }, Row::default()];
    assert_eq!(found(&chain, &rows).expect("flat"), [true, false]);
    assert_eq!(Filter::parse(&chain.to_string()).expect("long"), chain);
}

#[test]
fn a_million_values_and_a_megabyte_of_text_are_taken() {
    let list: Vec<String> = (0..1_000_000).map(|n| (n * 3).to_string()).collect();
    let filter = Filter::parse(&format!("n IN ({})", list.join(","))).expect("long list");
    let rows: Vec<Row> = (0..100).map(|n| Row { n: Some(n), ..Row::default() }).collect();
    let expected: Vec<bool> = (0..100).map(|n| n % 3 == 0).collect();
    assert_eq!(found(&filter, &rows).expect("numbers"), expected);
    let text = "a".repeat(1 << 20);
    let rows = [Row { s: Some(text.clone()), ..Row::default() }, Row::default()];
    assert_eq!(found(&col("s").eq(text.as_str()), &rows).expect("text"), [true, false]);
    let error = Filter::parse(&text).expect("a name").bind(&columns(), None).expect_err("unknown");
    assert!(error.to_string().len() < 1_000, "{error}");
    for text in [format!("s = {text}"), format!("s = \"{text}\"")] {
        let error = Filter::parse(&text).expect_err("no value").to_string();
        assert!(error.len() < 1_000, "{} bytes", error.len());
    }
    // Patterns that would be tried in exponentially many ways.
    let pattern = "%a".repeat(1_000) + "%b";
    let rows = [Row { s: Some("a".repeat(10_000)), ..Row::default() }];
    assert_eq!(found(&col("s").like(pattern), &rows).expect("pattern"), [false]);
}

/// The parts of `text` that a bound filter consists of.
fn bound(text: &str, id_type: Option<IdType>) -> super::Bound {
    Filter::parse(text).and_then(|filter| filter.bind(&columns(), id_type)).expect(text)
}

#[test]
fn alternatives_of_one_column_are_one_set() {
    for (apart, together) in [
        ("n = 1 OR n = 2 OR n IN (3, 4)", "n IN (1, 2, 3, 4)"),
        ("NOT (n = 1 OR n = 2)", "n NOT IN (1, 2)"),
        ("n <> 1 AND n <> 2", "n NOT IN (1, 2)"),
        ("x = 1 OR x = -0.0 OR x IN (2.5)", "x IN (1, 0, 2.5)"),
        ("s = 'a' OR s LIKE 'b' OR s IN ('c')", "s IN ('a', 'b', 'c')"),
        ("t = '2024-01-01' OR t = '2024-01-02'", "t IN ('2024-01-01', '2024-01-02')"),
        ("tags HAS 'a' OR tags HAS ANY ('b', 'c')", "tags HAS ANY ('a', 'b', 'c')"),
        ("id = 1 OR id = 2", "id IN (1, 2)"),
        ("(n = 1 OR n = 2) OR (n = 3)", "n IN (1, 2, 3)"),
        ("n = 1 OR n = 1.5 OR n = 2", "n IN (1, 2)"),
    ] {
        let id_type = Some(IdType::U64);
        assert_eq!(bound(apart, id_type), bound(together, id_type), "{apart}");
        assert_eq!(bound(apart, id_type).conditions(), 1, "{apart}");
    }
    // Not of one column, or not alternatives.
    for (text, conditions) in [
        ("n = 1 OR x = 2", 2),
        ("n = 1 AND n = 2", 1),
        ("n <> 1 OR n <> 2", 2),
        ("n = 1 OR n > 5 OR n = 2", 2),
        ("tags HAS 'a' AND tags HAS 'b'", 2),
        ("tags HAS 'a' OR tags HAS ALL ('b', 'c')", 2),
    ] {
        assert_eq!(bound(text, None).conditions(), conditions, "{text}");
    }
    let long = (0..100_000).map(|n| col("n").eq(3 * n)).reduce(|a, b| a.or(b)).expect("some");
    assert_eq!(long.bind(&columns(), None).expect("long").conditions(), 1);
}

#[test]
fn an_evaluation_ends_when_it_is_cancelled() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let flag = Arc::new(AtomicBool::new(false));
    let until = bound("n > 1 AND x < 2", None).until(Some(Arc::clone(&flag)));
    assert_eq!(until, bound("n > 1 AND x < 2", None), "means the same");
    let rows = [Row { n: Some(2), x: Some(3.0), ..Row::default() }];
    let mut read = 0;
    let mut evaluate = |stop: bool| {
        until.evaluate(1, &mut |_, _| Ok(Known::Open), &mut |column| {
            read += 1;
            flag.store(stop, Ordering::Relaxed);
            Ok(array(&rows, column))
        })
    };
    assert_eq!(evaluate(false).expect("not cancelled"), [0]);
    assert!(matches!(evaluate(true), Err(Error::Cancelled)), "after the first column");
    assert!(matches!(evaluate(true), Err(Error::Cancelled)), "at once");
    assert_eq!(read, 3, "two columns, one, none");
}

#[test]
fn before_the_first_row_ids_are_of_the_kind_that_is_asked_for() {
    for text in [
        "id IN (1, 2)",
        "id IN (NULL, 1)",
        "id BETWEEN 1 AND 5",
        "id BETWEEN NULL AND 5",
        "id > 1.5",
        "id NOT IN ('a', 'b')",
        "id LIKE 'a%'",
        "id IS NULL",
    ] {
        bound(text, None);
    }
    let mixed = Filter::parse("id IN (1, 'a')").expect("text").bind(&columns(), None);
    let mixed = mixed.expect_err("two kinds").to_string();
    assert!(mixed.contains("the id is u64 and cannot be compared with the text 'a'"), "{mixed}");
}

#[test]
fn times_that_iso_8601_has_no_text_for_are_read_back_and_no_others() {
    let far = Filter::parse("t > '2024-01-01'").expect("a time")
        & col("t").lt(Value::Timestamp(i64::MAX));
    assert_eq!(Filter::parse(&far.to_string()).expect("printed"), far);
    assert!(Filter::parse(&format!("t < TIMESTAMP '{}'", i64::MAX)).is_ok());
}

#[test]
fn an_escape_is_the_character_that_is_given_in_any_case() {
    let texts = ["x1", "X", "%", "y%", "xx"];
    let rows = texts.map(|s| Row { s: Some(s.to_owned()), ..Row::default() });
    for (text, expected) in [
        ("s ILIKE 'x%' ESCAPE 'X'", [true, true, false, false, true]),
        ("s ILIKE 'X%' ESCAPE 'X'", [false, false, true, false, false]),
        ("s ILIKE 'YX%' ESCAPE 'X'", [false, false, false, true, false]),
        ("s ILIKE 'XXx' ESCAPE 'X'", [false, false, false, false, true]),
    ] {
        assert_eq!(
            found(&Filter::parse(text).expect(text), &rows).expect(text),
            expected,
            "{text}"
        );
    }
}

#[test]
fn runs_of_free_characters_take_no_longer_than_the_text() {
    let text = "é".repeat(100_000);
    let rows = [
        Row { s: Some(text.clone() + "xy"), ..Row::default() },
        Row { s: Some(text), ..Row::default() },
    ];
    for (count, expected) in
        [(50_000, [true, false]), (100_000, [true, false]), (100_001, [false; 2])]
    {
        let pattern = format!("%{}x%_", "_".repeat(count));
        assert_eq!(found(&col("s").like(pattern), &rows).expect("pattern"), expected, "{count}");
    }
    let mixed = |count| refusal(&format!("s LIKE '%{}%'", "a_".repeat(count) + "a"));
    let error = mixed(600);
    assert!(error.contains("1201 characters between two %") && error.contains("1000"), "{error}");
    assert!(Filter::parse(&format!("s LIKE '{}%'", "a_".repeat(600))).is_ok());
    let anchored = "a_".repeat(600);
    for pattern in [format!("{anchored}%"), format!("%{anchored}")] {
        assert_eq!(found(&col("s").like(pattern), &rows).expect("anchored"), [false; 2]);
    }
}

#[test]
fn whole_numbers_that_no_float_is_are_equal_to_none() {
    let large = 2_f64.powi(127);
    let rows = [large, large.next_down(), -large, (-large).next_up()];
    let rows = rows.map(|x| Row { x: Some(x), ..Row::default() });
    for (filter, expected) in [
        (col("x").eq(i128::MAX), [false; 4]),
        (col("x").is_in([i128::MAX]), [false; 4]),
        (col("x").gt(i128::MAX), [true, false, false, false]),
        (col("x").ge(i128::MAX), [true, false, false, false]),
        (col("x").lt(i128::MAX), [false, true, true, true]),
        (col("x").eq(i128::MIN), [false, false, true, false]),
        (col("x").lt(i128::MIN), [false; 4]),
        (col("x").le(i128::MIN), [false, false, true, false]),
        (col("x").gt(i128::MIN), [true, true, false, true]),
    ] {
        assert_eq!(found(&filter, &rows).expect("numbers"), expected, "{filter}");
    }
}

#[test]
fn a_text_that_is_no_filter_is_printed_as_it_was_given() {
    let filter = Filter::from("n >");
    assert_eq!(filter.to_string(), "n >");
    assert_eq!(col("n").eq(1).and("n >").to_string(), "n >");
}

#[test]
fn nan_is_equal_to_nothing_and_found_by_negations() {
    let rows = [
        Row { x: Some(f64::NAN), ..Row::default() },
        Row { x: Some(0.0), ..Row::default() },
        Row::default(),
    ];
    for (text, expected) in [
        ("x = 0", [false, true, false]),
        ("x <> 0", [true, false, false]),
        ("x < 1", [false, true, false]),
        ("NOT x < 1", [true, false, false]),
        ("x NOT IN (0, 1, 2)", [true, false, false]),
        ("x IS NULL", [false, false, true]),
        ("x = -0.0", [false, true, false]),
    ] {
        assert_eq!(
            found(&Filter::parse(text).expect(text), &rows).expect(text),
            expected,
            "{text}"
        );
    }
}

#[test]
fn words_are_understood_in_any_case_and_names_are_quoted_where_needed() {
    let text = "n in (1) and s not like 'a''b%' escape '!' or \"a \"\"b\"\"\" is not null";
    let printed = Filter::parse(text).expect(text).to_string();
    let expected = "(n IN (1) AND s NOT LIKE 'a''b%' ESCAPE '!') OR \"a \"\"b\"\"\" IS NOT NULL";
    assert_eq!(printed, expected);
    let times = "t >= TIMESTAMP '2024-02-29T00:00:00Z'";
    assert_eq!(Filter::parse("t >= date '2024-02-29'").expect("a date").to_string(), times);
    let rows = [Row { t: Some(1), ..Row::default() }];
    let filter = Filter::parse("t > '1970-01-01' AND TIMESTAMP '1970-01-02' > t").expect("times");
    assert_eq!(found(&filter, &rows).expect("times"), [true]);
}

#[test]
fn ranges_of_one_column_under_and_become_one() {
    let bound = |text: &str| {
        let column = |name: &str, data_type| Column { name: name.into(), data_type, text: false };
        let columns = [
            column("n", DataType::Int64),
            column("x", DataType::Float64),
            column("s", DataType::Utf8),
        ];
        Filter::from(text).bind(&columns, None).expect("a filter")
    };
    for (several, one) in [
        ("n >= 3 AND n <= 7 AND n < 7", "n BETWEEN 3 AND 6"),
        ("n > 5 AND (n < 9 AND n > 7)", "n = 8"),
        ("n > 5 AND n < 2", "n BETWEEN 6 AND 1"),
        ("x > 1 AND x >= 1 AND x < 4 AND x <= 3", "x > 1 AND x <= 3"),
        ("s > 'a' AND s >= 'a' AND s < 'c' AND s <= 'd'", "s > 'a' AND s < 'c'"),
    ] {
        assert_eq!(bound(several).rule, bound(one).rule, "{several}");
        assert!(matches!(bound(several).rule, super::Rule::Check { .. }), "{several}");
    }
    assert_ne!(bound("s >= 'a' AND s < 'c'").rule, bound("s > 'a' AND s < 'c'").rule);
    assert_ne!(bound("n >= 3 OR n <= 7").rule, bound("n >= 3 AND n <= 7").rule);
}

#[test]
fn percents_one_behind_the_other_are_one() {
    let pattern = |text: &str| Pattern::new(text, Some('!'), false);
    assert_eq!(pattern("a%%%_%%b%%"), pattern("a%_%b%"));
    assert_eq!(pattern("%%"), pattern("%"));
    assert_ne!(pattern("%!%%"), pattern("%%"));
    let many = pattern(&"%".repeat(1 << 20)).unwrap();
    assert!(many.memory_bytes() < 1_000 && many.matches("", &mut String::new()));
}
