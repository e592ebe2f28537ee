//! Highlights: the piece of a text in which most words of a query stand, and where they stand in it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tantivy::tokenizer::TextAnalyzer;

use super::analyze::{Word, text_analyzer, words};
use super::options::{Cutting, TextOptions};
use super::plan::Kind;

/// Bytes of a text that are looked through.
const MOST_BYTES: usize = 256 << 10;

/// A piece of a text and the words found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// The piece: at most as many characters as were asked for, not cut within a word where that can
    /// be helped. Its beginning if no word was found.
    pub text: String,
    /// Bytes of the piece that are words that were looked for, ascending.
    pub marks: Vec<Range<usize>>,
    /// Whether the text goes on before the piece.
    pub cut_before: bool,
    /// Whether the text goes on behind it.
    pub cut_after: bool,
}

impl Snippet {
    /// The piece with `before` and `after` around each word that was found, and `…` where the text goes
    /// on. Nothing is escaped: what is put into a page has to be.
    #[must_use]
    pub fn marked(&self, before: &str, after: &str) -> String {
        let mut marked = String::new();
        let mut at = 0;
        marked.push_str(if self.cut_before { "…" } else { "" });
        for mark in &self.marks {
            marked.push_str(&self.text[at..mark.start]);
            marked.push_str(before);
            marked.push_str(&self.text[mark.clone()]);
            marked.push_str(after);
            at = mark.end;
        }
        marked.push_str(&self.text[at..]);
        marked.push_str(if self.cut_after { "…" } else { "" });
        marked
    }
}

/// Finds the words of a query in the texts of a column.
pub(crate) struct Marker {
    cut: TextAnalyzer,
    /// Cuts without endings, in the same places, for words that are looked for as they are written.
    plain: TextAnalyzer,
    terms: HashSet<String>,
    prefixes: Vec<String>,
    near: Vec<(Vec<char>, usize)>,
}

impl Marker {
    pub(super) fn new<'a>(cutting: Cutting, kinds: impl Iterator<Item = &'a Kind>) -> Self {
        let mut marker = Self {
            cut: text_analyzer(cutting),
            plain: text_analyzer(TextOptions::new().no_language().cutting()),
            terms: HashSet::new(),
            prefixes: Vec::new(),
            near: Vec::new(),
        };
        for kind in kinds {
            match kind {
                Kind::Term(term) => drop(marker.terms.insert(term.clone())),
                Kind::Phrase(words) => {
                    marker.terms.extend(words.iter().map(|(_, word)| word.clone()));
                }
                Kind::Prefix(prefix, whole) => {
                    marker.prefixes.push(prefix.clone());
                    marker.terms.extend(whole.clone());
                }
                Kind::Fuzzy(forms, distance) => {
                    let chars = forms.iter().map(|form| form.chars().collect());
                    marker.near.extend(chars.map(|form| (form, usize::from(*distance))));
                }
            }
        }
        marker
    }

    /// The piece of `text`, of at most `most` characters, with most words of the query.
    pub(crate) fn snippet(&mut self, text: &str, most: usize) -> Snippet {
        let looked = &text[..boundary(text, MOST_BYTES)];
        let marks = self.marks(looked);
        let range = piece(looked, &marks, most);
        let inside =
            |mark: &&(Range<usize>, usize)| mark.0.start >= range.start && mark.0.end <= range.end;
        let marks = marks.iter().filter(inside);
        Snippet {
            marks: marks
                .map(|(mark, _)| mark.start - range.start..mark.end - range.start)
                .collect(),
            cut_before: range.start > 0,
            cut_after: range.end < text.len(),
            text: text[range].to_owned(),
        }
    }

    /// The words that are looked for, with a number that equal ones share.
    fn marks(&mut self, text: &str) -> Vec<(Range<usize>, usize)> {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut marks: Vec<(Range<usize>, usize)> = Vec::new();
        let mut found: Vec<Word> = words(&mut self.cut, text);
        found.retain(|word| self.matches(&word.text));
        if !self.prefixes.is_empty() {
            let mut more = words(&mut self.plain, text);
            more.retain(|word| self.prefixes.iter().any(|prefix| word.text.starts_with(prefix)));
            found.extend(more);
            found.sort_by_key(|word| word.range);
        }
        for word in found {
            let range = word.range.0..word.range.1;
            let next = known.len();
            let number = *known.entry(word.text).or_insert(next);
            match marks.last_mut() {
                // Pairs of characters overlap.
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => marks.push((range, number)),
            }
        }
        marks
    }

    fn matches(&self, word: &str) -> bool {
        self.terms.contains(word)
            || self.prefixes.iter().any(|prefix| word.starts_with(prefix))
            || self.near.iter().any(|(form, distance)| is_near(word, form, *distance))
    }
}

/// The last boundary of characters up to byte `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The bytes of the piece with most different marks, then most marks, then the first.
fn piece(text: &str, marks: &[(Range<usize>, usize)], most: usize) -> Range<usize> {
    let chars = |range: Range<usize>| text[range].chars().count();
    // Where each mark begins and ends, in characters.
    let (mut at, mut count) = (0, 0);
    let mut to = |byte: usize| {
        count += chars(at..byte);
        at = byte;
        count
    };
    let places: Vec<Range<usize>> =
        marks.iter().map(|(mark, _)| to(mark.start)..to(mark.end)).collect();
    let mut best = (0, 0, 0..0);
    let mut end = 0;
    // How often each word is among the marks from the first to the end.
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for (first, (mark, number)) in marks.iter().enumerate() {
        while places.get(end).is_some_and(|last| last.end - places[first].start <= most) {
            *counts.entry(marks[end].1).or_default() += 1;
            end += 1;
        }
        if end == first {
            // Longer than the piece by itself.
            end += 1;
            continue;
        }
        if (counts.len(), end - first) > (best.0, best.1) {
            best = (counts.len(), end - first, mark.start..marks[end - 1].0.end);
        }
        if let Some(count) = counts.get_mut(number) {
            *count -= 1;
            if *count == 0 {
                counts.remove(number);
            }
        }
    }
    let range = best.2;
    // What is left of the characters goes around: a third of it before, or more where little comes after.
    let spare = most.saturating_sub(chars(range.clone()));
    let after = text[range.end..].chars().take(spare).count();
    let before = (spare / 3).max(spare - after);
    let before = text[..range.start].char_indices().rev().take(before).last();
    let mut start = before.map_or(range.start, |(at, _)| at);
    if start > 0
        && let Some(blank) = text[start..range.start].find(char::is_whitespace)
    {
        let blank = start + blank;
        start = blank + text[blank..].chars().next().map_or(0, char::len_utf8);
    }
    let left = most.saturating_sub(chars(start..range.end));
    let mut end = range.end;
    end += text[end..].chars().take(left).map(char::len_utf8).sum::<usize>();
    if end < text.len()
        && let Some(blank) = text[range.end..end].rfind(char::is_whitespace)
        && range.end + blank > start
    {
        end = range.end + blank;
    }
    start..end
}

/// Whether a word becomes `form` by at most `most` letters put in, left out, changed or, two side by
/// side, exchanged.
fn is_near(word: &str, form: &[char], most: usize) -> bool {
    let word: Vec<char> = word.chars().collect();
    if word.len().abs_diff(form.len()) > most {
        return false;
    }
    let mut older = vec![0; form.len() + 1];
    let mut old: Vec<usize> = (0..=form.len()).collect();
    for (at, letter) in word.iter().enumerate() {
        let mut new = vec![at + 1];
        for (to, other) in form.iter().enumerate() {
            let mut cost = (old[to] + usize::from(letter != other)).min(old[to + 1] + 1);
            cost = cost.min(new[to] + 1);
            if at > 0 && to > 0 && *letter == form[to - 1] && word[at - 1] == *other {
                cost = cost.min(older[to - 1] + 1);
            }
            new.push(cost);
        }
        older = std::mem::replace(&mut old, new);
    }
    old.last().is_some_and(|distance| *distance <= most)
}
