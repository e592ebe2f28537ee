//! What is looked for: words in the query language, or any text.

/// Words to search for: a text in the language of queries, or with [`plain`](Self::plain) any text,
/// each word of which may be found.
///
/// | query | finds texts with |
/// |---|---|
/// | `rust mmap` | one of the words; with both, they score higher |
/// | `+rust mmap -windows` | the first, never the last |
/// | `rust AND mmap`, `a OR b`, `NOT c`, `(a b) AND c` | the same in words; `AND` binds before `OR` |
/// | `"page fault"` | the words one behind the other |
/// | `segf*` | a word that begins so |
/// | `mmpa~1`, `mispeled~2` | a word that differs by that many letters; 1 without a number |
/// | `title:rust` | the word in that column, if it is one of those searched |
///
/// In a column with a language words stand without their endings, and that is what the beginning `segf*`
/// and a word that may differ are compared with: `segmentati*` does not find "segmentation", which stands as
/// "segment", while `segment*` does. A column whose [`TextOptions::stem`](crate::TextOptions::stem) is off has
/// whole words. At most 32 words of a query may have `*` or `~`, and at most 64 stand one behind the
/// other, in quotes.
///
/// A sign is an operator only where it can be meant as one: at the beginning or the end of a word, and the
/// words AND, OR and NOT only in capitals. `std::fs`, `E0502:` and `foo(bar)` are words like any other; what
/// a column cuts into several words is found by each of them, or, with `+`, `-` or AND, by all in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    text: String,
    plain: bool,
}

impl Words {
    /// A query in the language above. Whether it can be read is answered by the search.
    #[must_use]
    pub fn new(query: impl Into<String>) -> Self {
        Self { text: query.into(), plain: false }
    }

    /// The words of any text, none of its signs an operator. Of a long text the first 1,024 different words
    /// are looked for, counted in each column.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: true }
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether signs are no operators.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }
}

impl From<&str> for Words {
    fn from(query: &str) -> Self {
        Self::new(query)
    }
}

impl From<&String> for Words {
    fn from(query: &String) -> Self {
        Self::new(query.as_str())
    }
}

impl From<String> for Words {
    fn from(query: String) -> Self {
        Self::new(query)
    }
}
