//! Patterns of LIKE: `%` is any text, `_` one character.

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// What stands between `%`, in order; the first and the last may be empty.
    pieces: Vec<Piece>,
    /// Compares characters in lower case.
    ignore_case: bool,
}

/// Most characters of a piece that is looked for place by place.
const MOST_TRIED: usize = 1_000;

/// Characters in a row, `None` for any one.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    /// Free ones at the beginning and at the end, which are counted and need no search.
    before: usize,
    after: usize,
    /// What is between them.
    chars: Vec<Option<char>>,
    /// The same as text, without a free one.
    text: Option<Box<str>>,
}

impl Piece {
    fn new(mut chars: Vec<Option<char>>) -> Self {
        let before = chars.iter().take_while(|c| c.is_none()).count();
        chars.drain(..before);
        let after = chars.iter().rev().take_while(|c| c.is_none()).count();
        chars.truncate(chars.len() - after);
        let text: Option<String> = chars.iter().copied().collect();
        Self { before, after, chars, text: text.map(Into::into) }
    }

    /// The text that this is, when it is one.
    fn text(&self) -> Option<&str> {
        self.text.as_deref().filter(|_| self.before == 0 && self.after == 0)
    }
}

impl Pattern {
    /// About how much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let chars = |piece: &Piece| piece.chars.len() * (size_of::<Option<char>>() + 1);
        self.pieces.iter().map(|piece| size_of::<Piece>() + chars(piece)).sum()
    }

    /// Refuses a pattern that ends with the escape, and pieces that would take too long to look for.
    pub(super) fn new(
        pattern: &str,
        escape: Option<char>,
        ignore_case: bool,
    ) -> Result<Self, String> {
        let plain = |c| Some(if ignore_case { lower_char(c) } else { c });
        let mut pieces = Vec::new();
        let mut chars = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                c if Some(c) == escape => match rest.next() {
                    Some(c) => chars.push(plain(c)),
                    None => {
                        return Err("nothing follows the escape at the end of the pattern".into());
                    }
                },
                // Several are as good as one.
                '%' if chars.is_empty() && !pieces.is_empty() => {}
                '%' => pieces.push(Piece::new(std::mem::take(&mut chars))),
                '_' => chars.push(None),
                c => chars.push(plain(c)),
            }
        }
        let middle = pieces.get(1..).unwrap_or_default().iter();
        let tried = middle.filter(|piece| piece.text.is_none()).map(|piece| piece.chars.len());
        if let Some(count) = tried.max().filter(|count| *count > MOST_TRIED) {
            return Err(format!(
                "the pattern has {count} characters between two %, with _ among them; at most \
                 {MOST_TRIED} are taken"
            ));
        }
        pieces.push(Piece::new(chars));
        Ok(Self { pieces, ignore_case })
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
            [only] => only.text().map(Simple::Equal),
            [first, last] if last.text() == Some("") => first.text().map(Simple::Prefix),
            _ => None,
        }
    }

    /// Whether all of `text` has the form. Takes the length of text times that of the longest piece with a
    /// free character in its midst at most, else the length of both: what a piece matches first leaves the most to those behind it. Text without case is made in
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
    skip(piece.after, strip_core(piece, skip(piece.before, text)?)?)
}

/// The same of what is between its free ends.
fn strip_core<'a>(piece: &Piece, text: &'a str) -> Option<&'a str> {
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

/// What is behind `count` characters.
fn skip(count: usize, text: &str) -> Option<&str> {
    let Some(last) = count.checked_sub(1) else { return Some(text) };
    let mut chars = text.chars();
    chars.nth(last)?;
    Some(chars.as_str())
}

/// What is behind the first place of a piece.
fn find<'a>(piece: &Piece, text: &'a str) -> Option<&'a str> {
    let text = skip(piece.before, text)?;
    let behind = match &piece.text {
        Some(core) => text.find(core.as_ref()).map(|at| &text[at + core.len()..]),
        None => text.char_indices().find_map(|(at, _)| strip_core(piece, &text[at..])),
    };
    skip(piece.after, behind?)
}

/// Whether `text` ends with a piece.
fn ends(piece: &Piece, text: &str) -> bool {
    let mut chars = text.chars();
    if piece.after.checked_sub(1).is_some_and(|last| chars.nth_back(last).is_none()) {
        return false;
    }
    let fits = piece.chars.iter().rev().all(|wanted| {
        chars.next_back().is_some_and(|given| wanted.is_none_or(|wanted| wanted == given))
    });
    fits && skip(piece.before, chars.as_str()).is_some()
}

/// A character's own lower case, where that is one character.
fn lower_char(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => c,
    }
}
