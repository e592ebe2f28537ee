//! What is wrong with a filter: a message, the place in its text, and what may have been meant.

use crate::error::Error;

/// Characters of the text shown before and after the place.
const BEFORE: usize = 40;
const AFTER: usize = 30;
/// Most characters of a given word that a message repeats.
const SHOWN: usize = 60;

/// Why something is no filter, or not one for this collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    /// Byte of the text.
    pub(super) position: Option<usize>,
    /// Character of the text, from 1.
    pub(super) column: Option<usize>,
    pub(super) hint: String,
    /// A line of the text and one that points into it; empty without a text.
    pub(super) excerpt: String,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        let (hint, excerpt) = (String::new(), String::new());
        Self { message: message.into(), position: None, column: None, hint, excerpt }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Points at byte `at` of `text`.
    pub(super) fn at(mut self, text: &str, at: usize) -> Self {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        let start = before.char_indices().rev().nth(BEFORE - 1).map_or(0, |(byte, _)| byte);
        let end = after.char_indices().nth(AFTER).map_or(after.len(), |(byte, _)| byte);
        let ellipsis = |cut: bool| if cut { "…" } else { "" };
        let plain = |text: &str| text.replace(char::is_control, " ");
        let shown = format!("{}{}", ellipsis(start > 0), plain(&before[start..]));
        let rest = format!("{}{}", plain(&after[..end]), ellipsis(end < after.len()));
        let dent = " ".repeat(shown.chars().count());
        self.excerpt = format!("  {shown}{rest}\n  {dent}^");
        self.position = Some(at);
        self.column = Some(before.chars().count() + 1);
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { message, position, column, hint, excerpt } = failure;
        Self::Filter { message, position, column, hint, excerpt }
    }
}

/// The beginning of a long word.
pub(super) fn short(word: &str) -> String {
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}

/// The word of `known` that was probably meant by `word`, as a hint.
pub(super) fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    crate::types::spelling::nearest_name(word, known)
        .map_or_else(String::new, |name| format!("did you mean {name}?"))
}
