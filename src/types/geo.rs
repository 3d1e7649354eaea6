//! Places on the map: circles, and the grid of cells that they are looked up by.

use crate::types::proto::v1::Radius;

/// Millionths of a degree in a cell: half a degree, about 55 km from south to north.
const CELL_E6: i32 = 500_000;
/// Cells from pole to pole.
const ROWS: i32 = 180_000_000 / CELL_E6;
/// Cells around the globe.
const COLUMNS: i32 = 360_000_000 / CELL_E6;

/// Mean radius of the earth, meters (IUGG).
const EARTH_M: f64 = 6_371_008.8;

/// A circle on the map.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Circle {
    /// Millionths of a degree, north positive.
    pub latitude_e6: i32,
    /// Millionths of a degree, east positive.
    pub longitude_e6: i32,
    /// Its radius, meters.
    pub meters: u32,
}

impl Circle {
    /// Returns a circle of the wire.
    pub const fn of(wire: &Radius) -> Self {
        let Radius { latitude_e6, longitude_e6, meters } = *wire;
        Self { latitude_e6, longitude_e6, meters }
    }

    /// Tells whether a point lies in it, by the great-circle distance (haversine).
    pub fn contains(&self, latitude_e6: i32, longitude_e6: i32) -> bool {
        let radians = |e6: i32| f64::from(e6).to_radians() / 1e6;
        let (from, to) = (radians(self.latitude_e6), radians(latitude_e6));
        let turn = f64::from(longitude_e6) - f64::from(self.longitude_e6);
        let (up, across) = ((to - from) / 2.0, turn.to_radians() / 2e6);
        let half = up.sin().powi(2) + from.cos() * to.cos() * across.sin().powi(2);
        2.0 * EARTH_M * half.sqrt().min(1.0).asin() <= f64::from(self.meters)
    }

    /// Returns every cell that it may touch: each point of it lies in one of them.
    pub fn cells(&self) -> Vec<u32> {
        // A meter is this many millionths of a degree along a meridian; a little more, to be safe.
        let reach = f64::from(self.meters) / EARTH_M * 180e6 / std::f64::consts::PI + 10.0;
        let (low, high) = (self.latitude_e6 - reach as i32, self.latitude_e6 + reach as i32);
        let steepest = f64::from(low.abs().max(high.abs())) / 1e6;
        let rows = row_of(low)..=row_of(high);
        let narrow = steepest.to_radians().cos();
        // Near a pole a circle may go all around.
        let across = if steepest < 89.0 { reach / narrow } else { 360e6 };
        if across >= 180e6 {
            return rows.flat_map(|row| (0..COLUMNS).map(move |c| cell(row, c))).collect();
        }
        let west = column_of(self.longitude_e6 - across as i32 - 1);
        let east = column_of(self.longitude_e6 + across as i32 + 1);
        let columns = if west <= east { east - west } else { east + COLUMNS - west };
        let of_row = |row| (0..=columns).map(move |step| cell(row, (west + step) % COLUMNS));
        rows.flat_map(of_row).collect()
    }
}

/// Returns the cell that a point lies in.
pub const fn cell_of(latitude_e6: i32, longitude_e6: i32) -> u32 {
    cell(row_of(latitude_e6), column_of(longitude_e6))
}

const fn cell(row: i32, column: i32) -> u32 {
    (row * COLUMNS + column) as u32
}

const fn row_of(latitude_e6: i32) -> i32 {
    let row = (latitude_e6 + 90_000_000).div_euclid(CELL_E6);
    if row < 0 {
        0
    } else if row >= ROWS {
        ROWS - 1
    } else {
        row
    }
}

const fn column_of(longitude_e6: i32) -> i32 {
    // The date line: 180 degrees east and west are one.
    (longitude_e6 + 180_000_000).div_euclid(CELL_E6).rem_euclid(COLUMNS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_circle_reaches_as_far_as_it_says() {
        // Guadalajara to Mexico City is about 460 km.
        let at = |meters| Circle { latitude_e6: 20_673_600, longitude_e6: -103_344_000, meters };
        assert!(at(465_000).contains(19_432_600, -99_133_200));
        assert!(!at(455_000).contains(19_432_600, -99_133_200));
    }

    #[test]
    fn a_circle_goes_over_the_date_line_and_the_pole() {
        let fiji = Circle { latitude_e6: -17_000_000, longitude_e6: 179_900_000, meters: 50_000 };
        assert!(fiji.contains(-17_000_000, -179_900_000));
        assert!(fiji.cells().contains(&cell_of(-17_000_000, -179_900_000)));
        let pole = Circle { latitude_e6: 89_900_000, longitude_e6: 0, meters: 50_000 };
        assert!(pole.contains(89_900_000, 180_000_000));
        assert!(pole.cells().contains(&cell_of(89_900_000, 180_000_000)));
    }

    proptest! {
        #[test]
        fn each_point_of_a_circle_lies_in_one_of_its_cells(
            latitude_e6 in -90_000_000..=90_000_000i32,
            longitude_e6 in -180_000_000..=180_000_000i32,
            meters in 1_000..=80_000u32,
            north in -1_000_000..=1_000_000i32,
            east in -60_000_000..=60_000_000i32,
        ) {
            let circle = Circle { latitude_e6, longitude_e6, meters };
            let there = (latitude_e6 + north).clamp(-90_000_000, 90_000_000);
            let mut along = longitude_e6 + east / 60;
            if latitude_e6.abs() > 80_000_000 {
                along = longitude_e6 + east;
            }
            let along = (along + 540_000_000).rem_euclid(360_000_000) - 180_000_000;
            if circle.contains(there, along) {
                prop_assert!(circle.cells().contains(&cell_of(there, along)));
            }
        }
    }
}
