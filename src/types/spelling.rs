//! Names that were meant: what an error suggests in place of a name that nothing has.

/// "; did you mean …?" with the candidate nearest to `name`, or the empty string.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest_name(name, candidates)
        .map_or_else(String::new, |candidate| format!("; did you mean {candidate:?}?"))
}

/// As [`nearest`], or else which candidates there are, the first of many.
pub(crate) fn nearest_or_all<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> String {
    const LISTED: usize = 20;
    let near = nearest(name, candidates.clone());
    let mut all: Vec<&str> = candidates.take(LISTED + 1).collect();
    match all.len() {
        _ if !near.is_empty() => near,
        0 => "; there are none".into(),
        more if more > LISTED => {
            all[LISTED] = "…";
            format!("; there are {}", all.join(", "))
        }
        _ => format!("; there are {}", all.join(", ")),
    }
}

/// The candidate nearest to `name`, unless more than one in three of the characters differ; of short
/// names one may. Capitals do not count.
pub(crate) fn nearest_name<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let small = name.to_lowercase();
    candidates
        .map(|candidate| (edit_distance(&small, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let longest = candidate.chars().count().max(name.chars().count()).min(64);
            // A name all of whose characters differ is another one.
            *distance <= longest.div_ceil(3) && *distance < longest
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance of the first 64 characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{nearest_name, nearest_or_all};

    #[test]
    fn without_a_near_name_those_are_listed_that_there_are() {
        let columns = ["year", "title"];
        assert_eq!(nearest_or_all("yeer", columns.into_iter()), "; did you mean \"year\"?");
        assert_eq!(nearest_or_all("zzz", columns.into_iter()), "; there are year, title");
        assert_eq!(nearest_or_all("zzz", [].into_iter()), "; there are none");
        let many = nearest_or_all("zzz", ["a"; 50].into_iter());
        assert!(many.ends_with("a, a, …") && many.len() < 100, "{many}");
    }

    #[test]
    fn the_nearest_name_is_one_that_may_be_meant() {
        let known = ["year", "title", "n", "em"];
        for (given, meant) in [
            ("yeer", Some("year")),
            ("TITLE", Some("title")),
            ("tilte", Some("title")),
            ("N", Some("n")),
            ("x", None),
            ("zz", None),
            ("name", None),
            ("", None),
        ] {
            assert_eq!(nearest_name(given, known.into_iter()), meant, "{given}");
        }
    }
}
