//! What the attribution bench compares with: floating point, and rows that are merged without a door.

#[cfg(feature = "columns")]
pub(crate) mod flight;
pub(crate) mod floats;
#[cfg(feature = "columns")]
pub(crate) mod history;
pub(crate) mod rows;

/// Returns the median of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
