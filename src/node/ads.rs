//! A set of ads by their numbers, a bit each.

/// A set of ads.
#[derive(Default)]
pub(in crate::node) struct Ads {
    words: Vec<u64>,
    count: usize,
}

impl Ads {
    /// Puts an ad in or takes it out; tells whether that changed anything.
    pub(in crate::node) fn set(&mut self, ad: u32, is_in: bool) -> bool {
        let (word, bit) = (ad as usize / 64, 1 << (ad % 64));
        if self.has(ad) == is_in {
            return false;
        }
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] ^= bit;
        self.count = if is_in { self.count + 1 } else { self.count - 1 };
        true
    }

    /// Puts an ad in; tells whether it is new.
    pub(in crate::node) fn put(&mut self, ad: u32) -> bool {
        self.set(ad, true)
    }

    /// Tells whether an ad is in it.
    pub(in crate::node) fn has(&self, ad: u32) -> bool {
        self.words.get(ad as usize / 64).is_some_and(|word| word >> (ad % 64) & 1 == 1)
    }

    /// Returns how many ads are in it.
    pub(in crate::node) const fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ad_is_in_it_once_and_gone_when_it_is_taken_out() {
        let mut ads = Ads::default();
        assert!(ads.put(200) && !ads.put(200) && ads.put(3));
        assert!(!ads.set(5_000, false) && !ads.has(5_000));
        assert!(ads.set(200, false));
        assert_eq!((ads.has(200), ads.has(3), ads.count()), (false, true, 1));
    }
}
