//! The `[[jwt]]` parts of the configuration: outside issuers whose tokens are credentials.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cli::config::BadConfig;
use crate::guard::{Issuer, IssuerKeys};

/// The lines of one `[[jwt]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtLines {
    issuer: String,
    audience: String,
    algorithms: Vec<String>,
    key_file: Option<PathBuf>,
    jwks_file: Option<PathBuf>,
    #[serde(default = "default_role_claim")]
    role_claim: String,
    #[serde(default = "default_tenant_claim")]
    tenant_claim: String,
}

impl JwtLines {
    /// Reads the keys that the lines name.
    pub(super) fn issuer(&self) -> Result<Issuer, BadConfig> {
        let read = |file: &PathBuf| {
            fs::read(file).map_err(|error| BadConfig::JwtFile { file: file.clone(), error })
        };
        let keys = match (&self.key_file, &self.jwks_file) {
            (Some(pem), None) => IssuerKeys::Pem(read(pem)?),
            (None, Some(jwks)) => IssuerKeys::Jwks(read(jwks)?),
            (Some(_), Some(_)) | (None, None) => return Err(BadConfig::JwtKeys),
        };
        Ok(Issuer {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            algorithms: self.algorithms.clone(),
            keys,
            role_claim: self.role_claim.clone(),
            tenant_claim: self.tenant_claim.clone(),
        })
    }
}

fn default_role_claim() -> String {
    "munadi_role".to_owned()
}

fn default_tenant_claim() -> String {
    "munadi_tenant".to_owned()
}
