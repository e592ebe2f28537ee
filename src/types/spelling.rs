//! Names that were meant: what an error suggests in place of a name that nothing has.

/// "; did you mean …?" with the candidate nearest to `name`, or the empty string.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest_name(name, candidates, 2)
        .map_or_else(String::new, |candidate| format!("; did you mean {candidate:?}?"))
}

/// The candidate nearest to `name`, unless more than one in `share` of its characters differ, and one.
pub(crate) fn nearest_name<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
    share: usize,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= candidate.len().max(name.len().min(64)) / share + 1
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
