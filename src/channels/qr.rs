//! A link as a QR code (ISO/IEC 18004): an SVG or a PNG image, each with its quiet zone.

use qrcode::{Color, EcLevel, QrCode};

/// The longest link that becomes a QR code, in bytes: what the largest code holds at level M.
pub const QR_LINK_BYTES_MAX: usize = 2_331;

/// The light margin around a code, in modules: what the standard asks for.
pub const QR_QUIET_MODULES: usize = 4;

/// The largest side of one module in a PNG image, in pixels: the largest code is then 5,920 pixels wide.
pub const QR_PIXELS_PER_MODULE_MAX: u32 = 32;

/// Modules of a side of the largest code, without its quiet zone.
const QR_WIDTH_MAX: usize = 177;

/// A QR code of level M: it is read with up to 15 % of it torn or dirty.
#[derive(Debug)]
pub struct Qr {
    /// By row, then column; true is dark.
    modules: Vec<bool>,
    width: usize,
    version: i16,
}

impl Qr {
    /// Returns the code of a link; `None`: it is empty or longer than [`QR_LINK_BYTES_MAX`].
    pub fn of(link: &str) -> Option<Self> {
        if link.is_empty() || link.len() > QR_LINK_BYTES_MAX {
            return None;
        }
        let code = QrCode::with_error_correction_level(link, EcLevel::M).ok()?;
        let modules = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        let qrcode::Version::Normal(version) = code.version() else { return None };
        Some(Self { modules, width: code.width(), version })
    }

    /// Returns the modules of a side, without the quiet zone: 21 to 177.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Returns the version, 1 to 40: how large the code is.
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// Tells whether a module is dark. The quiet zone around the code is light.
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        x < self.width && y < self.width && self.modules[y * self.width + x]
    }

    /// Returns an SVG image, a module one unit wide: it is sharp at any size.
    pub fn svg(&self) -> String {
        use std::fmt::Write;
        let side = self.width + 2 * QR_QUIET_MODULES;
        let mut image = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
             shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
             <path d=\""
        );
        for y in 0..self.width {
            let mut x = 0;
            while x < self.width {
                let run = (x..self.width).take_while(|x| self.is_dark(*x, y)).count();
                if run > 0 {
                    let (left, top) = (x + QR_QUIET_MODULES, y + QR_QUIET_MODULES);
                    // Writing into a string cannot fail.
                    let _ = write!(image, "M{left} {top}h{run}v1h-{run}z");
                }
                x += run + 1;
            }
        }
        image.push_str("\"/></svg>");
        image
    }

    /// Returns a PNG image of one bit a pixel. The side of a module is clamped to 1 to
    /// [`QR_PIXELS_PER_MODULE_MAX`] pixels.
    pub fn png(&self, pixels_per_module: u32) -> Vec<u8> {
        let scale = pixels_per_module.clamp(1, QR_PIXELS_PER_MODULE_MAX) as usize;
        let side = (self.width + 2 * QR_QUIET_MODULES) * scale;
        let row_bytes = side.div_ceil(8);
        let mut pixels = vec![0xFF; row_bytes * side];
        for (y, row) in pixels.chunks_exact_mut(row_bytes).enumerate() {
            for x in QR_QUIET_MODULES * scale..side - QR_QUIET_MODULES * scale {
                // The quiet zone above the code wraps to places that are never dark.
                let module = |at: usize| (at / scale).wrapping_sub(QR_QUIET_MODULES);
                if self.is_dark(module(x), module(y)) {
                    row[x / 8] &= !(0x80 >> (x % 8));
                }
            }
        }
        let mut image = Vec::new();
        let mut encoder = png::Encoder::new(&mut image, side as u32, side as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().expect("a vector takes every header");
        writer.write_image_data(&pixels).expect("the rows are as long as the header says");
        writer.finish().expect("a vector takes every end");
        image
    }
}

// A code's image stays below 5 megabytes even before it is packed.
const _: () = {
    let side = (QR_WIDTH_MAX + 2 * QR_QUIET_MODULES) * QR_PIXELS_PER_MODULE_MAX as usize;
    assert!(side * side / 8 < 5_000_000);
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LINK: &str = "https://ads.example/c/7ZK4M0Q9XA";

    /// Dark modules of an SVG image, read back from its path.
    fn of_svg(image: &str) -> BTreeSet<(usize, usize)> {
        let path = image.rsplit_once("d=\"").unwrap().1.split_once('"').unwrap().0;
        let mut dark = BTreeSet::new();
        for run in path.split_terminator('z') {
            let (from, rest) = run.strip_prefix('M').unwrap().split_once('h').unwrap();
            let (x, y) = from.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let (wide, rest) = rest.split_once('v').unwrap();
            assert_eq!(rest, format!("1h-{wide}"));
            dark.extend((x..x + wide.parse::<usize>().unwrap()).map(|x| (x, y)));
        }
        dark
    }

    /// Side and dark pixels of a PNG image, read back by the decoder.
    fn of_png(image: &[u8]) -> (usize, BTreeSet<(usize, usize)>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(image)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(
            (info.color_type, info.bit_depth),
            (png::ColorType::Grayscale, png::BitDepth::One)
        );
        let side = info.width as usize;
        let dark = |x: usize, y: usize| pixels[y * info.line_size + x / 8] & (0x80 >> (x % 8)) == 0;
        let all = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
        (side, all.filter(|(x, y)| dark(*x, *y)).collect())
    }

    #[test]
    fn both_images_show_the_same_modules_inside_the_quiet_zone() {
        for link in [LINK, "a", &"https://wa.me/5215512345678?text=%F0%9F%8C%AE".repeat(40)] {
            let code = Qr::of(link).unwrap();
            let (width, quiet) = (code.width(), QR_QUIET_MODULES);
            let modules = (0..width).flat_map(|y| (0..width).map(move |x| (x, y)));
            let dark = modules.filter(|(x, y)| code.is_dark(*x, *y));
            let dark: BTreeSet<_> = dark.map(|(x, y)| (x + quiet, y + quiet)).collect();
            assert_eq!(of_svg(&code.svg()), dark);
            for scale in [1, 3, 8] {
                let (side, pixels) = of_png(&code.png(scale));
                let scale = scale as usize;
                assert_eq!(side, (width + 2 * quiet) * scale);
                let modules: BTreeSet<_> =
                    pixels.iter().map(|(x, y)| (x / scale, y / scale)).collect();
                assert_eq!(modules, dark);
                assert_eq!(pixels.len(), dark.len() * scale * scale, "whole modules");
            }
        }
    }

    #[test]
    fn a_code_is_as_small_as_its_link_allows() {
        let code = Qr::of(LINK).unwrap();
        assert_eq!((code.version(), code.width()), (3, 29));
        // A finder pattern in three corners: a dark frame around a light one around a dark square.
        for (x, y) in [(0, 0), (22, 0), (0, 22)] {
            assert!(code.is_dark(x, y) && code.is_dark(x + 6, y + 6) && code.is_dark(x + 3, y + 3));
            assert!(!code.is_dark(x + 1, y + 1) && !code.is_dark(x + 5, y + 5));
        }
        assert!(!code.is_dark(25, 25), "no finder in the last corner");
        assert_eq!(Qr::of("a").unwrap().version(), 1);
    }

    #[test]
    fn the_largest_code_is_bounded_and_no_larger_one_is_made() {
        let code = Qr::of(&"a".repeat(QR_LINK_BYTES_MAX)).unwrap();
        assert_eq!((code.version(), code.width()), (40, QR_WIDTH_MAX));
        assert!(code.svg().len() < 200_000, "{}", code.svg().len());
        assert!(code.png(u32::MAX).len() < 1_000_000);
        assert_eq!(of_png(&code.png(0)).0, QR_WIDTH_MAX + 2 * QR_QUIET_MODULES);
        assert!(Qr::of(&"a".repeat(QR_LINK_BYTES_MAX + 1)).is_none());
        assert!(Qr::of("").is_none());
    }
}
