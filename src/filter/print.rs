//! Nodes to text, from the root on, with a stack instead of recursion.

use std::fmt::{self, Write};

use super::ast::{Node, Op, Test, Value};
use super::lex::is_plain;
use crate::types::time;

/// What is still to be written, the last first.
enum Step {
    /// The tree whose root is this node, in brackets if it joins others.
    Tree {
        root: usize,
        inside: bool,
    },
    Text(&'static str),
}

pub(super) fn print(nodes: &[Node], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let firsts = firsts(nodes);
    let Some(root) = nodes.len().checked_sub(1) else { return Ok(()) };
    let mut steps = vec![Step::Tree { root, inside: false }];
    while let Some(step) = steps.pop() {
        let (root, inside) = match step {
            Step::Text(text) => {
                out.write_str(text)?;
                continue;
            }
            Step::Tree { root, inside } => (root, inside),
        };
        match &nodes[root] {
            Node::Always(value) => out.write_str(if *value { "TRUE" } else { "FALSE" })?,
            Node::Test(test) => print_test(test, false, out)?,
            Node::Not => match nodes.get(root.wrapping_sub(1)) {
                Some(Node::Test(test)) if has_opposite(&test.op) => print_test(test, true, out)?,
                Some(Node::And(_) | Node::Or(_) | Node::Not) => {
                    out.write_str("NOT ")?;
                    steps.push(Step::Tree { root: root - 1, inside: true });
                }
                Some(_) => {
                    out.write_str("NOT (")?;
                    steps.push(Step::Text(")"));
                    steps.push(Step::Tree { root: root - 1, inside: false });
                }
                None => {}
            },
            Node::And(count) | Node::Or(count) => {
                let joint = if matches!(nodes[root], Node::And(_)) { " AND " } else { " OR " };
                if inside {
                    out.write_char('(')?;
                    steps.push(Step::Text(")"));
                }
                let mut end = root;
                for child in 0..*count {
                    let Some(root) = end.checked_sub(1) else { break };
                    if child > 0 {
                        steps.push(Step::Text(joint));
                    }
                    steps.push(Step::Tree { root, inside: true });
                    end = firsts[root];
                }
            }
        }
    }
    Ok(())
}

/// Of each node the first one of the tree that it is the root of.
pub(super) fn firsts(nodes: &[Node]) -> Vec<usize> {
    let mut firsts: Vec<usize> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let children = match node {
            Node::Always(_) | Node::Test(_) => 0,
            Node::Not => 1,
            Node::And(count) | Node::Or(count) => *count,
        };
        let mut first = index;
        for _ in 0..children {
            first = first.checked_sub(1).map_or(0, |root| firsts[root]);
        }
        firsts.push(first);
    }
    firsts
}

/// Whether the opposite is written with a NOT inside.
fn has_opposite(op: &Op) -> bool {
    !matches!(op, Op::Truth | Op::Compare(..))
}

fn print_test(test: &Test, negated: bool, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_name(&test.column, out)?;
    let not = if negated { " NOT" } else { "" };
    match &test.op {
        Op::Truth => Ok(()),
        Op::Compare(comparison, value) => {
            write!(out, " {} ", comparison.symbol())?;
            print_value(value, out)
        }
        Op::Between(low, high) => {
            write!(out, "{not} BETWEEN ")?;
            print_value(low, out)?;
            out.write_str(" AND ")?;
            print_value(high, out)
        }
        Op::In(values) => {
            write!(out, "{not} IN ")?;
            print_list(values, print_value, out)
        }
        Op::Null => write!(out, " IS{not} NULL"),
        Op::Like { pattern, escape, ignore_case } => {
            write!(out, "{not} {} ", if *ignore_case { "ILIKE" } else { "LIKE" })?;
            print_text(pattern, out)?;
            let Some(escape) = escape else { return Ok(()) };
            out.write_str(" ESCAPE ")?;
            print_text(escape.encode_utf8(&mut [0; 4]), out)
        }
        Op::StartsWith(prefix) => {
            write!(out, "{not} STARTS WITH ")?;
            print_text(prefix, out)
        }
        Op::Contains(part) => {
            write!(out, "{not} CONTAINS ")?;
            print_text(part, out)
        }
        Op::HasAny(values) => {
            if let [value] = values.as_ref() {
                write!(out, "{not} HAS ")?;
                return print_text(value, out);
            }
            write!(out, "{not} HAS ANY ")?;
            print_list(values, |value, out| print_text(value, out), out)
        }
        Op::HasAll(values) => {
            write!(out, "{not} HAS ALL ")?;
            print_list(values, |value, out| print_text(value, out), out)
        }
    }
}

fn print_list<T>(
    values: &[T],
    print: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    out.write_char('(')?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        print(value, out)?;
    }
    out.write_char(')')
}

fn print_value(value: &Value, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null => out.write_str("NULL"),
        Value::Bool(value) => out.write_str(if *value { "TRUE" } else { "FALSE" }),
        Value::Int(value) => write!(out, "{value}"),
        // Larger than any number: reads as infinity.
        Value::Float(value) if value.is_infinite() => {
            write!(out, "{}1e999", if *value < 0.0 { "-" } else { "" })
        }
        // With a point or an exponent, so that it is read as a float again.
        Value::Float(value) => write!(out, "{value:?}"),
        Value::Text(text) => print_text(text, out),
        Value::Timestamp(micros) => {
            out.write_str("TIMESTAMP ")?;
            print_text(&time::format(*micros), out)
        }
    }
}

fn print_name(name: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if is_plain(name) { out.write_str(name) } else { print_quoted(name, '"', out) }
}

fn print_text(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_quoted(text, '\'', out)
}

fn print_quoted(text: &str, quote: char, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_char(quote)?;
    for (index, part) in text.split(quote).enumerate() {
        if index > 0 {
            write!(out, "{quote}{quote}")?;
        }
        out.write_str(part)?;
    }
    out.write_char(quote)
}
