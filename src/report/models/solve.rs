//! Dense linear algebra: the inverse of a small matrix.

/// Returns the inverse of a square matrix (rows behind each other) by elimination with partial pivoting; `None` where
/// it has none.
pub(super) fn inverse(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    let mut inverse = vec![0.0; size * size];
    (0..size).for_each(|at| inverse[at * size + at] = 1.0);
    for column in 0..size {
        let height = |row: &usize| matrix[row * size + column].abs();
        let pivot = (column..size).max_by(|a, b| height(a).total_cmp(&height(b)))?;
        if height(&pivot) <= 0.0 {
            return None;
        }
        for at in 0..size {
            matrix.swap(column * size + at, pivot * size + at);
            inverse.swap(column * size + at, pivot * size + at);
        }
        let scale = 1.0 / matrix[column * size + column];
        for at in 0..size {
            matrix[column * size + at] *= scale;
            inverse[column * size + at] *= scale;
        }
        for row in (0..size).filter(|row| *row != column) {
            let factor = matrix[row * size + column];
            if factor == 0.0 {
                continue;
            }
            take_off(&mut matrix, size, (row, column), factor);
            take_off(&mut inverse, size, (row, column), factor);
        }
    }
    Some(inverse)
}

/// Takes a multiple of one row off another.
fn take_off(matrix: &mut [f64], size: usize, (row, other): (usize, usize), factor: f64) {
    let (low, high) = (row.min(other), row.max(other));
    let (before, behind) = matrix.split_at_mut(high * size);
    let (first, second) = (&mut before[low * size..][..size], &mut behind[..size]);
    let (to, from) = if row < other { (first, second) } else { (second, first) };
    to.iter_mut().zip(from).for_each(|(to, from)| *to -= factor * *from);
}
