//! No text of a person is kept: a word that stands wherever a text can stand is looked for everywhere.

use std::fs;
use std::path::Path;

use munadi::types::proto::v1;
use munadi::types::proto::v1::attribution_service_client::AttributionServiceClient;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use munadi::types::proto::v1::conversation_service_client::ConversationServiceClient;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use crate::bodies::{
    ACCOUNT, NUMBER, PAGE, PHONE, USER_ID, about, messenger_with, said, twilio_with, whatsapp_with,
};
use crate::stage::{KEY, NOW_S, Shop, Stage, TENANT, signed, wait, whatsapp};
use crate::watching::SAID;

/// Stands wherever a person could have written. It can't be a code: it has an `_`.
const MARKER: &str = "MARKER_w0rd_of_a_person";

#[test]
fn no_text_of_a_person_is_found_anywhere() {
    let (log, numbers) = &*SAID;
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let page = v1::ChannelEndpoint {
        channel: v1::Channel::Messenger.into(),
        address: PAGE.into(),
        ..Default::default()
    };
    stage.shop(TENANT, page);

    let mut answers = String::new();
    for (name, body) in whatsapp_with(MARKER) {
        let answer = stage.post("/webhooks/whatsapp/all", &body);
        assert_eq!(answer.status, 200, "{name}");
        answers += &answer.whole;
    }
    for (name, body) in messenger_with(MARKER) {
        let answer = stage.post("/webhooks/messenger/fb", &body);
        assert_eq!(answer.status, 200, "{name}");
        answers += &answer.whole;
    }
    let fields = twilio_with(MARKER);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
    let answer = stage.post_form("/webhooks/twilio/tw", &fields);
    assert_eq!(answer.status, 200);
    answers += &answer.whole;
    answers += &refused(&stage);
    with_user_id(&stage, shop);

    let told = wait(ask(&stage, shop)).unwrap();
    let mut checkpoint = Vec::new();
    stage.node.front().write_checkpoint(stage.node.journal(), &mut checkpoint).unwrap();
    let folder = stage.stop();
    let mut files = 0;
    walk(folder.path(), &mut |path, bytes| {
        files += 1;
        assert!(!has(bytes, MARKER), "{} holds a person's words", path.display());
        for name in [PHONE, USER_ID] {
            assert!(!has(bytes, name), "{} holds a person's name in clear", path.display());
        }
    });
    assert!(files >= 2, "journal and key ring are looked at");
    let journal = fs::read_dir(folder.path().join("journal")).unwrap();
    let tacos = journal.map(|file| fs::read(file.unwrap().path()).unwrap());
    assert!(tacos.into_iter().any(|bytes| has(&bytes, "Three for two")), "the search finds texts");
    for (place, bytes) in [
        ("a checkpoint", &checkpoint[..]),
        ("an answer over HTTP", answers.as_bytes()),
        ("an answer over gRPC", &told),
        ("the log", log.text().as_bytes()),
        ("the metrics", numbers.text().as_bytes()),
    ] {
        assert!(!bytes.is_empty(), "{place}: nothing was looked at");
        assert!(!has(bytes, MARKER), "{place} holds a person's words");
        assert!(!has(bytes, PHONE) && !has(bytes, USER_ID), "{place} holds a person's name");
    }
}

/// Posts what is refused, which is kept as little; returns the answers.
fn refused(stage: &Stage) -> String {
    let broken = said("x", &format!(r#""text":{{"body":"{MARKER}"}},"from":"{MARKER}""#));
    let malformed = stage.post("/webhooks/whatsapp/all", &broken);
    assert_eq!(malformed.status, 400);
    let unsigned = crate::http::send(
        stage.web.addr(),
        "POST",
        "/webhooks/whatsapp/all",
        &[("x-hub-signature-256", &signed("another-secret-of-ours", broken.as_bytes()))],
        broken.as_bytes(),
    );
    assert_eq!(unsigned.status, 401);
    malformed.whole + &unsigned.whole
}

/// A person with a user id writes, too.
fn with_user_id(stage: &Stage, shop: Shop) {
    let body = about(&format!(
        r#""contacts":[{{"profile":{{"name":"{MARKER}"}},"wa_id":"5215550003333",
        "user_id":"{USER_ID}"}}],"messages":[{{"from":"5215550003333","id":"u1",
        "timestamp":"{NOW_S}","type":"text","text":{{"body":"{MARKER}"}}}}]"#
    ));
    assert_eq!(stage.post("/webhooks/whatsapp/all", &body).status, 200);
    assert!(stage.conversation(shop, USER_ID).is_some());
}

/// Returns the bytes of everything that gRPC tells of the shop and its conversations.
async fn ask(stage: &Stage, shop: Shop) -> Result<Vec<u8>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{}", stage.rpc.addr())).unwrap();
    let channel = endpoint.connect_lazy();
    let key: MetadataValue<_> = format!("Bearer {KEY}").parse().unwrap();
    let bearer = move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", key.clone());
        Ok::<_, Status>(request)
    };
    let mut told = Vec::new();
    let mut chats = ConversationServiceClient::with_interceptor(channel.clone(), bearer.clone());
    let conversation =
        Some(v1::ConversationKey { endpoint_id: shop.endpoint, contact: PHONE.into() });
    let request = v1::GetConversationRequest { business_id: shop.business, conversation };
    let answer = chats.get_conversation(request).await?.into_inner();
    assert!(answer.conversation.as_ref().unwrap().inbound_messages > 10);
    told.extend(answer.encode_to_vec());
    let mut reports = ReportServiceClient::with_interceptor(channel.clone(), bearer.clone());
    let answer = reports.query_report(v1::QueryReportRequest::default()).await?.into_inner();
    told.extend(answer.encode_to_vec());
    let mut campaigns = CampaignServiceClient::with_interceptor(channel.clone(), bearer.clone());
    let answer = campaigns.list_ads(v1::ListAdsRequest::default()).await?.into_inner();
    told.extend(answer.encode_to_vec());
    stage.clock.set(stage.node.now().plus_ms(120_000));
    stage.node.settled().await.unwrap();
    let mut pulls = AttributionServiceClient::with_interceptor(channel, bearer);
    let request = v1::PullAttributionsRequest::default();
    let mut pages = pulls.pull_attributions(request).await?.into_inner();
    let mut rows = 0;
    while let Some(page) = pages.message().await? {
        rows += page.rows.len();
        told.extend(page.encode_to_vec());
    }
    assert!(rows > 0, "the openings are in the stream");
    Ok(told)
}

fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

fn walk(folder: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, look);
        } else {
            look(&path, &fs::read(&path).unwrap());
        }
    }
}
