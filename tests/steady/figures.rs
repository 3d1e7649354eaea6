//! Percentiles, medians and slopes of what was measured.

use std::time::Duration;

/// Returns the value below which this part of all lies; zero of none.
pub(crate) fn percentile(values: &[Duration], part: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Returns the middle value, of two the mean; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0.0,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => (values[middle - 1] + upper) / 2.0,
    }
}

/// Returns the slope of a line through points, as the median of the slopes of all pairs (Theil, 1950; Sen, 1968): a
/// few points that are far off do not move it. Zero of less than two points.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let pairs = points.iter().enumerate().flat_map(|(at, one)| {
        let later = points[at + 1..].iter();
        later.filter(|other| other.0 > one.0).map(|other| (other.1 - one.1) / (other.0 - one.0))
    });
    median(pairs.collect())
}

/// Returns the first and the last third of a list.
pub(crate) fn thirds<T>(all: &[T]) -> (&[T], &[T]) {
    let third = all.len().div_ceil(3);
    (&all[..third], &all[all.len() - third..])
}

#[test]
fn a_slope_is_found_behind_points_that_are_far_off() {
    let line = |at: u32| (f64::from(at), 7.0 + 3.0 * f64::from(at));
    let mut points: Vec<(f64, f64)> = (0..20).map(line).collect();
    for at in [3, 11, 19] {
        points[at].1 += 1e6;
    }
    assert!((slope(&points) - 3.0).abs() < 1e-9, "{}", slope(&points));
    assert!(slope(&points[..1]).abs() < 1e-9 && slope(&[(1.0, 2.0); 5]).abs() < 1e-9);
}

#[test]
fn percentiles_medians_and_thirds_are_those_of_the_sorted_list() {
    let values: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
    assert_eq!(percentile(&values, 0.99), Duration::from_millis(100));
    assert_eq!(percentile(&values, 0.5), Duration::from_millis(51));
    assert_eq!(percentile(&[], 0.99), Duration::ZERO);
    let middle = |values: &[f64]| (10.0 * median(values.to_vec())) as i64;
    assert_eq!((middle(&[3.0, 1.0, 2.0]), middle(&[4.0, 1.0, 2.0, 3.0])), (20, 25));
    assert_eq!(middle(&[]), 0);
    assert_eq!(thirds(&[1, 2, 3, 4, 5, 6, 7]), (&[1, 2, 3][..], &[5, 6, 7][..]));
}
