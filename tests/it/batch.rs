//! A batch finds what each of its queries finds alone.

use nearfield::{Collection, Metric, OpenOptions, Schema, SearchPlan, Settings};
use tempfile::TempDir;

use crate::common::Random;

const DIMENSION: usize = 64;

/// Rows in a segment with a graph, in a chunk that is scanned by codes, and in one too small for them;
/// some deleted.
fn rows() -> (TempDir, Collection, Vec<f32>) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.graph_bytes = 1_000_000;
    settings.background = false;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db")).unwrap();
    let rows = db.collection("rows", Schema::new(DIMENSION, Metric::Cosine)).unwrap();
    let mut random = Random::new(5);
    // Around a few hundred centres, so that codes can tell them apart.
    let centres: Vec<f32> = (0..200 * DIMENSION).map(|_| random.unit() - 0.5).collect();
    let row = |at: usize| centres[at % 200 * DIMENSION..][..DIMENSION].to_vec();
    let values: Vec<f32> = (0..11_300).flat_map(row).collect();
    let values: Vec<f32> = values.iter().map(|x| x + 0.3 * (random.unit() - 0.5)).collect();
    for range in [0..6_000, 6_000..11_000, 11_000..11_300] {
        let ids: Vec<u64> = range.clone().map(|id| id as u64).collect();
        rows.upsert(&ids, &values[range.start * DIMENSION..range.end * DIMENSION], ()).unwrap();
        if range.end == 6_000 {
            rows.compact().unwrap();
        }
    }
    let dead: Vec<u64> = (0..11_300).step_by(9).collect();
    rows.delete(&dead).unwrap();
    // Chunks are coded by the searches that want it.
    for _ in 0..12 {
        rows.search(&values[..DIMENSION]).run().unwrap();
    }
    (dir, rows, values)
}

#[test]
fn a_batch_finds_what_each_query_finds_alone() {
    let (_dir, rows, values) = rows();
    let mut random = Random::new(6);
    let mut queries: Vec<f32> =
        values[..43 * DIMENSION].iter().map(|x| x + 0.2 * (random.unit() - 0.5)).collect();
    // Codes know nothing of a vector without a direction.
    queries[7 * DIMENSION..8 * DIMENSION].fill(0.0);
    let query = |at: usize| &queries[at * DIMENSION..][..DIMENSION];
    let plans: Vec<_> =
        rows.search(query(0)).explain().unwrap().parts.iter().map(|part| part.plan).collect();
    assert_eq!(plans, [SearchPlan::Walk, SearchPlan::ScanCodes, SearchPlan::Scan]);
    for (k, exact, limit) in
        [(10, false, f32::INFINITY), (1, false, 0.2), (25, true, f32::INFINITY), (60, false, 0.1)]
    {
        let ask = |vectors| rows.search(vectors).k(k).exact(exact).max_distance(limit);
        let batch = ask(queries.as_slice()).run_batch().unwrap();
        assert_eq!(batch.len(), 43);
        for (at, together) in batch.iter().enumerate() {
            assert_eq!(together.hits, ask(query(at)).run().unwrap().hits, "query {at}, k {k}");
        }
        assert!(batch.iter().filter(|hits| !hits.hits.is_empty()).count() >= 30);
    }
}
