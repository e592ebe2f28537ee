//! What searches by words and by sparse vectors must find in rows that are known: for the tests whose
//! subject is what became of the rows.

use std::collections::BTreeMap;

use nearfield::{Collection, DataType, Hits, Id, Result, SparseVector};

use crate::oracle::{State, Value};

/// Fails unless `docs`, whose rows are those of `state`, finds by each of its lists what a look at
/// every row finds. What is no answer is an error.
pub fn agree(docs: &Collection, state: &State) -> Result<()> {
    for column in &state.columns {
        if column.data_type == DataType::Sparse {
            sparse(docs, state, &column.name)?;
        }
        #[cfg(feature = "text")]
        if column.text {
            words(docs, state, &column.name)?;
        }
    }
    Ok(())
}

fn pairs(hits: &Hits) -> Vec<(f32, Id)> {
    hits.iter().map(|hit| (hit.score, hit.id.clone())).collect()
}

/// Weights are few halves: products are exact whatever their order.
fn sparse(docs: &Collection, state: &State, column: &str) -> Result<()> {
    let query = SparseVector::new([0, 4, 6, 9, 13], [1.0, -0.5, 2.0, 1.5, 1.0]).unwrap();
    let weights: BTreeMap<u32, f32> =
        query.indices().iter().copied().zip(query.weights().iter().copied()).collect();
    let score = |pairs: &[(u32, f32)]| {
        let both = pairs.iter().filter_map(|(at, weight)| Some(weights.get(at)? * weight));
        both.fold(None, |sum: Option<f32>, product| Some(sum.unwrap_or(0.0) + product))
    };
    let mut expected: Vec<(f32, Id)> = state
        .rows
        .iter()
        .filter_map(|(id, row)| match row.values.get(column) {
            Some(Value::Sparse(pairs)) => Some((score(pairs)?, id.clone())),
            _ => None,
        })
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let found = pairs(&docs.search_sparse(column, &query).k(usize::MAX).run()?);
    assert_eq!(found, expected, "by the sparse vectors of {column}");
    Ok(())
}

/// BM25 with k1 = 1.2 and b = 0.75 of single words, cut at spaces.
#[cfg(feature = "text")]
fn words(docs: &Collection, state: &State, column: &str) -> Result<()> {
    let texts: BTreeMap<&Id, Vec<&str>> = state
        .rows
        .iter()
        .filter_map(|(id, row)| match row.values.get(column) {
            Some(Value::Text(text)) => Some((id, text.split_whitespace().collect())),
            _ => None,
        })
        .filter(|(_, words): &(_, Vec<&str>)| !words.is_empty())
        .collect();
    let rows = texts.len() as f64;
    let mean = texts.values().map(Vec::len).sum::<usize>() as f64 / rows;
    let rare = texts.values().next().map_or("none", |words| words[0]);
    for word in crate::oracle::WORDS.into_iter().chain([rare]) {
        let times = |words: &Vec<&str>| words.iter().filter(|found| **found == word).count() as f64;
        let having = texts.values().filter(|words| times(words) > 0.0).count() as f64;
        let idf = (1.0 + (rows - having + 0.5) / (having + 0.5)).ln();
        let found = pairs(&docs.search_words(word).columns([(column, 1.0)]).k(usize::MAX).run()?);
        assert_eq!(found.len() as f64, having, "{word:?} in {column}");
        for (score, id) in &found {
            let words = texts.get(id).unwrap_or_else(|| panic!("{word:?} is not in {id}"));
            let (times, length) = (times(words), words.len() as f64);
            let weight = 1.2 * (1.0 - 0.75 + 0.75 * length / mean);
            let right = idf * times * 2.2 / (times + weight);
            let near = (f64::from(*score) - right).abs() < 1e-4 * right.max(1.0);
            assert!(times > 0.0 && near, "{word:?} in {column}: {id} has {score}, not {right}");
        }
        let ordered = |a: &(f32, Id), b: &(f32, Id)| a.0 > b.0 || a.0 == b.0 && a.1 < b.1;
        assert!(found.is_sorted_by(ordered), "{word:?} in {column}: {found:?}");
    }
    Ok(())
}
