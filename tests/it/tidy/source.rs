//! Rust source as far as the house rules need it: words and punctuation with their lines, without
//! comments and the content of literals.

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    Mark(char),
    /// `::`
    Path,
    Literal,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    line: usize,
    /// Last line; another one for literals over several lines.
    end: usize,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// A path from the root of the crate that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// The tokens of a file.
#[derive(Debug)]
pub(crate) struct Source {
    tokens: Vec<Token>,
}

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        let mut scanner = Scanner { chars: text.chars().collect(), at: 0, line: 1 };
        let mut tokens = Vec::new();
        while let Some(token) = scanner.next() {
            tokens.push(token);
        }
        Self { tokens }
    }

    /// Lines that hold code, leaving out inline test modules.
    pub(crate) fn lines_of_code(&self) -> usize {
        let tests = self.test_modules();
        let outside = self
            .tokens
            .iter()
            .enumerate()
            .filter(|(index, _)| !tests.iter().any(|range| range.contains(index)));
        let mut lines: Vec<_> = outside.flat_map(|(_, token)| token.line..=token.end).collect();
        lines.dedup();
        lines.len()
    }

    /// Lines on which a word stands.
    pub(crate) fn lines_with(&self, word: &str) -> Vec<usize> {
        self.tokens.iter().filter(|t| t.word() == Some(word)).map(|t| t.line).collect()
    }

    /// Every path the file names by `crate::` or by enough `super::`, when the file is `module`.
    pub(crate) fn imports(&self, module: &[String]) -> Vec<Import> {
        let mut imports = Vec::new();
        let mut inline: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        for at in 0..self.tokens.len() {
            match &self.tokens[at].kind {
                Kind::Mark('{') => {
                    if let Some(name) = self.inline_module(at) {
                        inline.push((name.to_owned(), depth));
                    }
                    depth += 1;
                }
                Kind::Mark('}') => {
                    depth = depth.saturating_sub(1);
                    inline.pop_if(|(_, opened)| *opened == depth);
                }
                Kind::Word(word) if self.path_starts(at) => {
                    let inner = inline.iter().map(|(name, _)| name.clone());
                    let mut base: Vec<_> = module.iter().cloned().chain(inner).collect();
                    let mut next = at;
                    match word.as_str() {
                        "crate" => base.clear(),
                        "super" => next = self.climb(at, &mut base),
                        _ => continue,
                    }
                    self.tree(next + 2, &base, &mut imports);
                }
                _ => {}
            }
        }
        imports
    }

    /// Whether a path starts at this token rather than going on.
    fn path_starts(&self, at: usize) -> bool {
        let follows = at > 0 && self.tokens[at - 1].kind == Kind::Path;
        !follows && self.tokens.get(at + 1).is_some_and(|next| next.kind == Kind::Path)
    }

    /// Leaves one module for each `super` and returns the position of the last.
    fn climb(&self, mut at: usize, base: &mut Vec<String>) -> usize {
        base.pop();
        while self.tokens.get(at + 2).and_then(Token::word) == Some("super") {
            base.pop();
            at += 2;
        }
        at
    }

    /// Reads the rest of a path or use tree from `at`, adds its leaves, returns where it ends.
    fn tree(&self, mut at: usize, base: &[String], imports: &mut Vec<Import>) -> usize {
        let mut path = base.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        while let Some(token) = self.tokens.get(at) {
            match &token.kind {
                Kind::Word(word) => path.push(word.clone()),
                Kind::Mark('{') => return self.branches(at, &path, imports),
                _ => break,
            }
            at += 1;
            if self.tokens.get(at).is_none_or(|next| next.kind != Kind::Path) {
                break;
            }
            at += 1;
        }
        imports.push(Import { path, line });
        at
    }

    fn branches(&self, open: usize, base: &[String], imports: &mut Vec<Import>) -> usize {
        let mut at = open + 1;
        while let Some(token) = self.tokens.get(at) {
            match token.kind {
                Kind::Mark('}') => return at + 1,
                Kind::Word(_) => {
                    at = self.tree(at, base, imports);
                    if self.tokens.get(at).and_then(Token::word) == Some("as") {
                        at += 2;
                    }
                }
                _ => at += 1,
            }
        }
        at
    }

    /// The name of the module whose body this brace opens.
    fn inline_module(&self, open: usize) -> Option<&str> {
        let name = self.tokens.get(open.checked_sub(1)?)?.word()?;
        let keyword = self.tokens.get(open.checked_sub(2)?)?.word()?;
        (keyword == "mod").then_some(name)
    }

    /// Token ranges of `#[cfg(test)] mod name { … }`, attribute included.
    fn test_modules(&self) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for open in 0..self.tokens.len() {
            if !self.tokens[open].is('{') || self.inline_module(open).is_none() {
                continue;
            }
            let start = (0..open).rev().take_while(|at| !self.ends_item(*at)).last();
            let start = start.unwrap_or(open);
            if self.is_cfg_test(start) && !ranges.iter().any(|range| range.contains(&open)) {
                ranges.push(start..self.matching(open) + 1);
            }
        }
        ranges
    }

    fn ends_item(&self, at: usize) -> bool {
        ['{', '}', ';'].into_iter().any(|mark| self.tokens[at].is(mark))
    }

    fn is_cfg_test(&self, at: usize) -> bool {
        let words: Vec<_> = self.tokens[at..].iter().take(6).map(Token::word).collect();
        words.get(2) == Some(&Some("cfg")) && words.get(4) == Some(&Some("test"))
    }

    fn matching(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            if token.is('{') {
                depth += 1;
            } else if token.is('}') {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
        }
        self.tokens.len() - 1
    }
}

/// Reads tokens off the characters of a file.
struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn next(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let line = self.line;
        let first = self.peek(0)?;
        let kind = if first == '"' {
            self.string();
            Kind::Literal
        } else if first == '\'' {
            self.quote();
            Kind::Literal
        } else if first.is_alphanumeric() || first == '_' {
            self.word()
        } else if first == ':' && self.peek(1) == Some(':') {
            self.skip(2);
            Kind::Path
        } else {
            self.skip(1);
            Kind::Mark(first)
        };
        Some(Token { kind, line, end: self.line })
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => self.skip(1),
                (Some('/'), Some('/')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.skip(1);
                    }
                }
                (Some('/'), Some('*')) => self.block_comment(),
                _ => return,
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                (None, _) => return,
                _ => self.skip(1),
            }
        }
    }

    /// A word or number; a prefix such as `r#` or `b` takes its string along.
    fn word(&mut self) -> Kind {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            self.skip(1);
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let raw = ["r", "br", "cr"].contains(&word.as_str());
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == Some('#')).count();
        if raw && self.peek(hashes) == Some('"') {
            self.raw_string(hashes);
            return Kind::Literal;
        }
        if ["b", "c"].contains(&word.as_str()) && self.peek(0) == Some('"') {
            self.string();
            return Kind::Literal;
        }
        Kind::Word(word)
    }

    fn string(&mut self) {
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == '"' {
                return;
            }
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.skip(hashes + 1);
        while self.at < self.chars.len() {
            let closes = self.peek(0) == Some('"')
                && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            self.skip(1);
            if closes {
                self.skip(hashes);
                return;
            }
        }
    }

    /// A character or a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.skip(3);
            while self.peek(0).is_some_and(|c| c != '\'') {
                self.skip(1);
            }
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.skip(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(text: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<_> = module.iter().map(|part| (*part).to_owned()).collect();
        let imports = Source::parse(text).imports(&module);
        imports.into_iter().map(|i| format!("{}:{}", i.line, i.path.join("::"))).collect()
    }

    #[test]
    fn use_trees_and_inline_paths_are_followed() {
        let text = "use crate::{error::Error, filter::rowset::{self, RowSet as Set}, types::*};\n\
                    fn f() -> crate::storage::Disk { crate::a::b::<u8>() }\n";
        assert_eq!(
            imports(text, &["segment"]),
            [
                "1:error::Error",
                "1:filter::rowset::self",
                "1:filter::rowset::RowSet",
                "1:types",
                "2:storage::Disk",
                "2:a::b",
            ]
        );
    }

    #[test]
    fn super_is_counted_through_inline_modules() {
        let text = "use super::super::kernel::Isa;\n\
                    mod tests { use super::x; use super::super::super::codec::full; }\n\
                    use super::y;";
        assert_eq!(
            imports(text, &["index", "flat"]),
            ["1:kernel::Isa", "2:index::flat::x", "2:codec::full", "3:index::y"]
        );
    }

    #[test]
    fn comments_and_literals_hold_no_words() {
        let text = "// crate::a::b\n/* crate::c /* */ crate::d */ \"crate::e\" r#\"crate::\"f\"#\n\
                    '\"' 'x '\\'' b\"crate::g\" crate::h\n";
        assert_eq!(imports(text, &["codec"]), ["3:h"]);
        assert!(Source::parse("// unsafe\n\"unsafe\"").lines_with("unsafe").is_empty());
        assert_eq!(Source::parse("\n\nunsafe {}").lines_with("unsafe"), [3]);
    }

    #[test]
    fn only_code_outside_test_modules_is_counted() {
        let text = "//! Doc.\n\nfn f() {\n    // why\n    g(\"a\n\nb\");\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(Source::parse(text).lines_of_code(), 5);
        assert_eq!(Source::parse("mod a {\nfn f() {}\n}\n").lines_of_code(), 3);
    }
}
