//! Secrets show nowhere: what is planted is looked for in logs, answers, errors and on the disk.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use munadi::types::proto::v1;
use tonic::Status;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::calls::{REQUESTS, bytes, send};
use crate::changes::{desk, made};
use crate::desk::{OPERATOR, SECRET, TACOS, calls};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Returns the names of the files under a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if let Ok(content) = fs::read(&path)
            && content.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn what_is_planted_is_found_in_no_log_answer_error_or_file() {
    let log = Log::default();
    // All of the crate's own lines; where another test has set one before, this one hears nothing.
    let filter = EnvFilter::new("info,munadi=trace");
    let logged = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    let hears = logged.try_init().is_ok();
    let desk = desk();
    let (secrets, told) = calls(async {
        let (ids, shop) = made(&desk).await?;
        let mut told = String::new();
        for (number, call) in (0..).zip(REQUESTS) {
            let request = bytes(call, &ids, &format!("secrets-{number}"));
            let answer = send(desk.way(call.key), call.method, request).await;
            let answer = answer.map(|bytes| bytes.unwrap_or_default());
            // CreateKey and the like answer their own secret, once: it is looked for below.
            told += &match answer {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(status) => format!("{status:?}"),
            };
        }
        let wrong = "mk_operator-0_planted-wrong-secret";
        let refused = send(desk.way_of(wrong), "AdminService/ListKeys", Vec::new()).await;
        told += &format!("{:?}", refused.unwrap_err());
        let key = v1::ApiKey {
            name: "planted".into(),
            role: v1::CallerRole::Operator.into(),
            ..Default::default()
        };
        let request = v1::CreateKeyRequest { request_id: "last".into(), key: Some(key) };
        let made = desk.admin(OPERATOR).create_key(request).await?.into_inner();
        let push = v1::SetConversionPushRequest {
            request_id: "push".into(),
            account_id: shop.account,
            url: "https://shop.example/hook".into(),
            rotate_key: true,
            ..Default::default()
        };
        let push = desk.conversions(TACOS).set_conversion_push(push).await?.into_inner();
        assert!(!push.signing_secret.is_empty());
        for method in ["AdminService/ListKeys", "AdminService/ListChanges"] {
            let answer = send(desk.way_of(&made.bearer), method, Vec::new()).await?;
            told += &String::from_utf8_lossy(&answer.unwrap_or_default());
        }
        let secret = made.bearer.rsplit('_').next().unwrap().to_owned();
        Ok::<_, Status>((vec![secret, push.signing_secret], told))
    })
    .unwrap();
    tracing::info!("the last line");
    let logged = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    let logged = String::from_utf8_lossy(&logged);
    assert!(!hears || logged.contains("the last line"));
    let fixed = [SECRET, "planted-wrong-secret"].map(str::to_owned);
    for secret in fixed.iter().chain(&secrets) {
        assert!(!logged.contains(secret), "logged: {secret}");
        assert!(!told.contains(secret), "told: {secret}");
        assert_eq!(holding(desk.folder(), secret), [""; 0], "on disk: {secret}");
    }
    assert!(!logged.contains("planted-in-a-url"), "logged");
    desk.stop();
}
