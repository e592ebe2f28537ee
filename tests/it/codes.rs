//! Graphs walked and rows scanned by codes over data that codes represent badly: the answers stay
//! right, because a wider code or the vectors themselves lead instead.

use nearfield::{
    CodeChoice, Collection, Index, IndexOptions, Metric, OpenOptions, Schema, SearchPlan, Settings,
};
use tempfile::TempDir;

use crate::common::Random;

const ROWS: usize = 900;

/// Reproducible numbers from -1 to 1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut random = Random::new(seed);
    move || random.unit() * 2.0 - 1.0
}

/// A compacted collection with a graph at any size; the database's directory goes with it.
fn indexed(
    metric: Metric,
    dimension: usize,
    values: &[f32],
    code: CodeChoice,
) -> (TempDir, Collection) {
    compacted(metric, dimension, values, code, 0)
}

/// The same with a graph from so many bytes of vectors on.
fn compacted(
    metric: Metric,
    dimension: usize,
    values: &[f32],
    code: CodeChoice,
    graph_bytes: u64,
) -> (TempDir, Collection) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.graph_bytes = graph_bytes;
    settings.background = false;
    settings.code = code;
    let options = OpenOptions::new().settings(settings);
    let db = options.open(dir.path().join("db")).unwrap();
    let rows = db.collection("rows", Schema::new(dimension, metric)).unwrap();
    let ids: Vec<u64> = (0..(values.len() / dimension) as u64).collect();
    rows.upsert(&ids, values, ()).unwrap();
    rows.compact().unwrap();
    let graph = graph_bytes == 0;
    assert!(rows.stats().unwrap().segments.iter().all(|segment| segment.graph == graph));
    (dir, rows)
}

/// Share of the exact ten that walks find; a row as near as the tenth counts.
fn recall(rows: &Collection, dimension: usize, queries: &[f32]) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for query in queries.chunks(dimension) {
        let exact = rows.search(query).exact(true).run().unwrap().hits;
        let walked = rows.search(query).ef(24).run().unwrap().hits;
        let worst = exact.last().unwrap().distance;
        wanted += exact.len();
        found += walked.iter().filter(|hit| hit.distance <= worst).count();
        for hit in walked.iter().filter(|hit| hit.distance <= worst) {
            let same = exact.iter().find(|other| other.id == hit.id);
            assert!(same.is_none_or(|same| same.distance == hit.distance));
        }
    }
    found as f64 / wanted as f64
}

/// Distances in f64, and what those of a search may differ from them.
fn plainly(metric: Metric, query: &[f32], values: &[f32]) -> (Vec<f64>, f64) {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let norm = |x: &[f32]| dot(x, x).sqrt();
    let length = norm(query);
    let rows = values.chunks(query.len());
    let distance = |row: &[f32]| match metric {
        Metric::L2 => {
            query.iter().zip(row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        }
        Metric::Dot => -dot(query, row),
        _ if length * norm(row) == 0.0 => 1.0,
        _ => 1.0 - dot(query, row) / (length * norm(row)),
    };
    let longest = rows.clone().map(norm).fold(0.0, f64::max);
    let unit = match metric {
        Metric::L2 => 0.0,
        Metric::Dot => length * longest,
        _ => 1.0,
    };
    (rows.map(distance).collect(), 4e-6 * unit)
}

/// Share of the ten nearest in f64 that a search finds which is told nothing; a row as near as the tenth
/// counts. All that it finds, and a walk of little effort, is at the distance that it has and found once.
fn true_recall(rows: &Collection, metric: Metric, values: &[f32], queries: &[f32]) -> f64 {
    let dimension = rows.schema().unwrap().dimension();
    let (mut found, mut wanted) = (0, 0);
    for query in queries.chunks(dimension) {
        let (distances, unsure) = plainly(metric, query, values);
        let mut sorted = distances.clone();
        sorted.sort_by(f64::total_cmp);
        let k = sorted.len().min(10);
        let explained = rows.search(query).ef(24).explain().unwrap();
        assert_eq!(explained.parts[0].plan, SearchPlan::Walk);
        let limit = sorted[k - 1] + unsure + 1e-5 * sorted[k - 1].abs();
        let near = |search: nearfield::Query<'_>| {
            let hits = search.run().unwrap().hits;
            let mut met = std::collections::HashSet::new();
            let near = hits.iter().filter(|hit| {
                let nearfield::Id::U64(id) = hit.id else { panic!("{:?}", hit.id) };
                let (distance, told) = (distances[id as usize], f64::from(hit.distance));
                let close = (told - distance).abs() <= unsure + 1e-5 * distance.abs();
                assert!(close, "row {id} is at {distance}, not {told}");
                assert!(met.insert(id), "row {id} twice");
                distance <= limit
            });
            let near = near.count();
            assert_eq!(hits.len(), k);
            near
        };
        near(rows.search(query).ef(24));
        found += near(rows.search(query));
        wanted += k;
    }
    found as f64 / wanted as f64
}

#[test]
fn data_that_codes_represent_badly_is_found_all_the_same() {
    for dimension in [1, 3, 200, 4_096] {
        let mut next = noise(dimension as u64);
        let plain: Vec<f32> = (0..ROWS * dimension).map(|_| next() + next()).collect();
        let scaled = |factor: f32| plain.iter().map(|x| x * factor).collect::<Vec<f32>>();
        let changed = |change: &dyn Fn(usize, f32) -> f32| -> Vec<f32> {
            plain.iter().enumerate().map(|(at, x)| change(at, *x)).collect()
        };
        // As long and as short as distances in f32 allow.
        let scales = |metric| match metric {
            Metric::Cosine => [3e37, 1e-22, 1e-41],
            _ => [1e16, 1e-9, 1e-15],
        };
        for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
            let [long, short, shorter] = scales(metric);
            let cases = [
                ("plain", plain.clone()),
                (
                    "one long element",
                    changed(&|at, x| if at % dimension == 0 { x * 1e4 } else { x }),
                ),
                (
                    "some long rows",
                    changed(&|at, x| if at / dimension % 50 == 0 { x * 1e6 } else { x }),
                ),
                ("equal elements", changed(&|at, _| plain[at / dimension * dimension])),
                ("constant", vec![0.25; ROWS * dimension]),
                ("zeros", vec![0.0; ROWS * dimension]),
                ("long", scaled(long)),
                ("short", scaled(short)),
                ("shorter", scaled(shorter)),
            ];
            // Long rows take long to be linked; three kinds of them are enough.
            let cases = if dimension > 1_000 { &cases[..3] } else { &cases[..] };
            for (name, values) in cases {
                let queries = &values[..8 * dimension];
                let (_dir, rows) = indexed(metric, dimension, values, CodeChoice::Auto);
                let found = true_recall(&rows, metric, values, queries);
                let leads = rows.stats().unwrap().segments[0].code;
                assert!(found >= 0.9, "{name} × {dimension} {metric} by {leads}: {found}");
            }
        }
    }
}

#[test]
fn distances_that_f32_cannot_hold_still_find_as_many_rows_as_there_are() {
    for (dimension, factor, told) in [(3, 1e30, f32::INFINITY), (200, 1e-41, 0.0)] {
        let mut next = noise(dimension as u64);
        let values: Vec<f32> = (0..ROWS * dimension).map(|_| (next() + 3.0) * factor).collect();
        for (metric, sign) in [(Metric::L2, 1.0), (Metric::Dot, -1.0)] {
            let (_dir, rows) = indexed(metric, dimension, &values, CodeChoice::Auto);
            for query in values[..4 * dimension].chunks(dimension) {
                let hits = rows.search(query).ef(24).run().unwrap().hits;
                let ids: std::collections::HashSet<_> = hits.iter().map(|hit| &hit.id).collect();
                assert_eq!((hits.len(), ids.len()), (10, 10));
                let held = |distance| distance == 0.0 || distance == told * sign;
                assert!(hits.iter().all(|hit| held(hit.distance)), "{metric}");
            }
        }
    }
    let (_dir, rows) = indexed(Metric::Cosine, 3, &[1.0, 2.0, 3.0], CodeChoice::Auto);
    let hits = rows.search(&[1.0_f32, 2.0, 3.0]).run().unwrap().hits;
    assert_eq!((hits.len(), hits[0].distance < 1e-6), (1, true));
}

/// Rows of some kind or other: in groups of any size and spread, scaled, with copies and zeros.
fn drawn(random: &mut Random, dimension: usize, rows: usize) -> Vec<f32> {
    let groups = 1 + random.below(12) as usize;
    let offset = [0.0, 0.0, 1.0, 30.0][random.below(4) as usize];
    let centres: Vec<(Vec<f32>, f32)> = (0..groups)
        .map(|_| {
            let centre = random.vector(dimension).iter().map(|x| x + offset).collect();
            (centre, 10_f32.powi(random.below(4) as i32 - 3))
        })
        .collect();
    let scale = 10_f32.powi(random.below(13) as i32 - 6);
    let mut values: Vec<f32> = Vec::with_capacity(rows * dimension);
    for row in 0..rows {
        if row > 0 && random.below(20) == 0 {
            let copied = random.below(row as u64) as usize * dimension;
            values.extend_from_within(copied..copied + dimension);
            continue;
        }
        // Early groups get more rows than late ones.
        let group = random.below(groups as u64).min(random.below(groups as u64));
        let (centre, spread) = &centres[group as usize];
        let moved = random.vector(dimension);
        values.extend(centre.iter().zip(moved).map(|(x, moved)| (x + spread * moved) * scale));
    }
    values
}

#[test]
fn whatever_the_rows_are_walks_find_what_comparing_all_finds() {
    let mut codes = std::collections::BTreeSet::new();
    for seed in 1..=30 {
        let random = &mut Random::new(seed);
        let dimension = [2, 5, 16, 33, 200][random.below(5) as usize];
        let metric = [Metric::L2, Metric::Cosine, Metric::Dot][random.below(3) as usize];
        let values = drawn(random, dimension, 1_000);
        let choice =
            [CodeChoice::Auto, CodeChoice::Auto, CodeChoice::Full][random.below(3) as usize];
        let (_dir, rows) = indexed(metric, dimension, &values, choice);
        let leads = rows.stats().unwrap().segments[0].code;
        let queries: Vec<f32> = (0..12)
            .flat_map(|_| {
                let row = random.below(1_000) as usize * dimension;
                values[row..row + dimension].to_vec()
            })
            .collect();
        let found = true_recall(&rows, metric, &values, &queries);
        assert!(found >= 0.9, "seed {seed}: {metric} × {dimension} by {leads}: {found}");
        codes.insert(leads);
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["byte", "full", "half"]);
}

#[test]
fn a_few_rows_that_one_code_stands_for_are_told_apart() {
    // So many that the graph is built at once, which takes less time.
    let (count, few) = (8_500, 170);
    for (metric, dimension, offset) in [
        (Metric::L2, 64, Some(30.0)),
        (Metric::L2, 256, Some(30.0)),
        (Metric::L2, 256, None),
        (Metric::Cosine, 64, None),
        (Metric::Cosine, 256, None),
    ] {
        let mut next = noise(51);
        let mut wide = move || next() + next() + next();
        // Far from the others, or among them and closer together.
        let centre: Vec<f32> = (0..dimension).map(|_| offset.unwrap_or_else(&mut wide)).collect();
        let spread = if offset.is_some() { 0.1 } else { 0.003 };
        let mut together = noise(52);
        let mut near = || centre.iter().map(|x| x + spread * together()).collect::<Vec<f32>>();
        let values: Vec<f32> = (0..count)
            .flat_map(|row| match row * 7_919 % count < few {
                true => near(),
                false => (0..dimension).map(|_| wide()).collect(),
            })
            .collect();
        let queries: Vec<f32> = (0..20).flat_map(|_| near()).collect();
        let (_dir, rows) = indexed(metric, dimension, &values, CodeChoice::Auto);
        let part = rows.search(&queries[..dimension]).ef(24).explain().unwrap().parts.remove(0);
        assert_eq!(part.plan, SearchPlan::Walk);
        let found = recall(&rows, dimension, &queries);
        let leads = rows.stats().unwrap().segments[0].code;
        assert!(found >= 0.9, "{metric} × {dimension}, {offset:?} by {leads}: {found}");
    }
}

#[test]
fn rows_that_one_bit_represents_badly_are_found_without_a_graph() {
    for dimension in [3, 40, 200] {
        let mut next = noise(dimension as u64);
        let rows = 4_200;
        let plain: Vec<f32> = (0..rows * dimension).map(|_| next() + next()).collect();
        let scaled = |factor: f32| plain.iter().map(|x| x * factor).collect::<Vec<f32>>();
        let every = |step: usize, factor: f32| -> Vec<f32> {
            let long = |at: usize| if at.is_multiple_of(step) { factor } else { 1.0 };
            plain.iter().enumerate().map(|(at, x)| x * long(at)).collect()
        };
        for (name, values) in [
            ("constant", vec![0.25; rows * dimension]),
            ("zeros", vec![0.0; rows * dimension]),
            ("huge", scaled(1e30)),
            ("denormal", scaled(1e-41)),
            ("one long element", every(dimension, 1e4)),
            ("a long element here and there", every(1_009, 1e6)),
        ] {
            for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
                for code in [CodeChoice::Auto, CodeChoice::Bit] {
                    let (_dir, rows) = compacted(metric, dimension, &values, code, u64::MAX);
                    let found = recall(&rows, dimension, &values[..6 * dimension]);
                    let leads = rows.stats().unwrap().segments[0].code;
                    assert!(found >= 0.9, "{name} × {dimension} {metric} by {leads}: {found}");
                }
            }
        }
    }
}

#[test]
fn codes_without_a_graph_can_be_forced_too_and_survive_compaction_and_reopening() {
    let dimension = 64;
    let mut next = noise(10);
    let values: Vec<f32> = (0..ROWS * dimension).map(|_| next() * next()).collect();
    let (dir, rows) = compacted(Metric::Cosine, dimension, &values, CodeChoice::Bit, u64::MAX);
    let code = |rows: &Collection| rows.stats().unwrap().segments[0].code;
    assert_eq!(code(&rows), "bit");
    let more: Vec<u64> = (10_000..10_000 + ROWS as u64).collect();
    rows.upsert(&more, &values, ()).unwrap();
    rows.compact().unwrap();
    assert_eq!((code(&rows), rows.stats().unwrap().segments.len()), ("bit", 1));
    assert_eq!(rows.verify().unwrap().problems, [""; 0]);
    drop(rows);
    let db = OpenOptions::new().open(dir.path().join("db")).unwrap();
    let rows = db.open_collection("rows").unwrap();
    assert_eq!(code(&rows), "bit");
    let hits = rows.search(&values[..dimension]).k(2).run().unwrap().hits;
    assert_eq!((hits[0].id.clone(), hits[1].id.clone()), (0.into(), 10_000.into()));
}

#[test]
fn a_code_can_be_forced_and_stats_says_which_leads_and_how_well() {
    let dimension = 256;
    let mut next = noise(9);
    let values: Vec<f32> = (0..ROWS * dimension).map(|_| next() + next()).collect();
    let of = |code| {
        let (_dir, rows) = indexed(Metric::Cosine, dimension, &values, code);
        let segment = rows.stats().unwrap().segments.remove(0);
        let (found, told) =
            (recall(&rows, dimension, &values[..20 * dimension]), segment.graph_recall);
        // Measured on other rows of the same kind.
        let told = f64::from(told.unwrap()) / 1000.0;
        assert!(found >= 0.5 && (told - found).abs() < 0.2, "{told} told, {found} found");
        (segment.code, segment.code_agreement)
    };
    assert_eq!(of(CodeChoice::Full), ("full", None));
    let (code, agreement) = of(CodeChoice::Byte);
    assert!(code == "byte" && agreement.unwrap() >= 990);
    let (code, agreement) = of(CodeChoice::Half);
    assert!(code == "half" && agreement.unwrap() >= 900);
}

#[test]
fn zero_vectors_do_not_push_out_rows_that_are_nearer() {
    for (code, dimension) in [(CodeChoice::Byte, 64), (CodeChoice::Half, 256)] {
        let mut next = noise(5);
        let mut values: Vec<f32> = (0..ROWS * dimension).map(|_| next() + next()).collect();
        values[..60 * dimension].fill(0.0);
        let queries: Vec<f32> = (0..10 * dimension).map(|_| next() + next()).collect();
        let (_dir, rows) = indexed(Metric::Cosine, dimension, &values, code);
        for query in queries.chunks(dimension) {
            let exact = rows.search(query).exact(true).run().unwrap().hits;
            assert!(exact[9].distance < 1.0);
            let walked = rows.search(query).ef(24).run().unwrap().hits;
            let zeros = walked.iter().filter(|hit| hit.distance == 1.0).count();
            assert_eq!(zeros, 0, "{code:?}");
        }
    }
}

#[test]
fn a_large_k_is_compared_exactly_too() {
    let (dimension, k) = (200, 100);
    let mut next = noise(6);
    let values: Vec<f32> = (0..20_000 * dimension).map(|_| next() * next()).collect();
    let (_dir, rows) = indexed(Metric::L2, dimension, &values, CodeChoice::Half);
    let (mut found, mut wanted) = (0, 0);
    for query in values[..10 * dimension].chunks(dimension) {
        let exact = rows.search(query).k(k).exact(true).run().unwrap().hits;
        let walked = rows.search(query).k(k).run().unwrap().hits;
        let worst = exact.last().unwrap().distance;
        wanted += exact.len();
        found += walked.iter().filter(|hit| hit.distance <= worst).count();
    }
    assert!(found * 10 >= wanted * 5, "{found} of {wanted}");
}

/// Rows around some centres that differ along a few directions more than along others.
fn leaning(rows: usize, dimension: usize, seed: u64) -> Vec<f32> {
    let (mut fixed, mut next) = (noise(77), noise(seed));
    let directions: Vec<f32> = (0..12 * dimension).map(|_| fixed()).collect();
    let mut values = Vec::with_capacity(rows * dimension);
    for _ in 0..rows {
        let weights: Vec<f32> = (0..12).map(|_| next() + next()).collect();
        for at in 0..dimension {
            let along = weights.iter().zip(directions[at..].iter().step_by(dimension));
            values.push(along.map(|(w, x)| w * x).sum::<f32>() + 0.1 * next() + 0.3);
        }
    }
    values
}

#[test]
fn a_product_code_leads_walks_and_scans_through_merges_deletes_and_reopening() {
    let (dimension, count) = (64, 3_000);
    let values = leaning(2 * count, dimension, 1);
    let queries = leaning(30, dimension, 2);
    for (metric, graph_bytes, plan) in [
        (Metric::L2, 0, SearchPlan::Walk),
        (Metric::Cosine, 0, SearchPlan::Walk),
        (Metric::Dot, 0, SearchPlan::Walk),
        (Metric::L2, u64::MAX, SearchPlan::ScanCodes),
        (Metric::Cosine, u64::MAX, SearchPlan::ScanCodes),
        (Metric::Dot, u64::MAX, SearchPlan::ScanCodes),
    ] {
        let code = CodeChoice::Product { bytes: 24 };
        let first = &values[..count * dimension];
        let (dir, rows) = compacted(metric, dimension, first, code, graph_bytes);
        let check = |rows: &Collection, what: &str| {
            let segment = rows.stats().unwrap().segments.remove(0);
            assert_eq!(segment.code, "product", "{metric} {what}");
            assert!(segment.code_agreement.unwrap() >= 970);
            let found = recall(rows, dimension, &queries);
            assert!(found >= 0.88, "{metric} {plan:?} {what}: {found}");
            let search = rows.search(&queries[..dimension]).ef(24);
            let part = search.explain().unwrap().parts.remove(0);
            // Among deleted rows, comparing the codes of the others is less work than a walk here.
            assert!(part.plan == plan || part.live_rows < part.rows, "{metric} {what}");
            assert!(part.codes_compared > 0 && part.rows_compared < part.live_rows / 2);
            assert_eq!(rows.verify().unwrap().problems, [""; 0]);
        };
        check(&rows, "as it was built");
        let more: Vec<u64> = (10_000..10_000 + count as u64).collect();
        rows.upsert(&more, &values[count * dimension..], ()).unwrap();
        rows.compact().unwrap();
        check(&rows, "merged");
        let gone: Vec<u64> = (0..count as u64).step_by(3).collect();
        rows.delete(&gone).unwrap();
        check(&rows, "after deletes");
        drop(rows);
        let db = OpenOptions::new().open(dir.path().join("db")).unwrap();
        let rows = db.open_collection("rows").unwrap();
        check(&rows, "reopened");
    }
}

#[test]
fn scans_go_by_product_codes_only_where_these_keep_the_share_that_is_asked_for() {
    let (dimension, count) = (48, 4_000);
    let mut next = noise(31);
    let values: Vec<f32> = (0..count * dimension).map(|_| next()).collect();
    // The first that are so short that they lose some.
    let coded = [16, 14, 12, 11, 10, 9, 8].into_iter().find_map(|bytes| {
        let code = CodeChoice::Product { bytes };
        let (dir, rows) = compacted(Metric::L2, dimension, &values, code, u64::MAX);
        let segment = rows.stats().unwrap().segments.remove(0);
        let agreement = segment.code_agreement.filter(|_| segment.code == "product")?;
        (agreement < 997).then_some((dir, rows, agreement))
    });
    let (_dir, rows, agreement) = coded.expect("codes that lose some rows");
    let query = &values[..dimension];
    let plan = |recall: u32| {
        let search = rows.search(query).recall(recall as f32 / 1e3);
        search.explain().unwrap().parts[0].plan
    };
    assert_eq!(plan(agreement), SearchPlan::ScanCodes);
    assert_eq!(plan(agreement + 1), SearchPlan::Scan);
    let queries: Vec<f32> = (0..100 * dimension).map(|_| next()).collect();
    let found = rows.measure_recall().queries(&queries).recall(0.999).run().unwrap().recall;
    assert_eq!(found, 1.0);
}

#[test]
fn a_graph_built_in_bulk_is_walked_by_product_codes() {
    let (dimension, count) = (32, 8_500);
    let values = leaning(count, dimension, 41);
    let queries = leaning(50, dimension, 42);
    let code = CodeChoice::Product { bytes: 16 };
    let (_dir, rows) = indexed(Metric::L2, dimension, &values, code);
    assert_eq!(rows.stats().unwrap().segments[0].code, "product");
    let part = rows.search(&queries[..dimension]).ef(24).explain().unwrap().parts.remove(0);
    assert!(part.plan == SearchPlan::Walk && part.codes_compared > 0, "{part:?}");
    let found = recall(&rows, dimension, &queries);
    assert!(found >= 0.88, "{found}");
    let asked = rows.measure_recall().queries(&queries).recall(0.9).run().unwrap().recall;
    assert!(asked >= 0.88, "{asked}");
}

#[test]
fn closing_writes_what_is_in_memory_to_a_segment_with_product_codes() {
    let (dimension, count) = (64, 4_500);
    let values = leaning(count, dimension, 21);
    let ids: Vec<u64> = (0..count as u64).collect();
    for background in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.code = CodeChoice::Product { bytes: 24 };
        settings.background = background;
        let options = OpenOptions::new().settings(settings);
        let db = options.open(dir.path().join("db")).unwrap();
        let rows = db.collection("rows", Schema::new(dimension, Metric::L2)).unwrap();
        rows.upsert(&ids, &values, ()).unwrap();
        db.close().unwrap();
        let db = OpenOptions::new().open(dir.path().join("db")).unwrap();
        let segments = db.open_collection("rows").unwrap().stats().unwrap().segments;
        assert_eq!(
            (segments.len(), segments[0].rows),
            (1, count as u64),
            "background: {background}"
        );
        assert_eq!(segments[0].code, "product");
    }
}

/// The newest manifest of a collection.
fn manifest(dir: &TempDir) -> String {
    let files = std::fs::read_dir(dir.path().join("db/rows")).unwrap();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let paths = files.map(|entry| entry.unwrap().path());
    let newest = paths.filter(|path| name(path).starts_with("MANIFEST-")).max().unwrap();
    std::fs::read_to_string(newest).unwrap()
}

#[test]
fn older_versions_are_told_of_product_codes_for_as_long_as_there_are_any() {
    let (dimension, count) = (16, 2_500);
    let values = leaning(count, dimension, 11);
    for graph_bytes in [0, u64::MAX] {
        let code = CodeChoice::Product { bytes: 16 };
        let (dir, rows) = compacted(Metric::L2, dimension, &values, code, graph_bytes);
        assert_eq!(rows.stats().unwrap().segments[0].code, "product");
        assert!(manifest(&dir).contains("\"codes-product\""));
        drop(rows);
        let mut settings = Settings::default();
        settings.code = CodeChoice::Full;
        let db = OpenOptions::new().settings(settings).open(dir.path().join("db")).unwrap();
        let rows = db.open_collection("rows").unwrap();
        rows.delete(&[1, 2, 3]).unwrap();
        rows.flush().unwrap();
        assert!(manifest(&dir).contains("\"codes-product\""), "its file is still there");
        rows.compact().unwrap();
        assert_eq!(rows.stats().unwrap().segments[0].code, "full");
        assert!(!manifest(&dir).contains("codes-product"));
    }
}

#[test]
fn rows_that_few_bytes_do_not_tell_apart_are_coded_wider() {
    let (dimension, count) = (40, 2_100);
    let plain = leaning(count, dimension, 3);
    let scaled = |factor: f32| plain.iter().map(|x| x * factor).collect::<Vec<f32>>();
    let every = |step: usize, factor: f32| -> Vec<f32> {
        let long = |at: usize| if at.is_multiple_of(step) { factor } else { 1.0 };
        plain.iter().enumerate().map(|(at, x)| x * long(at)).collect()
    };
    let mut next = noise(4);
    let mut copies = plain.clone();
    copies[..count / 4 * dimension].fill(0.5);
    let mut zeros = plain.clone();
    zeros[..count / 4 * dimension].fill(0.0);
    for (name, values) in [
        ("noise", (0..count * dimension).map(|_| next()).collect()),
        ("constant", vec![0.25; count * dimension]),
        ("a quarter the same", copies),
        ("a quarter zeros", zeros),
        ("huge", scaled(1e30)),
        ("denormal", scaled(1e-41)),
        ("one long element", every(dimension, 1e4)),
        ("a long element here and there", every(1_009, 1e6)),
        ("few rows", plain[..900 * dimension].to_vec()),
    ] {
        for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
            for graph_bytes in [0, u64::MAX] {
                let of = |code| {
                    let (_dir, rows) = compacted(metric, dimension, &values, code, graph_bytes);
                    let leads = rows.stats().unwrap().segments[0].code;
                    let queries = &values[values.len() - 8 * dimension..];
                    (recall(&rows, dimension, queries), leads)
                };
                // Fewer bytes than any of this data needs.
                let (found, leads) = of(CodeChoice::Product { bytes: 8 });
                let (full, _) = of(CodeChoice::Full);
                assert!(found >= full - 0.1, "{name} {metric} by {leads}: {found}, full {full}");
            }
        }
    }
}

#[test]
fn product_codes_of_impossible_sizes_are_refused_with_the_possible_ones() {
    for bytes in [0, 7, 1_025, u16::MAX] {
        let code = CodeChoice::Product { bytes };
        let mut settings = Settings::default();
        settings.code = code;
        let dir = tempfile::tempdir().unwrap();
        let refused = OpenOptions::new().settings(settings).open(dir.path().join("db"));
        let bare = IndexOptions::new().code(code).create(3, Metric::L2);
        for said in [refused.unwrap_err().to_string(), bare.unwrap_err().to_string()] {
            assert!(
                said.contains(&format!("{bytes} bytes")) && said.contains("8 to 1024"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_bare_index_walks_by_product_codes_and_keeps_them_in_its_file() {
    let (dimension, count) = (64, 3_000);
    let values = leaning(count, dimension, 5);
    let queries = leaning(20, dimension, 6);
    let options = || IndexOptions::new().code(CodeChoice::Product { bytes: 24 });
    let index = options().create(dimension, Metric::L2).unwrap();
    index.add(None, &values).unwrap();
    index.build().unwrap();
    let exact = IndexOptions::new().code(CodeChoice::Full).create(dimension, Metric::L2).unwrap();
    exact.add(None, &values).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.nfi");
    index.save(&path).unwrap();
    // Versions that do not know this bit of the header refuse the file as too new.
    assert_eq!(std::fs::read(&path).unwrap()[32..40], [1, 0, 0, 0, 0, 0, 0, 0]);
    let loaded = Index::view(&path).unwrap();
    let mut found = 0;
    for query in queries.chunks(dimension) {
        let wanted = exact.search(query).exact(true).run().unwrap();
        let walked = index.search(query).ef(24).run().unwrap();
        assert_eq!(walked, loaded.search(query).ef(24).run().unwrap());
        found += wanted.iter().filter(|near| walked.contains(near)).count();
    }
    assert!(found >= 180, "{found} of 200");
}
