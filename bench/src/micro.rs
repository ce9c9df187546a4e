//! The micro benchmarks (`benches/`): how they are measured, and what they told.

pub mod soft_bond;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Time to warm up and to measure of each micro benchmark. Short, because the speed of a machine changes with the
/// minutes, and what is compared should follow each other within seconds.
pub const WARM_UP: Duration = Duration::from_millis(300);
/// See [`WARM_UP`].
pub const MEASUREMENT: Duration = Duration::from_secs(1);

/// What one micro benchmark told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figure {
    /// Group, function and parameter: `ring-cross/bond/64`.
    pub name: String,
    /// What the values are in.
    pub unit: String,
    /// Middle value of the samples.
    pub median: f64,
    /// Least value of the samples.
    pub min: f64,
    /// Greatest value of the samples.
    pub max: f64,
    /// Number of samples; each is a mean over many iterations.
    pub n: usize,
}

impl Figure {
    /// Nanoseconds for one as how many a second.
    #[must_use]
    pub fn per_second(&self) -> Self {
        let rate = |ns: f64| 1e9 / ns;
        Self {
            name: self.name.clone(),
            unit: "1/s".to_owned(),
            median: rate(self.median),
            min: rate(self.max),
            max: rate(self.min),
            n: self.n,
        }
    }
}

/// The figures that the last `cargo bench` left in criterion's directory (`target/criterion`), by name.
///
/// All are nanoseconds (`ns`) for one descriptor or frame, and computed from criterion's raw samples: what it
/// estimates has no extremes.
///
/// # Errors
/// When the directory holds no benchmark, or something that criterion did not write.
pub fn figures(criterion: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    collect(criterion, &mut figures)?;
    ensure!(!figures.is_empty(), "no benchmark was run: {} holds none", criterion.display());
    figures.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(figures)
}

/// `benchmark.json`
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Throughput,
}

#[derive(Deserialize)]
enum Throughput {
    /// Descriptors or frames in one iteration.
    Elements(u32),
}

/// `sample.json`: of each sample the iterations, and the nanoseconds they took together.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

fn collect(directory: &Path, figures: &mut Vec<Figure>) -> Result<()> {
    let context = || format!("cannot read {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if !path.is_dir() {
            continue;
        }
        // `new` is the last run; `base` beside it is the one before.
        if path.ends_with("new") {
            figures.extend(figure(&path)?);
        } else if !path.ends_with("base") {
            collect(&path, figures)?;
        }
    }
    Ok(())
}

fn figure(directory: &Path) -> Result<Option<Figure>> {
    let Some(benchmark) = read::<Benchmark>(&directory.join("benchmark.json"))? else {
        return Ok(None);
    };
    let Some(samples) = read::<Samples>(&directory.join("sample.json"))? else { return Ok(None) };
    let Throughput::Elements(elements) = benchmark.throughput;
    let mut values: Vec<f64> = (samples.times.iter().zip(&samples.iters))
        .map(|(time, iterations)| time / iterations / f64::from(elements))
        .collect();
    values.sort_by(f64::total_cmp);
    let [min, .., max] = values[..] else { return Ok(None) };
    let n = values.len();
    let median = f64::midpoint(values[(n - 1) / 2], values[n / 2]);
    Ok(Some(Figure { name: benchmark.full_id, unit: "ns".to_owned(), median, min, max, n }))
}

/// A file's content; `None` when there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let context = || format!("cannot read {}", path.display());
    match File::open(path) {
        Ok(file) => serde_json::from_reader(file).map(Some).with_context(context),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criterion_wrote(directory: &Path, full_id: &str, iters: &str, times: &str) {
        let new = directory.join(full_id).join("new");
        fs::create_dir_all(&new).unwrap();
        let benchmark = format!(
            r#"{{"group_id":"g","function_id":"f","value_str":"8","throughput":{{"Elements":8}},"full_id":"{full_id}","directory_name":"d","title":"t"}}"#
        );
        fs::write(new.join("benchmark.json"), benchmark).unwrap();
        let samples = format!(r#"{{"sampling_mode":"Flat","iters":{iters},"times":{times}}}"#);
        fs::write(new.join("sample.json"), samples).unwrap();
    }

    #[test]
    fn samples_become_figures() {
        let directory = tempfile::tempdir().unwrap();
        criterion_wrote(directory.path(), "turn/b/8", "[1.0,2.0,4.0,2.0]", "[80,16,64,64]");
        criterion_wrote(directory.path(), "ring/a/8", "[10.0,10.0,10.0]", "[160.0,80.0,400.0]");
        fs::create_dir_all(directory.path().join("ring/report")).unwrap();
        let ring = Figure {
            name: "ring/a/8".to_owned(),
            unit: "ns".to_owned(),
            median: 2.0,
            min: 1.0,
            max: 5.0,
            n: 3,
        };
        let turn = Figure {
            name: "turn/b/8".to_owned(),
            unit: "ns".to_owned(),
            median: 3.0,
            min: 1.0,
            max: 10.0,
            n: 4,
        };
        assert_eq!(figures(directory.path()).unwrap(), [ring.clone(), turn]);
        let rate =
            Figure { unit: "1/s".to_owned(), median: 5e8, min: 2e8, max: 1e9, ..ring.clone() };
        assert_eq!(ring.per_second(), rate);
    }

    #[test]
    fn no_benchmark_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = figures(directory.path()).unwrap_err().to_string();
        assert!(error.starts_with("no benchmark was run: "), "{error}");
        assert!(figures(&directory.path().join("none")).is_err());
        criterion_wrote(directory.path(), "ring/a/8", "[1.0]", "no list");
        assert!(figures(directory.path()).is_err());
    }
}
