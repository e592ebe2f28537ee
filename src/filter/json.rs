//! Dictionaries in the style of Chroma and MongoDB to filters.

use serde_json::{Map, Value as Json};

use super::ast::{Comparison, Filter, Node, Op, Value};
use super::bind::MAX_DEPTH;
use super::failure::{Failure, meant, short};

/// Operators of a column.
const COLUMN: [&str; 22] = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$between",
    "$exists",
    "$like",
    "$nlike",
    "$ilike",
    "$nilike",
    "$starts_with",
    "$prefix",
    "$contains",
    "$not_contains",
    "$has",
    "$has_any",
    "$has_all",
    "$not",
];
/// Bytes of the name of a column in a hint, about.
const SHOWN_NAME: usize = 60;
/// Operators between filters.
const LOGIC: [&str; 4] = ["$and", "$or", "$nor", "$not"];

type Parsed = Result<Filter, Failure>;

pub(super) fn parse(json: &Json) -> Parsed {
    filter(json, &Path { above: None, key: "" }, 0)
}

/// Where a value stands.
struct Path<'a> {
    above: Option<&'a Self>,
    key: &'a str,
}

impl Path<'_> {
    fn fail(&self, message: impl AsRef<str>) -> Failure {
        let mut keys = Vec::new();
        let mut path = Some(self);
        while let Some(here) = path {
            if !here.key.is_empty() {
                keys.push(short(here.key));
            }
            path = here.above;
        }
        keys.reverse();
        // The innermost ones tell the place.
        let from = keys.len().saturating_sub(8);
        let place =
            if keys.is_empty() { String::new() } else { format!("{}: ", keys[from..].join(".")) };
        Failure::new(format!("{place}{}", message.as_ref()))
    }

    /// Dictionaries are put together from parts, all of which may be missing: that must not mean every
    /// row to a deletion.
    fn nothing(&self) -> Failure {
        self.fail("no condition is given").hint(
            "leave the filter out to find every row; a write to every row is asked for by the text \
             \"TRUE\" in place of a dictionary",
        )
    }
}

fn filter(json: &Json, path: &Path<'_>, depth: usize) -> Parsed {
    if depth > MAX_DEPTH {
        return Err(path.fail(format!("filters are nested more than {MAX_DEPTH} deep")));
    }
    let Json::Object(object) = json else {
        return Err(path
            .fail(format!("expected an object, given {}", kind(json)))
            .hint("a filter is written as {\"column\": {\"$gte\": 2019}}"));
    };
    if object.is_empty() {
        return Err(path.nothing());
    }
    let mut parts = Vec::with_capacity(object.len());
    for (key, value) in object {
        let here = Path { above: Some(path), key };
        parts.push(match key.as_str() {
            "$and" => joined(value, &here, depth, Node::And)?,
            "$or" => joined(value, &here, depth, Node::Or)?,
            "$nor" => joined(value, &here, depth, Node::Or)?.not(),
            "$not" => filter(value, &here, depth + 1)?.not(),
            unknown if unknown.starts_with('$') => {
                let failure = here.fail("no operator between filters");
                return Err(failure.hint(meant(unknown, LOGIC.into_iter().chain(COLUMN))));
            }
            column => match value {
                Json::Object(operators) => column_filter(column, operators, &here)?,
                value => compare(column, Comparison::Equal, value, &here)?,
            },
        });
    }
    Ok(Filter::joined(parts, Node::And))
}

fn joined(json: &Json, path: &Path<'_>, depth: usize, node: fn(usize) -> Node) -> Parsed {
    let parts = array(json, path)?;
    if parts.is_empty() {
        return Err(path.nothing());
    }
    let parts: Vec<_> =
        parts.iter().map(|part| filter(part, path, depth + 1)).collect::<Result<_, _>>()?;
    Ok(Filter::joined(parts, node))
}

/// The operators of one column, all of which have to agree.
fn column_filter(column: &str, operators: &Map<String, Json>, path: &Path<'_>) -> Parsed {
    if operators.is_empty() {
        return Err(path.fail("no operator is given").hint("write {\"$eq\": value}"));
    }
    let mut parts = Vec::with_capacity(operators.len());
    for (key, value) in operators {
        let here = Path { above: Some(path), key };
        parts.push(match (key.as_str(), value) {
            // One level: an opposite of an opposite is written without either.
            ("$not", Json::Object(inner)) if !inner.contains_key("$not") => {
                column_filter(column, inner, &here)?.not()
            }
            ("$not", _) => return Err(here.fail("$not takes an object of other operators")),
            _ => condition(column, key, value, &here)?,
        });
    }
    Ok(Filter::joined(parts, Node::And))
}

fn condition(column: &str, operator: &str, json: &Json, path: &Path<'_>) -> Parsed {
    let test = |op| Ok(Filter::test(column, op));
    let like = |ignore_case| {
        let pattern = text(json, path)?;
        Ok(Filter::test(column, Op::Like { pattern, escape: None, ignore_case }))
    };
    match operator {
        "$eq" => compare(column, Comparison::Equal, json, path),
        "$ne" => compare(column, Comparison::NotEqual, json, path),
        "$gt" => compare(column, Comparison::Greater, json, path),
        "$gte" => compare(column, Comparison::GreaterEqual, json, path),
        "$lt" => compare(column, Comparison::Less, json, path),
        "$lte" => compare(column, Comparison::LessEqual, json, path),
        "$in" => test(Op::In(values(json, path)?.into())),
        "$nin" => test(Op::In(values(json, path)?.into())).map(Filter::not),
        "$between" => match <[Value; 2]>::try_from(values(json, path)?) {
            Ok([low, high]) if [&low, &high].contains(&&Value::Null) => Err(unordered(path)),
            Ok([low, high]) => test(Op::Between(low, high)),
            Err(values) => {
                Err(path.fail(format!("$between takes two values, given {}", values.len())))
            }
        },
        "$exists" => match json {
            Json::Bool(true) => test(Op::Null).map(Filter::not),
            Json::Bool(false) => test(Op::Null),
            other => Err(path.fail(format!("$exists takes a bool, given {}", kind(other)))),
        },
        "$like" => like(false),
        "$nlike" => like(false).map(Filter::not),
        "$ilike" => like(true),
        "$nilike" => like(true).map(Filter::not),
        "$starts_with" | "$prefix" => test(Op::StartsWith(text(json, path)?)),
        "$contains" => test(Op::Contains(text(json, path)?)),
        "$not_contains" => test(Op::Contains(text(json, path)?)).map(Filter::not),
        "$has" => test(Op::HasAny([text(json, path)?].into())),
        "$has_any" => test(Op::HasAny(texts(json, path)?.into())),
        "$has_all" => test(Op::HasAll(texts(json, path)?.into())),
        unknown => {
            let failure = path.fail("no operator of a column");
            Err(failure.hint(match unknown.starts_with('$') {
                true => meant(unknown, COLUMN.into_iter()),
                false => without_sign(column, unknown, json),
            }))
        }
    }
}

/// What a key without a `$` was meant for: an operator, or a value within a dictionary, whose column is
/// named `outer.inner`.
fn without_sign(column: &str, key: &str, json: &Json) -> String {
    if let Some(operator) = COLUMN.iter().find(|operator| operator.strip_prefix('$') == Some(key)) {
        return format!("did you mean {operator}?");
    }
    let mut name = format!("{column}.{key}");
    let mut value = json;
    while let Json::Object(object) = value
        && let Some((key, inner)) = object.iter().next().filter(|(key, _)| !key.starts_with('$'))
        && name.len() < SHOWN_NAME
    {
        name = format!("{name}.{key}");
        value = inner;
    }
    format!("a value within a dictionary is a column of its own: write {{\"{}\": …}}", short(&name))
}

fn compare(column: &str, comparison: Comparison, json: &Json, path: &Path<'_>) -> Parsed {
    match (value(json, path)?, comparison) {
        (Value::Null, Comparison::Equal) => Ok(Filter::test(column, Op::Null)),
        (Value::Null, Comparison::NotEqual) => Ok(Filter::test(column, Op::Null).not()),
        (Value::Null, _) => Err(unordered(path)),
        (value, comparison) => Ok(Filter::test(column, Op::Compare(comparison, value))),
    }
}

/// Dictionaries are put together from variables, some of which may not be set: such a limit would find
/// nothing and say nothing.
fn unordered(path: &Path<'_>) -> Failure {
    path.fail("null is neither smaller nor larger than anything").hint(
        "leave the condition out if there is no limit; rows without a value are found by \
         {\"$eq\": null}, in text by IS NULL",
    )
}

fn value(json: &Json, path: &Path<'_>) -> Result<Value, Failure> {
    match json {
        Json::Null => Ok(Value::Null),
        Json::Bool(value) => Ok(Value::Bool(*value)),
        Json::Number(number) => match (number.as_i128(), number.as_f64()) {
            (Some(number), _) => Ok(Value::Int(number)),
            (None, Some(number)) => Ok(Value::Float(number)),
            (None, None) => Err(path.fail("a number that cannot be read")),
        },
        Json::String(text) => Ok(Value::Text(text.as_str().into())),
        Json::Array(_) | Json::Object(_) => {
            let failure = path.fail(format!("expected a value, given {}", kind(json)));
            Err(failure
                .hint("one of several is {\"$in\": [1, 2]}, lists are asked by $has_any, $has_all"))
        }
    }
}

fn values(json: &Json, path: &Path<'_>) -> Result<Vec<Value>, Failure> {
    array(json, path)?.iter().map(|item| value(item, path)).collect()
}

fn text(json: &Json, path: &Path<'_>) -> Result<Box<str>, Failure> {
    match json {
        Json::String(text) => Ok(text.as_str().into()),
        other => Err(path.fail(format!("expected a string, given {}", kind(other)))),
    }
}

fn texts(json: &Json, path: &Path<'_>) -> Result<Vec<Box<str>>, Failure> {
    array(json, path)?.iter().map(|item| text(item, path)).collect()
}

fn array<'a>(json: &'a Json, path: &Path<'_>) -> Result<&'a [Json], Failure> {
    match json {
        Json::Array(items) => Ok(items),
        other => Err(path.fail(format!("expected an array, given {}", kind(other)))),
    }
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
