//! The shape of a story: what a picture or video of the Status and Stories placements must have.

use crate::decide::mutate::Desk;
use crate::decide::mutate::budgets::touches;
use crate::types::proto::v1::{AdSet, ConfiguredStatus, Creative, Media, Placement};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Resource;

/// Least pixels of a story's medium, across and down.
pub const STORY_PIXELS_MIN: (u32, u32) = (1_080, 1_920);

/// A story is this wide to this high.
const ASPECT: (u64, u64) = (9, 16);

/// How far from the aspect rounding to whole pixels may lead: one pixel of the longer side.
const ASPECT_SLACK: u64 = 8;

/// Shares of a story's height that feeds lay their own texts and buttons over: its media should have
/// nothing there that must be seen. Told to advertisers, never checked: the pixels stay with them.
pub const SAFE_TOP_PERCENT: u32 = 14;
/// See [`SAFE_TOP_PERCENT`].
pub const SAFE_BOTTOM_PERCENT: u32 = 35;

impl Desk<'_> {
    /// Refuses an ad that doesn't fit its ad set's placements, and placements that the ad set's ads don't
    /// fit. `mask` names what an update changes; a create has none.
    pub(super) fn judge_shape(&self, row: &Resource, mask: &[String]) -> Result<(), Refusal> {
        let touches = |names: &[&str]| touches(mask, names);
        match row {
            Resource::Ad(ad) if touches(&["creative"]) => {
                let ad_set = self.catalog.ad_sets.get(ad.ad_set_id);
                let both = ad_set.as_ref().zip(ad.creative.as_ref());
                both.map_or(Ok(()), |(set, creative)| fits(set, creative, "ad.creative"))
            }
            Resource::AdSet(ad_set) if touches(&["targeting", "or_targeting"]) => {
                let ads = self.catalog.ads_of_ad_set(ad_set.id);
                let ads = ads.filter_map(|ad| self.catalog.ads.get(ad));
                let archived = ConfiguredStatus::Archived;
                let shown = ads.filter(|ad| ad.configured_status() != archived);
                let mut creatives = shown.filter_map(|ad| ad.creative);
                creatives.try_for_each(|creative| fits(ad_set, &creative, "ad_set.targeting"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a creative whose declared media don't have the shape of a story, if its ad set's ads may
/// stand between stories. Of the short form, a URL alone, nothing is declared.
pub(super) fn fits(
    ad_set: &AdSet,
    creative: &Creative,
    field: &'static str,
) -> Result<(), Refusal> {
    let mut targetings = ad_set.targeting.iter().chain(&ad_set.or_targeting);
    let is_story =
        |number: &i32| *number == Placement::Status as i32 || *number == Placement::Stories as i32;
    let anywhere = ad_set.targeting.is_none();
    let in_story =
        targetings.any(|it| it.placements.is_empty() || it.placements.iter().any(is_story));
    let media =
        creative.media.iter().chain(creative.cards.iter().filter_map(|it| it.media.as_ref()));
    let misfit = media.filter(|_| anywhere || in_story).find(|media| !is_shaped(media));
    let Some(Media { width, height, .. }) = misfit else { return Ok(()) };
    let (across, down) = STORY_PIXELS_MIN;
    let message = format!(
        "a medium of {width} x {height}: the Status and Stories placements take 9:16, at least \
         {across} x {down}, with nothing that must be seen in the upper {SAFE_TOP_PERCENT} % and the \
         lower {SAFE_BOTTOM_PERCENT} %; send such a one, or target other placements"
    );
    Err(Refusal::new(Reason::FieldInvalid, field, message))
}

fn is_shaped(media: &Media) -> bool {
    let (width, height) = (u64::from(media.width), u64::from(media.height));
    let large = media.width >= STORY_PIXELS_MIN.0 && media.height >= STORY_PIXELS_MIN.1;
    large && (width * ASPECT.1).abs_diff(height * ASPECT.0) <= ASPECT_SLACK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{CarouselCard, Targeting};

    #[test]
    fn a_story_is_nine_to_sixteen_and_large_enough() {
        for (width, height, shaped) in [
            (1_080, 1_920, true),
            (1_440, 2_560, true),
            (1_100, 1_956, true),
            (1_080, 1_919, false),
            (1_079, 1_920, false),
            (720, 1_280, false),
            (1_920, 1_080, false),
            (1_080, 1_922, false),
            (u32::MAX, u32::MAX, false),
        ] {
            let media = Media { width, height, ..Media::default() };
            assert_eq!(is_shaped(&media), shaped, "{width} x {height}");
        }
    }

    #[test]
    fn only_what_may_stand_between_stories_has_their_shape() {
        let square = Media { width: 1_080, height: 1_080, ..Media::default() };
        let alone = Creative { media: Some(square.clone()), ..Creative::default() };
        let card = CarouselCard { media: Some(square), headline: String::new() };
        let among = Creative { cards: vec![card], ..Creative::default() };
        let words = Creative { primary_text: "Tacos".into(), ..Creative::default() };
        let judge = |placements: &[&[Placement]], creative: &Creative| {
            let mut all = placements.iter().map(|list| Targeting {
                placements: list.iter().map(|&placement| placement.into()).collect(),
                ..Targeting::default()
            });
            let (targeting, or_targeting) = (all.next(), all.collect());
            fits(&AdSet { targeting, or_targeting, ..AdSet::default() }, creative, "f").is_ok()
        };
        for creative in [&alone, &among] {
            assert!(judge(&[&[Placement::Feed]], creative));
            assert!(judge(&[&[Placement::Feed, Placement::ChatList]], creative));
            assert!(!judge(&[], creative), "anywhere is between stories too");
            assert!(!judge(&[&[]], creative));
            assert!(!judge(&[&[Placement::Feed, Placement::Stories]], creative));
            assert!(!judge(&[&[Placement::Feed], &[Placement::Status]], creative));
        }
        assert!(judge(&[], &words));
    }
}
