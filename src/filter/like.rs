//! Patterns of LIKE: `%` is any text, `_` one character.

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// What stands between `%`, in order; the first and the last may be empty.
    pieces: Vec<Piece>,
    /// Compares characters in lower case.
    ignore_case: bool,
}

/// Characters in a row, `None` for any one.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    /// Without a free one: the text.
    text: Option<Box<str>>,
    chars: Vec<Option<char>>,
}

impl Piece {
    fn new(chars: Vec<Option<char>>) -> Self {
        let text: Option<String> = chars.iter().copied().collect();
        Self { text: text.map(Into::into), chars }
    }
}

impl Pattern {
    /// About how much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let chars = |piece: &Piece| piece.chars.len() * (size_of::<Option<char>>() + 1);
        self.pieces.iter().map(|piece| size_of::<Piece>() + chars(piece)).sum()
    }

    /// `None` when nothing follows the last escape.
    pub(super) fn new(pattern: &str, escape: Option<char>, ignore_case: bool) -> Option<Self> {
        let pattern = if ignore_case { lower(pattern) } else { pattern.to_owned() };
        let escape = escape.map(|escape| if ignore_case { lower_char(escape) } else { escape });
        let mut pieces = Vec::new();
        let mut chars = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                c if Some(c) == escape => chars.push(Some(rest.next()?)),
                '%' => pieces.push(Piece::new(std::mem::take(&mut chars))),
                '_' => chars.push(None),
                c => chars.push(Some(c)),
            }
        }
        pieces.push(Piece::new(chars));
        Some(Self { pieces, ignore_case })
    }

    /// Text with `part` in it.
    pub(super) fn part(part: &str) -> Self {
        let pieces = ["", part, ""].map(|text| Piece::new(text.chars().map(Some).collect()));
        Self { pieces: pieces.into(), ignore_case: false }
    }

    /// The only text that this matches, or what all that match begin with when nothing else is asked.
    pub(super) fn simple(&self) -> Option<Simple<'_>> {
        if self.ignore_case {
            return None;
        }
        match self.pieces.as_slice() {
            [only] => only.text.as_deref().map(Simple::Equal),
            [first, last] if last.chars.is_empty() => first.text.as_deref().map(Simple::Prefix),
            _ => None,
        }
    }

    /// Whether all of `text` has the form. Takes the length of text times that of the longest piece at
    /// most: what a piece matches first leaves the most to those behind it. Text without case is made in
    /// `buffer`.
    pub(super) fn matches(&self, text: &str, buffer: &mut String) -> bool {
        if !self.ignore_case {
            return Self::fits(&self.pieces, text);
        }
        buffer.clear();
        if text.is_ascii() {
            buffer.push_str(text);
            buffer.make_ascii_lowercase();
        } else {
            buffer.extend(text.chars().map(lower_char));
        }
        Self::fits(&self.pieces, buffer)
    }

    fn fits(pieces: &[Piece], text: &str) -> bool {
        let Some((first, others)) = pieces.split_first() else { return text.is_empty() };
        let Some(mut rest) = strip(first, text) else { return false };
        let Some((last, middle)) = others.split_last() else { return rest.is_empty() };
        for piece in middle {
            match find(piece, rest) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        ends(last, rest)
    }
}

/// A pattern that needs no matching.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Simple<'a> {
    Equal(&'a str),
    Prefix(&'a str),
}

/// What is behind a piece that `text` begins with.
fn strip<'a>(piece: &Piece, text: &'a str) -> Option<&'a str> {
    if let Some(piece) = &piece.text {
        return text.strip_prefix(piece.as_ref());
    }
    let mut chars = text.chars();
    for wanted in &piece.chars {
        let given = chars.next()?;
        if wanted.is_some_and(|wanted| wanted != given) {
            return None;
        }
    }
    Some(chars.as_str())
}

/// What is behind the first place of a piece.
fn find<'a>(piece: &Piece, text: &'a str) -> Option<&'a str> {
    if let Some(piece) = &piece.text {
        return text.find(piece.as_ref()).map(|at| &text[at + piece.len()..]);
    }
    text.char_indices().find_map(|(at, _)| strip(piece, &text[at..]))
}

/// Whether `text` ends with a piece.
fn ends(piece: &Piece, text: &str) -> bool {
    if let Some(piece) = &piece.text {
        return text.ends_with(piece.as_ref());
    }
    let mut chars = text.chars();
    piece.chars.iter().rev().all(|wanted| {
        chars.next_back().is_some_and(|given| wanted.is_none_or(|wanted| wanted == given))
    })
}

/// Text without case: each character by its own lower case, where that is one character.
fn lower(text: &str) -> String {
    text.chars().map(lower_char).collect()
}

fn lower_char(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => c,
    }
}
