//! A filter meets the columns of a collection: names are found, types agree, and what is left is
//! two-valued.
//!
//! Three-valued logic needs no third value here. A `NOT` is carried down to the conditions below it
//! (exchanging AND and OR on the way), and each condition is asked for the rows where it is true, or
//! for those where it is false: rows where it is unknown are in neither.

use super::ast::{Comparison, Filter, Node, Op, Test, Value};
use super::cancel::Cancel;
use super::check::{Check, Domain, KeySet, TextSet, exact_float, float_bits, whole_number};
use super::failure::{Failure, meant, short};
use super::like::{Pattern, Simple};
use super::rule::Rule;
use crate::error::Result;
use crate::types::{Column, DataType, Id, IdType, time};

/// Most levels of AND, OR and NOT, and of brackets.
pub(super) const MAX_DEPTH: usize = 256;

/// What to do about NaN.
pub(super) const NO_NAN: &str =
    "NaN is equal to nothing, and neither smaller nor larger; leave the condition out";

/// The name that stands for the id of the row.
const ID: &str = "id";

/// A filter over the columns of one schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) rule: Rule,
    /// What the rule reads, by the numbers it uses.
    pub(crate) columns: Vec<BoundColumn>,
    /// Ends an evaluation early.
    pub(super) cancel: Cancel,
}

impl Bound {
    /// Ids without which no row is found, where that is plain and they are at most so many: rows with other
    /// ids need no look.
    pub(crate) fn ids(&self, most: usize) -> Option<Vec<Id>> {
        let rules = match &self.rule {
            Rule::All(rules) => rules.as_slice(),
            rule => std::slice::from_ref(rule),
        };
        let lists = rules.iter().filter_map(|rule| match rule {
            Rule::Check { column, check, wanted: true }
                if matches!(self.columns[*column], BoundColumn::Id(_)) =>
            {
                check.all(most)
            }
            _ => None,
        });
        lists.min_by_key(Vec::len)
    }

    /// About how much memory its conditions take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.rule.memory_bytes()
    }
}

/// What a filter reads of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BoundColumn {
    Id(IdType),
    Attribute(Column),
}

impl BoundColumn {
    /// Its name in filters.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Id(_) => ID,
            Self::Attribute(column) => &column.name,
        }
    }
}

impl Filter {
    /// This filter over `columns`, and over ids of `id_type` if there is any row.
    ///
    /// # Errors
    /// `Error::Filter` for a text that is no filter, an unknown column or a type that does not agree.
    pub(crate) fn bind(&self, columns: &[Column], id_type: Option<IdType>) -> Result<Bound> {
        if let Some(failure) = &self.failure {
            return Err(failure.failure.clone().into());
        }
        let polarities = polarities(&self.nodes)?;
        let mut binder = Binder { known: columns, id_type, columns: Vec::new() };
        let mut rules: Vec<Rule> = Vec::new();
        for (node, negated) in self.nodes.iter().zip(polarities) {
            let rule = match node {
                Node::Always(value) => Rule::Always(*value != negated),
                Node::Test(test) => binder.test(test, negated)?,
                Node::Not => continue,
                Node::And(count) | Node::Or(count) => {
                    let children = rules.split_off(rules.len().saturating_sub(*count));
                    Rule::of(children, matches!(node, Node::And(_)) != negated)
                }
            };
            rules.push(rule);
        }
        let rule = rules.pop().unwrap_or(Rule::Always(true));
        Ok(Bound { rule, columns: binder.columns, cancel: Cancel::default() })
    }
}

/// Of each node whether its opposite is meant.
fn polarities(nodes: &[Node]) -> Result<Vec<bool>, Failure> {
    let mut polarities = vec![false; nodes.len()];
    // Of each parent the children to come, from the last to the first, and whether they are negated.
    let mut parents: Vec<(usize, bool)> = Vec::new();
    for (node, polarity) in nodes.iter().zip(&mut polarities).rev() {
        while matches!(parents.last(), Some((0, _))) {
            parents.pop();
        }
        let negated = parents.last().is_some_and(|(_, negated)| *negated);
        if let Some((children, _)) = parents.last_mut() {
            *children -= 1;
        }
        *polarity = negated;
        match node {
            Node::Always(_) | Node::Test(_) => {}
            Node::Not => parents.push((1, !negated)),
            Node::And(count) | Node::Or(count) => parents.push((*count, negated)),
        }
        if parents.len() > MAX_DEPTH {
            return Err(Failure::new(format!(
                "AND, OR and NOT are nested more than {MAX_DEPTH} deep"
            ))
            .hint("IN, or one AND of many conditions, nests nothing"));
        }
    }
    Ok(polarities)
}

struct Binder<'a> {
    known: &'a [Column],
    id_type: Option<IdType>,
    /// Columns in use.
    columns: Vec<BoundColumn>,
}

/// What kind of values a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Whole(Domain),
    Time,
    Float,
    Text,
    List,
    Sparse,
}

/// What a condition is made into: `None` when it is unknown in every row.
type Made = std::result::Result<Option<Check>, Failure>;

impl Binder<'_> {
    fn test(&mut self, test: &Test, negated: bool) -> Result<Rule, Failure> {
        let column = self.column(test)?;
        let (kind, type_name) = kind(&self.columns[column]);
        let context = Context { test, kind, type_name };
        let wanted = !negated;
        let made = match &test.op {
            Op::Null => return Ok(Rule::Null { column, wanted }),
            // Nothing is in an empty list, whatever it is.
            Op::In(values) if values.is_empty() => return Ok(Rule::Always(negated)),
            Op::Between(low, high) => {
                let ends = [(Comparison::GreaterEqual, low), (Comparison::LessEqual, high)];
                let mut rules = Vec::new();
                for (comparison, value) in ends {
                    let check = context.compare(comparison, value)?;
                    rules.push(rule(column, check, wanted));
                }
                return Ok(Rule::of(rules, wanted));
            }
            Op::In(values) => {
                let check = context.is_in(values)?;
                // A null in the list may be equal to what is not found.
                let unknown = negated && values.contains(&Value::Null);
                Some(check).filter(|_| !unknown)
            }
            Op::Compare(Comparison::NotEqual, value) => {
                let check = context.compare(Comparison::Equal, value)?;
                return Ok(rule(column, check, negated));
            }
            Op::Compare(comparison, value) => context.compare(*comparison, value)?,
            op => Some(context.other(op)?),
        };
        Ok(rule(column, made, wanted))
    }

    /// The number of the column of a condition.
    fn column(&mut self, test: &Test) -> Result<usize, Failure> {
        let name = test.column.as_ref();
        let found = match self.known.iter().find(|column| column.name == name) {
            Some(column) => BoundColumn::Attribute(column.clone()),
            None if name == ID => {
                // Before the first row the ids are what they are compared with.
                let guess = if asks_numbers(&test.op) { IdType::U64 } else { IdType::Utf8 };
                BoundColumn::Id(self.id_type.unwrap_or(guess))
            }
            None => {
                let names = self.known.iter().map(|column| column.name.as_str());
                let failure = Failure::new(format!("there is no column {:?}", short(name)));
                let hint = match meant(name, names.chain([ID])) {
                    hint if hint.is_empty() => self.listed(),
                    hint => hint,
                };
                return Err(point(failure.hint(hint), test, true));
            }
        };
        if let Some(index) = self.columns.iter().position(|known| *known == found) {
            return Ok(index);
        }
        self.columns.push(found);
        Ok(self.columns.len() - 1)
    }

    fn listed(&self) -> String {
        const LISTED: usize = 10;
        let names = self.known.iter().take(LISTED).map(|column| column.name.as_str()).chain([ID]);
        format!("there are {}", names.collect::<Vec<_>>().join(", "))
    }
}

/// Whether the first value that is known is a number.
fn asks_numbers(op: &Op) -> bool {
    let is_known = |value: &&Value| **value != Value::Null;
    let first = match op {
        Op::Compare(_, value) => Some(value),
        Op::Between(low, high) => [low, high].into_iter().find(is_known),
        Op::In(values) => values.iter().find(is_known),
        _ => None,
    };
    matches!(first, Some(Value::Int(_) | Value::Float(_)))
}

fn rule(column: usize, check: Option<Check>, wanted: bool) -> Rule {
    check.map_or(Rule::Always(false), |check| Rule::Check { column, check, wanted })
}

fn kind(column: &BoundColumn) -> (Kind, String) {
    match column {
        BoundColumn::Id(IdType::U64) => (Kind::Whole(Domain::Unsigned), "u64".into()),
        BoundColumn::Id(IdType::Utf8) => (Kind::Text, "utf8".into()),
        BoundColumn::Attribute(column) => {
            let kind = match column.data_type {
                DataType::Bool => Kind::Bool,
                DataType::Int64 => Kind::Whole(Domain::Signed),
                DataType::Float64 => Kind::Float,
                DataType::Utf8 => Kind::Text,
                DataType::Timestamp => Kind::Time,
                DataType::ListUtf8 => Kind::List,
                DataType::Sparse => Kind::Sparse,
            };
            (kind, column.data_type.to_string())
        }
    }
}

/// Points at the column of a condition, or at what follows it.
fn point(failure: Failure, test: &Test, column: bool) -> Failure {
    match &test.spot.text {
        Some((text, name, behind)) => failure.at(text, if column { *name } else { *behind }),
        None => failure,
    }
}

/// A condition and the column it is about.
struct Context<'a> {
    test: &'a Test,
    kind: Kind,
    type_name: String,
}

impl Context<'_> {
    fn compare(&self, comparison: Comparison, value: &Value) -> Made {
        self.is_comparable(value)?;
        if *value == Value::Null {
            return Ok(None);
        }
        let value = &self.value(value)?;
        let check = match (self.kind, value) {
            (Kind::Bool, Value::Bool(value)) => match comparison {
                Comparison::Equal => Some(Check::Bool(*value)),
                _ => {
                    let failure = self.fail("bools have no order");
                    return Err(failure.hint("compare them by = or <>"));
                }
            },
            (Kind::Whole(domain), value) => Check::whole(comparison, value, domain),
            (Kind::Time, value) => Check::whole(comparison, value, Domain::Signed),
            (Kind::Float, value) => Check::float(comparison, value),
            (Kind::Text, Value::Text(text)) => Some(Check::text(comparison, text)),
            _ => None,
        };
        check.map_or_else(|| Err(self.mismatch(value)), |check| Ok(Some(check)))
    }

    fn is_in(&self, values: &[Value]) -> Result<Check, Failure> {
        let mut keys = Vec::new();
        let mut texts = Vec::new();
        for value in values {
            self.is_comparable(value)?;
            if *value == Value::Null {
                continue;
            }
            let value = self.value(value)?;
            match (self.kind, value) {
                (Kind::Whole(domain), value) => {
                    keys.extend(whole_number(&value).and_then(|number| domain.key(number)));
                }
                (Kind::Time, value) => {
                    let number = whole_number(&value);
                    keys.extend(number.and_then(|number| Domain::Signed.key(number)));
                }
                (Kind::Float, value) => keys.extend(exact_float(&value).and_then(float_bits)),
                (Kind::Bool, Value::Bool(value)) => keys.push(u64::from(value)),
                (Kind::Text, Value::Text(text)) => texts.push(text),
                (_, value) => return Err(self.mismatch(&value)),
            }
        }
        Ok(match self.kind {
            Kind::Text | Kind::List | Kind::Sparse => Check::TextIn(TextSet::new(texts)),
            Kind::Float => Check::FloatIn(KeySet::new(keys)),
            Kind::Bool | Kind::Whole(_) | Kind::Time => Check::KeyIn(KeySet::new(keys)),
        })
    }

    /// Refuses columns that are compared with nothing, NULL included.
    fn is_comparable(&self, value: &Value) -> Result<(), Failure> {
        match self.kind {
            Kind::List | Kind::Sparse => Err(self.mismatch(value)),
            _ => Ok(()),
        }
    }

    /// The value as columns of this kind have it; refuses what they cannot be compared with.
    fn value(&self, value: &Value) -> Result<Value, Failure> {
        let fits = match (self.kind, value) {
            (Kind::Whole(_) | Kind::Float, Value::Float(number)) if number.is_nan() => {
                return Err(self.fail("NaN cannot be asked for").hint(NO_NAN));
            }
            (Kind::Time, Value::Text(text)) => {
                return time::parse(text).map(Value::Timestamp).ok_or_else(|| {
                    self.fail(format!("'{}' is no time", short(text)))
                        .hint("times are written as '2024-02-29' or '2024-02-29T12:34:56+01:00'")
                });
            }
            (Kind::Bool, Value::Bool(_))
            | (Kind::Whole(_) | Kind::Float, Value::Int(_) | Value::Float(_))
            | (Kind::Time, Value::Timestamp(_))
            | (Kind::Text, Value::Text(_)) => true,
            _ => false,
        };
        if fits { Ok(value.clone()) } else { Err(self.mismatch(value)) }
    }

    /// Operators that are no comparison.
    fn other(&self, op: &Op) -> Result<Check, Failure> {
        match (op, self.kind) {
            (Op::Truth, Kind::Bool) => Ok(Check::Bool(true)),
            (Op::Truth, _) => {
                let failure =
                    self.fail(format!("{} is {}, no condition", self.name(), self.type_name));
                Err(failure.hint("compare it with a value; only bool columns stand alone"))
            }
            (Op::Like { pattern, escape, ignore_case }, Kind::Text) => {
                let like = Pattern::new(pattern, *escape, *ignore_case);
                let like = like.map_err(|message| self.fail(message))?;
                Ok(match like.simple() {
                    Some(Simple::Equal(text)) => Check::TextIn(TextSet::new([text.into()])),
                    Some(Simple::Prefix(text)) => Check::Prefix(text.into()),
                    None => Check::Like(like),
                })
            }
            (Op::StartsWith(prefix), Kind::Text) => Ok(Check::Prefix(prefix.clone())),
            (Op::Contains(part), Kind::Text) => Ok(Check::Like(Pattern::part(part))),
            (Op::Contains(value), Kind::List) => Ok(Check::HasAny(TextSet::new([value.clone()]))),
            (Op::HasAny(values), Kind::List) => {
                Ok(Check::HasAny(TextSet::new(values.iter().cloned())))
            }
            (Op::HasAll(values), Kind::List) => {
                let mut values = values.to_vec();
                values.sort_unstable();
                values.dedup();
                Ok(Check::HasAll(values))
            }
            (op, _) => {
                let (word, wanted) = match op {
                    Op::HasAny(_) | Op::HasAll(_) => ("HAS", "list_utf8"),
                    Op::StartsWith(_) => ("STARTS WITH", "utf8"),
                    Op::Contains(_) => ("CONTAINS", "utf8 and list_utf8"),
                    _ => ("LIKE", "utf8"),
                };
                let (name, type_name) = (self.name(), &self.type_name);
                let failure =
                    self.fail(format!("{name} is {type_name}, {word} asks columns of {wanted}"));
                Err(match self.kind {
                    Kind::List => failure.hint("lists are asked by HAS, HAS ANY and HAS ALL"),
                    Kind::Sparse => {
                        failure.hint("sparse vectors can only be asked whether they are NULL")
                    }
                    Kind::Text => failure.hint("text is asked by =, IN, LIKE and CONTAINS"),
                    Kind::Bool => failure.hint("bools stand alone, or are compared by = or <>"),
                    Kind::Whole(_) | Kind::Float | Kind::Time => {
                        failure.hint("numbers and times are asked by =, <, BETWEEN, IN")
                    }
                })
            }
        }
    }

    fn mismatch(&self, value: &Value) -> Failure {
        let given = match value {
            Value::Null => "NULL".to_owned(),
            Value::Bool(value) => format!("the bool {value}"),
            Value::Int(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Text(text) => format!("the text '{}'", short(text)),
            Value::Timestamp(micros) => format!("the time '{}'", time::format(*micros)),
        };
        let hint = match (self.kind, value) {
            (Kind::List, _) => "lists are asked by HAS, HAS ANY and HAS ALL",
            (Kind::Sparse, _) => "sparse vectors can only be asked whether they are NULL",
            (Kind::Whole(_) | Kind::Float, Value::Text(text)) => match text.parse::<f64>() {
                Ok(number) if number.is_nan() => NO_NAN,
                Ok(_) => "numbers are written without quotes",
                Err(_) => "compare it with a number",
            },
            (Kind::Whole(_) | Kind::Float, _) => "compare it with a number",
            (Kind::Text, _) => "text is written in single quotes",
            (Kind::Bool, _) => "bools are TRUE and FALSE",
            (Kind::Time, _) => "times are written as '2024-02-29' or '2024-02-29T12:34:56+01:00'",
        };
        let (name, type_name) = (self.name(), &self.type_name);
        self.fail(format!("{name} is {type_name} and cannot be compared with {given}")).hint(hint)
    }

    fn name(&self) -> String {
        match self.test.column.as_ref() {
            ID => "the id".to_owned(),
            name => format!("column {:?}", short(name)),
        }
    }

    fn fail(&self, message: impl Into<String>) -> Failure {
        point(Failure::new(message), self.test, false)
    }
}
