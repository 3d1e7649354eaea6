//! What a first message tells of where it came from, and which of it counts (DESIGN section 9).

use munadi::types::proto::v1::{self, EntryPoint, MatchKind};
use munadi::types::request::{Change, Resource};
use munadi::types::time::Moment;

use crate::bodies::{ACCOUNT, NUMBER, PHONE, said};
use crate::stage::{NOW_S, Shop, Stage, TENANT, code_of, whatsapp};

/// Looks like a code, and is nobody's.
const STRANGE: &str = "7ZK4M0Q9XA";

/// A shop with two taps on its ad and a printed code.
struct Scene {
    stage: Stage,
    shop: Shop,
    /// The click ids, the older first.
    clicks: [u64; 2],
    /// The older tap's sealed click, and its code.
    token: String,
    code: String,
    /// The code on the door.
    printed: String,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::at(NOW_S - 1);
        let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
        let source = v1::EntrySource {
            endpoint_id: shop.endpoint,
            name: "The door".into(),
            entry_point: EntryPoint::WebButton.into(),
            ..Default::default()
        };
        let source = stage.write(TENANT, Change::Create(Resource::Source(source)));
        let Ok(Resource::Source(source)) = source else { panic!("{source:?}") };
        let (link, older) = stage.clicked("viewer-1");
        // Of two taps in one moment neither would be the newer.
        stage.clock.set(Moment(NOW_S * 1_000));
        let (_, newer) = stage.clicked("viewer-2");
        let token = stage.node.opener().seal_click_text(&older);
        let (clicks, code) = ([older.view, newer.view], code_of(&link));
        Self { stage, shop, clicks, token, code, printed: source.code }
    }

    /// Sends a first message with a link that was followed, the channel's word on its ad, and a code; returns
    /// the click that it is taken to come from, how that was found, and the entry point.
    fn come(self, link: &str, ad: bool, code: &str) -> (Option<(u64, MatchKind)>, EntryPoint) {
        let ad = if ad { self.shop.ad } else { 0 };
        let rest = format!(
            r#""type":"text","text":{{"body":"Hi [{code}]"}},"referral":{{"source_type":"ad",
            "source_id":"{ad}","source_url":"{link}","ctwa_clid":"clid"}}"#
        );
        let path = "/webhooks/whatsapp/all";
        assert_eq!(self.stage.post(path, &said("wamid.1", &rest)).status, 200);
        let chat = self.stage.conversation(self.shop, PHONE).unwrap();
        self.stage.stop();
        let touch = chat.latest_touch.as_ref();
        (touch.map(|touch| (touch.click_id, touch.match_kind())), chat.entry_point())
    }
}

#[test]
fn a_sealed_click_goes_before_the_channels_ad_and_any_code() {
    let scene = Scene::new();
    let (link, [older, _]) = (format!("https://ads.example/c/{}", scene.token), scene.clicks);
    let printed = scene.printed.clone();
    let found = Some((older, MatchKind::ClickToken));
    assert_eq!(scene.come(&link, true, &printed), (found, EntryPoint::Ad));
}

#[test]
fn a_known_clicks_code_goes_before_the_channels_ad_since_it_names_the_click() {
    let scene = Scene::new();
    let (code, [older, _]) = (scene.code.clone(), scene.clicks);
    let found = Some((older, MatchKind::PrefillCode));
    assert_eq!(scene.come("https://fb.me/x", true, &code), (found, EntryPoint::Ad));
}

#[test]
fn the_channels_ad_goes_before_a_printed_code_and_one_that_nobody_knows() {
    for strange in [true, false] {
        let scene = Scene::new();
        let code = if strange { STRANGE.to_owned() } else { scene.printed.clone() };
        let found = Some((scene.clicks[1], MatchKind::ChannelRef));
        assert_eq!(scene.come("https://fb.me/x", true, &code), (found, EntryPoint::Ad));
    }
}

#[test]
fn a_printed_code_leads_to_its_place_by_whichever_way_it_came_back() {
    let scene = Scene::new();
    let code = scene.printed.clone();
    assert_eq!(scene.come("", false, &code), (None, EntryPoint::WebButton));
    let scene = Scene::new();
    let link = format!("https://wa.me/{NUMBER}?text=Hi%20%5B{}%5D", scene.printed);
    assert_eq!(scene.come(&link, false, ""), (None, EntryPoint::WebButton));
}
