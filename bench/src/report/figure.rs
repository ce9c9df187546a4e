//! Several readings of one quantity.

use serde::{Deserialize, Serialize};

/// Median and spread, and the readings behind them in the order of the rounds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figure {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub n: usize,
    pub values: Vec<f64>,
}

impl Figure {
    /// Of at least one reading.
    #[must_use]
    pub fn of(values: Vec<f64>) -> Self {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            min: quantile(&sorted, 0.0),
            max: quantile(&sorted, 1.0),
            n: values.len(),
            values,
        }
    }

    /// Reading by reading: those of the same rounds. A reading of 0 is nothing to take a ratio to.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> Self {
        let ratios = self.values.iter().zip(&other.values).map(|(ours, theirs)| ours / theirs);
        Self::of(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    /// The reading that the part `part` of all is not above.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, part)
    }
}

/// Between two readings the quantile lies on the line from one to the other. Of none it is not a number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index within the readings"
)]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = part * last as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let figure = Figure::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!((figure.median, figure.min, figure.max, figure.n), (2.5, 1.0, 4.0, 4));
        assert_eq!(figure.quantile(0.25), 1.75);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ratio = Figure::of(vec![1.0, 4.0, 9.0]).ratio_to(&Figure::of(vec![1.0, 2.0, 3.0]));
        assert_eq!(ratio.values, [1.0, 2.0, 3.0]);
        let ratio = Figure::of(vec![1.0, 0.0, 6.0]).ratio_to(&Figure::of(vec![0.0, 0.0, 3.0]));
        assert_eq!(ratio.values, [2.0]);
    }
}
